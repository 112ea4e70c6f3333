#include "base/status.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define COLUMNS_DEFAULT 80

static bool is_dumb(const char *type)
{
	return type != NULL && strcmp(type, "dumb") == 0;
}

/* Of a terminal that is not our session's nobody is in the foreground. */
static bool in_background(void)
{
	pid_t foreground = tcgetpgrp(STDERR_FILENO);

	return foreground >= 0 && foreground != getpgrp();
}

bool status_can_show(void)
{
	return isatty(STDERR_FILENO) && !is_dumb(getenv("TERM")) && !in_background();
}

/* /dev/tty and the terminal's own name are the same device to this question alone. */
bool status_is_apart_from(int fd)
{
	unsigned device, own;

	return ioctl(fd, TIOCGDEV, &device) != 0 || ioctl(STDERR_FILENO, TIOCGDEV, &own) != 0 ||
	       device != own;
}

size_t status_cut(const char *text, size_t columns)
{
	size_t length = strlen(text), blanks = strspn(text, " ");

	if (length <= columns)
		return length;
	for (size_t cut = columns; cut > blanks; cut--)
		if (text[cut] == ' ' && text[cut + 1] == ' ' && text[cut - 1] != ' ')
			return cut;
	return columns;
}

size_t status_columns(void)
{
	struct winsize size;

	return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col
									       : COLUMNS_DEFAULT;
}

#include "base/status.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define COLUMNS_DEFAULT 80

static bool can_redraw(const char *type)
{
	return type != NULL && *type != '\0' && strcmp(type, "dumb") != 0;
}

bool status_can_show(void)
{
	return isatty(STDERR_FILENO) && can_redraw(getenv("TERM")) &&
	       tcgetpgrp(STDERR_FILENO) == getpgrp();
}

/* /dev/tty and the terminal's own name are the same device to this question alone. */
static bool is_same_terminal(int a, int b)
{
	unsigned device_a, device_b;

	return ioctl(a, TIOCGDEV, &device_a) == 0 && ioctl(b, TIOCGDEV, &device_b) == 0 &&
	       device_a == device_b;
}

bool status_is_apart_from(int fd)
{
	struct stat status;

	if (fstat(fd, &status) != 0)
		return true; /* closed */
	return !S_ISFIFO(status.st_mode) && !S_ISSOCK(status.st_mode) &&
	       !is_same_terminal(fd, STDERR_FILENO);
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

#include "base/status.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define COLUMNS_DEFAULT 80

static bool is_dumb(const char *type)
{
	return type != NULL && strcmp(type, "dumb") == 0;
}

/*
 * Of a terminal that is not our session's nobody is in the foreground. A shell without job control
 * leaves what it starts in the background in its own process group, and has it ignore SIGINT.
 */
static bool in_background(void)
{
	pid_t foreground = tcgetpgrp(STDERR_FILENO);
	struct sigaction interrupt;

	return (foreground >= 0 && foreground != getpgrp()) ||
	       (sigaction(SIGINT, NULL, &interrupt) == 0 && interrupt.sa_handler == SIG_IGN);
}

bool status_can_show(void)
{
	return isatty(STDERR_FILENO) && !is_dumb(getenv("TERM")) && !in_background();
}

/* /dev/tty and the terminal's own name are the same device to this question alone. */
bool status_is_apart_from(int fd)
{
	unsigned device, own;
	struct stat status;

	if (fstat(fd, &status) == 0 && S_ISFIFO(status.st_mode))
		return false;
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

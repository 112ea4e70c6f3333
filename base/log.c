/*
 * The monitor's words on standard error. A line is formatted into one buffer and written with one
 * write(2), so that threads do not interleave. The status line is the only state: whoever logs
 * clears it first, and its owner draws it again at its next tick.
 */
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_MAX_BYTES 1024

static int verbosity;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool status_shown; /* (lock) */

void log_set_verbosity(int level)
{
	verbosity = level;
}

int log_verbosity(void)
{
	return verbosity;
}

/* Nothing can be done about a standard error that is closed. */
static void put(const char *text, size_t length)
{
	while (length > 0) {
		ssize_t n = write(STDERR_FILENO, text, length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		text += n;
		length -= (size_t)n;
	}
}

static void say(const char *kind, const char *format, va_list arguments)
{
	int saved = errno;
	char line[LINE_MAX_BYTES];
	int used, n;

	pthread_mutex_lock(&lock);
	used = snprintf(line, sizeof(line), "%sbifold: %s", status_shown ? "\r\033[K" : "", kind);
	status_shown = false;
	errno = saved; /* for %m */
	n = vsnprintf(line + used, sizeof(line) - (size_t)used - 1, format, arguments);
	if (n < 0)
		n = 0;
	used += n;
	if (used > LINE_MAX_BYTES - 2)
		used = LINE_MAX_BYTES - 2;
	line[used++] = '\n';
	put(line, (size_t)used);
	pthread_mutex_unlock(&lock);
	errno = saved;
}

#define LOG_FUNCTION(name, least, kind)                                                            \
	void name(const char *format, ...)                                                         \
	{                                                                                          \
		va_list arguments;                                                                 \
                                                                                                   \
		if (verbosity < (least))                                                           \
			return;                                                                    \
		va_start(arguments, format);                                                       \
		say(kind, format, arguments);                                                      \
		va_end(arguments);                                                                 \
	}

LOG_FUNCTION(log_error, 0, "")
LOG_FUNCTION(log_warn, 0, "warning: ")
LOG_FUNCTION(log_info, 1, "")
LOG_FUNCTION(log_debug, 2, "")

void log_status(const char *text)
{
	char line[LINE_MAX_BYTES];

	pthread_mutex_lock(&lock);
	if (text != NULL || status_shown) {
		int n = snprintf(line, sizeof(line), "\r\033[K%s", text != NULL ? text : "");

		put(line, n < LINE_MAX_BYTES ? (size_t)n : LINE_MAX_BYTES - 1);
		status_shown = text != NULL;
	}
	pthread_mutex_unlock(&lock);
}

/*
 * The monitor's words on standard error. A line is formatted into one buffer and written with one
 * write(2), so that threads do not interleave. The status line is the only state: whoever logs
 * clears it first, and its owner draws it again at its next tick. Once this process is not in the
 * terminal's foreground the row of the cursor is another's, and is neither cleared nor drawn.
 */
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/status.h"

#define LINE_MAX_BYTES 1024
#define CLEAR	       "\r\033[K"

static int verbosity;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool status_shown;      /* (lock) */
static unsigned others;	       /* (lock) between log_yield() and log_return() */
static bool others_unfinished; /* (lock) they left their line without its end */

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

/* With the lock: what goes ahead of whatever is written now. */
static const char *clear_status(void)
{
	bool shown = status_shown;

	status_shown = false;
	return shown && status_can_show() ? CLEAR : "";
}

static void say(const char *kind, const char *format, va_list arguments)
{
	int saved = errno;
	char line[LINE_MAX_BYTES];
	int used, n;

	pthread_mutex_lock(&lock);
	used = snprintf(line, sizeof(line), "%sbifold: %s", clear_status(), kind);
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

LOG_FUNCTION(log_error, LOG_QUIET, "")
LOG_FUNCTION(log_warn, 0, "warning: ")
LOG_FUNCTION(log_note, 0, "")
LOG_FUNCTION(log_info, 1, "")
LOG_FUNCTION(log_debug, 2, "")

bool log_status_possible(void)
{
	return verbosity >= 0 && status_can_show();
}

void log_status(const char *text)
{
	char line[LINE_MAX_BYTES] = "";

	pthread_mutex_lock(&lock);
	if (text == NULL || !log_status_possible()) {
		put(line, (size_t)snprintf(line, sizeof(line), "%s", clear_status()));
	} else if (others == 0 && !others_unfinished) {
		/* A character in the last column would leave the cursor behind it. */
		int cut = (int)status_cut(text, status_columns() - 1);
		int n = snprintf(line, sizeof(line), CLEAR "%.*s", cut, text);

		put(line, n < LINE_MAX_BYTES ? (size_t)n : LINE_MAX_BYTES - 1);
		status_shown = true;
	}
	pthread_mutex_unlock(&lock);
}

void log_yield(void)
{
	const char *clear;

	pthread_mutex_lock(&lock);
	others++;
	clear = clear_status();
	put(clear, strlen(clear));
	pthread_mutex_unlock(&lock);
}

void log_return(bool unfinished)
{
	pthread_mutex_lock(&lock);
	others--;
	others_unfinished = unfinished;
	pthread_mutex_unlock(&lock);
}

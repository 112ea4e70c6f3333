/*
 * The monitor's words on standard error. A line is formatted into one buffer and written with one
 * write(2), so that threads do not interleave. The status line is shown or not: a thread that logs
 * clears it first, and its owner draws it again at its next tick. Once this process is not in the
 * terminal's foreground the row of the cursor is another's, and is neither cleared nor drawn.
 *
 * Nobody waits for the reader: a guest that fills a pipe which nobody empties would otherwise make
 * its monitor deaf. Text that standard error does not take now lies in a backlog and goes out with
 * the next line; lines that do not fit there are dropped and counted, and the count is logged as
 * soon as something goes out again.
 *
 * Standard error may be shared with others, so it is written to through an outlet (outlet.h).
 */
#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/lock.h"
#include "base/outlet.h"
#include "base/status.h"

#define LINE_MAX_BYTES 1024
#define CLEAR	       "\r\033[K"
#define BACKLOG_BYTES  8192

static int verbosity;
static bool spoken; /* (atomic) */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool status_shown;      /* (lock) */
static unsigned others;	       /* (lock) between log_yield() and log_return() */
static bool others_unfinished; /* (lock) they left their line without its end */

/* All (lock). */
static bool opened;
static struct outlet outlet = { .fd = -1 };
static char backlog[BACKLOG_BYTES]; /* begins with the rest of a line that went in part */
static size_t backlog_used;
static unsigned long dropped; /* lines, since the backlog was last empty */

void log_set_verbosity(int level)
{
	verbosity = level;
}

int log_verbosity(void)
{
	return verbosity;
}

/* As write(2), but -1 with EAGAIN instead of blocking. */
static ssize_t put_some(const char *text, size_t length)
{
	/* A standard error that was closed swallows what comes. */
	if (!opened)
		(void)outlet_open(&outlet, STDERR_FILENO);
	opened = true;
	return outlet_put(&outlet, text, length);
}

/* Line by line, as far as it goes. Nothing can be done about a standard error that is closed. */
static void flush(void)
{
	size_t done = 0;

	while (done < backlog_used) {
		const char *line = backlog + done;
		const char *end = memchr(line, '\n', backlog_used - done);
		size_t length = end != NULL ? (size_t)(end - line) + 1 : backlog_used - done;
		ssize_t n = put_some(line, length);

		if (n < 0 && errno == EAGAIN)
			break;
		done += n > 0 ? (size_t)n : length;
	}
	backlog_used -= done;
	memmove(backlog, backlog + done, backlog_used);
}

/* One more behind what waits. False: there is no room. */
static bool append(const char *text, size_t length)
{
	if (length > sizeof(backlog) - backlog_used)
		return false;
	memcpy(backlog + backlog_used, text, length);
	backlog_used += length;
	return true;
}

static void flush_and_count(void)
{
	char line[128];

	flush();
	if (backlog_used > 0 || dropped == 0)
		return;
	append(line, (size_t)snprintf(line, sizeof(line),
				      "bifold: warning: %lu lines are missing here: standard error "
				      "did not take them\n",
				      dropped));
	dropped = 0;
	flush();
}

/* Once a line is dropped, those behind it are, until there is a place for the count. */
static void put(const char *text, size_t length)
{
	flush_and_count();
	if (dropped > 0 || !append(text, length))
		dropped++;
	else
		flush();
}

/* Now or not at all. */
static void put_status(const char *text)
{
	flush_and_count();
	if (backlog_used == 0 && append(text, strlen(text)))
		flush();
}

/* With the lock: the text to write ahead of anything else, which clears the status line. */
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

	LOCK_CHECK();
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
		if ((least) == LOG_QUIET)                                                          \
			__atomic_store_n(&spoken, true, __ATOMIC_RELAXED);                         \
		va_start(arguments, format);                                                       \
		say(kind, format, arguments);                                                      \
		va_end(arguments);                                                                 \
	}

LOG_FUNCTION(log_error, LOG_QUIET, "")
LOG_FUNCTION(log_warn, 0, "warning: ")
LOG_FUNCTION(log_note, 0, "")
LOG_FUNCTION(log_info, 1, "")
LOG_FUNCTION(log_debug, 2, "")

bool log_has_spoken(void)
{
	return __atomic_load_n(&spoken, __ATOMIC_RELAXED);
}

bool log_status_possible(void)
{
	return verbosity >= 0 && status_can_show();
}

void log_text(const char *text)
{
	LOCK_CHECK();
	pthread_mutex_lock(&lock);
	put_status(clear_status());
	for (const char *end; *text != '\0'; text = end) {
		end = strchrnul(text, '\n');
		end += *end == '\n';
		put(text, (size_t)(end - text));
	}
	pthread_mutex_unlock(&lock);
}

/* Until standard error takes something. False: give_up_fd was readable first, or time is up. */
static bool wait_writable(int give_up_fd, int milliseconds)
{
	struct pollfd fds[] = {
		{ .fd = outlet.fd, .events = POLLOUT },
		{ .fd = give_up_fd, .events = POLLIN },
	};

	return poll(fds, 2, milliseconds) > 0 && fds[1].revents == 0;
}

void log_drain(int give_up_fd, int milliseconds)
{
	bool goes_on = true;

	for (;;) {
		pthread_mutex_lock(&lock);
		flush_and_count();
		goes_on = goes_on && backlog_used > 0;
		pthread_mutex_unlock(&lock);
		if (!goes_on)
			return;
		goes_on = wait_writable(give_up_fd, milliseconds);
	}
}

void log_status(const char *text)
{
	char line[LINE_MAX_BYTES];

	pthread_mutex_lock(&lock);
	if (text == NULL || !log_status_possible()) {
		put_status(clear_status());
	} else if (others == 0 && !others_unfinished) {
		/* A character in the last column would leave the cursor behind it. */
		int cut = (int)status_cut(text, status_columns() - 1);

		snprintf(line, sizeof(line), CLEAR "%.*s", cut, text);
		put_status(line);
		status_shown = true;
	}
	pthread_mutex_unlock(&lock);
}

void log_yield(void)
{
	pthread_mutex_lock(&lock);
	others++;
	put_status(clear_status());
	pthread_mutex_unlock(&lock);
}

void log_return(bool unfinished)
{
	pthread_mutex_lock(&lock);
	others--;
	others_unfinished = unfinished;
	pthread_mutex_unlock(&lock);
}

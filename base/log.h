/*
 * The monitor's own words. They go to standard error, one line a call, prefixed "bifold: ".
 * errno is preserved. Any thread may call; a line is written with one write(2), so lines of
 * different threads do not mix. No call waits for the reader: text that standard error does not
 * take is kept for the next call as far as there is room, and dropped otherwise. A line in its
 * place says how many lines were dropped.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>

#define LOG_PATIENCE_MS 1000 /* for log_drain(), at the end of a command */
#define LOG_QUIET	(-1)

/*
 * LOG_QUIET: errors; 0: warnings and notes as well; 1 (-v): progress and the guest's remarks; 2
 * (-vv): every oddity.
 */
void log_set_verbosity(int level);
int log_verbosity(void);

void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
bool log_has_spoken(void); /* whether there was an error so far */
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));  /* from -v on */
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2))); /* from -vv on */

/* Lines as they are, without a prefix: a table. */
void log_text(const char *text);

/*
 * At the end, with no lock held: waits until all kept text has gone out, give_up_fd (or -1) is
 * readable, or standard error has taken nothing for so long (-1: for ever).
 */
void log_drain(int give_up_fd, int milliseconds);

/*
 * A status line, redrawn in place and cut to the terminal's width. Does nothing where one cannot be
 * shown (see base/status.h), or with --quiet. A log line clears it first. text without a newline,
 * fields separated by two spaces; NULL clears it for good.
 */
void log_status(const char *text);
bool log_status_possible(void); /* now */

/*
 * Around a write of somebody else's words to standard error: the status line is cleared, and not
 * drawn meanwhile, nor while the last of them are unfinished: no newline ends them. Neither waits
 * for the other.
 */
void log_yield(void);
void log_return(bool unfinished);

#endif

/*
 * The monitor's own words. They go to standard error, one line a call, prefixed "bifold: ".
 * errno is preserved. Any thread may call; a line is written with one write(2), so lines of
 * different threads do not mix.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>

/* 0: errors and warnings; 1 (-v): progress and the guest's remarks; 2 (-vv): every oddity. */
void log_set_verbosity(int level);
int log_verbosity(void);

void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));  /* from -v on */
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2))); /* from -vv on */

/*
 * A status line on a terminal, redrawn in place; a log line clears it first. text without a
 * newline; NULL clears it for good. Call it only where standard error is a terminal.
 */
void log_status(const char *text);

#endif

/*
 * Where a status line may be: what it needs to know of the terminal that is standard error. The
 * line itself is log_status(), base/log.h.
 */
#ifndef BASE_STATUS_H
#define BASE_STATUS_H

#include <stdbool.h>
#include <stddef.h>

/*
 * It spoils nothing now: standard error is a terminal that can go back to the start of its line,
 * and this process is not in the terminal's background. That changes: ask each time.
 */
bool status_can_show(void);

/* fd is not the terminal that is standard error, whatever name it was opened by; nor a pipe, whose
 * reader may well write there. */
bool status_is_apart_from(int fd);

/*
 * How many bytes of text, plain ASCII, fit into a row of so many columns: all, or as many of its
 * fields as do, which two spaces separate; of the first alone, what goes.
 */
size_t status_cut(const char *text, size_t columns);

/* Of the terminal; 80 where it does not say. */
size_t status_columns(void);

#endif

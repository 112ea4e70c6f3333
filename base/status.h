/*
 * Decides where a status line may be shown, from the terminal that is standard error. The line
 * itself is log_status(), base/log.h.
 */
#ifndef BASE_STATUS_H
#define BASE_STATUS_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Whether the line would spoil nothing now: standard error is a terminal that can go back to the
 * start of its line, and this process is not in the terminal's background. That changes: ask each
 * time.
 */
bool status_can_show(void);

/* fd is not the terminal that is standard error, whatever name it was opened by; nor a pipe, whose
 * reader may well write there. */
bool status_is_apart_from(int fd);

/*
 * How many bytes of text, plain ASCII, fit into a row of so many columns: all, or as many whole
 * fields as fit, which two spaces separate; if not even the first fits, as much of it as does.
 */
size_t status_cut(const char *text, size_t columns);

/* Of the terminal; 80 where it does not say. */
size_t status_columns(void);

#endif

/*
 * The terminal that a stock guest's console is joined to: standard input in raw mode, so that all
 * keys are the guest's but one, Ctrl-A, which begins a word to the monitor. The terminal is put
 * back as it was at the end, and when a signal ends the process.
 *
 * Input that is no terminal passes through as it is. All calls are the main thread's.
 */
#ifndef VMM_TERMINAL_H
#define VMM_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct terminal;

struct terminal_config {
	int fd;	     /* stays the caller's */
	bool cooked; /* the terminal's own line discipline stays, and Ctrl-A is a key like others */
	/* Bytes for the guest. Returns how many it took; the rest is offered again at
	 * terminal_room(). Required. */
	size_t (*input)(void *context, const uint8_t *bytes, size_t length);
	/* Ctrl-A x. Required. */
	void (*leave)(void *context);
	/* How large the terminal is: at the start, and when it has changed. NULL: nobody asks. */
	void (*resized)(void *context, unsigned columns, unsigned rows);
	void *context;
};

/* One at a time in a process. 0 or -errno of setting a terminal's mode. */
int terminal_create(const struct terminal_config *config, struct terminal **terminal);
/* Puts the terminal back. Takes NULL. */
void terminal_destroy(struct terminal *terminal);

/* The descriptor to poll for input now; -1: none. */
int terminal_poll_fd(const struct terminal *terminal);
/* It was readable, or has ended. */
void terminal_ready(struct terminal *terminal);
/* The guest takes input again. */
void terminal_room(struct terminal *terminal);
/* SIGWINCH has come. */
void terminal_measure(struct terminal *terminal);
/* SIGCONT has come: a shell may have set the mode it likes. */
void terminal_continue(struct terminal *terminal);

#endif

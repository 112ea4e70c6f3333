/*
 * Bytes on their way out to a descriptor. They are gathered for some milliseconds and written by
 * the loop, so that a guest that prints byte by byte costs few system calls; only a thread that
 * puts a byte into a full buffer waits for a descriptor that takes no more.
 */
#ifndef DEVICES_OUTPUT_H
#define DEVICES_OUTPUT_H

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct output;

struct output_config {
	struct loop *loop;
	int fd;	     /* where to; stays the caller's, and shared with others: never made
		      * non-blocking */
	int stop_fd; /* readable once nobody shall wait any more */
	/* There is room again, after output_has_room() said no. On the loop's thread. Required. */
	void (*room)(void *context);
	void *context;
};

/* 0 or -errno. */
int output_create(const struct output_config *config, struct output **output);
/* Takes NULL. The loop must not run any more. Bytes that were not drained are lost. */
void output_destroy(struct output *output);

/* Whether output_put() would not wait, for a handful of bytes. From any thread. */
bool output_has_room(struct output *output);

/* From any thread. Waits while the buffer is full, until the descriptor takes some or the machine
 * stops. The failure of a descriptor (nobody reads, no space) is logged once, and the rest is
 * dropped.
 */
void output_put(struct output *output, uint8_t byte);

/* Writes all of it out, waiting as long as that takes or until give_up_fd is readable. */
void output_drain(struct output *output, int give_up_fd);

#endif

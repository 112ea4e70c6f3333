/*
 * A descriptor that others share, to write to without ever waiting. O_NONBLOCK, set on it, would
 * break the others' writes. So a pipe or a terminal is opened anew through /proc, a socket is told
 * with each call not to wait, and a file does not block. Where a new opening is refused (another
 * user's terminal), poll() is asked first, and each write is small enough for the room that poll()
 * promises.
 */
#ifndef BASE_OUTLET_H
#define BASE_OUTLET_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum outlet_way {
	OUTLET_WRITE,  /* write(2) does as it should: a file, or opened anew not to block */
	OUTLET_SOCKET, /* with MSG_DONTWAIT */
	OUTLET_POLLED, /* in small pieces, when poll() says so */
};

struct outlet {
	int fd; /* our own, to poll for; -1: closed */
	enum outlet_way way;
};

/* For the descriptor fd, which stays the caller's. 0 or -errno; then the outlet is closed. */
int outlet_open(struct outlet *outlet, int fd);
void outlet_close(struct outlet *outlet); /* a closed one, too */

/* As write(2), but -1 with EAGAIN where that would wait. An interrupted call is made again. */
ssize_t outlet_put(const struct outlet *outlet, const void *bytes, size_t length);

#endif

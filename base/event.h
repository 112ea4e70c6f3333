/* Eventfds as signals between threads. */
#ifndef BASE_EVENT_H
#define BASE_EVENT_H

#include <errno.h>
#include <stdint.h>
#include <unistd.h>

#define EVENT_TRIES 3

/*
 * Makes an eventfd readable; a full one is readable already. 0 or -errno. It does not give up at
 * the first refusal, or the waiting thread would wait for ever.
 */
static inline int event_put(int fd)
{
	uint64_t one = 1;

	for (int i = 0; i < EVENT_TRIES; i++)
		if (write(fd, &one, sizeof(one)) == sizeof(one) || errno == EAGAIN)
			return 0;
	return -errno;
}

#endif

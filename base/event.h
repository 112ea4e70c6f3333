/* Eventfds as signals between threads. */
#ifndef BASE_EVENT_H
#define BASE_EVENT_H

#include <errno.h>
#include <stdint.h>
#include <unistd.h>

#define EVENT_TRIES 3

/*
 * Makes an eventfd readable; one that is full is. 0 or -errno. Whoever waits would wait for ever if
 * this were given up at the first refusal.
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

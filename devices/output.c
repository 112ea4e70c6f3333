/*
 * The first byte into an empty buffer starts a timer; when it has run out, the loop writes what
 * came together. When the descriptor takes no more, the loop watches for it to be writable.
 *
 * A write happens with the lock held and so must not block: it goes through an outlet.
 */
#include "devices/output.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "base/outlet.h"
#include "devices/loop.h"

#define BUFFER_SIZE 16384
#define HANDFUL	    16 /* the bytes that output_has_room() is asked for */
/* Once the machine stops, each vCPU that waited still brings its byte in. */
#define FULL	  (BUFFER_SIZE - 64)
#define GATHER_NS 4000000

/* (C) constant after create; (L) lock */
struct output {
	struct output_config config; /* (C) */
	struct outlet outlet;	     /* (C) */
	int timer_fd;		     /* (C) */
	pthread_mutex_t lock;
	bool watched; /* (L) the loop waits for fd to be writable */
	bool broken;  /* (L) fd has failed */
	int lost;     /* (L) its errno, until it is said */
	bool starved; /* (L) output_has_room() said no */
	size_t used;  /* (L) */
	char buffer[BUFFER_SIZE];
};

/* A failure that was met under the lock is reported without it. */
static void unlock(struct output *output)
{
	int lost = output->lost;

	output->lost = 0;
	pthread_mutex_unlock(&output->lock);
	if (lost != 0)
		log_warn("the guest's console output is lost: %s", strerror(lost));
}

static void watch(struct output *output);

/* With the lock. Writes what goes without blocking. */
static void flush(struct output *output)
{
	size_t done = 0;

	while (done < output->used && !output->broken) {
		ssize_t n = outlet_put(&output->outlet, output->buffer + done, output->used - done);

		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			output->lost = errno;
			output->broken = true;
		}
		done += n > 0 ? (size_t)n : 0;
	}
	if (output->broken)
		done = output->used;
	output->used -= done;
	memmove(output->buffer, output->buffer + done, output->used);
	if (output->used > 0)
		watch(output);
}

/* On the loop's thread. */
static void flush_and_tell(struct output *output, bool was_watched)
{
	bool tell;

	pthread_mutex_lock(&output->lock);
	flush(output);
	if (was_watched && output->used == 0) {
		loop_remove(output->config.loop, output->outlet.fd);
		output->watched = false;
	}
	tell = output->starved && output->used + HANDFUL <= FULL;
	if (tell)
		output->starved = false;
	unlock(output);
	if (tell)
		output->config.room(output->config.context);
}

static void on_writable(void *context, uint32_t events)
{
	flush_and_tell(context, true);
}

static void on_timer(void *context, uint32_t events)
{
	struct output *output = context;
	uint64_t times;

	if (read(output->timer_fd, &times, sizeof(times)) == sizeof(times))
		flush_and_tell(output, false);
}

static void start_timer(struct output *output)
{
	const struct itimerspec once = { .it_value.tv_nsec = GATHER_NS };

	if (timerfd_settime(output->timer_fd, 0, &once, NULL) != 0)
		loop_fail(output->config.loop, -errno);
}

/* With the lock. A descriptor that cannot be watched is asked again and again. */
static void watch(struct output *output)
{
	if (output->watched)
		return;
	if (loop_add(output->config.loop, output->outlet.fd, EPOLLOUT, on_writable, output) == 0)
		output->watched = true;
	else
		start_timer(output);
}

int output_create(const struct output_config *config, struct output **out)
{
	struct output *output = calloc(1, sizeof(*output));
	int error;

	CHECK(output != NULL);
	output->config = *config;
	pthread_mutex_init(&output->lock, NULL);
	output->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	/* A standard output that was closed is one that fails. */
	output->broken = outlet_open(&output->outlet, config->fd) != 0;
	error = output->timer_fd < 0 ? -errno : 0;
	if (error == 0)
		error = loop_add(config->loop, output->timer_fd, EPOLLIN, on_timer, output);
	if (error != 0) {
		output_destroy(output);
		return error;
	}
	*out = output;
	return 0;
}

void output_destroy(struct output *output)
{
	if (output == NULL)
		return;
	if (output->timer_fd >= 0) {
		loop_remove(output->config.loop, output->timer_fd);
		close(output->timer_fd);
	}
	if (output->watched)
		loop_remove(output->config.loop, output->outlet.fd);
	outlet_close(&output->outlet);
	pthread_mutex_destroy(&output->lock);
	free(output);
}

bool output_has_room(struct output *output)
{
	bool room;

	pthread_mutex_lock(&output->lock);
	room = output->used + HANDFUL <= FULL;
	if (!room)
		output->starved = true;
	unlock(output);
	return room;
}

/* Until fd is writable. False: other_fd was readable first. */
static bool wait_writable(const struct output *output, int other_fd)
{
	struct pollfd fds[] = {
		{ .fd = output->outlet.fd, .events = POLLOUT },
		{ .fd = other_fd, .events = POLLIN },
	};

	while (poll(fds, 2, -1) < 0)
		;
	return fds[0].revents != 0;
}

void output_put(struct output *output, uint8_t byte)
{
	bool stopped = false;

	pthread_mutex_lock(&output->lock);
	while (output->used >= FULL && !stopped) {
		flush(output);
		if (output->used < FULL)
			break;
		unlock(output);
		stopped = !wait_writable(output, output->config.stop_fd);
		pthread_mutex_lock(&output->lock);
	}
	if (!output->broken && output->used < BUFFER_SIZE) {
		if (output->used == 0)
			start_timer(output);
		output->buffer[output->used++] = (char)byte;
	}
	unlock(output);
}

void output_drain(struct output *output, int give_up_fd)
{
	bool goes_on = true;

	pthread_mutex_lock(&output->lock);
	for (;;) {
		flush(output);
		if (output->used == 0 || !goes_on)
			break;
		goes_on = wait_writable(output, give_up_fd);
	}
	unlock(output);
}

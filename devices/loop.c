/*
 * epoll(7) in front of a list of watches. An event carries its watch's serial number, not a
 * pointer: a watch may be removed, and its descriptor's number used anew, while an event of it
 * waits in the batch at hand; no watch with that serial is found then, and nobody is called.
 */
#include "devices/loop.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/check.h"
#include "base/event.h"

#define BATCH 16

struct watch {
	struct watch *next;
	uint64_t serial;
	int fd;
	uint32_t events;
	loop_ready *ready;
	void *context;
};

/* (C) constant after creation; (L) lock */
struct loop {
	int epoll_fd;		 /* (C) */
	int stop_fd;		 /* (C) eventfd, watched like any other */
	pthread_mutex_t lock;	 /* innermost */
	pthread_cond_t returned; /* (L) running has become 0 */
	struct watch *watches;	 /* (L) */
	uint64_t last_serial;	 /* (L) */
	uint64_t running;	 /* (L) serial of the watch whose ready runs; 0: none */
	pthread_t runner;	 /* (L) whose thread that is */
	bool stopped;		 /* (L) */
	int error;		 /* (L) why it must not go on; 0: it may */
};

static struct watch **find_fd(struct loop *loop, int fd)
{
	struct watch **at = &loop->watches;

	while (*at != NULL && (*at)->fd != fd)
		at = &(*at)->next;
	return at;
}

/* For no events an edge is asked for, so that a hang-up, which epoll always reports, comes once. */
static int tell(struct loop *loop, const struct watch *watch, int operation)
{
	struct epoll_event event = {
		.events = watch->events != 0 ? watch->events : EPOLLET,
		.data.u64 = watch->serial,
	};

	return epoll_ctl(loop->epoll_fd, operation, watch->fd, &event) == 0 ? 0 : -errno;
}

int loop_add(struct loop *loop, int fd, uint32_t events, loop_ready *ready, void *context)
{
	struct watch *watch = malloc(sizeof(*watch));
	int error;

	if (watch == NULL)
		return -ENOMEM;
	pthread_mutex_lock(&loop->lock);
	CHECK(*find_fd(loop, fd) == NULL);
	*watch = (struct watch){ loop->watches, ++loop->last_serial, fd, events, ready, context };
	error = tell(loop, watch, EPOLL_CTL_ADD);
	if (error == 0)
		loop->watches = watch;
	else
		free(watch);
	pthread_mutex_unlock(&loop->lock);
	return error;
}

void loop_change(struct loop *loop, int fd, uint32_t events)
{
	struct watch *watch;
	int error;

	pthread_mutex_lock(&loop->lock);
	watch = *find_fd(loop, fd);
	CHECK(watch != NULL);
	watch->events = events;
	error = tell(loop, watch, EPOLL_CTL_MOD);
	pthread_mutex_unlock(&loop->lock);
	if (error != 0)
		loop_fail(loop, error);
}

void loop_remove(struct loop *loop, int fd)
{
	struct watch **at, *watch;

	pthread_mutex_lock(&loop->lock);
	at = find_fd(loop, fd);
	watch = *at;
	CHECK(watch != NULL);
	*at = watch->next;
	tell(loop, watch, EPOLL_CTL_DEL);
	while (loop->running == watch->serial && !pthread_equal(loop->runner, pthread_self()))
		pthread_cond_wait(&loop->returned, &loop->lock);
	pthread_mutex_unlock(&loop->lock);
	free(watch);
}

/* Whether somebody was called. */
static bool dispatch(struct loop *loop, const struct epoll_event *event)
{
	struct watch *watch = NULL;
	uint32_t events = 0;
	loop_ready *ready = NULL;
	void *context = NULL;

	pthread_mutex_lock(&loop->lock);
	for (watch = loop->watches; watch != NULL; watch = watch->next)
		if (watch->serial == event->data.u64)
			break;
	if (watch != NULL && watch->events != 0)
		events = event->events & (watch->events | EPOLLERR | EPOLLHUP);
	if (events != 0) {
		ready = watch->ready;
		context = watch->context;
		loop->running = watch->serial;
		loop->runner = pthread_self();
	}
	pthread_mutex_unlock(&loop->lock);
	if (events == 0)
		return false;
	ready(context, events);
	pthread_mutex_lock(&loop->lock);
	loop->running = 0;
	pthread_cond_broadcast(&loop->returned);
	pthread_mutex_unlock(&loop->lock);
	return true;
}

int loop_serve(struct loop *loop, int timeout_ms)
{
	struct epoll_event events[BATCH];
	int called = 0, n;

	n = epoll_wait(loop->epoll_fd, events, BATCH, timeout_ms);
	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	for (int i = 0; i < n; i++)
		called += dispatch(loop, &events[i]);
	return called;
}

static void note_stop(void *context, uint32_t events)
{
	struct loop *loop = context;
	uint64_t count;

	if (read(loop->stop_fd, &count, sizeof(count)) == sizeof(count)) {
		pthread_mutex_lock(&loop->lock);
		loop->stopped = true;
		pthread_mutex_unlock(&loop->lock);
	}
}

/* Takes notice of a stop, once, and of a failure. */
static bool take_stop(struct loop *loop, int *error)
{
	bool stopped;

	pthread_mutex_lock(&loop->lock);
	stopped = loop->stopped;
	loop->stopped = false;
	*error = loop->error;
	pthread_mutex_unlock(&loop->lock);
	return stopped;
}

int loop_run(struct loop *loop)
{
	int n = 0, error = 0;

	while (n >= 0 && !take_stop(loop, &error) && error == 0)
		n = loop_serve(loop, -1);
	return n < 0 ? n : error;
}

void loop_stop(struct loop *loop)
{
	event_put(loop->stop_fd);
}

void loop_fail(struct loop *loop, int error)
{
	pthread_mutex_lock(&loop->lock);
	if (loop->error == 0)
		loop->error = error;
	pthread_mutex_unlock(&loop->lock);
	event_put(loop->stop_fd);
}

int loop_create(struct loop **out)
{
	struct loop *loop = calloc(1, sizeof(*loop));
	int error = 0;

	if (loop == NULL)
		return -ENOMEM;
	pthread_mutex_init(&loop->lock, NULL);
	pthread_cond_init(&loop->returned, NULL);
	loop->stop_fd = -1;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd >= 0)
		loop->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->epoll_fd < 0 || loop->stop_fd < 0)
		error = -errno;
	if (error == 0)
		error = loop_add(loop, loop->stop_fd, EPOLLIN, note_stop, loop);
	if (error != 0) {
		loop_destroy(loop);
		return error;
	}
	*out = loop;
	return 0;
}

void loop_destroy(struct loop *loop)
{
	if (loop == NULL)
		return;
	while (loop->watches != NULL) {
		struct watch *watch = loop->watches;

		loop->watches = watch->next;
		free(watch);
	}
	if (loop->stop_fd >= 0)
		close(loop->stop_fd);
	if (loop->epoll_fd >= 0)
		close(loop->epoll_fd);
	pthread_cond_destroy(&loop->returned);
	pthread_mutex_destroy(&loop->lock);
	free(loop);
}

/*
 * The fault thread. It reads userfaultfd's messages into a queue and hands each fault to the
 * manager, which maps the frame and wakes the vCPU (or the kernel thread) that waits for it.
 *
 * It must not end silently, for then the guest hangs: whatever ends it without ept_space_destroy()
 * having asked (an error, a cancellation, a pthread_exit deep inside) reaches the manager's dead().
 */
#include <errno.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/event.h"
#include "ept/internal.h"

struct fault_thread {
	struct ept_space *space;
	bool told_to_stop;
	int error;
	char what[128];
};

static void ended(void *argument)
{
	struct fault_thread *self = argument;

	if (self->told_to_stop)
		return;
	if (self->what[0] == '\0')
		snprintf(self->what, sizeof(self->what), "the fault thread was killed");
	self->space->manager_ops->dead(self->space->manager, self->error, self->what);
}

static int give_up(struct fault_thread *self, int error, const char *what)
{
	self->error = error;
	snprintf(self->what, sizeof(self->what), "%s: %s", what, strerror(error));
	return -1;
}

static int serve(struct fault_thread *self, const struct uffd_msg *message)
{
	struct ept_space *space = self->space;
	uint64_t offset;
	int error;

	/* Event codes are values, not flags. No other event was asked for. */
	if (message->event != UFFD_EVENT_PAGEFAULT) {
		snprintf(self->what, sizeof(self->what), "userfaultfd sent an unknown event %#x",
			 message->event);
		self->error = EPROTO;
		return -1;
	}
	offset = message->arg.pagefault.address - (uintptr_t)space->guest_view;
	error = space->manager_ops->fault(
		space->manager, gfn(offset >> PAGE_SHIFT),
		(message->arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WRITE) != 0,
		(int)message->arg.pagefault.feat.ptid);
	if (error != 0) {
		snprintf(self->what, sizeof(self->what),
			 "the fault at guest-physical %#llx could not be served: %s",
			 (unsigned long long)offset, strerror(-error));
		self->error = -error;
		return -1;
	}
	return 0;
}

/* 0 when messages may be there, 1 when told to stop, -1 on an error. */
static int wait_for_faults(struct fault_thread *self)
{
	struct pollfd poll_fds[] = {
		{ .fd = self->space->uffd, .events = POLLIN },
		{ .fd = self->space->stop_fd, .events = POLLIN },
	};

	if (poll(poll_fds, 2, -1) < 0)
		return errno == EINTR ? 0 : give_up(self, errno, "poll");
	if (poll_fds[1].revents != 0)
		return 1;
	if (poll_fds[0].revents & (POLLERR | POLLNVAL))
		return give_up(self, EIO, "userfaultfd");
	return 0;
}

/* Reads what fits. The number of messages that are new, or -errno. (Q) */
static int read_messages(struct ept_space *space)
{
	struct uffd_msg *messages = space->queue + space->queue_end;
	ssize_t n = space->host->read(space->uffd, messages,
				      (EPT_FAULT_QUEUE - space->queue_end) * sizeof(*messages));

	if (n < 0)
		return -errno;
	if (n == 0 || n % (ssize_t)sizeof(*messages) != 0)
		return -EIO;
	n /= (ssize_t)sizeof(*messages);
	space->queue_end += (unsigned)n;
	return (int)n;
}

/* The fault to serve next, which stays the queue's first until it is answered. 0 or -errno. */
static int take_next(struct ept_space *space, struct uffd_msg *message)
{
	int n = 1;

	pthread_mutex_lock(&space->queue_lock);
	if (space->queue_first == space->queue_end) {
		space->queue_first = space->queue_end = 0;
		n = read_messages(space);
	}
	if (n > 0)
		*message = space->queue[space->queue_first];
	pthread_mutex_unlock(&space->queue_lock);
	return n < 0 ? n : 0;
}

static void answered(struct ept_space *space)
{
	pthread_mutex_lock(&space->queue_lock);
	space->queue_first++;
	pthread_mutex_unlock(&space->queue_lock);
}

/*
 * Nobody but the fault thread reads while the queue is empty: it might go to sleep beside what
 * another one had read for it.
 */
void ept_space_waiting(struct ept_space *space, void (*each)(void *context, int thread),
		       void *context)
{
	pthread_mutex_lock(&space->queue_lock);
	/* An error is the fault thread's to find: it reads next. */
	if (space->queue_first < space->queue_end && space->queue_end < EPT_FAULT_QUEUE)
		(void)read_messages(space);
	for (unsigned i = space->queue_first; i < space->queue_end; i++)
		each(context, (int)space->queue[i].arg.pagefault.feat.ptid);
	pthread_mutex_unlock(&space->queue_lock);
}

static void loop(struct fault_thread *self)
{
	struct uffd_msg message;

	for (;;) {
		int error = take_next(self->space, &message);

		if (error == -EAGAIN) {
			int waited = wait_for_faults(self);

			if (waited == 1)
				self->told_to_stop = true;
			if (waited != 0)
				return;
			continue;
		}
		if (error == -EINTR)
			continue;
		if (error != 0) {
			give_up(self, -error, "reading userfaultfd");
			return;
		}
		if (serve(self, &message) != 0)
			return;
		answered(self->space);
	}
}

static void *fault_thread(void *argument)
{
	struct fault_thread self = { .space = argument };

	pthread_setname_np(pthread_self(), "bifold-fault");
	pthread_cleanup_push(ended, &self);
	loop(&self);
	pthread_cleanup_pop(1);
	return NULL;
}

int ept_space_start(struct ept_space *space)
{
	sigset_t all, before;
	int error;

	if (space->manager_ops == NULL)
		return 0;
	/* Signals are the main thread's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&space->fault_thread, NULL, fault_thread, space);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error != 0)
		return -error;
	space->fault_thread_started = true;
	return 0;
}

void ept_space_stop(struct ept_space *space)
{
	if (!space->fault_thread_started)
		return;
	event_put(space->stop_fd);
	pthread_join(space->fault_thread, NULL);
	space->fault_thread_started = false;
}

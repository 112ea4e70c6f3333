/* The devices' event loop, served by the test's own thread or by one of its own. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "devices/loop.h"

struct seen {
	struct loop *loop;
	int fd;
	unsigned calls;
	uint32_t events;
	int other; /* to remove; -1: none */
	sem_t inside, leave;
};

static void note(void *context, uint32_t events)
{
	struct seen *seen = context;

	seen->calls++;
	seen->events = events;
}

static void note_and_remove(void *context, uint32_t events)
{
	struct seen *seen = context;

	note(context, events);
	if (seen->other >= 0)
		loop_remove(seen->loop, seen->other);
	seen->other = -1;
}

static void note_and_linger(void *context, uint32_t events)
{
	struct seen *seen = context;

	sem_post(&seen->inside);
	sem_wait(&seen->leave);
	note(context, events);
}

static struct loop *open_loop(void)
{
	struct loop *loop;

	cr_assert_eq(loop_create(&loop), 0);
	return loop;
}

static int ready_event(void)
{
	int fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);

	cr_assert_geq(fd, 0);
	return fd;
}

static void *run(void *loop)
{
	cr_assert_eq(loop_run(loop), 0);
	return NULL;
}

Test(loop, calls_as_long_as_there_is_something)
{
	struct seen seen = { .loop = open_loop(), .fd = ready_event() };
	uint64_t count;

	cr_assert_eq(loop_add(seen.loop, seen.fd, EPOLLIN, note, &seen), 0);
	cr_assert_eq(loop_serve(seen.loop, 0), 1);
	cr_assert_eq(loop_serve(seen.loop, 0), 1, "level-triggered");
	cr_assert_eq(seen.events, EPOLLIN);
	cr_assert_eq(read(seen.fd, &count, sizeof(count)), sizeof(count));
	cr_assert_eq(loop_serve(seen.loop, 0), 0);
	loop_change(seen.loop, seen.fd, EPOLLOUT);
	cr_assert_eq(loop_serve(seen.loop, 0), 1);
	cr_assert_eq(seen.events, EPOLLOUT);
	loop_change(seen.loop, seen.fd, 0);
	cr_assert_eq(loop_serve(seen.loop, 0), 0);
	loop_change(seen.loop, seen.fd, EPOLLOUT);
	loop_remove(seen.loop, seen.fd);
	cr_assert_eq(loop_serve(seen.loop, 0), 0);
	cr_assert_eq(seen.calls, 3);
	close(seen.fd);
	loop_destroy(seen.loop);
}

/* A hang-up must not make a loop spin whose watch wants nothing. */
Test(loop, a_hang_up_is_not_told_to_who_waits_for_nothing)
{
	struct seen seen = { .loop = open_loop() };
	int ends[2];

	cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
	cr_assert_eq(loop_add(seen.loop, ends[0], 0, note, &seen), 0);
	close(ends[1]);
	cr_assert_eq(loop_serve(seen.loop, 0), 0);
	cr_assert_eq(loop_serve(seen.loop, 20), 0);
	loop_change(seen.loop, ends[0], EPOLLIN);
	cr_assert_eq(loop_serve(seen.loop, 0), 1);
	cr_assert(seen.events & EPOLLHUP);
	loop_remove(seen.loop, ends[0]);
	close(ends[0]);
	loop_destroy(seen.loop);
}

Test(loop, a_file_cannot_be_watched)
{
	struct seen seen = { .loop = open_loop() };
	FILE *file = tmpfile();

	cr_assert_eq(loop_add(seen.loop, fileno(file), EPOLLIN, note, &seen), -EPERM);
	cr_assert_eq(loop_add(seen.loop, fileno(file), 0, note, &seen), -EPERM);
	fclose(file);
	loop_destroy(seen.loop);
}

/* Both are in the batch at hand; the first one called removes the other, whose number is used
 * anew. */
Test(loop, a_removed_watch_is_not_called)
{
	struct seen a = { .loop = open_loop(), .fd = ready_event() };
	struct seen b = { .loop = a.loop, .fd = ready_event() };

	a.other = b.fd;
	b.other = a.fd;
	cr_assert_eq(loop_add(a.loop, a.fd, EPOLLIN, note_and_remove, &a), 0);
	cr_assert_eq(loop_add(b.loop, b.fd, EPOLLIN, note_and_remove, &b), 0);
	cr_assert_eq(loop_serve(a.loop, 0), 1);
	cr_assert_eq(a.calls + b.calls, 1);
	close(a.fd);
	close(b.fd);
	loop_destroy(a.loop);
}

Test(loop, a_watch_may_remove_itself)
{
	struct seen seen = { .loop = open_loop(), .fd = ready_event() };

	seen.other = seen.fd;
	cr_assert_eq(loop_add(seen.loop, seen.fd, EPOLLIN, note_and_remove, &seen), 0);
	cr_assert_eq(loop_serve(seen.loop, 0), 1);
	cr_assert_eq(loop_serve(seen.loop, 0), 0);
	close(seen.fd);
	loop_destroy(seen.loop);
}

struct removal {
	struct seen *seen;
	sem_t done;
};

static void *remove_it(void *context)
{
	struct removal *removal = context;

	loop_remove(removal->seen->loop, removal->seen->fd);
	sem_post(&removal->done);
	return NULL;
}

Test(loop, removal_waits_for_the_call)
{
	struct seen seen = { .loop = open_loop(), .fd = ready_event() };
	struct removal removal = { .seen = &seen };
	struct timespec soon;
	pthread_t server, remover;

	sem_init(&seen.inside, 0, 0);
	sem_init(&seen.leave, 0, 0);
	sem_init(&removal.done, 0, 0);
	cr_assert_eq(loop_add(seen.loop, seen.fd, EPOLLIN, note_and_linger, &seen), 0);
	cr_assert_eq(pthread_create(&server, NULL, run, seen.loop), 0);
	sem_wait(&seen.inside);
	cr_assert_eq(pthread_create(&remover, NULL, remove_it, &removal), 0);
	clock_gettime(CLOCK_REALTIME, &soon);
	soon.tv_nsec += 50000000;
	soon.tv_sec += soon.tv_nsec / 1000000000;
	soon.tv_nsec %= 1000000000;
	cr_assert_neq(sem_timedwait(&removal.done, &soon), 0, "it is still being called");
	sem_post(&seen.leave);
	sem_wait(&removal.done);
	cr_assert_eq(seen.calls, 1);
	loop_stop(seen.loop);
	pthread_join(server, NULL);
	pthread_join(remover, NULL);
	close(seen.fd);
	loop_destroy(seen.loop);
}

Test(loop, stops_once_for_each_stop)
{
	struct loop *loop = open_loop();
	pthread_t server;

	loop_stop(loop); /* before it runs */
	cr_assert_eq(loop_run(loop), 0);
	cr_assert_eq(pthread_create(&server, NULL, run, loop), 0);
	loop_stop(loop);
	pthread_join(server, NULL);
	loop_destroy(loop);
	loop_destroy(NULL);
}

/* A call that the host refuses ends the loop with its error, and not the process. */
Test(loop, refused_change)
{
	struct loop *loop = open_loop();
	struct seen seen = { .loop = loop, .other = -1 };
	int fd = ready_event();

	cr_assert_eq(loop_add(loop, fd, EPOLLIN, note, &seen), 0);
	close(fd); /* our own bug, but the host's answer is the same for any cause */
	loop_change(loop, fd, 0);
	cr_assert_eq(loop_run(loop), -EBADF);
	loop_destroy(loop);
}

static void *fail_later(void *argument)
{
	loop_fail(argument, -ENOMEM);
	loop_fail(argument, -EIO);
	return NULL;
}

Test(loop, fails_from_another_thread)
{
	struct loop *loop = open_loop();
	pthread_t thread;

	cr_assert_eq(pthread_create(&thread, NULL, fail_later, loop), 0);
	cr_assert_eq(loop_run(loop), -ENOMEM);
	pthread_join(thread, NULL);
	loop_destroy(loop);
}

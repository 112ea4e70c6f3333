/*
 * The swap file through io_uring: all requests of a batch in one system call. Two rings, one for
 * reads and one for writes, each behind its own mutex: a fault that reads never queues behind a
 * reclaimer that writes. A host may refuse io_uring (old kernel, seccomp, sysctl): then the file
 * is used with plain calls.
 */
#include <errno.h>
#include <liburing.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "mm/store/swap.h"

#define RING_DEPTH   64
#define SUBMIT_TRIES 1000 /* of a kernel that has no memory for a request just now */

struct ring {
	pthread_mutex_t lock;
	struct io_uring uring;
};

struct uring_file {
	int fd;
	atomic_bool plain; /* io_uring refused */
	bool rings_made;
	struct ring rings[2]; /* reads, writes */
};

static int rings_init(struct uring_file *file)
{
	for (int i = 0; i < 2; i++) {
		int error = io_uring_queue_init(RING_DEPTH, &file->rings[i].uring, 0);

		if (error != 0) {
			if (i == 1)
				io_uring_queue_exit(&file->rings[0].uring);
			return error;
		}
	}
	for (int i = 0; i < 2; i++)
		pthread_mutex_init(&file->rings[i].lock, NULL);
	file->rings_made = true;
	return 0;
}

static int uring_open(const char *directory, void **out)
{
	struct uring_file *file = calloc(1, sizeof(*file));
	bool direct;
	int error;

	if (file == NULL)
		return -ENOMEM;
	file->fd = swap_file_open(directory, &direct);
	if (file->fd < 0) {
		error = file->fd;
		free(file);
		return error;
	}
	error = rings_init(file);
	if (error != 0) {
		log_debug("swap: io_uring is refused (%s); using pread and pwrite",
			  strerror(-error));
		file->plain = true;
	}
	*out = file;
	return 0;
}

static void uring_close(void *opaque)
{
	struct uring_file *file = opaque;

	if (file->rings_made) {
		for (int i = 0; i < 2; i++) {
			io_uring_queue_exit(&file->rings[i].uring);
			pthread_mutex_destroy(&file->rings[i].lock);
		}
	}
	close(file->fd);
	free(file);
}

/* One completion. The memory is the kernel's until it comes, so there is no giving up. */
static void reap(struct ring *ring)
{
	struct io_uring_cqe *cqe;

	while (io_uring_wait_cqe(&ring->uring, &cqe) != 0)
		;
	((struct mm_swap_request *)io_uring_cqe_get_data(cqe))->result = cqe->res;
	io_uring_cqe_seen(&ring->uring, cqe);
}

static void prepare(struct uring_file *file, struct ring *ring, struct mm_swap_request *r)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);

	CHECK(sqe != NULL);
	if (r->write)
		io_uring_prep_writev(sqe, file->fd, r->vectors, r->vector_count, r->offset);
	else
		io_uring_prep_readv(sqe, file->fd, r->vectors, r->vector_count, r->offset);
	io_uring_sqe_set_data(sqe, r);
}

/*
 * Up to RING_DEPTH requests, submitted together and awaited together. The kernel takes them in
 * their order; how many it took. Requests that it did not take stay in the ring, and would go out
 * with the next submission: a ring that has refused is never used again.
 */
static unsigned run_ring(struct uring_file *file, struct ring *ring,
			 struct mm_swap_request *requests, unsigned count)
{
	unsigned submitted = 0, reaped = 0, tries = 0;

	for (unsigned i = 0; i < count; i++)
		prepare(file, ring, &requests[i]);
	while (submitted < count) {
		int n = io_uring_submit(&ring->uring);

		if (n > 0) {
			submitted += (unsigned)n;
			tries = 0;
		} else if (reaped < submitted) {
			reap(ring); /* busy: make room */
			reaped++;
		} else if ((n != -EINTR && n != -EAGAIN) || ++tries > SUBMIT_TRIES) {
			break;
		} else {
			sched_yield();
		}
	}
	for (; reaped < submitted; reaped++)
		reap(ring);
	return submitted;
}

/* All requests, in rings full; how many were carried out before the ring refused. */
static unsigned through_ring(struct uring_file *file, struct ring *ring,
			     struct mm_swap_request *requests, unsigned count)
{
	unsigned done = 0;

	pthread_mutex_lock(&ring->lock);
	/* The ring may have refused while the lock was awaited. */
	while (done < count && !atomic_load(&file->plain)) {
		unsigned n = count - done < RING_DEPTH ? count - done : RING_DEPTH;
		unsigned taken = run_ring(file, ring, requests + done, n);

		done += taken;
		if (taken < n)
			atomic_store(&file->plain, true);
	}
	pthread_mutex_unlock(&ring->lock);
	return done;
}

static void uring_transfer(void *opaque, struct mm_swap_request *requests, unsigned count)
{
	struct uring_file *file = opaque;
	bool plain = atomic_load(&file->plain);
	unsigned done = 0;

	if (count > 0 && !plain) {
		done = through_ring(file, &file->rings[requests[0].write], requests, count);
		if (done < count)
			log_debug("swap: io_uring takes no requests any more; using pread and "
				  "pwrite");
	}
	mm_swap_io_plain.transfer((void *)(intptr_t)file->fd, requests + done, count - done);
}

static int uring_punch(void *opaque, uint64_t offset, uint64_t length)
{
	return swap_file_punch(((struct uring_file *)opaque)->fd, offset, length);
}

const struct mm_swap_io mm_swap_io_file = {
	.open = uring_open,
	.close = uring_close,
	.transfer = uring_transfer,
	.punch = uring_punch,
};

/*
 * A disk's operations through io_uring: all that one kick asks for in one system call. A host may
 * refuse io_uring (old kernel, seccomp, sysctl), or a ring may come to take no more: then plain
 * calls carry operations out, and what is in the ring is still reaped from it.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/event.h"
#include "base/log.h"
#include "devices/virtio/block_file.h"

#define SUBMIT_TRIES 1000 /* of a kernel that has no memory for an operation just now */

struct block_io {
	int fd, event_fd;
	bool plain; /* no more goes to the ring */
	bool has_ring;
	unsigned in_ring;	      /* submitted and not reaped */
	struct block_operation *done; /* by plain calls, not reaped */
	struct io_uring ring;
};

static int fallocate_mode(const struct block_operation *operation)
{
	return FALLOC_FL_KEEP_SIZE |
	       (operation->kind == BLOCK_PUNCH ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);
}

static int open_plain(const struct block_file *file, int event_fd, void **out)
{
	struct block_io *io = calloc(1, sizeof(*io));

	if (io == NULL)
		return -ENOMEM;
	io->fd = file->fd;
	io->event_fd = event_fd;
	io->plain = true;
	*out = io;
	return 0;
}

static int make_ring(struct block_io *io)
{
	int error = io_uring_queue_init(BLOCK_IN_FLIGHT_MAX, &io->ring, 0);

	if (error != 0)
		return error;
	error = io_uring_register_eventfd(&io->ring, io->event_fd);
	if (error != 0)
		io_uring_queue_exit(&io->ring);
	return error;
}

static int open_uring(const struct block_file *file, int event_fd, void **out)
{
	int error = open_plain(file, event_fd, out);
	struct block_io *io = *out;

	if (error != 0)
		return error;
	error = make_ring(io);
	io->has_ring = error == 0;
	io->plain = !io->has_ring;
	if (error != 0)
		log_debug("block: io_uring is refused (%s); using plain calls", strerror(-error));
	return 0;
}

static void close_io(void *opaque)
{
	struct block_io *io = opaque;

	CHECK(io->in_ring == 0 && io->done == NULL);
	if (io->has_ring)
		io_uring_queue_exit(&io->ring);
	free(io);
}

static int64_t carry_out(int fd, const struct block_operation *operation)
{
	int64_t result = 0;

	switch (operation->kind) {
	case BLOCK_READ:
		result = preadv(fd, operation->vectors, (int)operation->vector_count,
				(off_t)operation->offset);
		break;
	case BLOCK_WRITE:
		result = pwritev(fd, operation->vectors, (int)operation->vector_count,
				 (off_t)operation->offset);
		break;
	case BLOCK_SYNC:
		result = fdatasync(fd);
		break;
	case BLOCK_PUNCH:
	case BLOCK_ZERO:
		result = fallocate(fd, fallocate_mode(operation), (off_t)operation->offset,
				   (off_t)operation->length);
		break;
	}
	return result < 0 ? -errno : result;
}

static int submit_plain(void *opaque, struct block_operation *const *operations, unsigned count)
{
	struct block_io *io = opaque;

	for (unsigned i = 0; i < count; i++) {
		operations[i]->result = carry_out(io->fd, operations[i]);
		operations[i]->next = io->done;
		io->done = operations[i];
	}
	return count > 0 ? event_put(io->event_fd) : 0;
}

static void prepare(struct block_io *io, struct block_operation *operation)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&io->ring);

	CHECK(sqe != NULL);
	switch (operation->kind) {
	case BLOCK_READ:
		io_uring_prep_readv(sqe, io->fd, operation->vectors, operation->vector_count,
				    operation->offset);
		break;
	case BLOCK_WRITE:
		io_uring_prep_writev(sqe, io->fd, operation->vectors, operation->vector_count,
				     operation->offset);
		break;
	case BLOCK_SYNC:
		io_uring_prep_fsync(sqe, io->fd, IORING_FSYNC_DATASYNC);
		break;
	case BLOCK_PUNCH:
	case BLOCK_ZERO:
		io_uring_prep_fallocate(sqe, io->fd, fallocate_mode(operation),
					(off_t)operation->offset, (off_t)operation->length);
		break;
	}
	io_uring_sqe_set_data(sqe, operation);
}

/* One from the ring; NULL where there is none (yet). */
static struct block_operation *reap_ring(struct block_io *io, bool wait)
{
	struct block_operation *operation;
	struct io_uring_cqe *cqe;
	int error;

	if (io->in_ring == 0)
		return NULL;
	do
		error = wait ? io_uring_wait_cqe(&io->ring, &cqe)
			     : io_uring_peek_cqe(&io->ring, &cqe);
	while (wait && error != 0);
	if (error != 0)
		return NULL;
	operation = io_uring_cqe_get_data(cqe);
	operation->result = cqe->res;
	io_uring_cqe_seen(&io->ring, cqe);
	io->in_ring--;
	return operation;
}

/*
 * The kernel takes operations in their order; how many it took. Those that it did not take stay in
 * the ring, and would go out with the next submission: a ring that has refused gets no more of
 * them.
 */
static unsigned submit_ring(struct block_io *io, unsigned count)
{
	unsigned submitted = 0, tries = 0;

	while (submitted < count) {
		int n = io_uring_submit(&io->ring);
		struct block_operation *operation;

		if (n > 0) {
			submitted += (unsigned)n;
			io->in_ring += (unsigned)n;
			tries = 0;
		} else if ((operation = reap_ring(io, true)) != NULL) {
			operation->next = io->done; /* busy: make room */
			io->done = operation;
		} else if ((n != -EINTR && n != -EAGAIN) || ++tries > SUBMIT_TRIES) {
			break;
		} else {
			sched_yield();
		}
	}
	return submitted;
}

static int submit_uring(void *opaque, struct block_operation *const *operations, unsigned count)
{
	struct block_io *io = opaque;
	unsigned taken = 0;

	if (!io->plain) {
		for (unsigned i = 0; i < count; i++)
			prepare(io, operations[i]);
		taken = submit_ring(io, count);
		if (taken < count) {
			log_debug(
				"block: io_uring takes no operations any more; using plain calls");
			io->plain = true;
		}
	}
	return submit_plain(io, operations + taken, count - taken);
}

static struct block_operation *reap(void *opaque, bool wait)
{
	struct block_io *io = opaque;
	struct block_operation *operation = io->done;

	if (operation == NULL)
		return reap_ring(io, wait);
	io->done = operation->next;
	return operation;
}

const struct block_io_ops block_io_plain = {
	.open = open_plain,
	.close = close_io,
	.submit = submit_plain,
	.reap = reap,
};

const struct block_io_ops block_io_file = {
	.open = open_uring,
	.close = close_io,
	.submit = submit_uring,
	.reap = reap,
};

/*
 * A request is popped, checked (block_request_read()), and then carried out one operation after
 * another: pieces of its data or ranges, and a sync at the end where one is due. advance() puts the
 * next one into the batch that serve() submits; when it comes back advance() is called again, until
 * the request is complete. A request waits while none of its data can be pinned, in the order of
 * coming, and no other is popped meanwhile.
 *
 * Frames are pinned for operations in flight only: when none is, a request can only wait for
 * others' pins. Nobody tells when those end, so a timer tries again.
 *
 * All of this happens with the device's lock held, on the loop's thread; reset() on a vCPU's.
 */
#include "devices/virtio/block.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "devices/virtio/block_request.h"
#include "devices/loop.h"

#define QUEUE	 0
#define RETRIES	 100		/* of an operation that was interrupted, without any progress */
#define RETRY_NS 1000000	/* until what waits is tried again */
#define TELL_NS	 10000000000ull /* a disk that fails gets a line that often */

/* (C) constant after create; (L) the virtio device's lock */
struct virtio_block {
	struct virtio virtio;
	struct virtio_blk_config config;   /* (C) */
	struct block_file file;		   /* (C) */
	unsigned number;		   /* (C) */
	uint64_t pin_bytes_max;		   /* (C) */
	const struct block_io_ops *io_ops; /* (C) */
	void *io;			   /* (C) */
	int done_fd;			   /* (C) eventfd: operations are done */
	int retry_fd;			   /* (C) timerfd: try again what waits */
	struct block_request *requests;	   /* (C) BLOCK_IN_FLIGHT_MAX of them */

	struct block_request *free[BLOCK_IN_FLIGHT_MAX];    /* (L) */
	unsigned free_count;				    /* (L) to write, (A) */
	struct block_request *waiting;			    /* (L) in the order of coming */
	struct block_operation *batch[BLOCK_IN_FLIGHT_MAX]; /* (L) to be submitted */
	unsigned batched;				    /* (L) */
	unsigned in_flight;    /* (L) operations, those in the batch as well */
	uint64_t pinned_bytes; /* (L) for these; whole pages */
	uint64_t told_ns;      /* (L) when a failure of the file was last logged; 0: never */
	struct virtio_block_counts counts; /* (L) to write, (A); pending is not used */
};

static void set_free_count(struct virtio_block *block, unsigned count)
{
	__atomic_store_n(&block->free_count, count, __ATOMIC_RELAXED);
}

static void put_back(struct virtio_block *block, struct block_request *r)
{
	block->free[block->free_count] = r;
	set_free_count(block, block->free_count + 1);
}

static void add(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

static void count(struct virtio_block *block, const struct block_request *r, unsigned status)
{
	struct virtio_block_counts *c = &block->counts;
	uint64_t bytes = 0;

	for (unsigned i = 0; i < r->range_count; i++)
		bytes += r->range[i].length;
	if (status != VIRTIO_BLK_S_OK) {
		add(&c->errors, 1);
	} else if (r->type == VIRTIO_BLK_T_IN) {
		add(&c->reads, 1);
		add(&c->read_bytes, r->data_bytes);
	} else if (r->type == VIRTIO_BLK_T_OUT) {
		add(&c->writes, 1);
		add(&c->written_bytes, r->data_bytes);
	} else if (r->type == VIRTIO_BLK_T_DISCARD) {
		add(&c->discards, 1);
		add(&c->discarded_bytes, bytes);
	} else if (r->type == VIRTIO_BLK_T_WRITE_ZEROES) {
		add(&c->zeroes, 1);
		add(&c->zeroed_bytes, bytes);
	} else if (r->type == VIRTIO_BLK_T_FLUSH) {
		add(&c->flushes, 1);
	}
}

/* Answers it. The status is the last byte that the guest gave to be written. */
static void complete(struct virtio_block *block, struct block_request *r, unsigned status)
{
	uint8_t byte = (uint8_t)status;
	uint64_t last = r->chain.writable_bytes - 1, written = 0;

	/* The used length promises bytes without a gap, from the first one on. */
	if (r->type == VIRTIO_BLK_T_IN || r->type == VIRTIO_BLK_T_GET_ID)
		written = r->done;
	if (written == last)
		written++;
	count(block, r, status);
	virtio_write(&block->virtio, &r->chain, last, &byte, sizeof(byte));
	virtio_push(&block->virtio, QUEUE, r->chain.head, (uint32_t)written);
	put_back(block, r);
}

/* The file failed it. */
static void fail(struct virtio_block *block, struct block_request *r, int error)
{
	static const char *const doing[] = {
		[BLOCK_READ] = "reading",     [BLOCK_WRITE] = "writing", [BLOCK_SYNC] = "flushing",
		[BLOCK_PUNCH] = "discarding", [BLOCK_ZERO] = "zeroing",
	};
	uint64_t now = clock_now_ns();

	if (block->told_ns == 0 || now - block->told_ns >= TELL_NS) {
		log_warn("virtio %s: %s at byte %llu: %s; the guest is told of an I/O error",
			 block->virtio.name, doing[r->operation.kind],
			 (unsigned long long)r->operation.offset, strerror(-error));
		block->told_ns = now;
	}
	complete(block, r, VIRTIO_BLK_S_IOERR);
}

static void add_to_batch(struct virtio_block *block, struct block_request *r)
{
	block->pinned_bytes += r->pinned_bytes;
	block->batch[block->batched++] = &r->operation;
	block->in_flight++;
}

/* The next piece of data. False: it has to wait. */
static bool move_data(struct virtio_block *block, struct block_request *r)
{
	uint64_t room = block->pin_bytes_max - block->pinned_bytes;
	uint64_t left = r->data_bytes - r->done;
	int error = -ENOMEM;

	/* Crumbs are not worth it while more will be free soon. */
	if (block->in_flight == 0 || room >= left + PAGE_SIZE || room >= block->pin_bytes_max / 4)
		error = block_request_pin(block->virtio.space, r, room);
	if (error == -ENOMEM || error == -EBUSY) {
		add(&block->counts.waits, 1);
		return false;
	}
	if (error == 0) {
		add_to_batch(block, r);
	} else if (virtio_vm_ends(error)) {
		virtio_end(&block->virtio);
		put_back(block, r);
	} else {
		fail(block, r, error);
	}
	return true;
}

/* Zeros for the rest of the range at hand, as far as one operation reaches. */
static void write_zeros(struct block_request *r, const struct block_range *range)
{
	static const uint8_t zeros[PAGE_SIZE];
	uint64_t left = range->length - r->done;
	unsigned n = 0;

	for (; n < BLOCK_VECTORS_MAX && left > 0; n++) {
		size_t piece = left < sizeof(zeros) ? left : sizeof(zeros);

		r->vectors[n] = (struct iovec){ (void *)(uintptr_t)zeros, piece };
		left -= piece;
	}
	r->operation = (struct block_operation){
		.kind = BLOCK_WRITE,
		.offset = range->offset + r->done,
		.vectors = r->vectors,
		.vector_count = n,
	};
}

static void change_range(struct virtio_block *block, struct block_request *r)
{
	const struct block_range *range = &r->range[r->range_at];

	if (r->by_hand)
		write_zeros(r, range);
	else
		r->operation = (struct block_operation){
			.kind = r->type == VIRTIO_BLK_T_DISCARD || range->unmap ? BLOCK_PUNCH
										: BLOCK_ZERO,
			.offset = range->offset,
			.length = range->length,
		};
	add_to_batch(block, r);
}

static bool needs_sync(const struct virtio_block *block, const struct block_request *r)
{
	if (r->synced || r->type == VIRTIO_BLK_T_IN)
		return false;
	return r->type == VIRTIO_BLK_T_FLUSH ||
	       !virtio_has(&block->virtio, 1ull << VIRTIO_BLK_F_FLUSH);
}

/* Its next operation, or its end. False: it has to wait. */
static bool advance(struct virtio_block *block, struct block_request *r)
{
	/* Nothing to do for an empty range. */
	while (r->range_at < r->range_count && r->done == r->range[r->range_at].length) {
		r->range_at++;
		r->done = 0;
	}
	if (!virtio_is_live(&block->virtio)) {
		put_back(block, r);
	} else if (r->done < r->data_bytes) {
		return move_data(block, r);
	} else if (r->range_at < r->range_count) {
		change_range(block, r);
	} else if (needs_sync(block, r)) {
		r->operation = (struct block_operation){ .kind = BLOCK_SYNC };
		add_to_batch(block, r);
	} else {
		complete(block, r, VIRTIO_BLK_S_OK);
	}
	return true;
}

/* In the order of coming; requests under way go first by themselves. */
static void make_wait(struct virtio_block *block, struct block_request *r)
{
	struct block_request **end = &block->waiting;

	while (*end != NULL)
		end = &(*end)->next;
	r->next = NULL;
	*end = r;
}

/* The outcome of an operation, for its request: 0 to go on, or -errno. */
static int take_result(struct block_request *r)
{
	const struct block_operation *o = &r->operation;
	bool moves = o->kind == BLOCK_READ || o->kind == BLOCK_WRITE;

	if (o->result == -EINTR || o->result == -EAGAIN)
		return ++r->retries <= RETRIES ? 0 : -EIO;
	/* A file system that cannot, or a block device that cannot in so small units. Discarding is
	 * advice; zeroing is done otherwise. */
	if ((o->result == -EOPNOTSUPP || o->result == -EINVAL) &&
	    (o->kind == BLOCK_PUNCH || o->kind == BLOCK_ZERO)) {
		r->by_hand = r->type == VIRTIO_BLK_T_WRITE_ZEROES;
		if (!r->by_hand)
			r->done = o->length;
		return 0;
	}
	if (o->result < 0)
		return (int)o->result;
	if (moves && o->result == 0)
		return -EIO; /* the file has become shorter */
	r->retries = 0;
	if (moves)
		r->done += (uint64_t)o->result;
	else if (o->kind == BLOCK_SYNC)
		r->synced = true;
	else
		r->done = o->length;
	return 0;
}

/* An operation is done, and holds nothing of the guest's any more. */
static struct block_request *take_back(struct virtio_block *block, bool wait)
{
	struct block_operation *operation = block->io_ops->reap(block->io, wait);
	struct block_request *r = (struct block_request *)operation;

	if (operation == NULL)
		return NULL;
	block->in_flight--;
	block->pinned_bytes -= r->pinned_bytes;
	block_request_unpin(block->virtio.space, r);
	return r;
}

static void begin(struct virtio_block *block, struct block_request *r)
{
	unsigned what = block_request_read(&block->virtio, &block->file, block->number, r);

	if (what == BLOCK_MALFORMED)
		put_back(block, r);
	else if (what != BLOCK_GOES_ON)
		complete(block, r, what);
	else if (!advance(block, r))
		make_wait(block, r);
}

/* Requests that waited, and then new ones. */
static void begin_more(struct virtio_block *block)
{
	while (block->waiting != NULL) {
		struct block_request *next = block->waiting->next;

		if (!advance(block, block->waiting))
			return;
		block->waiting = next;
	}
	for (unsigned n = 0; block->waiting == NULL && block->free_count > 0; n++) {
		struct block_request *r = block->free[block->free_count - 1];

		/* A request that is answered at once takes no place: others want their turn, too.
		 */
		if (n == VIRTIO_QUEUE_SIZE) {
			virtio_kick(&block->virtio, QUEUE);
			return;
		}
		if (!virtio_pop(&block->virtio, QUEUE, &r->chain))
			return;
		set_free_count(block, block->free_count - 1);
		begin(block, r);
	}
}

static void serve(struct virtio_block *block)
{
	const struct itimerspec soon = { .it_value.tv_nsec = RETRY_NS };
	struct block_request *r;
	int refused;

	while ((r = take_back(block, false)) != NULL) {
		int error = take_result(r);

		if (error != 0)
			fail(block, r, error);
		else if (!advance(block, r))
			make_wait(block, r);
	}
	begin_more(block);
	refused = block->io_ops->submit(block->io, block->batch, block->batched);
	if (refused != 0)
		loop_fail(block->virtio.loop, refused);
	block->batched = 0;
	virtio_signal(&block->virtio, QUEUE);
	/* Nothing is under way whose end would tell. Too many pins are no matter of room. */
	if (block->waiting == NULL || block->in_flight > 0 ||
	    (block->waiting->refusal == -ENOMEM &&
	     virtio_bring_in(&block->virtio, block->waiting->refused) != 0))
		return;
	if (timerfd_settime(block->retry_fd, 0, &soon, NULL) != 0)
		loop_fail(block->virtio.loop, -errno);
}

static void on_event(struct virtio_block *block, int fd)
{
	uint64_t times;

	if (read(fd, &times, sizeof(times)) != sizeof(times))
		return;
	if (virtio_glance(&block->virtio))
		serve(block);
	else
		block->virtio.missed = true;
	virtio_unlock(&block->virtio);
}

static void on_done(void *context, uint32_t events)
{
	struct virtio_block *block = context;

	on_event(block, block->done_fd);
}

static void on_retry(void *context, uint32_t events)
{
	struct virtio_block *block = context;

	on_event(block, block->retry_fd);
}

static void notify(void *device, unsigned queue)
{
	serve(device);
}

/* The kernel has guest memory in its hands until the last operation is back. */
static void reset(void *device)
{
	struct virtio_block *block = device;

	while (block->in_flight > 0) {
		struct block_request *r;

		virtio_leave(&block->virtio);
		r = take_back(block, true);
		virtio_return(&block->virtio);
		CHECK(r != NULL);
		put_back(block, r);
	}
	while (block->waiting != NULL) {
		struct block_request *r = block->waiting;

		block->waiting = r->next;
		put_back(block, r);
	}
}

/* It has but one. */
static void stop(void *device, unsigned queue)
{
	reset(device);
}

static const struct virtio_ops block_ops = {
	.name = "block",
	.id = 2,
	.queue_count = 1,
	.notify = notify,
	.stop = stop,
	.reset = reset,
};

static void fill_config(struct virtio_block *block)
{
	block->config = (struct virtio_blk_config){
		.capacity = block->file.bytes / BLOCK_SECTOR,
		.seg_max = VIRTIO_QUEUE_SIZE - 2, /* beside header and status */
		.blk_size = BLOCK_SECTOR,
		.max_discard_sectors = UINT32_MAX,
		.max_discard_seg = BLOCK_RANGES_MAX,
		.discard_sector_alignment = PAGE_SIZE / BLOCK_SECTOR,
		.max_write_zeroes_sectors = UINT32_MAX,
		.max_write_zeroes_seg = BLOCK_RANGES_MAX,
		.write_zeroes_may_unmap = 1,
	};
}

static int join_virtio(struct virtio_block *block, const struct virtio_block_config *config)
{
	const struct virtio_config join = {
		.ops = &block_ops,
		.device = block,
		.number = config->number,
		.space = config->space,
		.loop = config->loop,
		.features = 1ull << VIRTIO_BLK_F_SEG_MAX | 1ull << VIRTIO_BLK_F_BLK_SIZE |
			    1ull << VIRTIO_BLK_F_FLUSH |
			    (block->file.read_only ? 1ull << VIRTIO_BLK_F_RO
						   : 1ull << VIRTIO_BLK_F_DISCARD |
							     1ull << VIRTIO_BLK_F_WRITE_ZEROES),
		.config = &block->config,
		.config_size = offsetof(struct virtio_blk_config, max_secure_erase_sectors),
	};
	int error = virtio_init(&block->virtio, &join);

	if (error != 0)
		return error;
	error = loop_add(config->loop, block->done_fd, EPOLLIN, on_done, block);
	if (error != 0)
		goto fail_done;
	error = loop_add(config->loop, block->retry_fd, EPOLLIN, on_retry, block);
	if (error != 0)
		goto fail_retry;
	return 0;

fail_retry:
	loop_remove(config->loop, block->done_fd);
fail_done:
	virtio_finish(&block->virtio);
	return error;
}

/* Frees all but the device that the guest sees; also of a disk half made. */
static void free_block(struct virtio_block *block)
{
	if (block->io != NULL)
		block->io_ops->close(block->io);
	if (block->retry_fd >= 0)
		close(block->retry_fd);
	if (block->done_fd >= 0)
		close(block->done_fd);
	free(block->requests);
	block_file_close(&block->file);
	free(block);
}

static int make_parts(struct virtio_block *block)
{
	/* Of a request that was never used no page is touched. */
	block->requests = calloc(BLOCK_IN_FLIGHT_MAX, sizeof(*block->requests));
	if (block->requests == NULL)
		return -ENOMEM;
	for (unsigned i = BLOCK_IN_FLIGHT_MAX; i-- > 0;)
		put_back(block, &block->requests[i]);
	block->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	block->retry_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (block->done_fd < 0 || block->retry_fd < 0)
		return -errno;
	return block->io_ops->open(&block->file, block->done_fd, &block->io);
}

int virtio_block_create(const struct virtio_block_config *config, struct virtio_block **out)
{
	struct virtio_block *block = calloc(1, sizeof(*block));
	struct block_file file = config->file;
	int error;

	if (block == NULL) {
		block_file_close(&file);
		return -ENOMEM;
	}
	block->file = file;
	block->number = config->number;
	block->pin_bytes_max = VIRTIO_BLOCK_PIN_BYTES;
	if (config->pin_bytes != 0)
		block->pin_bytes_max = config->pin_bytes;
	block->io_ops = config->io != NULL ? config->io : &block_io_file;
	block->done_fd = block->retry_fd = -1;
	fill_config(block);
	error = make_parts(block);
	if (error == 0)
		error = join_virtio(block, config);
	if (error != 0) {
		free_block(block);
		return error;
	}
	*out = block;
	return 0;
}

void virtio_block_destroy(struct virtio_block *block)
{
	if (block == NULL)
		return;
	loop_remove(block->virtio.loop, block->retry_fd);
	loop_remove(block->virtio.loop, block->done_fd);
	virtio_lock(&block->virtio);
	reset(block);
	virtio_unlock(&block->virtio);
	virtio_finish(&block->virtio);
	free_block(block);
}

struct virtio *virtio_block_virtio(struct virtio_block *block)
{
	return &block->virtio;
}

void virtio_block_counts_get(struct virtio_block *block, struct virtio_block_counts *counts)
{
	const struct virtio_block_counts *c = &block->counts;
	unsigned free_count = __atomic_load_n(&block->free_count, __ATOMIC_RELAXED);

	*counts = (struct virtio_block_counts){
		.reads = __atomic_load_n(&c->reads, __ATOMIC_RELAXED),
		.writes = __atomic_load_n(&c->writes, __ATOMIC_RELAXED),
		.flushes = __atomic_load_n(&c->flushes, __ATOMIC_RELAXED),
		.discards = __atomic_load_n(&c->discards, __ATOMIC_RELAXED),
		.zeroes = __atomic_load_n(&c->zeroes, __ATOMIC_RELAXED),
		.read_bytes = __atomic_load_n(&c->read_bytes, __ATOMIC_RELAXED),
		.written_bytes = __atomic_load_n(&c->written_bytes, __ATOMIC_RELAXED),
		.discarded_bytes = __atomic_load_n(&c->discarded_bytes, __ATOMIC_RELAXED),
		.zeroed_bytes = __atomic_load_n(&c->zeroed_bytes, __ATOMIC_RELAXED),
		.errors = __atomic_load_n(&c->errors, __ATOMIC_RELAXED),
		.waits = __atomic_load_n(&c->waits, __ATOMIC_RELAXED),
		.pending = BLOCK_IN_FLIGHT_MAX - free_count,
	};
}

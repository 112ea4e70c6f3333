#include "disk.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "ept/access.h"

#define SLOTS	    128 /* requests in flight */
#define SLOT_AT	    0x180000u
#define SLOT	    64 /* bytes: header, status */
#define PATIENCE_NS 20000000000ull

struct disk disk;

/* ---- pins */

int __real_ept_pin(struct ept_space *space, gpa_t address, size_t length, void **at);
void __real_ept_unpin(struct ept_space *space, gpa_t address, size_t length);
int __wrap_ept_pin(struct ept_space *space, gpa_t address, size_t length, void **at);
void __wrap_ept_unpin(struct ept_space *space, gpa_t address, size_t length);

static uint64_t pages(gpa_t address, size_t length)
{
	return ((address.v + length + PAGE_SIZE - 1) & PAGE_MASK) - (address.v & PAGE_MASK);
}

int __wrap_ept_pin(struct ept_space *space, gpa_t address, size_t length, void **at)
{
	int error;

	if (disk.pin_error != 0 && disk.pin_errors > 0 &&
	    pages(address, length) > disk.pin_error_above) {
		disk.pin_errors -= disk.pin_errors != DISK_FOREVER;
		return disk.pin_error;
	}
	error = __real_ept_pin(space, address, length, at);
	if (error == 0)
		disk.pinned += pages(address, length);
	if (disk.pinned > disk.pinned_most)
		disk.pinned_most = disk.pinned;
	return error;
}

void __wrap_ept_unpin(struct ept_space *space, gpa_t address, size_t length)
{
	disk.pinned -= pages(address, length);
	__real_ept_unpin(space, address, length);
}

/* ---- the ring */

int __real_io_uring_submit(struct io_uring *ring);
int __wrap_io_uring_submit(struct io_uring *ring);

static int take_one(struct io_uring *ring)
{
	unsigned tail = ring->sq.sqe_tail;
	int taken;

	ring->sq.sqe_tail = ring->sq.sqe_head + 1;
	taken = __real_io_uring_submit(ring);
	ring->sq.sqe_tail = tail;
	return taken;
}

/* Fails when it has taken one operation of several. */
int __wrap_io_uring_submit(struct io_uring *ring)
{
	disk.submits++;
	if (disk.submit_error == 0 || disk.submit_errors == 0)
		return __real_io_uring_submit(ring);
	disk.submit_errors -= disk.submit_errors != DISK_FOREVER;
	if (io_uring_sq_ready(ring) == 12)
		return take_one(ring);
	return disk.submit_error;
}

/* ---- the operations in between */

static struct {
	void *below;
	int event_fd;
	struct block_operation *held, *done; /* not begun; with results of ours */
} between;

static int between_open(const struct block_file *file, int event_fd, void **io)
{
	between.event_fd = event_fd;
	*io = &between;
	return disk.below->open(file, event_fd, &between.below);
}

static void between_close(void *io)
{
	cr_assert(between.held == NULL && between.done == NULL);
	disk.below->close(between.below);
}

static int64_t move_half(const struct block_operation *operation)
{
	struct iovec vector = operation->vectors[0];

	vector.iov_len = (vector.iov_len + 1) / 2;
	return operation->kind == BLOCK_READ
		       ? preadv(disk.fd, &vector, 1, (off_t)operation->offset)
		       : pwritev(disk.fd, &vector, 1, (off_t)operation->offset);
}

/* Whether the operation meets the fault: it is done then. */
static bool meets_fault(struct block_operation *operation)
{
	struct disk_fault *fault = &disk.fault;
	uint64_t one = 1;

	if (!fault->armed || operation->kind != fault->kind || fault->times == 0)
		return false;
	if (fault->skip > 0) {
		fault->skip--;
		return false;
	}
	fault->times -= fault->times != DISK_FOREVER;
	if (fault->spare != 0 && disk.operations[fault->kind] % fault->spare == 0)
		return false;
	operation->result = fault->result == DISK_SHORT ? move_half(operation) : fault->result;
	operation->next = between.done;
	between.done = operation;
	cr_assert_eq(write(between.event_fd, &one, sizeof(one)), sizeof(one));
	return true;
}

static int between_submit(void *io, struct block_operation *const *operations, unsigned count)
{
	struct block_operation *through[BLOCK_IN_FLIGHT_MAX];
	unsigned through_count = 0;

	disk.submissions += count > 0;
	for (unsigned i = 0; i < count; i++) {
		disk.operations[operations[i]->kind]++;
		if (disk.hold) {
			operations[i]->next = between.held;
			between.held = operations[i];
		} else if (!meets_fault(operations[i])) {
			through[through_count++] = operations[i];
		}
	}
	return disk.below->submit(between.below, through, through_count);
}

static void begin_held(void)
{
	while (between.held != NULL) {
		struct block_operation *operation = between.held;

		between.held = operation->next;
		cr_assert_eq(disk.below->submit(between.below, &operation, 1), 0);
	}
}

void disk_release(void)
{
	disk.hold = false;
	begin_held();
}

void disk_refuse_events(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	cr_assert(fd >= 0 && dup2(fd, between.event_fd) == between.event_fd);
	close(fd);
}

static struct block_operation *between_reap(void *io, bool wait)
{
	struct block_operation *operation = between.done;

	if (wait) {
		/* Others look at the device meanwhile. */
		cr_assert_eq(pthread_mutex_trylock(&disk.driver.virtio->lock), 0);
		pthread_mutex_unlock(&disk.driver.virtio->lock);
		begin_held();
	}
	if (operation == NULL)
		return disk.below->reap(between.below, wait);
	between.done = operation->next;
	return operation;
}

static const struct block_io_ops between_ops = { between_open, between_close, between_submit,
						 between_reap };

/* ---- the disk */

void disk_fill(void *bytes, size_t length, unsigned seed)
{
	uint8_t *at = bytes;

	for (size_t i = 0; i < length; i++)
		at[i] = (uint8_t)(rand_r(&seed) >> 5);
}

static void make_image(void)
{
	uint8_t *bytes = malloc(DISK_BYTES);

	strcpy(disk.path, "/tmp/bifold-disk-XXXXXX");
	disk.fd = mkstemp(disk.path);
	cr_assert(disk.fd >= 0 && bytes != NULL);
	disk_fill(bytes, DISK_BYTES, 1);
	cr_assert_eq(pwrite(disk.fd, bytes, DISK_BYTES, 0), DISK_BYTES);
	free(bytes);
}

void disk_restart(uint64_t features)
{
	driver_start(&disk.driver, features, 1, DISK_QUEUE);
	driver_interrupts(&disk.driver);
	disk.pinned_most = disk.pinned;
}

void disk_open(const struct disk_options *options)
{
	struct virtio_block_config config = {
		.number = 7,
		.pin_bytes = options->pin_bytes,
		.io = &between_ops,
	};

	driver_open(&disk.driver, 0);
	make_image();
	disk.below = options->plain ? &block_io_plain : &block_io_file;
	disk.driver.gets_room = true;
	disk.pinned = 0;
	config.space = disk.driver.space;
	config.loop = disk.driver.loop;
	cr_assert_eq(block_file_open(disk.path, options->read_only, &config.file), 0);
	cr_assert_eq(virtio_block_create(&config, &disk.block), 0);
	disk.driver.virtio = virtio_block_virtio(disk.block);
	disk_restart(options->features);
}

void disk_close(void)
{
	virtio_block_destroy(disk.block);
	cr_assert_eq(disk.pinned, 0, "%llu bytes stay pinned", (unsigned long long)disk.pinned);
	driver_close(&disk.driver);
	close(disk.fd);
	unlink(disk.path);
}

uint8_t *disk_memory(uint64_t at)
{
	return disk.driver.memory + at;
}

uint64_t disk_header_at(unsigned slot)
{
	return SLOT_AT + slot * SLOT;
}

uint64_t disk_status_at(unsigned slot)
{
	return disk_header_at(slot) + sizeof(struct virtio_blk_outhdr);
}

uint8_t disk_status(unsigned slot)
{
	return *disk_memory(disk_status_at(slot));
}

/* Slots are given out round and round; which head is which slot's. */
static unsigned next_slot, slot_of[DISK_QUEUE];

unsigned disk_next_slot(void)
{
	return next_slot % SLOTS;
}

unsigned disk_add_segments(uint32_t type, uint64_t sector, const struct driver_segment *segments,
			   unsigned count)
{
	unsigned slot = next_slot++ % SLOTS;
	struct virtio_blk_outhdr header = { .type = type, .sector = sector };

	memcpy(disk_memory(disk_header_at(slot)), &header, sizeof(header));
	*disk_memory(disk_status_at(slot)) = 0xee;
	slot_of[driver_add(&disk.driver, 0, segments, count)] = slot;
	return slot;
}

unsigned disk_add(uint32_t type, uint64_t sector, uint64_t data_at, uint32_t length)
{
	unsigned slot = next_slot % SLOTS;
	bool in = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
	struct driver_segment segments[] = {
		{ disk_header_at(slot), sizeof(struct virtio_blk_outhdr), false },
		{ data_at, length, in },
		{ disk_status_at(slot), 1, true },
	};

	if (length == 0)
		segments[1] = segments[2];
	return disk_add_segments(type, sector, segments, length == 0 ? 2 : 3);
}

unsigned disk_take(void)
{
	uint64_t until = clock_now_ns() + PATIENCE_NS;
	uint32_t head;

	while (!driver_take(&disk.driver, 0, &head, &disk.written)) {
		loop_serve(disk.driver.loop, 1000);
		cr_assert(clock_now_ns() < until, "nothing more happens");
	}
	return slot_of[head];
}

void disk_finish(unsigned count)
{
	driver_kick(&disk.driver, 0);
	while (count-- > 0)
		disk_take();
}

uint8_t disk_do(uint32_t type, uint64_t sector, uint64_t data_at, uint32_t length)
{
	unsigned slot = disk_add(type, sector, data_at, length);

	driver_kick(&disk.driver, 0);
	cr_assert_eq(disk_take(), slot);
	return disk_status(slot);
}

void disk_expect(uint64_t offset, const void *bytes, size_t length)
{
	uint8_t *found = malloc(length);

	cr_assert_eq(pread(disk.fd, found, length, (off_t)offset), (ssize_t)length);
	cr_assert_arr_eq(found, bytes, length);
	free(found);
}

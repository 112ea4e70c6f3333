/*
 * A disk; see fuzz_device.h. The first byte of the input says what kind of disk. The file is
 * memory, and every operation on it is checked: inside the file, from and into guest memory that is
 * pinned, no write of a read-only disk, and none that a reset leaves behind. Events make operations
 * fail, come back short, or come back when told to and in another order, and make pins fail.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"
#include "devices/virtio/block.h"
#include "ept/access.h"
#include "fuzz_device.h"

#define IMAGE (128 * BLOCK_SECTOR)
#define SHORT INT64_MAX

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
	struct virtio_block *block;
	struct fuzz_device *device;
	bool read_only;
	uint64_t pin_bytes;
	uint8_t image[IMAGE];

	int event_fd;
	bool hold;
	struct block_operation *held, *done;
	unsigned outstanding; /* submitted and not reaped */
	int64_t result;	      /* of the next operations, in place of what they do */
	unsigned failures;    /* how many */

	unsigned pin_failures;			 /* to come */
	uint8_t pins[FUZZ_MEMORY >> PAGE_SHIFT]; /* of each page, without those of fuzz_device */
} fuzz;

/* ---- pins */

int __real_ept_pin(struct ept_space *space, gpa_t address, size_t length, void **at);
void __real_ept_unpin(struct ept_space *space, gpa_t address, size_t length);
int __wrap_ept_pin(struct ept_space *space, gpa_t address, size_t length, void **at);
void __wrap_ept_unpin(struct ept_space *space, gpa_t address, size_t length);

static void count_pins(gpa_t address, size_t length, int change)
{
	for (uint64_t i = address.v >> PAGE_SHIFT; i <= (address.v + length - 1) >> PAGE_SHIFT; i++)
		fuzz.pins[i] = (uint8_t)(fuzz.pins[i] + change);
}

/* As from a manager: no page is pinned more than 255 times. */
int __wrap_ept_pin(struct ept_space *space, gpa_t address, size_t length, void **at)
{
	int error;

	if (fuzz.device == NULL)
		return __real_ept_pin(space, address, length, at);
	/* Rings, which are pinned before the device is live, have to fit. */
	if (fuzz.pin_failures > 0 && virtio_is_live(fuzz.device->virtio)) {
		fuzz.pin_failures--;
		return fuzz.pin_failures % 2 == 0 ? -ENOMEM : -EBUSY;
	}
	error = __real_ept_pin(space, address, length, at);
	if (error != 0)
		return error;
	for (uint64_t i = address.v >> PAGE_SHIFT; i <= (address.v + length - 1) >> PAGE_SHIFT; i++)
		if (fuzz.pins[i] == UINT8_MAX)
			return -EBUSY;
	count_pins(address, length, 1);
	return 0;
}

void __wrap_ept_unpin(struct ept_space *space, gpa_t address, size_t length)
{
	for (uint64_t i = address.v >> PAGE_SHIFT; i <= (address.v + length - 1) >> PAGE_SHIFT; i++)
		CHECK(fuzz.pins[i] > 0);
	count_pins(address, length, -1);
	__real_ept_unpin(space, address, length);
}

/* ---- the file */

static void check_vector(const struct block_operation *operation, const struct iovec *vector)
{
	uint64_t at = (uint64_t)((uint8_t *)vector->iov_base - fuzz.device->memory);

	CHECK(vector->iov_len > 0);
	if (at >= FUZZ_MEMORY) { /* zeros of the device's own */
		CHECK(operation->kind == BLOCK_WRITE && vector->iov_len <= PAGE_SIZE);
		return;
	}
	CHECK(vector->iov_len <= FUZZ_MEMORY - at);
	for (uint64_t i = at >> PAGE_SHIFT; i <= (at + vector->iov_len - 1) >> PAGE_SHIFT; i++)
		CHECK(fuzz.pins[i] > 0);
}

static void check_operation(const struct block_operation *operation)
{
	uint64_t length = operation->length;

	CHECK(!fuzz.read_only || operation->kind == BLOCK_READ || operation->kind == BLOCK_SYNC);
	CHECK(++fuzz.outstanding <= BLOCK_IN_FLIGHT_MAX);
	if (operation->kind == BLOCK_SYNC)
		return;
	if (operation->kind == BLOCK_READ || operation->kind == BLOCK_WRITE) {
		CHECK(operation->vector_count > 0);
		length = 0;
	}
	for (unsigned i = 0; i < operation->vector_count; i++) {
		check_vector(operation, &operation->vectors[i]);
		length += operation->vectors[i].iov_len;
	}
	CHECK(length > 0 && length <= IMAGE && operation->offset <= IMAGE - length);
}

static int64_t move(const struct block_operation *operation, bool partly)
{
	uint64_t at = operation->offset;

	for (unsigned i = 0; i < operation->vector_count; i++) {
		struct iovec vector = operation->vectors[i];

		if (partly)
			vector.iov_len = (vector.iov_len + 1) / 2;
		if (operation->kind == BLOCK_READ)
			memcpy(vector.iov_base, fuzz.image + at, vector.iov_len);
		else
			memcpy(fuzz.image + at, vector.iov_base, vector.iov_len);
		at += vector.iov_len;
		if (partly)
			break;
	}
	return (int64_t)(at - operation->offset);
}

static int64_t carry_out(const struct block_operation *operation)
{
	bool moves = operation->kind == BLOCK_READ || operation->kind == BLOCK_WRITE;

	if (fuzz.failures > 0) {
		fuzz.failures--;
		if (fuzz.result != SHORT)
			return fuzz.result;
	}
	if (moves)
		return move(operation, fuzz.failures > 0);
	if (operation->kind != BLOCK_SYNC)
		memset(fuzz.image + operation->offset, 0, operation->length);
	return 0;
}

static void finish(struct block_operation *operation)
{
	uint64_t one = 1;

	operation->result = carry_out(operation);
	operation->next = fuzz.done;
	fuzz.done = operation;
	CHECK(write(fuzz.event_fd, &one, sizeof(one)) == sizeof(one));
}

static void release(unsigned most)
{
	while (fuzz.held != NULL && most-- > 0) {
		struct block_operation *operation = fuzz.held;

		fuzz.held = operation->next;
		finish(operation);
	}
}

static int open_io(const struct block_file *file, int event_fd, void **io)
{
	fuzz.event_fd = event_fd;
	*io = &fuzz;
	return 0;
}

static void close_io(void *io)
{
	CHECK(fuzz.outstanding == 0);
}

static int submit(void *io, struct block_operation *const *operations, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		check_operation(operations[i]);
		operations[i]->next = fuzz.held;
		fuzz.held = operations[i];
	}
	if (!fuzz.hold)
		release(UINT32_MAX);
	return 0;
}

static struct block_operation *reap(void *io, bool wait)
{
	struct block_operation *operation;

	if (wait)
		release(1);
	operation = fuzz.done;
	if (operation == NULL)
		return NULL;
	fuzz.done = operation->next;
	fuzz.outstanding--;
	return operation;
}

static const struct block_io_ops io_ops = { open_io, close_io, submit, reap };

/* ---- the device */

static void open_block(struct fuzz_device *device)
{
	struct virtio_block_config config = {
		.file = { .fd = open("/dev/null", O_RDWR | O_CLOEXEC),
			  .bytes = IMAGE,
			  .read_only = fuzz.read_only },
		.space = device->space,
		.loop = device->loop,
		.pin_bytes = fuzz.pin_bytes,
		.io = &io_ops,
	};

	fuzz.device = device;
	CHECK(config.file.fd >= 0);
	CHECK(virtio_block_create(&config, &fuzz.block) == 0);
	device->virtio = virtio_block_virtio(fuzz.block);
}

static void fail_next(uint32_t value)
{
	const int64_t results[] = { -EIO, -ENOSPC, -EINTR, -EAGAIN, -EOPNOTSUPP, 0, SHORT, SHORT };

	fuzz.result = results[value % 8];
	fuzz.failures = value / 8 % 256;
}

static void event(struct fuzz_device *device, unsigned what, uint32_t value)
{
	struct virtio_block_counts counts;

	switch (what % 4) {
	case 0:
		fuzz.hold = value % 2 == 0;
		break;
	case 1:
		release(value);
		break;
	case 2:
		fail_next(value);
		break;
	case 3:
		fuzz.pin_failures = value % 64;
		break;
	}
	virtio_block_counts_get(fuzz.block, &counts);
	CHECK(counts.pending >= fuzz.outstanding && counts.pending <= BLOCK_IN_FLIGHT_MAX);
	CHECK(device->virtio->status != 0 || counts.pending == 0);
}

static void close_block(struct fuzz_device *device)
{
	CHECK(fuzz.outstanding == 0);
	virtio_block_destroy(fuzz.block);
	for (unsigned i = 0; i < FUZZ_MEMORY >> PAGE_SHIFT; i++)
		CHECK(fuzz.pins[i] == 0);
	fuzz.device = NULL;
}

static const struct fuzz_device_ops ops = { open_block, event, close_block };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	memset(&fuzz, 0, sizeof(fuzz));
	fuzz.read_only = data[0] & 1;
	fuzz.pin_bytes = (data[0] & 6) * 2 * PAGE_SIZE;
	return fuzz_device_run(&ops, data + 1, size - 1);
}

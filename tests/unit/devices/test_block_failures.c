/*
 * The virtio block device when the file fails, when memory cannot be pinned, and when it is reset
 * or taken apart while requests are in flight.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk.h"

#define IN    VIRTIO_BLK_T_IN
#define OUT   VIRTIO_BLK_T_OUT
#define FLUSH VIRTIO_BLK_T_FLUSH
#define PUNCH VIRTIO_BLK_T_DISCARD
#define ZERO  VIRTIO_BLK_T_WRITE_ZEROES
#define OK    VIRTIO_BLK_S_OK
#define IOERR VIRTIO_BLK_S_IOERR
#define BIG   (512u << 10)
#define SEED  "BIFOLD_TEST_SEED"

static void open_disk(void)
{
	disk_open(&(struct disk_options){ .features = DISK_FLAGS });
}

TestSuite(failures, .init = open_disk, .fini = disk_close, .timeout = 60);
TestSuite(failures_own, .timeout = 60);

static void arm(enum block_operation_kind kind, uint32_t times, int64_t result)
{
	disk.fault = (struct disk_fault){ true, kind, 0, times, result, 0 };
}

static struct virtio_block_counts counts(void)
{
	struct virtio_block_counts c;

	virtio_block_counts_get(disk.block, &c);
	return c;
}

/* ---- the file */

Test(failures, are_the_requests)
{
	struct virtio_blk_discard_write_zeroes range = { 0, 8, 0 };

	arm(BLOCK_READ, 1, -EIO);
	cr_assert_eq(disk_do(IN, 0, DISK_DATA, 512), IOERR);
	cr_assert_eq(disk.written, 0);
	arm(BLOCK_WRITE, 1, -ENOSPC);
	cr_assert_eq(disk_do(OUT, 0, DISK_DATA, 512), IOERR);
	arm(BLOCK_SYNC, 1, -EIO);
	cr_assert_eq(disk_do(FLUSH, 0, 0, 0), IOERR);
	memcpy(disk_memory(DISK_DATA), &range, sizeof(range));
	arm(BLOCK_PUNCH, 1, -EIO);
	cr_assert_eq(disk_do(PUNCH, 0, DISK_DATA, 16), IOERR);
	arm(BLOCK_ZERO, 1, -ENOSPC);
	cr_assert_eq(disk_do(ZERO, 0, DISK_DATA, 16), IOERR);
	cr_assert_eq(counts().errors, 5);
	/* It goes on. */
	cr_assert_eq(disk_do(IN, 0, DISK_DATA, 512), OK);
	disk_expect(0, disk_memory(DISK_DATA), 512);
	cr_assert_eq(counts().pending, 0);
}

Test(failures, of_one_in_flight_is_not_the_others)
{
	unsigned first = disk_next_slot(), failed = 0;

	arm(BLOCK_READ, 1, -EIO);
	disk.fault.skip = 3;
	for (unsigned i = 0; i < 10; i++)
		disk_add(IN, i, DISK_DATA + i * 512, 512);
	disk_finish(10);
	for (unsigned i = 0; i < 10; i++)
		failed += disk_status(first + i) != OK;
	cr_assert_eq(failed, 1);
	cr_assert_eq(disk_status(first + 3), IOERR);
	disk_expect(4 * 512, disk_memory(DISK_DATA + 4 * 512), 6 * 512);
}

/* A sync that fails is the write's failure, where writes go through. */
Test(failures, of_writing_through)
{
	disk_restart(0);
	arm(BLOCK_SYNC, 1, -EIO);
	cr_assert_eq(disk_do(OUT, 0, DISK_DATA, 512), IOERR);
	cr_assert_eq(disk_do(OUT, 0, DISK_DATA, 512), OK);
}

Test(failures, that_pass)
{
	const int passing[] = { -EINTR, -EAGAIN };

	for (unsigned i = 0; i < 2; i++) {
		arm(BLOCK_READ, 50, passing[i]);
		cr_assert_eq(disk_do(IN, 0, DISK_DATA, 4096), OK);
		disk_expect(0, disk_memory(DISK_DATA), 4096);
		arm(BLOCK_SYNC, 3, passing[i]);
		cr_assert_eq(disk_do(FLUSH, 0, 0, 0), OK);
		arm(BLOCK_WRITE, DISK_FOREVER, passing[i]);
		cr_assert_eq(disk_do(OUT, 0, DISK_DATA, 512), IOERR);
	}
}

/* It is progress that counts, not how often it was hindered. */
Test(failures_own, that_pass_again_and_again)
{
	disk_open(&(struct disk_options){ .features = DISK_FLAGS, .pin_bytes = PAGE_SIZE });
	arm(BLOCK_READ, DISK_FOREVER, -EINTR);
	disk.fault.spare = 60;
	cr_assert_eq(disk_do(IN, 0, DISK_DATA, 5 * PAGE_SIZE), OK);
	cr_assert_eq(disk.operations[BLOCK_READ], 300);
	disk_expect(0, disk_memory(DISK_DATA), 5 * PAGE_SIZE);
	disk_close();
}

/* A transfer that comes back short goes on where it stopped. */
Test(failures, short_transfers)
{
	uint8_t bytes[8192];

	disk_fill(bytes, sizeof(bytes), 3);
	memcpy(disk_memory(DISK_DATA + 33), bytes, sizeof(bytes));
	arm(BLOCK_WRITE, 9, DISK_SHORT);
	cr_assert_eq(disk_do(OUT, 5, DISK_DATA + 33, sizeof(bytes)), OK);
	cr_assert_eq(disk.operations[BLOCK_WRITE], 10);
	disk_expect(5 * 512, bytes, sizeof(bytes));
	arm(BLOCK_READ, DISK_FOREVER, DISK_SHORT);
	cr_assert_eq(disk_do(IN, 5, DISK_DATA + 0x10000, sizeof(bytes)), OK);
	cr_assert_eq(disk.written, sizeof(bytes) + 1);
	cr_assert_arr_eq(disk_memory(DISK_DATA + 0x10000), bytes, sizeof(bytes));
}

static void read_twelve(void)
{
	memset(disk_memory(DISK_DATA), 0, 12 * 4096);
	for (unsigned i = 0; i < 12; i++)
		disk_add(IN, i * 8, DISK_DATA + i * 4096, 4096);
	disk_finish(12);
	disk_expect(0, disk_memory(DISK_DATA), 12 * 4096);
}

/* A ring that is busy, and one that takes no more for good. */
Test(failures, io_uring_refuses)
{
	read_twelve();
	disk.submit_error = -EAGAIN;
	disk.submit_errors = 7;
	read_twelve();
	disk.submit_error = -EBUSY;
	disk.submit_errors = 1;
	read_twelve();
	disk.submit_error = -EPERM;
	disk.submit_errors = DISK_FOREVER;
	read_twelve();
	cr_assert_lt(disk.submits, 1000, "not in a hot loop");
	disk.submits = 0;
	disk.submit_errors = 0;
	read_twelve();
	cr_assert_eq(disk.submits, 0, "what it refused is in that ring for good");
	cr_assert_eq(counts().errors, 0);
}

/* A thread that asks for the counts does not wait for a reset, which holds the lock while it waits
 * for the file. */
Test(failures, counts_are_got_with_the_lock_held, .timeout = 10)
{
	cr_assert_eq(disk_do(IN, 0, DISK_DATA, 512), OK);
	disk_add(IN, 0, DISK_DATA, 512);
	disk.hold = true;
	driver_kick(&disk.driver, 0);
	virtio_lock(disk.driver.virtio);
	cr_assert_eq(counts().reads, 1);
	cr_assert_eq(counts().pending, 1);
	virtio_unlock(disk.driver.virtio);
}

/* Nobody would learn of what is done: the loop ends with the host's error. */
Test(failures_own, events_are_refused)
{
	disk_open(&(struct disk_options){ .plain = true, .features = DISK_FLAGS });
	disk_refuse_events();
	disk_add(IN, 0, DISK_DATA, 4096);
	driver_kick(&disk.driver, 0);
	cr_assert_eq(loop_run(disk.driver.loop), -EBADF);
	disk_close();
}

/* A kernel that never has memory for an operation. */
Test(failures, io_uring_is_busy_for_good)
{
	disk.submit_error = -EAGAIN;
	disk.submit_errors = DISK_FOREVER;
	read_twelve();
	disk.submits = 0;
	read_twelve();
	cr_assert_eq(disk.submits, 0);
	cr_assert_eq(counts().errors, 0);
}

/* Somebody has cut the image off. */
Test(failures, file_becomes_shorter)
{
	cr_assert_eq(ftruncate(disk.fd, 1024), 0);
	cr_assert_eq(disk_do(IN, 0, DISK_DATA, 4096), IOERR);
	cr_assert_eq(disk.written, 1024);
	cr_assert_eq(disk_do(IN, 0, DISK_DATA, 1024), OK);
}

static void zero_by_hand(uint32_t flags, enum block_operation_kind kind, int error)
{
	struct virtio_blk_discard_write_zeroes ranges[] = { { 1, 1201, flags },
							    { 2000, 3, flags } };
	uint8_t *expected = malloc(DISK_BYTES);

	cr_assert_eq(pread(disk.fd, expected, DISK_BYTES, 0), DISK_BYTES);
	memset(expected + 512, 0, 1201 * 512);
	memset(expected + 2000 * 512, 0, 3 * 512);
	memcpy(disk_memory(DISK_DATA), ranges, sizeof(ranges));
	arm(kind, DISK_FOREVER, error);
	cr_assert_eq(disk_do(ZERO, 0, DISK_DATA, sizeof(ranges)), OK);
	cr_assert_eq(disk.operations[kind], 1, "once it is known it is not tried again");
	disk_expect(0, expected, DISK_BYTES);
	free(expected);
}

Test(failures, file_system_cannot_zero)
{
	zero_by_hand(0, BLOCK_ZERO, -EOPNOTSUPP);
}

Test(failures, file_system_cannot_unmap)
{
	zero_by_hand(VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP, BLOCK_PUNCH, -EOPNOTSUPP);
}

/* As on a block device whose own blocks are larger. */
Test(failures, range_cannot_be_zeroed)
{
	zero_by_hand(0, BLOCK_ZERO, -EINVAL);
}

Test(failures, file_system_cannot_discard)
{
	struct virtio_blk_discard_write_zeroes ranges[] = { { 0, 8, 0 }, { 8, 8, 0 } };

	memcpy(disk_memory(DISK_DATA), ranges, sizeof(ranges));
	arm(BLOCK_PUNCH, DISK_FOREVER, -EOPNOTSUPP);
	cr_assert_eq(disk_do(PUNCH, 0, DISK_DATA, sizeof(ranges)), OK);
	cr_assert_eq(disk.operations[BLOCK_WRITE], 0);
}

/* ---- pins */

static void expect_read(uint64_t offset, uint64_t at, uint32_t length)
{
	cr_assert_eq(disk_do(IN, offset / 512, at, length), OK);
	disk_expect(offset, disk_memory(at), length);
}

/* More than may be pinned at a time: in pieces, and requests one behind the other. */
Test(failures_own, pins_are_bounded)
{
	const uint64_t bound = 16 * PAGE_SIZE;
	uint64_t rings;

	disk_open(&(struct disk_options){ .features = DISK_FLAGS, .pin_bytes = bound });
	rings = disk.pinned;
	expect_read(0, DISK_DATA + 1, BIG);
	cr_assert_eq(disk.pinned_most, rings + bound);
	for (unsigned i = 0; i < 12; i++)
		disk_add(IN, i * 64, DISK_DATA + 256 + i * 32768, 32768);
	disk_finish(12);
	for (unsigned i = 0; i < 12; i++)
		disk_expect(i * 32768, disk_memory(DISK_DATA + 256 + i * 32768), 32768);
	cr_assert(counts().waits > 0);
	cr_assert_leq(disk.pinned_most, rings + bound);
	cr_assert_eq(disk.pinned, rings);
	disk_close();
}

/* Also those of scattered pages. */
Test(failures_own, pins_are_bounded_over_segments)
{
	const uint64_t bound = 8 * PAGE_SIZE;
	struct driver_segment segments[42];
	unsigned slot;
	uint64_t rings;

	disk_open(&(struct disk_options){ .features = DISK_FLAGS, .pin_bytes = bound });
	rings = disk.pinned;
	slot = disk_next_slot();
	segments[0] = (struct driver_segment){ disk_header_at(slot), 16, false };
	for (unsigned i = 1; i <= 40; i++)
		segments[i] = (struct driver_segment){ DISK_DATA + i * 8192 - 1, 512, true };
	segments[41] = (struct driver_segment){ disk_status_at(slot), 1, true };
	disk_add_segments(IN, 2, segments, 42);
	disk_finish(1);
	cr_assert_eq(disk_status(slot), OK);
	for (unsigned i = 1; i <= 40; i++)
		disk_expect((i + 1) * 512, disk_memory(DISK_DATA + i * 8192 - 1), 512);
	cr_assert_eq(disk.pinned_most, rings + bound);
	cr_assert_eq(disk.operations[BLOCK_READ], 10);
	disk_close();
}

/* Nothing more than a page a time, however the request lies. */
Test(failures, pins_page_by_page)
{
	disk.pin_error = -ENOMEM;
	disk.pin_errors = DISK_FOREVER;
	disk.pin_error_above = PAGE_SIZE;
	expect_read(512, DISK_DATA + 1000, 65536);
	disk.pin_error = -EBUSY;
	expect_read(0, DISK_DATA, 4096);
	expect_read(1024, DISK_DATA + 4095, 512);
	/* As much as there is room for, not a page for safety. */
	disk.pin_error_above = 8 * PAGE_SIZE;
	disk.operations[BLOCK_READ] = 0;
	expect_read(0, DISK_DATA, 64 * PAGE_SIZE);
	cr_assert_leq(disk.operations[BLOCK_READ], 16);
}

/* Nothing at all for a while, and nothing in flight whose end would tell. */
Test(failures, pins_have_to_be_waited_for)
{
	disk.pin_error = -ENOMEM;
	disk.pin_errors = 30;
	disk.pin_error_above = 0;
	disk_add(IN, 0, DISK_DATA, 8192);
	disk_add(FLUSH, 0, 0, 0);
	disk_add(IN, 16, DISK_DATA + 8192, 8192);
	disk_finish(3);
	disk_expect(0, disk_memory(DISK_DATA), 16384);
	cr_assert_eq(disk.pin_errors, 0);
	cr_assert(counts().waits > 0);
	cr_assert_gt(disk.driver.faults, 0, "it waits as the guest would");
}

/* So many pins that more are refused: room for the page would not help. */
Test(failures, pins_that_are_too_many)
{
	disk.pin_error = -EBUSY;
	disk.pin_errors = 30;
	disk_add(IN, 0, DISK_DATA, 8192);
	disk_finish(1);
	disk_expect(0, disk_memory(DISK_DATA), 8192);
	cr_assert_eq(disk.driver.faults, 0);
}

/* There is no room, and the VM ends of it. */
Test(failures, pins_that_end_the_vm)
{
	disk.driver.gets_room = false;
	disk.pin_error = -ENOMEM;
	disk.pin_errors = DISK_FOREVER;
	disk_add(IN, 0, DISK_DATA, 8192);
	driver_kick(&disk.driver, 0);
	cr_assert(driver_is_broken(&disk.driver));
	cr_assert_eq(disk.driver.faults, 1);
}

Test(failures, pins_fail_for_good)
{
	disk.pin_error = -EFAULT;
	disk.pin_errors = 1;
	cr_assert_eq(disk_do(IN, 0, DISK_DATA, 8192), IOERR);
	cr_assert_eq(disk_do(IN, 0, DISK_DATA, 8192), OK);
}

/* The VM ends, and its reason is the line to be read: a disk has none to add. */
Test(failures, pins_of_a_vm_that_ends)
{
	int saved = dup(STDERR_FILENO), said = memfd_create("said", MFD_CLOEXEC);
	static const int errors[] = { -EIO, -EBADMSG };

	cr_assert(saved >= 0 && said >= 0);
	for (unsigned i = 0; i < 2; i++) {
		disk_restart(DISK_FLAGS);
		disk.pin_error = errors[i];
		disk.pin_errors = DISK_FOREVER;
		disk_add(IN, 0, DISK_DATA, 8192);
		dup2(said, STDERR_FILENO);
		driver_kick(&disk.driver, 0);
		dup2(saved, STDERR_FILENO);
		cr_assert(driver_is_broken(&disk.driver));
		cr_assert_eq(lseek(said, 0, SEEK_END), 0);
		cr_assert_eq(counts().errors, 0);
		disk.pin_error = 0;
	}
	close(saved);
	close(said);
}

/* ---- reset and end */

static void reset_device(void)
{
	driver_set(&disk.driver, VIRTIO_MMIO_STATUS, 0);
}

static void stop_queue(void)
{
	driver_set(&disk.driver, VIRTIO_MMIO_QUEUE_SEL, 0);
	driver_set(&disk.driver, VIRTIO_MMIO_QUEUE_READY, 0);
}

/* Until then the kernel may write guest memory; afterwards nobody does, and nothing is told. */
static void let_go_in_flight(void (*let_go)(void))
{
	uint64_t idle = disk.pinned;
	uint8_t *after = malloc(65536);

	disk.hold = true;
	for (unsigned i = 0; i < 16; i++)
		disk_add(IN, i * 8, DISK_DATA + i * 4096, 4096);
	driver_kick(&disk.driver, 0);
	cr_assert_eq(counts().pending, 16);
	cr_assert_eq(disk.pinned, idle + 65536);
	let_go();
	cr_assert_eq(driver_get(&disk.driver, VIRTIO_MMIO_QUEUE_READY), 0);
	cr_assert_eq(disk.pinned, 0);
	cr_assert_eq(counts().pending, 0);
	cr_assert_eq(disk.driver.queue[0].used->idx, 0);
	memcpy(after, disk_memory(DISK_DATA), 65536);
	driver_serve(&disk.driver);
	cr_assert_arr_eq(after, disk_memory(DISK_DATA), 65536);
	cr_assert_eq(disk.driver.queue[0].used->idx, 0);
	cr_assert_eq(driver_interrupts(&disk.driver), 0);
	free(after);
	disk.hold = false;
	disk_restart(DISK_FLAGS);
	expect_read(4096, DISK_DATA, 4096);
}

Test(failures, reset_in_flight)
{
	let_go_in_flight(reset_device);
}

Test(failures, queue_stopped_in_flight)
{
	let_go_in_flight(stop_queue);
}

/* Some in flight, others waiting for their pins. */
Test(failures_own, reset_while_some_wait)
{
	disk_open(&(struct disk_options){ .features = DISK_FLAGS, .pin_bytes = 4 * PAGE_SIZE });
	disk.hold = true;
	for (unsigned i = 0; i < 16; i++)
		disk_add(IN, i * 8, DISK_DATA + i * 4096, 4096);
	driver_kick(&disk.driver, 0);
	cr_assert_eq(counts().pending, 5);
	disk.hold = false;
	disk_restart(DISK_FLAGS);
	cr_assert_eq(counts().pending, 0);
	expect_read(4096, DISK_DATA, 65536);
	disk_close();
}

/* The rules are broken while a request is in flight: it goes no further, and is not answered. */
Test(failures_own, broken_in_flight)
{
	disk_open(&(struct disk_options){ .features = DISK_FLAGS, .pin_bytes = 32 * PAGE_SIZE });
	disk.hold = true;
	disk_add(IN, 0, DISK_DATA, BIG);
	driver_kick(&disk.driver, 0);
	driver_offer(&disk.driver, 0, DISK_QUEUE);
	driver_kick(&disk.driver, 0);
	cr_assert(driver_is_broken(&disk.driver));
	cr_assert_eq(disk.operations[BLOCK_READ], 1);
	disk_release();
	for (int rounds = 0; counts().pending > 0 && rounds < 1000; rounds++)
		loop_serve(disk.driver.loop, 100);
	cr_assert_eq(counts().pending, 0);
	cr_assert_eq(disk.operations[BLOCK_READ], 1);
	cr_assert_eq(disk.driver.queue[0].used->idx, 0);
	disk_restart(DISK_FLAGS);
	expect_read(0, DISK_DATA, 4096);
	disk_close();
}

Test(failures, end_in_flight)
{
	disk.hold = true;
	for (unsigned i = 0; i < 4; i++)
		disk_add(OUT, 0, DISK_DATA, 65536);
	driver_kick(&disk.driver, 0);
	cr_assert_eq(counts().pending, 4);
	/* disk_close() finds no pin left. */
}

/* ---- everything at once */

enum { AREAS = 24, AREA = 65536 };

/* A request to one of the areas, each of which has one at a time: its model changes with it. */
static void add_random(unsigned *seed, uint8_t *model, unsigned area, unsigned *slot)
{
	uint32_t length = 512u * (1 + (unsigned)rand_r(seed) % 64);
	uint64_t offset = (uint64_t)area * AREA +
			  512u * ((unsigned)rand_r(seed) % (AREA / 512 - length / 512));
	uint64_t at = DISK_DATA + (uint64_t)area * AREA + (unsigned)rand_r(seed) % 5000;

	if (rand_r(seed) % 2 == 0) {
		disk_fill(disk_memory(at), length, (unsigned)rand_r(seed));
		memcpy(model + offset, disk_memory(at), length);
		*slot = disk_add(OUT, offset / 512, at, length);
	} else {
		memset(disk_memory(at), 0x55, length);
		*slot = disk_add(IN, offset / 512, at, length);
	}
}

static void arm_random(unsigned *seed)
{
	const int64_t results[] = { -EINTR, -EAGAIN, DISK_SHORT };

	disk.fault = (struct disk_fault){
		.armed = true,
		.kind = rand_r(seed) % 2 == 0 ? BLOCK_READ : BLOCK_WRITE,
		.skip = (uint32_t)(rand_r(seed) % 4),
		.times = (uint32_t)(rand_r(seed) % 8),
		.result = results[rand_r(seed) % 3],
	};
	disk.pin_error = rand_r(seed) % 2 == 0 ? -ENOMEM : -EBUSY;
	disk.pin_error_above = PAGE_SIZE * (unsigned)(rand_r(seed) % 4);
	disk.pin_errors = (uint32_t)(rand_r(seed) % 10);
}

/* Requests that pass each other, with all that can go wrong and be mended. */
Test(failures_own, at_random)
{
	const char *given = getenv(SEED);
	unsigned seed = given != NULL ? (unsigned)strtoul(given, NULL, 0) : (unsigned)getpid();
	uint8_t *model = malloc(DISK_BYTES);
	unsigned slot[AREAS];

	printf("seed: %s=%u\n", SEED, seed);
	disk_open(&(struct disk_options){ .features = DISK_FLAGS, .pin_bytes = 64 * PAGE_SIZE });
	cr_assert_eq(pread(disk.fd, model, DISK_BYTES, 0), DISK_BYTES);
	for (unsigned round = 0; round < 300; round++) {
		unsigned count = 1 + (unsigned)rand_r(&seed) % AREAS;

		arm_random(&seed);
		for (unsigned i = 0; i < count; i++)
			add_random(&seed, model, i, &slot[i]);
		disk_finish(count);
		for (unsigned i = 0; i < count; i++)
			cr_assert_eq(disk_status(slot[i]), OK);
	}
	disk_expect(0, model, DISK_BYTES);
	disk.pin_errors = 0;
	for (unsigned i = 0; i < AREAS; i++) {
		cr_assert_eq(disk_do(IN, i * AREA / 512, DISK_DATA, AREA), OK);
		cr_assert_arr_eq(disk_memory(DISK_DATA), model + i * AREA, AREA);
	}
	free(model);
	disk_close();
}

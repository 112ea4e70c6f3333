/* The virtio block device as a guest uses it, and as one misuses it. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "disk.h"

#define IN     VIRTIO_BLK_T_IN
#define OUT    VIRTIO_BLK_T_OUT
#define FLUSH  VIRTIO_BLK_T_FLUSH
#define PUNCH  VIRTIO_BLK_T_DISCARD
#define ZERO   VIRTIO_BLK_T_WRITE_ZEROES
#define OK     VIRTIO_BLK_S_OK
#define IOERR  VIRTIO_BLK_S_IOERR
#define UNSUPP VIRTIO_BLK_S_UNSUPP
#define LAST   (DISK_BYTES / BLOCK_SECTOR)

static void open_disk(void)
{
	disk_open(&(struct disk_options){ .features = DISK_FLAGS });
}

TestSuite(block, .init = open_disk, .fini = disk_close, .timeout = 60);
/* Those open one of their own. */
TestSuite(block_own, .fini = disk_close, .timeout = 60);

static struct virtio_block_counts counts(void)
{
	struct virtio_block_counts c;

	virtio_block_counts_get(disk.block, &c);
	return c;
}

static void start_over_broken(void)
{
	cr_assert(driver_is_broken(&disk.driver));
	disk_restart(DISK_FLAGS);
	cr_assert_eq(disk_do(IN, 0, DISK_DATA, 512), OK);
}

Test(block, says_what_it_is)
{
	struct driver *driver = &disk.driver;
	uint32_t offered;

	cr_assert_eq(driver_get(driver, VIRTIO_MMIO_DEVICE_ID), 2);
	driver_set(driver, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	offered = driver_get(driver, VIRTIO_MMIO_DEVICE_FEATURES);
	for (unsigned bit = 0; bit < 24; bit++)
		cr_assert_eq(offered >> bit & 1,
			     bit == VIRTIO_BLK_F_SEG_MAX || bit == VIRTIO_BLK_F_BLK_SIZE ||
				     bit == VIRTIO_BLK_F_FLUSH || bit == VIRTIO_BLK_F_DISCARD ||
				     bit == VIRTIO_BLK_F_WRITE_ZEROES,
			     "bit %u", bit);
	cr_assert_eq(driver_config(driver, 0, 4), LAST);
	cr_assert_eq(driver_config(driver, 4, 4), 0);
	cr_assert_eq(driver_config(driver, 12, 4), 254);
	cr_assert_eq(driver_config(driver, 20, 4), 512);
	cr_assert_eq(driver_config(driver, 40, 4), 32);
	cr_assert_eq(driver_config(driver, 44, 4), 8);
	cr_assert_eq(driver_config(driver, 52, 4), 32);
	cr_assert_eq(driver_config(driver, 56, 1), 1);
}

static void write_and_read(void)
{
	uint8_t bytes[5 * 512];

	disk_fill(bytes, sizeof(bytes), 5);
	memcpy(disk_memory(DISK_DATA + 100), bytes, sizeof(bytes));
	cr_assert_eq(disk_do(OUT, 3, DISK_DATA + 100, sizeof(bytes)), OK);
	cr_assert_eq(disk.written, 1);
	disk_expect(3 * 512, bytes, sizeof(bytes));
	cr_assert_eq(disk_do(IN, 4, DISK_DATA + 0x8000, 512), OK);
	cr_assert_eq(disk.written, 513);
	cr_assert_arr_eq(disk_memory(DISK_DATA + 0x8000), bytes + 512, 512);
	cr_assert(driver_interrupts(&disk.driver) > 0);
	/* The last sector, and nothing at all behind it. */
	cr_assert_eq(disk_do(OUT, LAST - 1, DISK_DATA + 100, 512), OK);
	disk_expect(DISK_BYTES - 512, bytes, 512);
	cr_assert_eq(disk_do(IN, LAST, DISK_DATA, 0), OK);
}

Test(block, writes_and_reads)
{
	struct virtio_block_counts c;

	write_and_read();
	c = counts();
	cr_assert_eq(c.writes, 2);
	cr_assert_eq(c.reads, 2);
	cr_assert_eq(c.written_bytes, 6 * 512);
	cr_assert_eq(c.read_bytes, 512);
	cr_assert(c.errors == 0 && c.pending == 0);
}

Test(block_own, writes_and_reads_without_io_uring)
{
	disk_open(&(struct disk_options){ .features = DISK_FLAGS, .plain = true });
	write_and_read();
	cr_assert_eq(disk_do(FLUSH, 0, 0, 0), OK);
}

/* Where headers, data and status lie is the driver's choice. */
Test(block, any_layout)
{
	unsigned slot = disk_next_slot();
	uint64_t at = disk_header_at(slot);
	uint8_t bytes[1024];

	disk_fill(bytes, sizeof(bytes), 9);
	memcpy(disk_memory(at + 16 + 7), bytes, 1); /* behind the header and the status */
	memcpy(disk_memory(DISK_DATA), bytes + 1, 99);
	memcpy(disk_memory(DISK_DATA + 4095), bytes + 100, 924);
	disk_add_segments(OUT, 8,
			  (struct driver_segment[]){ { at, 5, false },
						     { at + 5, 11, false },
						     { at + 23, 1, false },
						     { DISK_DATA, 99, false },
						     { DISK_DATA + 4095, 924, false },
						     { disk_status_at(slot), 1, true } },
			  6);
	disk_finish(1);
	cr_assert_eq(disk_status(slot), OK);
	disk_expect(8 * 512, bytes, sizeof(bytes));

	/* Header and data in one segment. */
	slot = disk_next_slot();
	at = disk_header_at(slot);
	memcpy(disk_memory(at + 16), bytes + 7, 30);
	memcpy(disk_memory(DISK_DATA), bytes + 37, 482);
	disk_add_segments(OUT, 10,
			  (struct driver_segment[]){ { at, 46, false },
						     { DISK_DATA, 482, false },
						     { DISK_DATA + 0x3000, 1, true } },
			  3);
	/* The slot's status lay in the data. */
	memcpy(disk_memory(at + 16), bytes + 7, 30);
	disk_finish(1);
	cr_assert_eq(*disk_memory(DISK_DATA + 0x3000), OK);
	disk_expect(10 * 512, bytes + 7, 512);

	/* Data and status in one segment, behind one of three bytes. */
	slot = disk_next_slot();
	disk_add_segments(IN, 8,
			  (struct driver_segment[]){ { disk_header_at(slot), 16, false },
						     { DISK_DATA + 0x4ffe, 3, true },
						     { DISK_DATA + 0x6000, 1022, true } },
			  3);
	disk_finish(1);
	cr_assert_eq(disk.written, 1025);
	cr_assert_arr_eq(disk_memory(DISK_DATA + 0x4ffe), bytes, 3);
	cr_assert_arr_eq(disk_memory(DISK_DATA + 0x6000), bytes + 3, 1021);
	cr_assert_eq(*disk_memory(DISK_DATA + 0x6000 + 1021), OK);
}

/* One submission, all in flight at once, and answers together. */
Test(block, many_at_once)
{
	enum { COUNT = 80 };
	unsigned interrupts;

	disk.hold = true;
	for (unsigned i = 0; i < COUNT; i++)
		disk_add(IN, i * 8, DISK_DATA + i * 4096, 4096);
	driver_kick(&disk.driver, 0);
	cr_assert_eq(counts().pending, BLOCK_IN_FLIGHT_MAX);
	cr_assert_eq(disk.submissions, 1);
	cr_assert_eq(driver_interrupts(&disk.driver), 0);
	disk_release();
	disk_finish(COUNT);
	interrupts = driver_interrupts(&disk.driver);
	cr_assert(interrupts > 0 && interrupts < COUNT / 2, "%u interrupts", interrupts);
	cr_assert_eq(counts().reads, COUNT);
	disk_expect(0, disk_memory(DISK_DATA), COUNT * 4096);
}

Test(block, flushes)
{
	cr_assert_eq(disk_do(OUT, 0, DISK_DATA, 512), OK);
	cr_assert_eq(disk.operations[BLOCK_SYNC], 0);
	cr_assert_eq(disk_do(FLUSH, 0, 0, 0), OK);
	cr_assert_eq(disk.operations[BLOCK_SYNC], 1);
	cr_assert_eq(counts().flushes, 1);
}

/* Without FLUSH a write that is done is on the disk. */
Test(block_own, writes_through)
{
	disk_open(&(struct disk_options){ .features = DISK_FLAGS & ~(1ull << VIRTIO_BLK_F_FLUSH) });
	for (unsigned i = 1; i < 4; i++) {
		cr_assert_eq(disk_do(OUT, i, DISK_DATA, 1024), OK);
		cr_assert_eq(disk.operations[BLOCK_SYNC], i);
	}
	cr_assert_eq(disk_do(IN, 0, DISK_DATA, 1024), OK);
	cr_assert_eq(disk.operations[BLOCK_SYNC], 3);
}

Test(block, has_a_name)
{
	memset(disk_memory(DISK_DATA), 'x', 32);
	cr_assert_eq(disk_do(VIRTIO_BLK_T_GET_ID, 0, DISK_DATA, 20), OK);
	cr_assert_eq(disk.written, 21);
	cr_assert_str_eq((char *)disk_memory(DISK_DATA), "bifold-disk-7");
	cr_assert_eq(*disk_memory(DISK_DATA + 20), 'x');
	memset(disk_memory(DISK_DATA), 'x', 32);
	cr_assert_eq(disk_do(VIRTIO_BLK_T_GET_ID, 0, DISK_DATA, 6), OK);
	cr_assert_arr_eq(disk_memory(DISK_DATA), "bifoldx", 7);
}

static void put_range(unsigned i, uint64_t sector, uint32_t sectors, uint32_t flags)
{
	struct virtio_blk_discard_write_zeroes range = { sector, sectors, flags };

	memcpy(disk_memory(DISK_DATA + i * sizeof(range)), &range, sizeof(range));
}

static void expect_zeros(uint64_t sector, uint64_t sectors)
{
	uint8_t *zeros = calloc(sectors, 512);

	disk_expect(sector * 512, zeros, sectors * 512);
	free(zeros);
}

static uint64_t blocks_in_use(void)
{
	struct stat status;

	cr_assert_eq(fstat(disk.fd, &status), 0);
	return (uint64_t)status.st_blocks;
}

Test(block, discards)
{
	uint64_t before = blocks_in_use();

	put_range(0, 64, 1024, 0);
	put_range(1, 9, 0, 0);
	put_range(2, 2048, 256, 0);
	cr_assert_eq(disk_do(PUNCH, 0, DISK_DATA, 48), OK);
	cr_assert_eq(disk.operations[BLOCK_PUNCH], 2);
	expect_zeros(64, 1024);
	expect_zeros(2048, 256);
	cr_assert(blocks_in_use() <= before - 1280);
	cr_assert_eq(counts().discarded_bytes, 1280 * 512);
}

Test(block, writes_zeros)
{
	uint8_t around[512];
	uint64_t before;

	cr_assert_eq(disk_do(IN, 99, DISK_DATA + 0x1000, 512), OK);
	memcpy(around, disk_memory(DISK_DATA + 0x1000), 512);
	before = blocks_in_use();
	put_range(0, 100, 1001, 0);
	cr_assert_eq(disk_do(ZERO, 0, DISK_DATA, 16), OK);
	expect_zeros(100, 1001);
	disk_expect(99 * 512, around, 512);
	cr_assert(blocks_in_use() >= before, "it gave room back");
	put_range(0, 2000, 1000, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP);
	put_range(1, 3001, 7, 0);
	cr_assert_eq(disk_do(ZERO, 0, DISK_DATA, 32), OK);
	expect_zeros(2000, 1000);
	expect_zeros(3001, 7);
	cr_assert(blocks_in_use() < before - 900);
	cr_assert_eq(counts().zeroes, 2);
	cr_assert_eq(counts().zeroed_bytes, 2008 * 512);
}

Test(block, refuses_what_is_wrong_with_ranges)
{
	const struct {
		uint64_t sector;
		uint32_t type, sectors, flags, bytes, status;
	} wrong[] = {
		{ 0, PUNCH, 8, 0, 0, IOERR },		{ 0, PUNCH, 8, 0, 24, IOERR },
		{ 0, PUNCH, 8, 0, 33 * 16, IOERR },	{ LAST - 7, PUNCH, 8, 0, 16, IOERR },
		{ UINT64_MAX, PUNCH, 8, 0, 16, IOERR }, { 0, ZERO, UINT32_MAX, 0, 16, IOERR },
		{ 0, PUNCH, 8, 1, 16, UNSUPP },		{ 0, ZERO, 8, 2, 16, UNSUPP },
		{ 0, ZERO, 8, 1u << 31, 16, UNSUPP },
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		memset(disk_memory(DISK_DATA), 0, 1024);
		put_range(0, wrong[i].sector, wrong[i].sectors, wrong[i].flags);
		cr_assert_eq(disk_do(wrong[i].type, 0, DISK_DATA, wrong[i].bytes), wrong[i].status,
			     "case %zu", i);
		cr_assert_eq(disk.written, 1);
	}
	/* The second is wrong: neither is done. */
	put_range(0, 0, 8, 0);
	put_range(1, LAST, 1, 0);
	cr_assert_eq(disk_do(PUNCH, 0, DISK_DATA, 32), IOERR);
	cr_assert_eq(disk.operations[BLOCK_PUNCH] + disk.operations[BLOCK_ZERO], 0);
	cr_assert_eq(counts().errors, sizeof(wrong) / sizeof(wrong[0]) + 1);
}

Test(block_own, does_not_do_what_was_not_negotiated)
{
	disk_open(&(struct disk_options){ .features = 0 });
	put_range(0, 0, 8, 0);
	cr_assert_eq(disk_do(PUNCH, 0, DISK_DATA, 16), UNSUPP);
	cr_assert_eq(disk_do(ZERO, 0, DISK_DATA, 16), UNSUPP);
}

Test(block, refuses_what_is_not_on_the_disk)
{
	const uint32_t types[] = { IN, OUT };

	for (unsigned i = 0; i < 2; i++) {
		cr_assert_eq(disk_do(types[i], LAST, DISK_DATA, 512), IOERR);
		cr_assert_eq(disk_do(types[i], LAST - 1, DISK_DATA, 1024), IOERR);
		cr_assert_eq(disk_do(types[i], UINT64_MAX, DISK_DATA, 512), IOERR);
		cr_assert_eq(disk_do(types[i], 1ull << 55, DISK_DATA, 512), IOERR);
		cr_assert_eq(disk_do(types[i], 0, DISK_DATA, 511), IOERR);
		cr_assert_eq(disk_do(types[i], 0, DISK_DATA, 513), IOERR);
	}
	cr_assert_eq(disk.operations[BLOCK_READ] + disk.operations[BLOCK_WRITE], 0);
	cr_assert_eq(disk_do(2, 0, DISK_DATA, 512), UNSUPP);
	cr_assert_eq(disk_do(UINT32_MAX, 0, DISK_DATA, 512), UNSUPP);
	cr_assert(!driver_is_broken(&disk.driver));
}

Test(block_own, read_only)
{
	struct stat before, after;

	disk_open(&(struct disk_options){ .read_only = true });
	driver_set(&disk.driver, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	cr_assert_eq(driver_get(&disk.driver, VIRTIO_MMIO_DEVICE_FEATURES) &
			     (1u << VIRTIO_BLK_F_RO | 1u << VIRTIO_BLK_F_DISCARD |
			      1u << VIRTIO_BLK_F_WRITE_ZEROES),
		     1u << VIRTIO_BLK_F_RO);
	cr_assert_eq(fstat(disk.fd, &before), 0);
	disk_restart(1ull << VIRTIO_BLK_F_RO | 1ull << VIRTIO_BLK_F_FLUSH);
	put_range(0, 0, 8, 0);
	cr_assert_eq(disk_do(OUT, 0, DISK_DATA, 512), IOERR);
	cr_assert_eq(disk_do(PUNCH, 0, DISK_DATA, 16), UNSUPP);
	cr_assert_eq(disk_do(ZERO, 0, DISK_DATA, 16), UNSUPP);
	cr_assert_eq(disk_do(FLUSH, 0, 0, 0), OK);
	cr_assert_eq(disk_do(IN, 0, DISK_DATA, 4096), OK);
	disk_expect(0, disk_memory(DISK_DATA), 4096);
	cr_assert_eq(disk.operations[BLOCK_WRITE], 0);
	cr_assert_eq(fstat(disk.fd, &after), 0);
	cr_assert(before.st_mtim.tv_sec == after.st_mtim.tv_sec &&
		  before.st_mtim.tv_nsec == after.st_mtim.tv_nsec);
}

/* A request that cannot be answered breaks the device, until it is reset. */
Test(block, malformed)
{
	unsigned slot = disk_next_slot();

	disk_add_segments(IN, 0,
			  (struct driver_segment[]){ { disk_header_at(slot), 15, false },
						     { DISK_DATA, 512, true },
						     { disk_status_at(slot), 1, true } },
			  3);
	driver_kick(&disk.driver, 0);
	start_over_broken();

	/* A status that may not be written. */
	slot = disk_next_slot();
	disk_add_segments(OUT, 0,
			  (struct driver_segment[]){ { disk_header_at(slot), 16, false },
						     { DISK_DATA, 512, false },
						     { disk_status_at(slot), 1, false } },
			  3);
	driver_kick(&disk.driver, 0);
	start_over_broken();

	slot = disk_next_slot();
	disk_add_segments(FLUSH, 0, (struct driver_segment[]){ { disk_header_at(slot), 16, true } },
			  1);
	driver_kick(&disk.driver, 0);
	start_over_broken();
	cr_assert_eq(disk.operations[BLOCK_WRITE] + disk.operations[BLOCK_SYNC], 0);
}

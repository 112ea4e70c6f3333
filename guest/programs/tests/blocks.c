/*
 * Block devices, from a program's side:
 *
 *     blocks                        says which there are
 *     blocks check DEVICE SEED      everything that a disk can do; its content is lost
 *     blocks fill DEVICE SEED       a word of the seed's in each 8 bytes of the disk
 *     blocks verify DEVICE SEED     and whether it is there, on a disk that may be read-only
 *     blocks together DEVICES SEED  processes and threads, all at once
 *     blocks errors DEVICE          reads and writes that fail in the device
 *     blocks trim DEVICE            BLKDISCARD of the second half
 *     blocks lost DEVICE SEED       reads until the device fails; another, /dev/vdb, goes on
 */
#include "guest/programs/runtime/tasks.h"

#define SYS_PREADV  295
#define SYS_PWRITEV 296
#define SYS_FSYNC   74

#define EPERM	   1
#define EIO	   5
#define EOPNOTSUPP 95
#define SEEK_SET   0
#define SEEK_END   2

#define BLKROGET     0x125e
#define BLKGETSIZE   0x1260
#define BLKFLSBUF    0x1261
#define BLKSSZGET    0x1268
#define BLKDISCARD   0x1277
#define BLKZEROOUT   0x127f
#define BLKGETSIZE64 0x80081272

#define SHADOW	(4 * MIB) /* of the disk, kept in memory beside it */
#define PART	(1 * MIB)
#define ROUNDS	150
#define WORKERS 4
#define STRIPED 16000 /* bytes that all of them write to */

struct vector {
	void *base;
	size_t length;
};

static char *shadow, *buffer;
static uint64_t seed, random_state;

static uint64_t next_random(uint64_t below)
{
	random_state = mix(random_state);
	return random_state % below;
}

static int open_disk(const char *path, int flags)
{
	long fd = call(OPEN, path, flags);

	if (fd < 0) {
		print("%s: error %ld\n", path, -fd);
		exit(2);
	}
	return fd;
}

static uint64_t size_of(int fd)
{
	uint64_t size = 0;

	expect(call(IOCTL, fd, BLKGETSIZE64, &size) == 0, "BLKGETSIZE64");
	return size;
}

static long read_at(int fd, void *to, size_t length, uint64_t offset)
{
	return syscall6(SYS_PREAD, fd, (long)to, length, offset, 0, 0);
}

static long write_at(int fd, const void *from, size_t length, uint64_t offset)
{
	return syscall6(SYS_PWRITE, fd, (long)from, length, offset, 0, 0);
}

static bool same(const char *a, const char *b, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		if (a[i] != b[i])
			return false;
	}
	return true;
}

static void scramble(char *to, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		if (i % 8 == 0)
			next_random(1);
		to[i] = random_state >> i % 8 * 8;
	}
}

/* --- what a disk says of itself, and its ends --- */

static void check_sizes(int fd)
{
	uint64_t size = size_of(fd), sectors = 0;
	int block = 0;

	expect(call(IOCTL, fd, BLKGETSIZE, &sectors) == 0 && sectors == size / 512, "BLKGETSIZE");
	expect(call(IOCTL, fd, BLKSSZGET, &block) == 0 && block >= 512, "BLKSSZGET");
	expect(call(IOCTL, fd, 0x5401, buffer) == -25, "a disk is no terminal");
	expect(call(LSEEK, fd, 0, SEEK_END) == (long)size, "SEEK_END is not the size");
	expect(call(LSEEK, fd, size + 1, SEEK_SET) == -EINVAL, "lseek beyond the end");
	expect(call(LSEEK, fd, size - 3, SEEK_SET) == (long)size - 3, "lseek to the end");
	print("  %lu bytes in blocks of %d\n", size, block);
}

static void check_ends(int fd)
{
	uint64_t size = size_of(fd);

	scramble(buffer, 5000);
	expect(call(READ, fd, buffer + 8000, 100) == 3, "a read across the end");
	expect(call(READ, fd, buffer, 100) == 0, "a read at the end");
	expect(write_at(fd, buffer, 5000, size - 1500) == 1500, "a write across the end");
	expect(read_at(fd, buffer + 8000, 5000, size - 1500) == 1500 &&
		       same(buffer, buffer + 8000, 1500),
	       "what was written across the end");
	expect(write_at(fd, buffer, 1, size) == -ENOSPC, "a write at the end");
	expect(write_at(fd, buffer, 512, size + 4096) == -ENOSPC, "a write beyond the end");
	expect(read_at(fd, buffer, 512, size + 4096) == 0, "a read beyond the end");
	expect(write_at(fd, buffer, 0, 0) == 0, "an empty write");
	expect(read_at(fd, (void *)16, 512, 0) == -EFAULT, "a read to nowhere");
	expect(write_at(fd, (void *)16, 100, 0) == -EFAULT, "a write from nowhere");
}

/* --- a copy in memory, and the disk --- */

static size_t random_length(void)
{
	switch (next_random(8)) {
	case 0:
		return 1 + next_random(700 << 10);
	case 1:
		return 512 * (1 + next_random(64));
	case 2:
		return 4096 * (1 + next_random(64));
	default:
		return 1 + next_random(3000);
	}
}

static uint64_t random_offset(size_t length)
{
	uint64_t offset = next_random(SHADOW - length + 1);

	return next_random(2) ? offset : offset & -512ul;
}

/* Three pieces of a buffer that is anywhere, together `length` bytes. */
static void cut(struct vector vector[3], char *base, size_t length)
{
	size_t first = next_random(length + 1), second = next_random(length - first + 1);

	vector[0] = (struct vector){ base, first };
	vector[1] = (struct vector){ base + first, second };
	vector[2] = (struct vector){ base + first + second, length - first - second };
}

static void step(int fd)
{
	size_t length = random_length();
	uint64_t offset = random_offset(length);
	char *from = buffer + next_random(64);
	bool whole = next_random(3), write = next_random(2);
	struct vector vector[3];
	long result;

	if (write)
		scramble(from, length);
	cut(vector, from, length);
	if (whole)
		result = write ? write_at(fd, from, length, offset)
			       : read_at(fd, from, length, offset);
	else
		result = syscall6(write ? SYS_PWRITEV : SYS_PREADV, fd, (long)vector, 3, offset, 0,
				  0);
	if (result == -38) { /* no such call: by the file's own offset */
		call(LSEEK, fd, offset, SEEK_SET);
		result = write ? call(WRITEV, fd, vector, 3) : call(READV, fd, vector, 3);
	}
	if (result != (long)length)
		print("%s of %lu at %lu: %ld\n", write ? "write" : "read", length, offset, result);
	expect(result == (long)length, "a random transfer");
	if (write)
		memcpy(shadow + offset, from, length);
	else
		expect(same(shadow + offset, from, length), "a random read's content");
}

static void check_random(int fd)
{
	scramble(shadow, SHADOW);
	for (size_t at = 0; at < SHADOW; at += PART)
		expect(write_at(fd, shadow + at, PART, at) == PART, "a large write");
	for (unsigned i = 0; i < ROUNDS; i++)
		step(fd);
	expect(call(FSYNC, fd) == 0, "fsync");
	expect(call(IOCTL, fd, BLKFLSBUF, 0) == 0, "BLKFLSBUF");
	for (size_t at = 0; at < SHADOW; at += PART)
		expect(read_at(fd, buffer, PART, at) == PART && same(buffer, shadow + at, PART),
		       "what is on the disk at last");
}

/* --- discard and zeroes --- */

static void check_zeroes(int fd)
{
	uint64_t range[2] = { PART, PART / 2 }, wrong[2] = { 100, 512 };
	long result = call(IOCTL, fd, BLKZEROOUT, range);

	if (result == -EOPNOTSUPP) {
		print("  no zeroes\n");
	} else {
		expect(result == 0, "BLKZEROOUT");
		expect(read_at(fd, buffer, PART, PART) == PART, "a read of zeroes");
		expect(is_zero(buffer, PART / 2), "zeroes");
		expect(same(buffer + PART / 2, shadow + PART + PART / 2, PART / 2),
		       "behind the zeroes");
		expect(call(IOCTL, fd, BLKZEROOUT, wrong) == -EINVAL, "zeroes of half a block");
	}
	result = call(IOCTL, fd, BLKDISCARD, range);
	if (result == -EOPNOTSUPP) {
		print("  no discard\n");
		return;
	}
	expect(result == 0, "BLKDISCARD");
	expect(read_at(fd, buffer, PART / 2, PART + PART / 2) == PART / 2 &&
		       same(buffer, shadow + PART + PART / 2, PART / 2),
	       "behind the discard");
	wrong[0] = size_of(fd);
	expect(call(IOCTL, fd, BLKDISCARD, wrong) == -EINVAL, "a discard beyond the end");
	wrong[0] = -512ul;
	wrong[1] = 1024;
	expect(call(IOCTL, fd, BLKDISCARD, wrong) == -EINVAL, "a discard around the end");
}

static int check(const char *path)
{
	int fd = open_disk(path, O_RDWR), reader = open_disk(path, 0);
	uint64_t range[2] = { 0, 512 };

	check_sizes(fd);
	check_ends(fd);
	check_random(fd);
	check_zeroes(fd);
	expect(call(WRITE, reader, buffer, 512) == -EBADF, "a write where it is not open for it");
	expect(call(IOCTL, reader, BLKDISCARD, range) == -EBADF, "a discard there");
	return 0;
}

/* --- a word in each 8 bytes --- */

static int fill(const char *path)
{
	int fd = open_disk(path, O_WRONLY);
	uint64_t size = size_of(fd), *word = (uint64_t *)buffer;

	for (uint64_t at = 0, part; at < size; at += part) {
		part = size - at < PART ? size - at : PART;
		for (uint64_t i = 0; i < part / 8; i++)
			word[i] = mix(seed + at / 8 + i);
		expect(call(WRITE, fd, word, part) == (long)part, "a write");
	}
	expect(call(FSYNC, fd) == 0, "fsync");
	return 0;
}

static int verify(const char *path)
{
	int fd = open_disk(path, O_RDWR), read_only = -1;
	uint64_t size = size_of(fd), wrong = 0, *word = (uint64_t *)buffer, range[2] = { 0, 512 };

	for (uint64_t at = 0, part; at < size; at += part) {
		part = size - at < PART ? size - at : PART;
		expect(call(READ, fd, word, part) == (long)part, "a read");
		for (uint64_t i = 0; i < part / 8; i++)
			wrong += word[i] != mix(seed + at / 8 + i);
	}
	print("  %lu words of %lu are wrong\n", wrong, size / 8);
	expect(wrong == 0, "what the disk holds");
	expect(call(IOCTL, fd, BLKROGET, &read_only) == 0, "BLKROGET");
	if (!read_only)
		return 0;
	print("  read-only\n");
	expect(write_at(fd, buffer, 512, 0) == -EPERM, "a write to a read-only disk");
	expect(write_at(fd, buffer, 1, 7) == -EPERM, "a byte to a read-only disk");
	wrong = call(IOCTL, fd, BLKDISCARD, range);
	expect((long)wrong == -EPERM || (long)wrong == -EOPNOTSUPP, "a discard of one");
	expect(call(FSYNC, fd) == 0, "fsync of one");
	return 0;
}

/* --- all at once --- */

struct stripe {
	int fd;
	unsigned number;
};

/* Every WORKERS-th byte-run of 100 of one stretch: no two share a byte, all share blocks. */
static void write_stripe(void *argument)
{
	const struct stripe *stripe = argument;
	char run[100];

	memset(run, 'a' + stripe->number, sizeof(run));
	for (uint64_t at = stripe->number * sizeof(run); at < STRIPED; at += WORKERS * sizeof(run))
		expect(write_at(stripe->fd, run, sizeof(run), at) == sizeof(run), "a stripe");
}

static bool stripes_are_right(int fd)
{
	if (read_at(fd, buffer, STRIPED, 0) != STRIPED)
		return false;
	for (unsigned at = 0; at < STRIPED; at++) {
		if (buffer[at] != (char)('a' + at / 100 % WORKERS))
			return false;
	}
	return true;
}

static void stripes(int fd)
{
	struct task task[WORKERS];
	struct stripe stripe[WORKERS];

	memset(buffer, 0, STRIPED);
	write_at(fd, buffer, STRIPED, 0);
	for (unsigned i = 0; i < WORKERS; i++) {
		stripe[i] = (struct stripe){ fd, i };
		expect(task_start(&task[i], write_stripe, &stripe[i]) > 0, "a thread");
	}
	for (unsigned i = 0; i < WORKERS; i++)
		task_join(&task[i]);
	expect(stripes_are_right(fd), "threads' stripes");
	memset(buffer, 0, STRIPED);
	write_at(fd, buffer, STRIPED, 0);
	for (unsigned i = 0; i < WORKERS; i++) {
		if (call(FORK) == 0) {
			write_stripe(&stripe[i]);
			exit(failures);
		}
	}
	for (unsigned i = 0; i < WORKERS; i++)
		expect(wait_for(-1) == 0, "a process of stripes");
	expect(stripes_are_right(fd), "processes' stripes");
}

/* Large transfers of its own stretch, while others do the same. */
static int own_stretch(int fd, unsigned number)
{
	uint64_t at = (1 + number) * PART;

	random_state = mix(seed + number);
	for (unsigned i = 0; i < 3; i++) {
		scramble(shadow, PART);
		expect(write_at(fd, shadow, PART, at) == PART, "a stretch written");
		expect(read_at(fd, buffer, PART, at) == PART, "a stretch read");
		expect(same(shadow, buffer, PART), "a stretch");
	}
	return failures;
}

static int together(char **paths, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		stripes(open_disk(paths[i], O_RDWR));
	for (unsigned i = 0; i < count * WORKERS; i++) {
		if (call(FORK) == 0)
			exit(own_stretch(open_disk(paths[i % count], O_RDWR), i / count));
	}
	for (unsigned i = 0; i < count * WORKERS; i++)
		expect(wait_for(-1) == 0, "a process of stretches");
	return 0;
}

/* --- a bad disk --- */

static int errors(const char *path)
{
	int fd = open_disk(path, O_RDWR);
	long result = 0;

	for (unsigned i = 0; i < 200 && result != -EIO; i++)
		result = read_at(fd, buffer, 512, i * 512);
	expect(result == -EIO, "no read fails");
	result = 0;
	for (unsigned i = 0; i < 200 && result != -EIO; i++)
		result = write_at(fd, buffer, 512, i * 512);
	expect(result == -EIO, "no write fails");
	return 0;
}

static int trim(const char *path)
{
	int fd = open_disk(path, O_RDWR);
	uint64_t size = size_of(fd), range[2] = { size / 2, size / 2 };

	expect(call(IOCTL, fd, BLKDISCARD, range) == 0, "BLKDISCARD");
	return 0;
}

static int lost(const char *path)
{
	int fd = open_disk(path, O_RDWR);
	long result = 512;

	print("reading\n");
	for (uint64_t i = 0; result == 512; i++) {
		nap(300);
		result = read_at(fd, buffer, 512, i % 8 * 512);
	}
	expect(result == -EIO, "a read of a device that failed");
	expect(write_at(fd, buffer, 512, 0) == -EIO, "a write to one");
	expect(write_at(fd, buffer, 3, 1) == -EIO, "a few bytes to one");
	expect(call(FSYNC, fd) == -EIO, "fsync of one");
	expect(size_of(fd) > 0, "its size");
	verify("/dev/vdb");
	return 0;
}

static int list(void)
{
	char path[] = "/dev/vda";

	for (; path[7] <= 'z'; path[7]++) {
		long fd = call(OPEN, path, 0);

		if (fd >= 0)
			print("%s: %lu bytes\n", path, size_of(fd));
	}
	return 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "";

	if (argc == 1)
		return list();
	shadow = map_memory(SHADOW, RW);
	buffer = map_memory(SHADOW + PAGE, RW);
	if (!shadow || !buffer || (argc > 3 && !parse_size(argv[argc - 1], &seed)))
		return 2;
	random_state = mix(seed);
	if (equal(what, "check"))
		check(argv[2]);
	else if (equal(what, "fill"))
		fill(argv[2]);
	else if (equal(what, "verify"))
		verify(argv[2]);
	else if (equal(what, "together") && argc > 3)
		together(argv + 2, argc - 3);
	else if (equal(what, "errors"))
		errors(argv[2]);
	else if (equal(what, "lost"))
		lost(argv[2]);
	else if (equal(what, "trim"))
		trim(argv[2]);
	else
		return 2;
	if (!failures)
		print("blocks are right\n");
	return failures != 0;
}

/*
 * Reads of a file or a disk, timed: `reads FILE sequential|random BYTES TOTAL` reads TOTAL bytes,
 * BYTES at a time, in order or from places drawn at random, past the page cache where there is a
 * way (O_DIRECT), and says how long one took. Runs on the host as well, so that the two can be put
 * beside each other.
 */
#include "guest/programs/runtime/runtime.h"

#define O_DIRECT 0x4000
#define SEEK_END 2

static int open_for_reading(const char *path, const char **way)
{
	long fd = syscall3(SYS_OPEN, path, O_DIRECT, 0);

	*way = "direct";
	if (fd < 0) {
		fd = syscall3(SYS_OPEN, path, 0, 0);
		*way = "cached";
	}
	return (int)fd;
}

/* ns for all of it; 0: a read failed, or the content is none. */
static uint64_t read_all(int fd, uint64_t size, bool random, uint64_t bytes, uint64_t total)
{
	char *buffer = map_memory(bytes, PROT_READ | PROT_WRITE);
	uint64_t places = size / bytes, start = now();

	for (uint64_t i = 0; i < total / bytes; i++) {
		uint64_t place = random ? mix(i) % places : i % places;

		if (syscall6(SYS_PREAD, fd, (long)buffer, (long)bytes, (long)(place * bytes), 0,
			     0) != (long)bytes)
			return 0;
	}
	return now() - start;
}

int main(int argc, char **argv)
{
	uint64_t bytes, total, took;
	const char *way;
	long size;
	int fd;

	if (argc != 5 || !parse_size(argv[3], &bytes) || !parse_size(argv[4], &total) ||
	    bytes == 0 || bytes % 512 != 0 || total < bytes) {
		print("usage: reads FILE sequential|random BYTES TOTAL\n");
		return 2;
	}
	fd = open_for_reading(argv[1], &way);
	size = fd < 0 ? fd : syscall3(SYS_LSEEK, fd, 0, SEEK_END);
	if (size < (long)bytes) {
		print("%s: error %ld\n", argv[1], -size);
		return 1;
	}
	took = read_all(fd, (uint64_t)size, equal(argv[2], "random"), bytes, total);
	if (took == 0) {
		print("%s: a read failed\n", argv[1]);
		return 1;
	}
	print("reads: %s %s %lu bytes: %lu ns each, %lu MiB/s\n", way, argv[2], bytes,
	      took / (total / bytes), total * 1000 / 1048576 * 1000000 / took);
	return 0;
}

/*
 * An ordinary C program for static glibc and musl: allocation of many sizes, qsort, stdio, time,
 * floating point, environment, a file of the root, and the errors a program meets.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define COUNT 20000

static int failures;

static void expect(int good, const char *what)
{
	if (!good) {
		printf("failed: %s (errno %d)\n", what, errno);
		failures++;
	}
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void check_heap(void)
{
	static char *block[COUNT];
	uint32_t *numbers = malloc(COUNT * sizeof(*numbers));
	int good = 1;

	for (uint32_t i = 0; i < COUNT; i++) {
		size_t size = 1 + i * 7919u % 3000;

		block[i] = malloc(size);
		memset(block[i], (int)(i & 255), size);
		numbers[i] = i * 2654435761u;
	}
	block[0] = realloc(block[0], 4 << 20); /* mremap */
	block[0] = realloc(block[0], 16 << 20);
	good = good && block[0][0] == 0;
	qsort(numbers, COUNT, sizeof(*numbers), by_value);
	for (uint32_t i = 1; i < COUNT; i++)
		good = good && numbers[i - 1] <= numbers[i] &&
		       (unsigned char)block[i][0] == (i & 255);
	expect(good, "heap");
	for (uint32_t i = 0; i < COUNT; i++)
		free(block[i]);
	free(numbers);
}

static void check_files(const char *self)
{
	struct stat status;
	char magic[4] = "";
	void *map;
	int fd = open(self, O_RDONLY);

	expect(fd >= 0 && fstat(fd, &status) == 0 && S_ISREG(status.st_mode), "open itself");
	expect(pread(fd, magic, 4, 0) == 4 && memcmp(magic, "\177ELF", 4) == 0, "read itself");
	map = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	expect(map != MAP_FAILED && memcmp(map, "\177ELF", 4) == 0, "map itself");
	((char *)map)[0] = 'x';
	expect(pread(fd, magic, 4, 0) == 4 && magic[0] == 0x7f, "a private write stays private");
	expect(munmap(map, (size_t)status.st_size) == 0, "munmap");
	close(fd);
	expect(open("/nowhere", O_RDONLY) < 0 && errno == ENOENT, "ENOENT");
	expect(write(99, "x", 1) < 0 && errno == EBADF, "EBADF");
}

static void check_memory(void)
{
	size_t size = 8 << 20;
	unsigned char *map =
		mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	expect(map != MAP_FAILED, "mmap");
	memset(map, 7, size);
	expect(mprotect(map, 4096, PROT_READ) == 0 && map[0] == 7, "mprotect");
	expect(mprotect(map, 4096, PROT_READ | PROT_WRITE) == 0, "mprotect back");
	expect(madvise(map + 4096, 4096, MADV_DONTNEED) == 0 && map[4096] == 0 && map[8192] == 7,
	       "madvise");
	map = mremap(map, size, 2 * size, MREMAP_MAYMOVE);
	expect(map != MAP_FAILED && map[size - 1] == 7 && map[size] == 0, "mremap");
	expect(munmap(map, 2 * size) == 0, "munmap");
}

static void check_time(void)
{
	struct timespec a, b, nap = { 0, 2000000 };

	expect(time(NULL) > 1600000000, "time");
	expect(clock_gettime(CLOCK_MONOTONIC, &a) == 0, "clock_gettime");
	expect(nanosleep(&nap, NULL) == 0, "nanosleep");
	clock_gettime(CLOCK_MONOTONIC, &b);
	expect((b.tv_sec - a.tv_sec) * 1000000000l + b.tv_nsec - a.tv_nsec >= 2000000,
	       "a nap lasts");
}

int main(int argc, char **argv)
{
	volatile double two = 2.0;

	expect(argc == 4 && strcmp(argv[1], "a b") == 0 && strcmp(argv[2], "") == 0 &&
		       strcmp(argv[3], "back\\slash") == 0,
	       "arguments");
	expect(fabs(sqrt(two) * sqrt(two) - 2.0) < 1e-12 &&
		       fabs(sin(two) - 0.9092974268256817) < 1e-12,
	       "floating point");
	check_heap();
	check_files("/proc/self/exe");
	check_memory();
	check_time();
	printf("%s\n", failures == 0 ? "all good" : "failed");
	return failures != 0;
}

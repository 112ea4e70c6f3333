/*
 * places MIB: maps pages of different kinds, says where, and then for ever writes over MIB of other
 * memory, so that the pages that were mapped grow cold. Tests translate the addresses from outside.
 *
 * "far" are pages 2 MiB apart: each has a page table of its own.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE  4096ul
#define APART (2ul << 20)
#define FAR   64

static void *map(size_t size, int protection)
{
	void *at = mmap(NULL, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (at == MAP_FAILED)
		exit(3);
	return at;
}

int main(int argc, char **argv)
{
	size_t size = argc > 1 ? strtoull(argv[1], NULL, 10) << 20 : 0;
	char *far = map(FAR * APART, PROT_READ | PROT_WRITE),
	     *busy = map(size, PROT_READ | PROT_WRITE);
	char *written = map(PAGE, PROT_READ | PROT_WRITE),
	     *read_only = map(PAGE, PROT_READ | PROT_WRITE);
	char *untouched = map(PAGE, PROT_READ | PROT_WRITE);
	uint64_t state = 88172645463325252u;

	memset(written, 'w', PAGE);
	memset(read_only, 'r', PAGE);
	if (mprotect(read_only, PAGE, PROT_READ) != 0)
		return 4;
	for (size_t i = 0; i < FAR; i++)
		memset(far + i * APART, (int)i, PAGE);
	printf("written %p read_only %p untouched %p far %p code %p ready\n", (void *)written,
	       (void *)read_only, (void *)untouched, (void *)far, (void *)(uintptr_t)main);
	fflush(stdout);
	for (;;) {
		for (size_t at = 0; at < size; at += 8) {
			state ^= state << 13;
			state ^= state >> 7;
			state ^= state << 17;
			memcpy(busy + at, &state, 8);
		}
	}
}

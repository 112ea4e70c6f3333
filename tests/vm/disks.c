#include "tests/vm/disks.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/vm/harness.h"

const char *disk_make(const char *name, off_t size)
{
	const char *path = scratch_path(name);

	write_file(path, "", 0);
	cr_assert(truncate(path, size) == 0);
	return path;
}

/* As guest/programs/runtime/runtime.h has it. */
static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ull;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

static struct stat status_of(const char *path)
{
	struct stat status;

	cr_assert(stat(path, &status) == 0);
	return status;
}

void disk_fill(const char *path, uint64_t seed)
{
	off_t size = status_of(path).st_size;
	uint64_t *word = malloc(size);

	for (off_t i = 0; i < size / 8; i++)
		word[i] = mix(seed + i);
	write_file(path, word, size);
	free(word);
}

void disk_check(const char *path, uint64_t seed)
{
	size_t size;
	uint64_t *word = (uint64_t *)read_file(path, &size);

	cr_assert(size > 0);
	for (size_t i = 0; i < size / 8; i++)
		cr_assert_eq(word[i], mix(seed + i), "word %zu of %s", i, path);
	free(word);
}

uint64_t disk_blocks(const char *path)
{
	return status_of(path).st_blocks;
}

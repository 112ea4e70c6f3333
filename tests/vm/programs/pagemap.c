/*
 * pagemap COUNT SEED: maps memory of many kinds, and says of COUNT random addresses what the kernel
 * finds when it walks its own page tables (/proc/self/pagemap), and what /proc/self/maps allows:
 *
 *     ADDRESS ENTRY RIGHTS
 *
 * The entry is pagemap's, 0 beyond what it covers; RIGHTS are maps's four letters, or "none". It
 * says "begin", works on that for a while, in which the processor has its page tables, says
 * "ready", and sleeps until a line of input; then it looks again, and says "same" or what moved.
 * Tests translate the same addresses from outside meanwhile.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE	   4096ul
#define HUGE_PAGE  (2ul << 20)
#define GIGA_PAGE  (1ul << 30)
#define SMALL	   (4ul << 20)
#define SPREAD	   (64ul << 30)
#define AREAS_MOST 64
#define USER_LAST  0x7ffffffff000ul

struct area {
	uint64_t start, end;
	char rights[5];
};

struct place {
	uint64_t address, entry;
	const char *rights;
};

static struct area areas[AREAS_MOST];
static unsigned area_count;
static uint64_t state;

static void fail(const char *what)
{
	perror(what);
	exit(3);
}

/* xorshift64 */
static uint64_t random_number(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static char *map(size_t size, int flags)
{
	char *at = mmap(NULL, size, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | flags, -1, 0);

	return at == MAP_FAILED ? NULL : at;
}

static char *must_map(size_t size, int flags)
{
	char *at = map(size, flags);

	if (at == NULL)
		fail("mmap");
	return at;
}

/* Writes to `count` random pages. */
static void touch(char *at, size_t size, unsigned count)
{
	for (; at != NULL && count > 0; count--)
		at[random_number() % size] = 1;
}

static void protect(char *at, size_t size, int protection)
{
	if (mprotect(at, size, protection) != 0)
		fail("mprotect");
}

static void make_memory(void)
{
	char *memory = must_map(SMALL, 0);
	int fd = open("/proc/self/exe", O_RDONLY);

	touch(memory, SMALL, 300);
	protect(memory, SMALL / 4, PROT_READ);
	protect(memory + SMALL / 4, SMALL / 4, PROT_NONE);
	protect(memory + SMALL / 2, SMALL / 4, PROT_READ | PROT_EXEC);
	touch(must_map(SPREAD, 0), SPREAD, 100);
	/* Mappings of these that the kernel does not have are left out. */
	memory = map(2 * HUGE_PAGE, MAP_HUGETLB);
	touch(memory, 2 * HUGE_PAGE, 8);
	memory = must_map(3 * HUGE_PAGE, 0);
	memory += -(uintptr_t)memory % HUGE_PAGE;
	madvise(memory, 2 * HUGE_PAGE, MADV_HUGEPAGE);
	touch(memory, 2 * HUGE_PAGE, 8);
	protect(memory + HUGE_PAGE, HUGE_PAGE, PROT_READ);
	touch(map(GIGA_PAGE, MAP_HUGETLB | 30 << MAP_HUGE_SHIFT), GIGA_PAGE, 1);
	memory = mmap(NULL, SMALL / 8, PROT_READ, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		fail("mmap of a file");
	for (size_t at = 0; at < SMALL / 8; at += 3 * PAGE)
		state += memory[at] != 0;
	close(fd);
}

/* The program's own pages: none comes by a fault later. */
static void touch_file(const struct area *area)
{
	for (uint64_t at = area->start; at < area->end; at += PAGE)
		state += *(volatile char *)at != 0;
}

static void read_areas(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[512];

	while (maps != NULL && area_count < AREAS_MOST && fgets(line, sizeof(line), maps)) {
		struct area *area = &areas[area_count];

		if (sscanf(line, "%lx-%lx %4s", &area->start, &area->end, area->rights) != 3 ||
		    area->start > USER_LAST)
			continue;
		if (strchr(line, '/') != NULL && strstr(line, "deleted") == NULL)
			touch_file(area);
		area_count++;
	}
	if (maps == NULL || area_count == 0)
		fail("/proc/self/maps");
	fclose(maps);
}

static const char *rights_of(uint64_t address)
{
	for (unsigned i = 0; i < area_count; i++) {
		if (address >= areas[i].start && address < areas[i].end)
			return areas[i].rights;
	}
	return "none";
}

/* Nine of ten in an area, each area as often; the others anywhere. */
static uint64_t random_address(void)
{
	const struct area *area = &areas[random_number() % area_count];

	if (random_number() % 10 > 0)
		return area->start + random_number() % (area->end - area->start);
	return random_number() % 2 ? random_number() >> 17 : random_number();
}

static uint64_t walk(int pagemap, uint64_t address)
{
	uint64_t entry;

	if (address >= USER_LAST)
		return 0;
	if (pread(pagemap, &entry, sizeof(entry), (off_t)(address / PAGE * sizeof(entry))) !=
	    sizeof(entry))
		fail("/proc/self/pagemap");
	return entry;
}

int main(int argc, char **argv)
{
	size_t count = argc > 2 ? strtoull(argv[1], NULL, 10) : 0;
	struct place *place;
	int pagemap = open("/proc/self/pagemap", O_RDONLY);
	char byte;

	state = argc > 2 ? strtoull(argv[2], NULL, 10) | 1 : 1;
	place = calloc(count, sizeof(*place));
	if (count == 0 || place == NULL || pagemap < 0)
		fail("pagemap COUNT SEED");
	make_memory();
	read_areas();
	printf("begin\n");
	fflush(stdout);
	for (size_t i = 0; i < count; i++) {
		place[i].address = random_address();
		place[i].rights = rights_of(place[i].address);
	}
	for (size_t i = 0; i < count; i++)
		place[i].entry = walk(pagemap, place[i].address);
	for (size_t i = 0; i < count; i++)
		printf("%lx %lx %s\n", place[i].address, place[i].entry, place[i].rights);
	printf("ready\n");
	fflush(stdout);
	if (read(STDIN_FILENO, &byte, 1) != 1)
		fail("standard input");
	for (size_t i = 0; i < count; i++) {
		uint64_t entry = walk(pagemap, place[i].address);

		if (entry != place[i].entry) {
			printf("moved: %lx was %lx is %lx\n", place[i].address, place[i].entry,
			       entry);
			return 1;
		}
	}
	printf("same\n");
	return 0;
}

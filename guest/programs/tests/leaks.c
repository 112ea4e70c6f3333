/* Reads from /proc how much memory the kernel has in use. */
#include "guest/programs/tests/leaks.h"

#define CACHE_MAX     32
#define NAME_SIZE     20
#define HEADINGS      2 /* lines of /proc/slabinfo */
#define SETTLE_ROUNDS 20
#define SETTLE_MS     5
#define STACK_TOUCHED (48 << 10)

/* The memory in use. */
struct use {
	long pages; /* neither free nor of slabs nor of kernel stacks' tables; less all there are */
	unsigned caches;
	struct {
		char name[NAME_SIZE];
		long objects, slabs;
	} cache[CACHE_MAX];
};

static struct use before, after;
static bool unknown; /* no drop_caches: not on quire */

/* The number behind the word, which begins a line of the text. */
static long number_of(const char *text, const char *word)
{
	const char *line = line_of(text, word);

	return line ? parse_number(&line) : 0;
}

/* A cache's line: its name, objects in use, objects there are, an object's size, objects and pages
 * of a slab, three words that mean nothing here, slabs. */
static void read_slab(struct use *use, const char *line)
{
	unsigned at = use->caches++;
	long field[9];

	for (unsigned i = 0; i < NAME_SIZE - 1 && *line != ' '; i++)
		use->cache[at].name[i] = *line++;
	while (*line != ' ')
		line++;
	for (unsigned i = 0; i < 9; i++)
		field[i] = parse_number(&line);
	use->cache[at].objects = field[0];
	use->cache[at].slabs = field[8];
	use->pages -= field[4] * field[8];
}

static void read_slabs(struct use *use, const char *text)
{
	for (unsigned line = 0; *text; line++) {
		if (line >= HEADINGS && use->caches < CACHE_MAX)
			read_slab(use, text);
		while (*text && *text++ != '\n')
			;
	}
}

static void measure(struct use *use)
{
	const char *text;

	memset(use, 0, sizeof(*use));
	unknown = !write_text("/proc/sys/vm/drop_caches", "3");
	text = read_text("/proc/vmstat");
	use->pages = -number_of(text, "nr_free_pages") - number_of(text, "nr_kernel_stack_tables");
	read_slabs(use, read_text("/proc/slabinfo"));
}

/* The cache's place in `before`, or -1: it was not used then. */
static int place_before(const char *name)
{
	for (unsigned i = 0; i < before.caches; i++) {
		if (equal(before.cache[i].name, name))
			return i;
	}
	return -1;
}

/* How many more objects and slabs cache i of `after` has than it had before. */
static void more_in(unsigned i, long *objects, long *slabs)
{
	int place = place_before(after.cache[i].name);

	*objects = after.cache[i].objects - (place < 0 ? 0 : before.cache[place].objects);
	*slabs = after.cache[i].slabs - (place < 0 ? 0 : before.cache[place].slabs);
}

static bool same(void)
{
	bool same = before.pages == after.pages;

	for (unsigned i = 0; i < after.caches; i++) {
		long objects, slabs;

		more_in(i, &objects, &slabs);
		same = same && objects == 0 && slabs >= -1 && slabs <= 1;
	}
	return same;
}

void leaks_say(const char *test)
{
	print("%s leaks %ld pages\n", test, after.pages - before.pages);
	for (unsigned i = 0; i < after.caches; i++) {
		long objects, slabs;

		more_in(i, &objects, &slabs);
		if (objects || slabs)
			print("%s leaks %ld objects, %ld slabs of %s\n", test, objects, slabs,
			      after.cache[i].name);
	}
}

bool leaks_none(void)
{
	before = after;
	measure(&after);
	for (unsigned i = 0; i < SETTLE_ROUNDS && !unknown && !same(); i++) {
		nap(SETTLE_MS);
		reap_ended();
		measure(&after);
	}
	return unknown || same();
}

/* So that no measuring is the first to touch a page of the stack, of read_text()'s buffer, of
 * print()'s or of the own data. */
__attribute__((noinline)) void leaks_init(void)
{
	volatile char bytes[STACK_TOUCHED];

	for (unsigned i = 0; i < sizeof(bytes); i += 1024)
		bytes[i] = 1;
	read_text("/dev/zero");
	print("leaks: counting\n");
	measure(&before);
	measure(&after);
}

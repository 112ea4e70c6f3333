/*
 * Contiguous allocation. contiguous.h has the rules.
 *
 * Invariants: holes are in the order of their addresses and no two touch; holes and runs together
 * are the region, each page once.
 */
#include "guest/memory/contiguous.h"
#include "guest/lib/errno.h"
#include "guest/lib/string.h"
#include "guest/lib/text.h"
#include "guest/memory/slab.h"
#include "guest/monitor/doorbell.h"

/* A hole, or a run that is handed out. */
struct run {
	struct run *next;
	uint64_t first, count; /* frames */
	uint64_t number;       /* 0: a hole */
};

struct fit {
	const char *name;
	/* required: whether a hole is to be taken rather than `chosen`, which is lower; both are
	 * large enough */
	bool (*prefers)(const struct run *hole, const struct run *chosen);
};

static bool never(const struct run *hole, const struct run *chosen)
{
	return false;
}

static bool is_smaller(const struct run *hole, const struct run *chosen)
{
	return hole->count < chosen->count;
}

static bool is_larger(const struct run *hole, const struct run *chosen)
{
	return hole->count > chosen->count;
}

static const struct fit fits[] = {
	{ "first", never },
	{ "best", is_smaller },
	{ "worst", is_larger },
};

static struct slab_cache run_cache = SLAB_CACHE("contiguous_run", struct run);
static const struct fit *fit = &fits[0];
static struct page_range region; /* bytes; empty: there is none */
static struct run *holes, *runs; /* runs: the last one first */
static uint64_t number_last, frame_last;
static uint64_t requests, failed, failed_in_pieces; /* the last: though as much was free */

/* --- the region --- */

/* The highest `bytes` of [start, end) that no range of `keep` covers any of; empty: none. */
static struct page_range highest(uint64_t bytes, struct page_range range,
				 const struct page_range *keep, unsigned keep_count)
{
	uint64_t end = ROUND_DOWN(range.end, PAGE_SIZE);
	unsigned i = 0;

	while (end >= bytes && end - bytes >= range.start) {
		for (i = 0; i < keep_count; i++) {
			if (keep[i].start < end && keep[i].end > end - bytes)
				break;
		}
		if (i == keep_count)
			return (struct page_range){ end - bytes, end };
		end = ROUND_DOWN(keep[i].start, PAGE_SIZE);
	}
	return (struct page_range){ 0 };
}

struct page_range contiguous_place(uint64_t bytes, const struct page_range *usable,
				   unsigned usable_count, const struct page_range *keep,
				   unsigned keep_count)
{
	struct page_range best = { 0 };
	uint64_t all = 0;

	bytes = ROUND_UP(bytes, PAGE_SIZE);
	if (!bytes)
		return best;
	for (unsigned i = 0; i < usable_count; i++)
		all += usable[i].end - usable[i].start;
	for (unsigned i = 0; i < usable_count && bytes <= all / 2; i++) {
		struct page_range range = highest(bytes, usable[i], keep, keep_count);

		if (range.end > best.end)
			best = range;
	}
	if (!best.end)
		log_line(QUIRE_LEVEL_ERROR, "contiguous=%lu: memory has no room for that", bytes);
	return best;
}

void contiguous_init(struct page_range range)
{
	if (range.start == range.end)
		return;
	holes = slab_alloc_zero(&run_cache);
	if (!holes)
		return;
	holes->first = range.start >> PAGE_SHIFT;
	holes->count = (range.end - range.start) >> PAGE_SHIFT;
	region = range;
}

/* --- runs --- */

/* The link to the hole that the fit chooses, or NULL. */
static struct run **choose(uint64_t pages)
{
	struct run **chosen = NULL;

	for (struct run **link = &holes; *link; link = &(*link)->next) {
		if ((*link)->count < pages)
			continue;
		if (!chosen || fit->prefers(*link, *chosen))
			chosen = link;
	}
	return chosen;
}

static uint64_t free_pages(void)
{
	uint64_t pages = 0;

	for (const struct run *hole = holes; hole; hole = hole->next)
		pages += hole->count;
	return pages;
}

/* The first pages of the hole as a run, which is on no list; the rest stays a hole. */
static struct run *cut(struct run **link, uint64_t pages)
{
	struct run *hole = *link, *run = hole;

	if (hole->count == pages) {
		*link = hole->next;
		return hole;
	}
	run = slab_alloc(&run_cache);
	if (!run)
		return NULL;
	run->first = hole->first;
	run->count = pages;
	hole->first += pages;
	hole->count -= pages;
	return run;
}

int64_t contiguous_alloc(uint64_t pages, uint64_t *frame)
{
	struct run **link, *run;

	if (region.start == region.end)
		return -ENODEV;
	if (pages == 0)
		return -EINVAL;
	requests++;
	link = choose(pages);
	run = link ? cut(link, pages) : NULL;
	if (!run) {
		failed++;
		failed_in_pieces += free_pages() >= pages;
		return -ENOMEM;
	}
	run->number = ++number_last;
	run->next = runs;
	runs = run;
	*frame = frame_last = run->first;
	return run->number;
}

/* Puts a run among the holes, merged with the two it may touch. */
static void add_hole(struct run *run)
{
	struct run *low = NULL, **link = &holes, *high;

	while (*link && (*link)->first < run->first) {
		low = *link;
		link = &low->next;
	}
	high = *link;
	run->number = 0;
	run->next = high;
	*link = run;
	if (high && run->first + run->count == high->first) {
		run->count += high->count;
		run->next = high->next;
		slab_free(&run_cache, high);
	}
	if (low && low->first + low->count == run->first) {
		low->count += run->count;
		low->next = run->next;
		slab_free(&run_cache, run);
	}
}

int contiguous_free(uint64_t number)
{
	struct run **link = &runs, *run;

	while (*link && (*link)->number != number)
		link = &(*link)->next;
	run = *link;
	if (!run)
		return -ENOENT;
	*link = run->next;
	add_hole(run);
	return 0;
}

/* --- /proc/contiguous --- */

static int set_fit(const char *name)
{
	for (unsigned i = 0; i < ARRAY_SIZE(fits); i++) {
		if (strcmp(fits[i].name, name))
			continue;
		fit = &fits[i];
		return 0;
	}
	return -EINVAL;
}

static int read_number(const char *words, uint64_t *number)
{
	*number = 0;
	if (!*words)
		return -EINVAL;
	for (; *words >= '0' && *words <= '9' && *number < 1ull << 52; words++)
		*number = *number * 10 + (*words - '0');
	return *words ? -EINVAL : 0;
}

int contiguous_store(const char *words)
{
	uint64_t number, frame;
	int64_t result;

	if (!strncmp(words, "fit ", 4))
		return set_fit(words + 4);
	if (!strncmp(words, "alloc ", 6)) {
		result = read_number(words + 6, &number);
		if (!result)
			result = contiguous_alloc(number, &frame);
		return result < 0 ? result : 0;
	}
	if (!strncmp(words, "free ", 5)) {
		result = read_number(words + 5, &number);
		return result ? result : contiguous_free(number);
	}
	return -EINVAL;
}

void contiguous_text(struct text *text)
{
	uint64_t free = free_pages(), largest = 0, count = 0, share;

	for (const struct run *hole = holes; hole; hole = hole->next) {
		largest = MAX(largest, hole->count);
		count++;
	}
	share = free ? (free - largest) * 1000 / free : 0;
	text_add(text, "region %lx-%lx\npages %lu\nfit %s\n", region.start, region.end,
		 (region.end - region.start) >> PAGE_SHIFT, fit->name);
	text_add(text, "free %lu\nholes %lu\nlargest_hole %lu\n", free, count, largest);
	text_add(text, "external_fragmentation %lu.%03lu\n", share / 1000, share % 1000);
	text_add(text, "requests %lu\nfailed %lu\nfailed_in_pieces %lu\n", requests, failed,
		 failed_in_pieces);
	/* Of the last request that did not fail. */
	text_add(text, "last %lu %lu\n", number_last,
		 number_last ? frame_last - (region.start >> PAGE_SHIFT) : 0);
}

static void list_text(struct text *text, const char *name, const struct run *run)
{
	for (; run; run = run->next)
		text_add(text, "%s %lu %lu %lu\n", name, run->number,
			 run->first - (region.start >> PAGE_SHIFT), run->count);
}

void contiguous_runs_text(struct text *text)
{
	list_text(text, "hole", holes);
	list_text(text, "run", runs);
}

/*
 * The buddy allocator. page.h says what is kept.
 *
 * Invariants: only the head of a free block has PAGE_FREE; a head with PAGE_FREE is on the list of
 * its freshness and order; page_free_total counts list members and what the regions have left.
 */
#include "guest/memory/page.h"
#include "guest/lib/string.h"

#define REGION_MAX 16
/* Left for the kernel when processes have taken the rest. */
#define KERNEL_RESERVE 128

struct free_lists {
	uint32_t head[PAGE_ORDER_MAX + 1];
	uint32_t mask; /* bit o: head[o] is not empty */
};

struct region {
	uint64_t next, end; /* frames */
};

struct page *page_records;
static struct free_lists lists[2]; /* used, fresh */
static struct region regions[REGION_MAX];
static unsigned region_count;
uint64_t page_free_total, page_total;
static uint64_t frame_end;
static bool untouched_zero; /* the monitor's contract holds */

void page_clear(void *page)
{
	memset(page, 0, PAGE_SIZE);
}

static void list_add(uint64_t frame, unsigned order, bool fresh)
{
	struct free_lists *list = &lists[fresh];
	struct page *page = page_of_frame(frame);
	uint32_t first = list->head[order];

	page->flags = fresh ? PAGE_FREE | PAGE_FRESH : PAGE_FREE;
	page->order = order;
	page->next = first;
	page->prev = 0;
	if (first)
		page_of_frame(first)->prev = frame;
	list->head[order] = frame;
	list->mask |= 1u << order;
}

static void list_remove(struct page *page, unsigned order, bool fresh)
{
	struct free_lists *list = &lists[fresh];

	if (page->next)
		page_of_frame(page->next)->prev = page->prev;
	if (page->prev) {
		page_of_frame(page->prev)->next = page->next;
	} else {
		list->head[order] = page->next;
		if (!page->next)
			list->mask &= ~(1u << order);
	}
	page->flags = 0;
}

/* Makes blocks of untouched memory until one has the order asked for. */
static bool frontier_advance(unsigned wanted)
{
	for (unsigned i = 0; i < region_count; i++) {
		struct region *region = &regions[i];

		while (region->next < region->end) {
			unsigned order = MIN(PAGE_ORDER_MAX, __builtin_ctzll(region->next));

			while ((1ull << order) > region->end - region->next)
				order--;
			list_add(region->next, order, untouched_zero);
			region->next += 1ull << order;
			if (order >= wanted)
				return true;
		}
	}
	return false;
}

static struct page *take(unsigned order, bool fresh)
{
	uint32_t mask = lists[fresh].mask >> order;
	struct page *page;
	unsigned have;

	if (!mask)
		return NULL;
	have = order + __builtin_ctz(mask);
	page = page_of_frame(lists[fresh].head[have]);
	list_remove(page, have, fresh);
	while (have > order) {
		have--;
		list_add(page_frame(page) + (1ull << have), have, fresh);
	}
	page_free_total -= 1ull << order;
	return page;
}

/* First the kind asked for, then untouched memory, then the other kind. */
static struct page *take_any(unsigned order, bool want_fresh, bool *fresh)
{
	struct page *page = take(order, want_fresh);

	*fresh = want_fresh;
	if (page)
		return page;
	if (want_fresh && frontier_advance(order) && untouched_zero)
		return take(order, true);
	*fresh = !want_fresh;
	page = take(order, !want_fresh);
	if (page || want_fresh || !frontier_advance(order))
		return page;
	*fresh = untouched_zero;
	return take(order, untouched_zero);
}

struct page *page_alloc(unsigned order, enum page_need need)
{
	bool fresh;
	struct page *page = take_any(order, need == PAGE_ZERO, &fresh);

	if (!page)
		return NULL;
	page->refs = 0;
	page->count = 0;
	if (need == PAGE_ZERO && !fresh)
		memset(page_address(page), 0, PAGE_SIZE << order);
	return page;
}

struct page *page_alloc_user(unsigned order, bool *fresh)
{
	struct page *page;

	if (order > PAGE_ORDER_MAX || page_free_total < KERNEL_RESERVE + (1ull << order))
		return NULL;
	page = take_any(order, true, fresh);
	if (page)
		page->refs = 0;
	return page;
}

void page_free(struct page *page, unsigned order, bool fresh)
{
	uint8_t flags = fresh ? PAGE_FREE | PAGE_FRESH : PAGE_FREE;
	uint64_t frame = page_frame(page);

	page_free_total += 1ull << order;
	while (order < PAGE_ORDER_MAX) {
		uint64_t buddy = frame ^ 1ull << order;
		struct page *other = page_of_frame(buddy);

		if (buddy >= frame_end || other->flags != flags || other->order != order)
			break;
		list_remove(other, order, fresh);
		frame &= ~(1ull << order);
		order++;
	}
	page->flags = 0;
	page->refs = 0; /* whatever it meant: a page of a block has one owner */
	list_add(frame, order, fresh);
}

void page_free_run(uint64_t frame, uint64_t count, bool fresh)
{
	while (count > 0) {
		unsigned order = MIN(PAGE_ORDER_MAX, __builtin_ctzll(frame));

		while ((1ull << order) > count)
			order--;
		page_free(page_of_frame(frame), order, fresh);
		frame += 1ull << order;
		count -= 1ull << order;
	}
}

static void region_add(uint64_t start, uint64_t end)
{
	start = ROUND_UP(start, PAGE_SIZE) >> PAGE_SHIFT;
	end >>= PAGE_SHIFT;
	if (start >= end || region_count == REGION_MAX)
		return;
	regions[region_count++] = (struct region){ start, end };
	page_free_total += end - start;
	frame_end = MAX(frame_end, end);
}

/* Adds what of [start, end) no range of `keep` covers. */
static void region_add_around(uint64_t start, uint64_t end, const struct page_range *keep,
			      unsigned keep_count)
{
	for (; keep_count > 0 && start < end; keep++, keep_count--) {
		if (keep->end <= start || keep->start >= end)
			continue;
		region_add_around(start, keep->start, keep + 1, keep_count - 1);
		start = MAX(start, keep->end);
	}
	region_add(start, end);
}

/* The records take the first run of frames that holds them all. */
static void records_place(void)
{
	uint64_t pages = ROUND_UP(frame_end * sizeof(struct page), PAGE_SIZE) >> PAGE_SHIFT;

	for (unsigned i = 0; i < region_count; i++) {
		struct region *region = &regions[i];

		if (region->end - region->next < pages)
			continue;
		page_records = direct(region->next << PAGE_SHIFT);
		region->next += pages;
		page_free_total -= pages;
		if (!untouched_zero)
			memset(page_records, 0, pages << PAGE_SHIFT);
		return;
	}
	CHECK(page_records != NULL);
}

void page_init(const struct page_range *usable, unsigned usable_count,
	       const struct page_range *keep, unsigned keep_count, bool reads_zero)
{
	untouched_zero = reads_zero;
	for (unsigned i = 0; i < usable_count; i++)
		region_add_around(usable[i].start, usable[i].end, keep, keep_count);
	records_place();
	page_total = page_free_total;
}

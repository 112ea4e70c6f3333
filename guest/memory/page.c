/*
 * The buddy allocator. page.h describes its records.
 *
 * Invariants: only the head of a free block has PAGE_FREE; a head with PAGE_FREE is on the list of
 * its freshness and order; no two buddies on one list; page_free_total counts list members and what
 * the regions have left; a frame's bit in `used` is set while it is handed out.
 */
#include "guest/memory/page.h"
#include "guest/lib/count.h"
#include "guest/lib/string.h"
#include "guest/memory/compact.h"
#include "guest/memory/hooks.h"
#include "guest/memory/trim.h"
#include "guest/monitor/doorbell.h"

#define REGION_MAX 16
#define FRONTIER_ORDER                                                                             \
	10		    /* untouched memory becomes blocks of this order, or of what is wanted \
			     */
#define RELEASE_ORDER	 9  /* used blocks from here on are worth a request to the monitor */
#define REPORT_ORDER_MAX 14 /* 64 MiB: what is reported at one time is less than 4 GiB */
#define FIRST_GIGABYTE	 (1ul << (30 - PAGE_SHIFT)) /* mapped from the start; frames */
#define WORD_ORDER	 6 /* a word of `used` has the bits of so large a block */

struct free_lists {
	uint32_t head[PAGE_ORDERS];
	uint32_t mask; /* bit o: head[o] is not empty */
};

struct region {
	uint64_t next, end; /* frames */
};

struct page *page_records;
static struct free_lists lists[2]; /* used, fresh */
static struct region regions[REGION_MAX];
static unsigned region_count;
static uint64_t *used; /* a bit a frame */
uint64_t page_free_total, page_total, page_frame_end;
bool page_reserve_open;
static bool untouched_zero; /* the monitor's contract holds */
static bool can_release;    /* and it takes memory back */

/* Blocks that the monitor is being told of: free, on no list, their bits in `used` set. */
static struct block {
	uint64_t frame;
	unsigned order;
} reported[PAGE_REPORT_MAX];
static unsigned reported_count;
static uint64_t reported_pages;
static unsigned report_order = PAGE_ORDERS; /* from here on; PAGE_ORDERS: nobody wants to know */
static void (*report_wanted)(void);

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

/* Puts a block on its list, merged with its buddies. */
static void insert(uint64_t frame, unsigned order, bool fresh)
{
	uint8_t flags = fresh ? PAGE_FREE | PAGE_FRESH : PAGE_FREE;

	for (; order < PAGE_ORDER_MAX; order++) {
		uint64_t buddy = frame ^ 1ull << order;
		struct page *other = page_of_frame(buddy);

		if (buddy >= page_frame_end || other->flags != flags || other->order != order)
			break;
		list_remove(other, order, fresh);
		frame &= ~(1ull << order);
		vm_count.buddy_merge++;
	}
	list_add(frame, order, fresh);
	if (unlikely(order >= report_order) && !fresh)
		report_wanted();
}

/* The order of the largest block that begins at `frame` and ends at `end` or before. */
static unsigned order_at(uint64_t frame, uint64_t end, unsigned most)
{
	unsigned order = MIN(most, __builtin_ctzll(frame));

	while ((1ull << order) > end - frame)
		order--;
	return order;
}

/* Makes blocks of untouched memory until one has the order asked for, where there can be one. */
static bool frontier_advance(unsigned wanted)
{
	for (unsigned i = 0; i < region_count; i++) {
		struct region *region = &regions[i];

		if (ROUND_UP(region->next, 1ull << wanted) + (1ull << wanted) > region->end)
			continue;
		for (;;) {
			uint64_t frame = region->next;
			unsigned order = order_at(frame, region->end, MAX(wanted, FRONTIER_ORDER));

			region->next += 1ull << order;
			insert(frame, order, untouched_zero);
			if (order >= wanted)
				return true;
		}
	}
	return false;
}

/* A large used block becomes a fresh one: the monitor takes its content and its host memory. */
static bool refresh(unsigned wanted)
{
	unsigned least = MAX(wanted, RELEASE_ORDER), order;
	uint32_t mask = lists[false].mask >> least;
	uint64_t frame;

	if (!mask || !can_release)
		return false;
	order = least + __builtin_ctz(mask);
	frame = lists[false].head[order];
	if (doorbell_release(frame << PAGE_SHIFT, PAGE_SIZE << order)) {
		can_release = false;
		return false;
	}
	list_remove(page_of_frame(frame), order, false);
	insert(frame, order, true);
	vm_count.buddy_release += 1ull << order;
	return true;
}

static NORETURN void fail_free(uint64_t frame, unsigned order)
{
	panic("frame %lx is given back (order %u), but is not handed out", frame, order);
}

/* The bits of a block: none set when it is taken, all set when it is given back. */
static void mark_taken(uint64_t frame, unsigned order)
{
	uint64_t *word = &used[frame / 64];

	if (order < WORD_ORDER)
		*word |= ((1ull << (1u << order)) - 1) << frame % 64;
	else
		memset(word, 0xff, (1ull << order) / 8);
}

static void mark_given(uint64_t frame, unsigned order)
{
	uint64_t *word = &used[frame / 64], *end = word + (1ull << order) / 64;

	if (unlikely((frame & ((1ull << order) - 1)) || frame >= page_frame_end))
		fail_free(frame, order);
	if (likely(order < WORD_ORDER)) {
		uint64_t bits = ((1ull << (1u << order)) - 1) << frame % 64;

		if (unlikely((*word & bits) != bits))
			fail_free(frame, order);
		*word &= ~bits;
		return;
	}
	for (; word < end; word++) {
		if (unlikely(~*word))
			fail_free(frame, order);
		*word = 0;
	}
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
		vm_count.buddy_split++;
	}
	page_free_total -= 1ull << order;
	mark_taken(page_frame(page), order);
	return page;
}

/* First the kind asked for, then untouched memory, then used memory made fresh, then the other
 * kind. */
static struct page *take_kind(unsigned order, bool want_fresh, bool *fresh)
{
	struct page *page = take(order, want_fresh);

	*fresh = want_fresh;
	if (page)
		return page;
	if (want_fresh && (frontier_advance(order) || refresh(order)))
		return take(order, true);
	*fresh = !want_fresh;
	page = take(order, !want_fresh);
	if (page || want_fresh || !frontier_advance(order))
		return page;
	*fresh = untouched_zero;
	return take(order, untouched_zero);
}

/* Without the contract nothing is known to be zero, and what the host has is the better. */
static struct page *take_any(unsigned order, bool want_fresh, bool *fresh)
{
	struct page *page = take_kind(order, want_fresh && untouched_zero, fresh);

	*fresh = *fresh && untouched_zero;
	return page;
}

struct page *page_alloc(unsigned order, enum page_need need)
{
	bool fresh;
	struct page *page;

	if (order > PAGE_ORDER_MAX)
		return NULL;
	page = take_any(order, need == PAGE_ZERO, &fresh);
	if (!page && order > 0 && compact_for(order))
		page = take_any(order, need == PAGE_ZERO, &fresh);
	if (!page && (memory_trim() > 0 || memory_hooks.shrink_balloon(1ull << order) > 0))
		page = take_any(order, need == PAGE_ZERO, &fresh);
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

	uint64_t reserve = page_reserve_open ? PAGE_RESERVE / 2 : PAGE_RESERVE;

	if (order > PAGE_ORDER_MAX || page_free_total < reserve + (1ull << order))
		return NULL;
	page = take_any(order, true, fresh);
	if (page)
		page->refs = 0;
	return page;
}

void page_free(struct page *page, unsigned order, bool fresh)
{
	uint64_t frame = page_frame(page);

	mark_given(frame, order);
	page_free_total += 1ull << order;
	page->flags = 0;
	page->refs = 0; /* whatever it meant: a page of a block has one owner */
	insert(frame, order, fresh);
}

void page_free_run(uint64_t frame, uint64_t count, bool fresh)
{
	while (count > 0) {
		unsigned order = order_at(frame, frame + count, PAGE_ORDER_MAX);

		page_free(page_of_frame(frame), order, fresh);
		frame += 1ull << order;
		count -= 1ull << order;
	}
}

struct page *page_take_spare(unsigned most, uint64_t leave, unsigned *order)
{
	struct page *page;

	for (*order = most;; (*order)--) {
		bool enough = page_free_total >= leave + (1ull << *order);

		page = enough ? take(*order, false) : NULL;
		if (!page && enough && (lists[true].mask >> *order || frontier_advance(*order)))
			page = take(*order, true);
		if (!page && enough)
			page = take(*order, false); /* as untouched memory may have become */
		if (page || *order == 0)
			return page;
	}
}

void page_report_from(unsigned order, void (*wanted)(void))
{
	report_order = order == PAGE_ORDERS ? order : MIN(order, REPORT_ORDER_MAX);
	report_wanted = wanted;
}

bool page_report_take(uint64_t leave, uint64_t *frame, uint64_t *count)
{
	uint32_t mask = lists[false].mask;
	unsigned order;

	if (mask >> MIN(report_order, PAGE_ORDER_MAX) == 0 || reported_count == PAGE_REPORT_MAX)
		return false;
	order = MIN(31 - __builtin_clz(mask), REPORT_ORDER_MAX);
	*count = 1ull << order;
	if (report_order == PAGE_ORDERS || page_free_total < leave + *count)
		return false;
	*frame = page_frame(take(order, false));
	reported[reported_count++] = (struct block){ *frame, order };
	reported_pages += *count;
	return true;
}

void page_report_done(bool told)
{
	while (reported_count > 0) {
		const struct block *block = &reported[--reported_count];

		reported_pages -= 1ull << block->order;
		vm_count.buddy_report += told ? 1ull << block->order : 0;
		page_free(page_of_frame(block->frame), block->order, told);
	}
}

uint64_t page_free_count(void)
{
	return page_free_total + reported_pages;
}

bool page_has_block(unsigned order)
{
	return (lists[false].mask | lists[true].mask) >> order;
}

uint64_t page_used_bits(uint64_t frame)
{
	return used[frame / 64];
}

int page_free_order(uint64_t frame)
{
	for (unsigned order = 0; order < PAGE_ORDERS; order++) {
		const struct page *head = page_of_frame(ROUND_DOWN(frame, 1ull << order));

		if ((head->flags & PAGE_FREE) && head->order >= order)
			return head->order;
	}
	return -1;
}

bool page_take_frame(uint64_t frame)
{
	int order = page_free_order(frame);
	struct page *head;
	bool fresh;

	if (order < 0)
		return false;
	head = page_of_frame(ROUND_DOWN(frame, 1ull << order));
	fresh = head->flags & PAGE_FRESH;
	list_remove(head, order, fresh);
	/* The half without the frame stays free, until the frame is all there is. */
	while (order > 0) {
		uint64_t half = ROUND_DOWN(frame, 1ull << --order);

		list_add(half ^ 1ull << order, order, fresh);
		vm_count.buddy_split++;
	}
	page_free_total--;
	mark_taken(frame, 0);
	page_of_frame(frame)->refs = 0;
	return true;
}

void page_join(uint64_t frame, unsigned order)
{
	uint64_t end = frame + (1ull << order);

	if (end > page_frame_end || page_of_frame(frame)->order >= order)
		return;
	for (uint64_t at = frame; at < end; at += 1ull << page_of_frame(at)->order) {
		if (!(page_of_frame(at)->flags & PAGE_FREE))
			return;
	}
	for (uint64_t at = frame; at < end;) {
		struct page *head = page_of_frame(at);

		at += 1ull << head->order;
		list_remove(head, head->order, head->flags & PAGE_FRESH);
	}
	insert(frame, order, false);
}

bool page_is_used(uint64_t frame)
{
	return frame < page_frame_end && (used[frame / 64] >> frame % 64 & 1);
}

void page_count_blocks(struct page_blocks *blocks)
{
	memset(blocks, 0, sizeof(*blocks));
	for (unsigned order = 0; order < PAGE_ORDERS; order++) {
		for (unsigned fresh = 0; fresh < 2; fresh++) {
			uint64_t *count = &(fresh ? blocks->fresh : blocks->used)[order];

			for (uint32_t frame = lists[fresh].head[order]; frame;
			     frame = page_of_frame(frame)->next)
				++*count;
		}
	}
	for (unsigned i = 0; i < reported_count; i++)
		blocks->used[reported[i].order]++;
	for (unsigned i = 0; i < region_count; i++) {
		for (uint64_t frame = regions[i].next; frame < regions[i].end;) {
			unsigned order = order_at(frame, regions[i].end, PAGE_ORDER_MAX);

			(untouched_zero ? blocks->fresh : blocks->used)[order]++;
			frame += 1ull << order;
		}
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
	page_frame_end = MAX(page_frame_end, end);
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

/* The records and the bits take the first run of frames that holds them all. */
static void records_place(void)
{
	uint64_t size = page_frame_end * sizeof(struct page);
	uint64_t pages = ROUND_UP(size + page_frame_end / 8 + 8, PAGE_SIZE) >> PAGE_SHIFT;

	for (unsigned i = 0; i < region_count; i++) {
		struct region *region = &regions[i];

		if (region->end - region->next < pages)
			continue;
		page_records = direct(region->next << PAGE_SHIFT);
		used = (void *)page_records + size;
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
	untouched_zero = can_release = reads_zero;
	for (unsigned i = 0; i < usable_count; i++)
		region_add_around(usable[i].start, usable[i].end, keep, keep_count);
}

void *page_early(void)
{
	for (unsigned i = 0; i < region_count; i++) {
		struct region *region = &regions[i];

		if (region->next < region->end && region->next < FIRST_GIGABYTE) {
			page_free_total--;
			return direct(region->next++ << PAGE_SHIFT);
		}
	}
	panic("the first GiB has no room for the tables that map the others");
}

void page_start(void)
{
	records_place();
	page_total = page_free_total;
}

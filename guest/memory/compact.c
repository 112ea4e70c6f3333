/*
 * Compaction. compact.h has the rules.
 *
 * Invariant: the free scanner's frame is never below the end of the piece that the migrate scanner
 * is in, so no page moves twice in a run.
 */
#include "guest/memory/compact.h"
#include "guest/lib/count.h"
#include "guest/lib/errno.h"
#include "guest/lib/text.h"
#include "guest/memory/fragment.h"
#include "guest/memory/owner.h"
#include "guest/memory/page.h"
#include "guest/memory/reserve.h"
#include "guest/memory/slab.h"

#define PIECE	  (1ull << RESERVE_ORDER)
#define WORD	  64 /* frames of page_used_bits() */
#define OWNER_MAX 16
#define DEFER_MAX 6 /* at the worst, one of 2^6 allocations tries */

struct run {
	uint64_t low;	/* migrate scanner: the piece it is in */
	uint64_t high;	/* free scanner: frames from here on were looked at */
	unsigned order; /* ends with a free block of this order; PAGE_ORDERS: with the scanners */
	bool met;
};

static unsigned extfrag_threshold = 500;
static unsigned defer_order = PAGE_ORDERS, defer_shift, defer_count;

/* --- the free scanner --- */

/* A frame for a page to move to, handed out; 0: the scanners met. */
static uint64_t find_target(struct run *run)
{
	while (run->high > run->low + PIECE) {
		uint64_t frame = run->high - 1, skip = 1;

		if (run->high % PIECE == 0 && page_free_order(frame) >= RESERVE_ORDER)
			skip = PIECE; /* a good block as it is */
		else if (run->high % WORD == 0 && !~page_used_bits(frame))
			skip = WORD;
		run->high -= skip;
		vm_count.compact_free_scanned += skip;
		if (skip == 1 && page_take_frame(frame))
			return frame;
	}
	run->met = true;
	return 0;
}

/* --- the migrate scanner --- */

/* Neither empty nor full: a full one emptied would be one hole for another. */
static bool is_worth(uint64_t piece)
{
	uint64_t any = 0, all = UINT64_MAX;

	for (uint64_t frame = piece; frame < piece + PIECE && frame < page_frame_end;
	     frame += WORD) {
		any |= page_used_bits(frame);
		all &= page_used_bits(frame);
	}
	return any && ~all;
}

/* False: the page stays where it is. */
static bool move(struct run *run, struct page *page)
{
	struct owner owner[OWNER_MAX];
	unsigned count;
	uint64_t to;

	vm_count.compact_migrate_scanned++;
	if (page->flags & (PAGE_FREE | PAGE_SLAB | PAGE_TABLE))
		return false;
	count = page_owners(page, owner, OWNER_MAX);
	if (count == 0)
		return false;
	if (count != page->refs + 1) {
		vm_count.pgmigrate_fail++;
		return false;
	}
	to = find_target(run);
	if (!to)
		return false;
	page_move(page, owner, count, to);
	vm_count.pgmigrate_success++;
	return true;
}

static void empty_piece(struct run *run)
{
	uint64_t end = MIN(run->low + PIECE, page_frame_end);

	for (uint64_t frame = run->low; frame < end && !run->met; frame++) {
		bool stays = page_is_used(frame) && !move(run, page_of_frame(frame));

		/* One page that stays, and the piece will not be the block that is wanted. */
		if (stays && run->order >= RESERVE_ORDER && run->order < PAGE_ORDERS)
			break;
	}
}

/* --- a run --- */

/* Free neighbours of both kinds, which do not merge on their own, become blocks of the order. */
static void join_all(unsigned order)
{
	for (uint64_t frame = 0; frame < page_frame_end; frame += 1ull << order)
		page_join(frame, order);
}

static bool has_block(const struct run *run)
{
	return run->order < PAGE_ORDERS && page_has_block(run->order);
}

static void compact(struct run *run)
{
	unsigned join = MIN(run->order, RESERVE_ORDER);

	run->high = page_frame_end;
	run->met = false;
	join_all(join);
	for (run->low = 0; !has_block(run) && !run->met && run->low + PIECE < run->high;
	     run->low += PIECE) {
		if (!is_worth(run->low))
			continue;
		empty_piece(run);
		for (uint64_t at = run->low; at < run->low + PIECE; at += 1ull << join)
			page_join(at, join);
	}
	if (run->order > join && run->order < PAGE_ORDERS)
		join_all(run->order);
}

/* Memory that is set aside and not used goes first: it is free memory, or in the way. */
static void give_back_reserves(void)
{
	reservations_break_partial();
	table_trim();
	slab_trim();
}

/* --- for an allocation --- */

static bool is_deferred(unsigned order)
{
	if (order < defer_order)
		return false;
	if (++defer_count >= 1u << defer_shift) {
		defer_count = 0;
		return false;
	}
	return true;
}

static void note_result(unsigned order, bool success)
{
	if (success) {
		vm_count.compact_success++;
		defer_shift = 0;
		defer_order = MAX(defer_order, order + 1);
		return;
	}
	vm_count.compact_fail++;
	defer_count = 0;
	defer_shift = MIN(defer_shift + 1, DEFER_MAX);
	defer_order = MIN(defer_order, order);
}

bool compact_for(unsigned order)
{
	struct run run = { .order = order };

	if (is_deferred(order))
		return false;
	give_back_reserves();
	if (page_has_block(order))
		return true;
	if (page_free_total < PAGE_RESERVE + (1ull << order) ||
	    fragmentation_index(order) <= (int64_t)extfrag_threshold)
		return false;
	vm_count.compact_stall++;
	compact(&run);
	note_result(order, page_has_block(order));
	return page_has_block(order);
}

/* --- /proc/sys/vm --- */

static int read_number(const char *words, unsigned most, unsigned *value)
{
	unsigned number = 0;

	if (!*words)
		return -EINVAL;
	for (; *words >= '0' && *words <= '9' && number <= most; words++)
		number = number * 10 + (*words - '0');
	if (*words || number > most)
		return -EINVAL;
	*value = number;
	return 0;
}

int compact_memory_store(const char *words)
{
	struct run run = { .order = PAGE_ORDERS };
	unsigned any;
	int error = read_number(words, 1000, &any);

	if (error)
		return error;
	give_back_reserves();
	compact(&run);
	defer_shift = 0;
	defer_order = PAGE_ORDERS;
	return 0;
}

void compact_memory_text(struct text *text)
{
}

int extfrag_threshold_store(const char *words)
{
	return read_number(words, 1000, &extfrag_threshold);
}

void extfrag_threshold_text(struct text *text)
{
	text_add(text, "%u\n", extfrag_threshold);
}

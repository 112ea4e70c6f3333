/*
 * Reservations. reserve.h says who owns each frame.
 *
 * Invariant: a leaf is on the list, linked through its record, while its record has `reserve`;
 * without one, none of its entries has a bit of PTE_SLOT.
 */
#include "guest/memory/reserve.h"
#include "guest/memory/owner.h"
#include "guest/memory/trim.h"

static uint32_t reservations; /* first leaf's frame, or 0 */

void reservation_add(struct page *leaf, uint64_t run, bool fresh)
{
	leaf->reserve = run;
	leaf->flags |= fresh ? LEAF_FRESH : 0;
	leaf->next = reservations;
	leaf->prev = 0;
	if (reservations)
		page_of_frame(reservations)->prev = page_frame(leaf);
	reservations = page_frame(leaf);
}

static void reservation_remove(struct page *leaf)
{
	if (leaf->next)
		page_of_frame(leaf->next)->prev = leaf->prev;
	if (leaf->prev)
		page_of_frame(leaf->prev)->next = leaf->next;
	else
		reservations = leaf->next;
	leaf->reserve = 0;
	leaf->flags = PAGE_TABLE | LEAF_SINGLE;
}

enum slot_state { SLOT_FRESH, SLOT_USED, SLOT_TAKEN };

static enum slot_state slot_state(const struct page *leaf, unsigned index, uint64_t pte)
{
	if ((pte & PTE_LENT) || (pte_holds(pte) && is_reserved(leaf, index, pte)))
		return SLOT_TAKEN;
	return (leaf->flags & LEAF_FRESH) && !(pte & PTE_STALE) ? SLOT_FRESH : SLOT_USED;
}

/* Where the run of slots in the state of slot `i` ends. Most of most tables is empty: that is
 * looked through in fours. */
static unsigned run_end(const struct page *leaf, const uint64_t *entry, unsigned i)
{
	enum slot_state state = slot_state(leaf, i, entry[i]);
	enum slot_state of_empty = slot_state(leaf, i, 0);

	for (i++; i < TABLE_ENTRIES; i++) {
		while (state == of_empty && i + 4 <= TABLE_ENTRIES &&
		       !(entry[i] | entry[i + 1] | entry[i + 2] | entry[i + 3]))
			i += 4;
		if (i == TABLE_ENTRIES || slot_state(leaf, i, entry[i]) != state)
			break;
	}
	return i;
}

uint64_t reservation_break(struct page *leaf)
{
	uint64_t *entry = page_address(leaf);
	uint64_t freed = 0;

	for (unsigned start = 0, end; start < TABLE_ENTRIES; start = end) {
		enum slot_state state = slot_state(leaf, start, entry[start]);

		end = run_end(leaf, entry, start);
		if (state != SLOT_TAKEN) {
			page_free_run(leaf->reserve + start, end - start, state == SLOT_FRESH);
			freed += end - start;
		}
		for (unsigned i = start; i < end && state != SLOT_FRESH; i++) {
			/* One that a fork shared is found by its address. */
			if (state == SLOT_TAKEN && !(entry[i] & PTE_LENT) &&
			    !pte_page(entry[i])->refs)
				page_set_owner(pte_page(entry[i]), leaf, i);
			entry[i] &= ~PTE_SLOT;
		}
	}
	reservation_remove(leaf);
	return freed;
}

uint64_t reservations_break(void)
{
	uint64_t freed = 0;

	while (reservations)
		freed += reservation_break(page_of_frame(reservations));
	return freed;
}

/* Whether it has frames to give. */
static bool is_partial(const struct page *leaf)
{
	const uint64_t *entry = page_address(leaf);

	return slot_state(leaf, 0, entry[0]) != SLOT_TAKEN ||
	       run_end(leaf, entry, 0) != TABLE_ENTRIES;
}

uint64_t reservations_break_partial(void)
{
	uint64_t freed = 0;

	for (uint32_t frame = reservations, next; frame; frame = next) {
		struct page *leaf = page_of_frame(frame);

		next = leaf->next;
		if (is_partial(leaf))
			freed += reservation_break(leaf);
	}
	return freed;
}

uint64_t *reservation_leaf(uint64_t frame)
{
	for (uint32_t leaf = reservations; leaf; leaf = page_of_frame(leaf)->next) {
		if (page_of_frame(leaf)->reserve == ROUND_DOWN(frame, TABLE_ENTRIES))
			return page_address(page_of_frame(leaf));
	}
	return NULL;
}

static uint64_t single_frame(struct page *record, unsigned index, bool *fresh)
{
	struct page *page = page_alloc_user(0, fresh);

	if (!page && memory_trim() > 0)
		page = page_alloc_user(0, fresh);
	if (!page)
		return 0;
	page_set_owner(page, record, index);
	return page_frame(page);
}

uint64_t table_frame_slow(struct page *record, unsigned index, bool *fresh)
{
	struct page *run;

	if (record->reserve || (record->flags & LEAF_SINGLE))
		return single_frame(record, index, fresh);
	run = page_alloc_user(RESERVE_ORDER, fresh);
	if (!run) {
		record->flags |= LEAF_SINGLE;
		return single_frame(record, index, fresh);
	}
	reservation_add(record, page_frame(run), *fresh);
	return record->reserve + index;
}

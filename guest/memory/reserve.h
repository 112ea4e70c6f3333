/*
 * Reservations: neighbours stay neighbours.
 *
 * A leaf table covers 2 MiB. With the first anonymous page in it, the table reserves an aligned run
 * of 512 frames, and page n of the 2 MiB gets frame n of the run. So the monitor, which sees only
 * physical addresses, sees a program's sequential access as sequential. A frame of the run that is
 * not mapped still belongs to the table; when memory runs short, reservations_break() gives all of
 * these back. A table without a reservation (LEAF_SINGLE: there was none to be had, or it was
 * broken, or the table is a forked child's) takes its pages one by one.
 *
 * Two bits of an entry describe the frame that the run keeps for it:
 *   PTE_STALE   it has been used and must be cleared before it is used again
 *   PTE_LENT    it is not the table's any more: the entry let go of it while others, forked from
 *               here, held it too. Its last owner frees it alone. A frame in the entry is a single.
 *
 * The owner of a frame of the run, whatever happens first:
 *   - the entry holds it, shared or not: it is the table's, and is not given out;
 *   - the entry drops it with other owners left: PTE_LENT, one owner less, theirs from now on;
 *   - others drop it while the entry holds it: one owner less, and nothing else;
 *   - the reservation is broken: a frame that an entry holds becomes a single, a lent one was no
 *     longer the run's, all others are freed;
 *   - the leaf is freed: it holds nothing by then, so its reservation is broken as above.
 */
#ifndef GUEST_MEMORY_RESERVE_H
#define GUEST_MEMORY_RESERVE_H

#include "guest/memory/table.h"

#define RESERVE_ORDER 9

/* More flags of a leaf's record. */
#define LEAF_FRESH  0x10 /* its reservation was a fresh block */
#define LEAF_SINGLE 0x20 /* single pages from now on */

/* Whether the frame that entry `index` holds, if it holds one, is the reservation's. */
static inline bool is_reserved(const struct page *leaf, unsigned index, uint64_t pte)
{
	return leaf->reserve && pte_frame(pte) == leaf->reserve + index && !(pte & PTE_LENT);
}

/* The frame for an anonymous page at leaf[index], reserved or single; *fresh: reads as zero.
 * 0 when memory is out. The entry itself stays as it is. */
uint64_t table_frame_slow(struct page *leaf, unsigned index, bool *fresh);

static INLINE uint64_t table_frame(uint64_t *leaf, unsigned index, bool *fresh)
{
	struct page *record = page_of_address(leaf);

	if (unlikely(!record->reserve || (leaf[index] & PTE_LENT)))
		return table_frame_slow(record, index, fresh);
	*fresh = (record->flags & LEAF_FRESH) && !(leaf[index] & PTE_STALE);
	return record->reserve + index;
}

/* Makes `run` of 2^RESERVE_ORDER frames the reservation of a leaf that has none. */
void reservation_add(struct page *leaf, uint64_t run, bool fresh);

/* Ends a leaf's reservation: frees its frames that no entry holds. Returns how many. */
uint64_t reservation_break(struct page *leaf);

/* The same for all leaves; for those that keep frames nobody uses. */
uint64_t reservations_break(void);
uint64_t reservations_break_partial(void);

/* The leaf whose reservation holds the frame, or NULL. */
uint64_t *reservation_leaf(uint64_t frame);

#endif

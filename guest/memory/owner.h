/*
 * Finds the entries that map an anonymous page: the way back from a frame, for replacement and
 * compaction.
 *
 * page->where is a hint, which costs a store where pages are mapped one by one and nothing where a
 * reservation gives them: a leaf's frame << 9 | index; or, once a fork shared the page,
 * OWNER_SHARED | va, for it is at the same address wherever it came by forks; or 0. The entry that
 * it leads to is checked, and only a page whose owners were all found may be touched.
 */
#ifndef GUEST_MEMORY_OWNER_H
#define GUEST_MEMORY_OWNER_H

#include "guest/memory/table.h"

#define OWNER_SHARED (1ull << 63)

struct owner {
	struct space *space;
	uint64_t va;
	uint64_t *leaf;
	unsigned index;
};

static inline void page_set_owner(struct page *page, const struct page *leaf, unsigned index)
{
	page->where = page_frame(leaf) << 9 | index;
}

/* Finds the entries that map the page, at most `max` of them. Returns how many; all of them were
 * found when that is page->refs + 1. A page in a huge page or of a file has none. */
unsigned page_owners(struct page *page, struct owner *owner, unsigned max);

/* Takes the page out of everybody's sight: no CPU reads or writes it any more, and its dirty bits
 * stand still. The next fault brings it back. */
void page_hide(const struct owner *owner, unsigned count);

/* The hidden page's content is in `slot` of the swap: every owner's entry says so, and holds the
 * slot (the caller's hold becomes the first owner's). The page is nobody's then, and freed. */
void page_move_to_swap(struct page *page, const struct owner *owner, unsigned count, uint32_t slot);

/* Moves the page's content to the frame `to`, which the caller allocated as a single: every owner's
 * entry points to it, and the record goes along. The old frame is freed. At most 32 owners. */
void page_move(struct page *page, const struct owner *owner, unsigned count, uint64_t to);

/* Whether any owner touched the page since the last call (its accessed bit, which is taken), and
 * whether any entry says that it was written since it was brought in. */
bool page_take_accessed(const struct owner *owner, unsigned count);
bool page_is_dirty(const struct owner *owner, unsigned count);

#endif

/* Finds the entries that map a frame. owner.h says how. */
#include "guest/memory/owner.h"
#include "guest/lib/string.h"
#include "guest/memory/flush.h"
#include "guest/memory/replace.h"
#include "guest/memory/reserve.h"
#include "guest/memory/space.h"

static bool holds(const uint64_t *leaf, unsigned index, const struct page *page)
{
	return pte_anonymous(leaf[index]) && pte_page(leaf[index]) == page;
}

/* By address, in all spaces. */
static unsigned owners_at(const struct page *page, uint64_t va, struct owner *owner, unsigned max)
{
	unsigned count = 0;

	if (va >= USER_END)
		return 0;
	for (struct space *space = space_list; space && count < max; space = space->next) {
		uint64_t *leaf = table_leaf(space->root, va);

		if (leaf && holds(leaf, leaf_index(va), page))
			owner[count++] = (struct owner){ space, va, leaf, leaf_index(va) };
	}
	return count;
}

/* The leaf table of a space that the hint leads to, or NULL: any page's record may be asked, and
 * its value may be of another time. A leaf of the kernel's own says nothing in `where`. */
static uint64_t *hinted_leaf(uint64_t frame)
{
	const struct page *record = page_of_frame(frame);

	if (frame == 0 || frame >= page_frame_end || !(record->flags & PAGE_TABLE) ||
	    !record->where)
		return NULL;
	return page_address(record);
}

unsigned page_owners(struct page *page, struct owner *owner, unsigned max)
{
	uint64_t *leaf;
	unsigned index = page->where & (TABLE_ENTRIES - 1);

	if (page->where & OWNER_SHARED)
		return owners_at(page, page->where & ~OWNER_SHARED, owner, max);
	leaf = hinted_leaf(page->where >> 9);
	if (!leaf || !holds(leaf, index, page)) {
		leaf = reservation_leaf(page_frame(page));
		index = page_frame(page) & (TABLE_ENTRIES - 1);
		if (!leaf || !holds(leaf, index, page))
			return 0;
	}
	if (max == 0)
		return 0;
	*owner = (struct owner){ table_space(leaf), table_address(leaf) + index * PAGE_SIZE, leaf,
				 index };
	return 1;
}

/* The entry is about to hold something else than its frame of the reservation: that frame is lent,
 * and its last owner frees it. */
static uint64_t slot_bits(const struct owner *owner)
{
	uint64_t pte = owner->leaf[owner->index];

	if (is_reserved(page_of_address(owner->leaf), owner->index, pte))
		return PTE_LENT;
	return pte & PTE_SLOT;
}

void page_hide(const struct owner *owner, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		uint64_t *pte = &owner[i].leaf[owner[i].index];
		/* Another CPU may be setting the accessed or dirty bit. */
		uint64_t old = __atomic_exchange_n(pte, PTE_KEPT, __ATOMIC_RELAXED);

		*pte = (old & ~PTE_P) | PTE_KEPT;
		tlb_flush_page(owner[i].space, owner[i].va);
	}
}

void page_move_to_swap(struct page *page, const struct owner *owner, unsigned count, uint32_t slot)
{
	for (unsigned i = 0; i < count; i++) {
		struct space *space = owner[i].space;

		owner[i].leaf[owner[i].index] =
			slot_bits(&owner[i]) | PTE_SWAP | (uint64_t)slot << PAGE_SHIFT;
		space->resident[RESIDENT_ANONYMOUS]--;
		space->resident[RESIDENT_SWAPPED]++;
		if (i > 0)
			swap_dup(slot);
	}
	page->refs = page->slot = 0;
	page_free(page, 0, false);
}

void page_move(struct page *page, const struct owner *owner, unsigned count, uint64_t to)
{
	struct page *target = page_of_frame(to);
	uint32_t present = 0;

	for (unsigned i = 0; i < count; i++)
		present |= (owner[i].leaf[owner[i].index] & PTE_P) << i;
	page_hide(owner, count);
	memcpy(page_address(target), page_address(page), PAGE_SIZE);
	for (unsigned i = 0; i < count; i++) {
		uint64_t *pte = &owner[i].leaf[owner[i].index], value;

		value = (*pte & ~(PTE_FRAME | PTE_SLOT)) | slot_bits(&owner[i]) | to << PAGE_SHIFT;
		if (present >> i & 1)
			value = (value & ~PTE_KEPT) | PTE_P;
		*pte = value;
	}
	replace_move(page, target);
	target->refs = page->refs;
	target->slot = page->slot;
	target->where = page->where;
	if (count == 1)
		page_set_owner(target, page_of_address(owner->leaf), owner->index);
	page->refs = page->slot = 0;
	page_free(page, 0, false);
}

bool page_take_accessed(const struct owner *owner, unsigned count)
{
	bool accessed = false;

	for (unsigned i = 0; i < count; i++) {
		uint64_t *pte = &owner[i].leaf[owner[i].index];

		if (!(*pte & PTE_A))
			continue;
		/* Atomic, for another CPU may be setting the dirty bit. */
		__atomic_fetch_and(pte, ~PTE_A, __ATOMIC_RELAXED);
		tlb_flush_page(owner[i].space, owner[i].va);
		accessed = true;
	}
	return accessed;
}

bool page_is_dirty(const struct owner *owner, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		if (owner[i].leaf[owner[i].index] & PTE_D)
			return true;
	}
	return false;
}

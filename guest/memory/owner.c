/* From a frame to the entries that map it. owner.h says how. */
#include "guest/memory/owner.h"
#include "guest/cpu/tlb.h"
#include "guest/lib/string.h"
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

	for (struct space *space = space_list; space && count < max; space = space->next) {
		uint64_t *leaf = table_leaf(space->root, va);

		if (leaf && holds(leaf, leaf_index(va), page))
			owner[count++] = (struct owner){ space, va, leaf, leaf_index(va) };
	}
	return count;
}

unsigned page_owners(struct page *page, struct owner *owner, unsigned max)
{
	uint64_t *leaf;
	unsigned index = page->where & (TABLE_ENTRIES - 1);

	if (page->where & OWNER_SHARED)
		return owners_at(page, page->where & ~OWNER_SHARED, owner, max);
	leaf = page->where ? direct(page->where >> 9 << PAGE_SHIFT) : NULL;
	if (!leaf || !(page_of_address(leaf)->flags & PAGE_TABLE) || !holds(leaf, index, page)) {
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

/* The entry is about to hold something else than its frame of the reservation: that one is lent to
 * whoever frees it. */
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

		*pte = (*pte & ~PTE_P) | PTE_KEPT;
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

	page_hide(owner, count);
	memcpy(page_address(target), page_address(page), PAGE_SIZE);
	for (unsigned i = 0; i < count; i++) {
		uint64_t *pte = &owner[i].leaf[owner[i].index];

		*pte = (*pte & ~(PTE_FRAME | PTE_SLOT)) | slot_bits(&owner[i]) | to << PAGE_SHIFT;
	}
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
		*pte &= ~PTE_A;
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

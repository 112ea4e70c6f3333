/*
 * The copy of an address space for a child.
 *
 * Areas are copied. An anonymous page of a private area becomes read-only in both, with one owner
 * more; the first to write gets a copy, and the last owner the page itself (fault.c). A page of the
 * swap gets one holder more. File pages are not copied: they come back by faults, and so does
 * shared memory, which is a file's. So the cost of a fork is in proportion to the private pages.
 *
 * The parent's reservations stay the parent's (reserve.h); a child's tables take single pages.
 */
#include "guest/lib/errno.h"
#include "guest/memory/commit.h"
#include "guest/memory/flush.h"
#include "guest/memory/huge.h"
#include "guest/memory/owner.h"
#include "guest/memory/replace.h"
#include "guest/memory/reserve.h"

#define RECLAIM_PAGES 64 /* asked for when a fork finds no memory for tables */

/* Huge pages have one owner: they are cut before they are shared. */
static int split_huge(struct space *space, const struct area *area)
{
	uint64_t *entry, next;

	for (uint64_t va = area->start; va < area->end; va = next) {
		next = table_step(space->root, va, area->end, &entry);
		if (entry && (*entry & PTE_PS) && !huge_split(space, va, entry))
			return -ENOMEM;
	}
	return 0;
}

/* The entries [first, last) of a leaf, which is at `va` for its first one. */
static int copy_entries(struct space *child, uint64_t *from, uint64_t va, unsigned first,
			unsigned last)
{
	uint64_t *to = NULL;
	uint64_t in_memory = 0, swapped = 0;

	for (unsigned i = first; i < last; i++, va += PAGE_SIZE) {
		uint64_t pte;

		if (!pte_used(from[i]) || (from[i] & PTE_FILE))
			continue;
		if (!to) {
			to = table_make_leaf(child, va);
			if (!to)
				return -ENOMEM;
			page_of_address(to)->flags |= LEAF_SINGLE;
			/* That may have broken a reservation: from[i] is another now. */
			pte = from[i];
		}
		/* Now, for making a table may have broken reservations. */
		pte = from[i];
		if (likely(pte_holds(pte))) {
			struct page *page = pte_page(pte);

			from[i] = pte & ~PTE_W;
			page->refs++;
			page->where = OWNER_SHARED | va;
			in_memory++;
		} else {
			swap_dup(pte_frame(pte));
			swapped++;
		}
		to[i] = pte & ~(PTE_W | PTE_SLOT);
	}
	if (to)
		page_of_address(to)->count += in_memory + swapped;
	child->resident[RESIDENT_ANONYMOUS] += in_memory;
	child->resident[RESIDENT_SWAPPED] += swapped;
	return 0;
}

static int copy_pages(struct space *parent, struct space *child, const struct area *area)
{
	int error = split_huge(parent, area);

	FOR_EACH_LEAF(parent->root, va, next, area->start, area->end, entry)
	{
		unsigned first = leaf_index(va);

		if (!error)
			error = copy_entries(child, pte_table(*entry), va, first,
					     first + ((next - va) >> PAGE_SHIFT));
	}
	return error;
}

static int copy_area(struct space *parent, struct space *child, const struct area *area)
{
	int error;

	if (area->flags & AREA_NO_FORK)
		return 0;
	error = space_copy_area(child, area);
	if (error || (area->flags & (AREA_SHARED | AREA_WIPE_FORK)))
		return error;
	return copy_pages(parent, child, area);
}

static struct space *try_fork(struct space *parent)
{
	struct space *child = space_create();
	int error = child ? 0 : -ENOMEM;

	if (child) {
		child->brk_start = parent->brk_start;
		child->brk = parent->brk;
		child->first_stack = parent->first_stack;
		child->arguments = parent->arguments;
		child->arguments_end = parent->arguments_end;
		child->environment_end = parent->environment_end;
		child->stack_limit = parent->stack_limit;
		child->mmap_top = parent->mmap_top;
		child->stack_top = parent->stack_top;
		child->random = parent->random;
	}
	for (unsigned i = 0; i < parent->area_count && !error; i++)
		error = copy_area(parent, child, parent->area[i]);
	tlb_flush_space(parent);
	if (error && child) {
		space_put(child);
		return NULL;
	}
	return child;
}

/* Whether the child's areas may be promised: one by one, or where all counts together. */
static bool may_promise(const struct space *parent)
{
	uint64_t pages = 0;

	for (unsigned i = 0; i < parent->area_count; i++) {
		const struct area *area = parent->area[i];

		if ((area->flags & (AREA_ACCOUNT | AREA_NO_FORK)) != AREA_ACCOUNT)
			continue;
		if (overcommit_mode != OVERCOMMIT_NEVER)
			pages = 0;
		pages += (area->end - area->start) >> PAGE_SHIFT;
		if (!commit_allows(pages))
			return false;
	}
	return true;
}

struct space *space_fork(struct space *parent)
{
	struct space *child;

	if (!may_promise(parent))
		return NULL;
	child = try_fork(parent);
	if (!child && memory_reclaim(RECLAIM_PAGES) && !parent->doomed)
		child = try_fork(parent);
	return child;
}

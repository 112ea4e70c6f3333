/*
 * The page fault, from address to entry:
 *
 * 1. the area that holds the address (a stack may grow to it first), and whether it allows this;
 * 2. the leaf table, remembered from the last fault or walked to; or a huge page;
 * 3. by the kind of the entry: a kept frame comes back, a page of the swap is brought in, a shared
 *    one is copied for a write; a file's page is mapped from the page cache, with its neighbours,
 *    or copied for a private write; all else is anonymous.
 *
 * Anonymous pages of a fresh reservation need nothing but their entries, so a program that runs
 * upward through memory gets more at each fault, up to WINDOW_MAX; a page that is mapped and not
 * touched costs the host nothing. Where pages are replaced (swap_on) each is mapped alone, for then
 * it does cost something.
 *
 * File pages that are in memory already are mapped around a fault, in a window that a run of faults
 * widens and faults here and there narrow.
 */
#include "guest/memory/fault.h"
#include "guest/cpu/clock.h"
#include "guest/lib/count.h"
#include "guest/lib/errno.h"
#include "guest/lib/string.h"
#include "guest/memory/cache.h"
#include "guest/memory/flush.h"
#include "guest/memory/hooks.h"
#include "guest/memory/huge.h"
#include "guest/memory/pressure.h"
#include "guest/memory/replace.h"
#include "guest/memory/reserve.h"

#define WINDOW_STEP   4
#define WINDOW_MAX    64
#define RECLAIM_PAGES 32 /* asked for when a fault finds no memory */
/* With less than this free, faults map one page only. */
#define SCARCE_SHARE 8

static const char *const reasons[] = {
	[FAULT_DONE] = "nothing wrong",
	[FAULT_NO_AREA] = "nothing is mapped there",
	[FAULT_ACCESS] = "the mapping does not allow it",
	[FAULT_STACK_END] = "the stack is at its limit: guard",
	[FAULT_PAST_END] = "beyond the end of the mapped file",
	[FAULT_NO_MEMORY] = "the guest is out of memory",
};

const char *fault_reason(enum fault_result result)
{
	return reasons[result];
}

/* Entries that continue a run upward, while they are empty and never used: four at a time, for each
 * instruction counts where ring 0 is emulated. Returns the pages of the run. */
static unsigned map_following(struct area *area, uint64_t va, uint64_t *pte, uint64_t value)
{
	uint64_t room = MIN(TABLE_ENTRIES - leaf_index(va), (area->end - va) >> PAGE_SHIFT);
	uint64_t *first = pte, *end;

	if (area->window < WINDOW_MAX)
		area->window = area->window ? area->window * 2 : WINDOW_STEP;
	end = pte + MIN(1 + area->window, room);
	for (pte++; pte + WINDOW_STEP <= end && !(pte[0] | pte[1] | pte[2] | pte[3]);
	     pte += WINDOW_STEP) {
		pte[0] = value + PAGE_SIZE;
		pte[1] = value + 2 * PAGE_SIZE;
		pte[2] = value + 3 * PAGE_SIZE;
		pte[3] = value += 4 * PAGE_SIZE;
	}
	area->next_fault = va + (pte - first) * PAGE_SIZE;
	return pte - first;
}

/* Bits of an anonymous entry. Without PTE_D replacement sees whether the page was written. */
static uint64_t anonymous_bits(const struct area *area, bool dirty)
{
	return (dirty ? PTE_ANONYMOUS : PTE_ANONYMOUS & ~PTE_D) | area_bits(area->flags);
}

static INLINE enum fault_result map_anonymous(struct space *space, struct area *area, uint64_t va,
					      uint64_t *leaf, uint32_t access)
{
	unsigned index = leaf_index(va);
	struct page *record = page_of_address(leaf);
	uint64_t frame, value;
	unsigned mapped = 1;
	bool fresh;

	frame = table_frame(leaf, index, &fresh);
	if (unlikely(!frame))
		return FAULT_NO_MEMORY;
	value = frame << PAGE_SHIFT | PTE_ANONYMOUS | area_bits(area->flags);
	if (unlikely(!fresh))
		page_clear(direct(frame << PAGE_SHIFT));
	if (unlikely(swap_on)) {
		value = frame << PAGE_SHIFT | anonymous_bits(area, access & AREA_WRITE);
		replace_add(page_of_frame(frame), leaf, index);
	}
	if (unlikely(record->reserve + index != frame)) {
		value |= leaf[index] & PTE_LENT;
	} else if (area->next_fault != va) {
		area->window = 0;
		area->next_fault = va + PAGE_SIZE;
	} else if (fresh && page_free_total > page_total / SCARCE_SHARE && !swap_on) {
		mapped = map_following(area, va, &leaf[index], value);
	}
	leaf[index] = value;
	record->count += mapped;
	space->resident[RESIDENT_ANONYMOUS] += mapped;
	return FAULT_DONE;
}

/* Replaces what the entry holds, or nothing, by a page of the process's own: `length` bytes of
 * `from`, which somebody else keeps, and zeros behind. */
static NOINLINE enum fault_result map_copy(struct space *space, struct area *area, uint64_t va,
					   uint64_t *leaf, const void *from, uint64_t length)
{
	unsigned index = leaf_index(va);
	uint64_t old = leaf[index], frame;
	bool fresh;
	uint8_t *to;

	/* A frame of the reservation stays with those who share it. */
	if (pte_anonymous(old) && is_reserved(page_of_address(leaf), index, old))
		leaf[index] |= PTE_LENT;
	frame = table_frame(leaf, index, &fresh);
	if (!frame) {
		/* The search for one may have broken the reservation. */
		leaf[index] = page_of_address(leaf)->reserve ? old : old & ~PTE_SLOT;
		return FAULT_NO_MEMORY;
	}
	to = direct(frame << PAGE_SHIFT);
	memcpy(to, from, length);
	if (!fresh)
		memset(to + length, 0, PAGE_SIZE - length);
	table_drop(space, leaf, index);
	table_set(space, leaf, index, frame << PAGE_SHIFT | anonymous_bits(area, true));
	if (pte_used(old))
		tlb_flush_page(space, va);
	if (unlikely(swap_on))
		replace_add(page_of_frame(frame), leaf, index);
	return FAULT_DONE;
}

static uint64_t *leaf_of(struct space *space, uint64_t va)
{
	uint64_t *leaf;

	if (likely(va >> LEAF_SHIFT == space->leaf_number))
		return space->leaf;
	leaf = table_make_leaf(space, va);
	if (leaf) {
		space->leaf = leaf;
		space->leaf_number = va >> LEAF_SHIFT;
	}
	return leaf;
}

/* An entry for a file's frame; the archive's are not counted. */
static uint64_t file_entry(const struct area *area, uint64_t index, uint64_t frame)
{
	uint64_t value = frame << PAGE_SHIFT | PTE_P | PTE_U | PTE_A | PTE_FILE |
			 (area->flags & AREA_EXEC ? 0 : PTE_NX);

	if (cache_is_archive(area->content, index, frame))
		return value;
	page_get(frame);
	return value | PTE_COUNTED;
}

/* The window of a run of faults doubles, that of faults here and there becomes half. */
static void set_window(struct area *area, uint64_t va)
{
	if (area->next_fault == va && va != area->start)
		area->window = MIN(area->window * 2, WINDOW_MAX);
	else if (area->next_fault != area->start)
		area->window = MAX(MIN(area->window, FILE_WINDOW_FIRST) / 2, WINDOW_STEP);
}

/* Maps the pages around va that are in memory already, as far as the leaf reaches. */
static void map_file_around(struct space *space, struct area *area, uint64_t va, uint64_t *leaf)
{
	uint64_t start, end, size, index;

	set_window(area, va);
	size = (uint64_t)area->window * PAGE_SIZE;
	start = area->next_fault == va ? va : ROUND_DOWN(va, size);
	end = MIN(MIN(start + size, area->end), ROUND_DOWN(va, LEAF_SIZE) + LEAF_SIZE);
	start = MAX(start, area->start);
	area->next_fault = end;
	if (area->limit - area->offset < end - area->start)
		end = area->start + ROUND_DOWN(area->limit - area->offset, PAGE_SIZE);
	for (index = area_page(area, start); start < end; start += PAGE_SIZE, index++) {
		uint64_t frame;

		if (pte_used(leaf[leaf_index(start)]) || index * PAGE_SIZE >= area->content->size)
			continue;
		frame = cache_peek(area->content, index);
		if (frame)
			table_set(space, leaf, leaf_index(start), file_entry(area, index, frame));
	}
}

static void mark_dirty(struct content *content, uint64_t frame)
{
	struct page *page = page_of_frame(frame);

	if (!(page->flags & PAGE_DIRTY))
		vm_count.nr_dirtied++;
	page->flags |= PAGE_DIRTY;
	cache_modified(content);
}

/* The entry is empty, or holds the file's page read-only and there is a write. */
static NOINLINE enum fault_result map_file(struct space *space, struct area *area, uint64_t va,
					   uint32_t access)
{
	uint64_t index = area_page(area, va), frame, value, *leaf;
	uint64_t left = area->limit - (index << PAGE_SHIFT);
	bool write = access & AREA_WRITE, shared = area->flags & AREA_SHARED, major;

	if (index << PAGE_SHIFT >= area->content->size || left > area->limit)
		return FAULT_PAST_END;
	frame = cache_frame(area->content, index, write && shared, &major);
	/* The cache may have unmapped pages for it, and tables with them. */
	leaf = frame ? leaf_of(space, va) : NULL;
	if (!leaf)
		return FAULT_NO_MEMORY;
	this_cpu_field(faults)->major += major;
	vm_count.pgmajfault += major;
	this_cpu_field(faults)->minor -= major;
	if (!shared && (write || left < PAGE_SIZE))
		return map_copy(space, area, va, leaf, direct(frame << PAGE_SHIFT),
				MIN(left, PAGE_SIZE));
	value = file_entry(area, index, frame);
	if (write) {
		mark_dirty(area->content, frame);
		value |= PTE_W | PTE_D;
	}
	if (pte_used(leaf[leaf_index(va)])) {
		table_drop(space, leaf, leaf_index(va));
		tlb_flush_page(space, va);
	}
	table_set(space, leaf, leaf_index(va), value);
	if (!write)
		map_file_around(space, area, va, leaf);
	return FAULT_DONE;
}

/* The entry holds a slot of the swap. */
static NOINLINE enum fault_result map_swapped(struct space *space, struct area *area, uint64_t va,
					      uint64_t *leaf, uint32_t access)
{
	unsigned index = leaf_index(va);
	uint32_t slot = pte_frame(leaf[index]);
	bool fresh, write = access & AREA_WRITE;
	uint64_t frame = table_frame(leaf, index, &fresh), start = clock_now();
	struct page *page;

	if (!frame)
		return FAULT_NO_MEMORY;
	page = page_of_frame(frame);
	swap_in(slot, page_address(page));
	replace_refault(slot);
	pressure_stalled(clock_now() - start);
	page->slot = 0;
	if (!write && !swap_is_short()) {
		/* The copy in the swap stands: the entry's hold becomes the page's. */
		swap_dup(slot);
		page->slot = slot;
	}
	table_drop(space, leaf, index);
	table_set(space, leaf, index, frame << PAGE_SHIFT | anonymous_bits(area, !page->slot));
	replace_add(page, leaf, index);
	this_cpu_field(faults)->major++;
	vm_count.pgmajfault++;
	this_cpu_field(faults)->minor--;
	return FAULT_DONE;
}

/* The entry is in use: what else can be wrong with it? */
static NOINLINE enum fault_result map_again(struct space *space, struct area *area, uint64_t va,
					    uint64_t *leaf, uint32_t access)
{
	uint64_t *pte = &leaf[leaf_index(va)];
	bool alone;

	if (!pte_holds(*pte))
		return map_swapped(space, area, va, leaf, access);
	alone = !(*pte & PTE_FILE) && !pte_page(*pte)->refs;
	if (*pte & PTE_KEPT) {
		*pte = (*pte & ~(PTE_KEPT | PTE_W)) | PTE_P | area_bits(area->flags);
		if (!alone)
			*pte &= ~PTE_W;
	}
	if ((access & AREA_WRITE) && !(*pte & PTE_W)) {
		if (*pte & PTE_FILE)
			return map_file(space, area, va, access);
		if (!alone)
			return map_copy(space, area, va, leaf, direct(*pte & PTE_FRAME), PAGE_SIZE);
		*pte |= PTE_W;
	}
	tlb_flush_page(space, va);
	return FAULT_DONE;
}

/* There is no leaf table at va and none could be made: a huge page is there, or memory is out. */
static NOINLINE enum fault_result map_huge_again(struct space *space, struct area *area,
						 uint64_t va)
{
	uint64_t size, *entry = table_find(space->root, va, &size);

	if (!entry || size == PAGE_SIZE)
		return FAULT_NO_MEMORY;
	*entry = (*entry & ~PTE_KEPT) | PTE_P | area_bits(area->flags);
	tlb_flush_page(space, va);
	return FAULT_DONE;
}

/* The area above the hole that holds va, grown down to it, or why it cannot be. */
static NOINLINE enum fault_result grow_stack(struct space *space, uint64_t va, struct area **grown)
{
	unsigned index = space_index(space, va);
	uint64_t below = index > 0 ? space->area[index - 1]->end : 0;
	struct area *area;

	if (index == space->area_count)
		return FAULT_NO_AREA;
	area = space->area[index];
	if (!(area->flags & AREA_GROWSDOWN))
		return FAULT_NO_AREA;
	va = ROUND_DOWN(va, PAGE_SIZE);
	if (area->end - va > space->stack_limit)
		return area->end - va <= space->stack_limit + STACK_GUARD ? FAULT_STACK_END
									  : FAULT_NO_AREA;
	if (va < below + STACK_GUARD)
		return FAULT_STACK_END;
	if (space_may_map(space, area->flags, (area->start - va) >> PAGE_SHIFT))
		return FAULT_STACK_END;
	space_account(space, area->flags, (area->start - va) >> PAGE_SHIFT);
	area->start = va;
	*grown = area;
	return FAULT_DONE;
}

static INLINE enum fault_result resolve(struct space *space, uint64_t va, uint32_t access)
{
	struct area *area = space_find(space, va);
	uint64_t *leaf;

	if (unlikely(!area)) {
		enum fault_result result = grow_stack(space, va, &area);

		if (result != FAULT_DONE)
			return result;
	}
	if (unlikely(!(area->flags & access)))
		return FAULT_ACCESS;
	va = ROUND_DOWN(va, PAGE_SIZE);
	if (unlikely(area->flags & (AREA_HUGE | AREA_HUGETLB)) && huge_map(space, area, va))
		return FAULT_DONE;
	leaf = leaf_of(space, va);
	if (unlikely(!leaf))
		return map_huge_again(space, area, va);
	if (unlikely(pte_used(leaf[leaf_index(va)])))
		return map_again(space, area, va, leaf, access);
	if (area->content)
		return map_file(space, area, va, access);
	return map_anonymous(space, area, va, leaf, access);
}

/* It failed: for want of memory, of which some may be found. */
static NOINLINE enum fault_result resolve_again(struct space *space, uint64_t va, uint32_t access,
						enum fault_result result)
{
	if (result == FAULT_NO_MEMORY && !space->doomed && memory_reclaim(RECLAIM_PAGES) &&
	    !space->doomed)
		result = resolve(space, va, access);
	if (result == FAULT_DONE)
		this_cpu_field(faults)->minor++;
	return result;
}

enum fault_result fault_resolve(struct space *space, uint64_t va, uint32_t access)
{
	enum fault_result result = resolve(space, va, access);

	vm_count.pgfault++;
	if (unlikely(result != FAULT_DONE))
		return resolve_again(space, va, access, result);
	this_cpu_field(faults)->minor++;
	return FAULT_DONE;
}

enum fault_result fault_resolve_now(struct space *space, uint64_t va, uint32_t access)
{
	enum fault_result result = fault_resolve(space, va, access);

	if (likely(result != FAULT_NO_MEMORY) || !spaces_doomed || space->doomed)
		return result;
	page_reserve_open = true;
	result = resolve(space, va, access);
	page_reserve_open = false;
	return result;
}

int fault_populate_for(struct space *space, uint64_t start, uint64_t end, uint32_t access)
{
	uint64_t need = access & AREA_WRITE ? PTE_P | PTE_W : PTE_P, size;

	for (uint64_t va = start; va < end; va += PAGE_SIZE) {
		uint64_t *pte = table_find(space->root, va, &size);
		enum fault_result result;

		if (pte && (*pte & need) == need)
			continue;
		result = fault_resolve(space, va, access);
		if (result != FAULT_DONE)
			return result == FAULT_NO_MEMORY ? -ENOMEM : -EFAULT;
	}
	return 0;
}

int fault_populate(struct space *space, uint64_t start, uint64_t end)
{
	int error = 0;

	for (unsigned i = space_index(space, start);
	     i < space->area_count && space->area[i]->start < end && !error; i++) {
		const struct area *area = space->area[i];
		bool write = (area->flags & (AREA_WRITE | AREA_SHARED)) == AREA_WRITE;

		if (area->flags & AREA_ACCESS)
			error = fault_populate_for(space, MAX(start, area->start),
						   MIN(end, area->end),
						   write ? AREA_WRITE : AREA_READ);
	}
	return error;
}

/* As table_find(); a leaf is remembered, for the next lookup is of the next page. */
static INLINE uint64_t *find_entry(struct space *space, uint64_t va, uint64_t *size)
{
	uint64_t *entry;

	*size = PAGE_SIZE;
	if (likely(va >> LEAF_SHIFT == space->leaf_number))
		return &space->leaf[leaf_index(va)];
	entry = table_find(space->root, va, size);
	if (entry && *size == PAGE_SIZE) {
		space->leaf = entry - leaf_index(va);
		space->leaf_number = va >> LEAF_SHIFT;
	}
	return entry;
}

uint64_t fault_translate(struct space *space, uint64_t va, bool write)
{
	uint64_t need = write ? PTE_P | PTE_U | PTE_W : PTE_P | PTE_U;
	uint64_t size, *pte = find_entry(space, va, &size);

	if (!pte || (*pte & need) != need) {
		enum fault_result result = FAULT_NO_AREA;

		if (va < USER_END)
			result = fault_resolve_now(space, va, write ? AREA_WRITE : AREA_READ);
		if (result == FAULT_NO_MEMORY)
			memory_hooks.out_of_memory(va);
		if (result != FAULT_DONE)
			return 0;
		pte = table_find(space->root, va, &size);
	}
	*pte |= write ? PTE_A | PTE_D : PTE_A;
	return (*pte & PTE_FRAME & ~(size - 1)) | (va & (size - 1));
}

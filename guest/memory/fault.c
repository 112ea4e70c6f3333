/*
 * The page fault, from address to entry:
 *
 * 1. the area that holds the address (a stack may grow to it first), and whether it allows this;
 * 2. the leaf table, remembered from the last fault or walked to;
 * 3. by what the entry is: a kept frame comes back; a file page is mapped where it lies in the
 *    archive, with its neighbours, or copied for a write; all else is anonymous.
 *
 * Anonymous pages of a fresh reservation need nothing but their entries, so a program that runs
 * upward through memory gets more at each fault, up to WINDOW_MAX; a page that is mapped and not
 * touched costs the host nothing.
 */
#include "guest/memory/fault.h"
#include "guest/cpu/tlb.h"
#include "guest/file/node.h"
#include "guest/lib/string.h"
#include "guest/process/process.h"

#define WINDOW_STEP 4
#define WINDOW_MAX  64
#define FILE_AROUND 16
/* With less than this free, faults map one page only. */
#define SCARCE_SHARE 8

#define PTE_ANON (PTE_P | PTE_U | PTE_A | PTE_D)

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

	if (area->next_fault != va)
		area->window = 0;
	else if (area->window < WINDOW_MAX)
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

static enum fault_result map_anonymous(struct space *space, struct area *area, uint64_t va,
				       uint64_t *leaf)
{
	unsigned index = leaf_index(va);
	struct page *record = page_of_address(leaf);
	uint64_t frame, value;
	unsigned mapped = 1;
	bool fresh;

	frame = table_frame(leaf, index, &fresh);
	if (unlikely(!frame))
		return FAULT_NO_MEMORY;
	value = frame << PAGE_SHIFT | PTE_ANON | area_bits(area->flags);
	if (unlikely(!fresh))
		page_clear(direct(frame << PAGE_SHIFT));
	else if (record->reserve && page_free_total > page_total / SCARCE_SHARE)
		mapped = map_following(area, va, &leaf[index], value);
	leaf[index] = value;
	record->count += mapped;
	space->minor_faults++;
	return FAULT_DONE;
}

/* The bytes of the file in the page at `va`; 0 beyond its end. */
static uint64_t file_bytes(const struct area *area, uint64_t va)
{
	uint64_t offset = area->offset + (va - area->start);
	uint64_t end = MIN(area->node->size, area->limit);

	return offset < end ? MIN(end - offset, PAGE_SIZE) : 0;
}

static const uint8_t *file_data(const struct area *area, uint64_t va)
{
	return area->node->data + area->offset + (va - area->start);
}

/* An owned copy of a page; `old` holds the frame copied from when the entry was present. */
static enum fault_result map_copy(struct space *space, struct area *area, uint64_t va,
				  uint64_t *leaf, const void *from, uint64_t length)
{
	unsigned index = leaf_index(va);
	struct page *record = page_of_address(leaf);
	bool held = pte_holds(leaf[index]), fresh;
	uint64_t frame = table_frame(leaf, index, &fresh);
	uint8_t *to;

	if (!frame)
		return FAULT_NO_MEMORY;
	to = direct(frame << PAGE_SHIFT);
	memcpy(to, from, length);
	if (!fresh)
		memset(to + length, 0, PAGE_SIZE - length);
	leaf[index] = frame << PAGE_SHIFT | PTE_ANON | area_bits(area->flags);
	if (held)
		tlb_flush_page(space, va);
	else
		record->count++;
	space->minor_faults++;
	return FAULT_DONE;
}

/* Maps the archive's page and those around it, as far as they are whole. */
static void map_file_around(struct area *area, uint64_t va, uint64_t *leaf)
{
	uint64_t start = MAX(ROUND_DOWN(va, FILE_AROUND * PAGE_SIZE), area->start);
	uint64_t end =
		MIN(ROUND_DOWN(va, FILE_AROUND * PAGE_SIZE) + FILE_AROUND * PAGE_SIZE, area->end);
	uint64_t whole = area->start + ROUND_DOWN(MIN(area->node->size, area->limit), PAGE_SIZE) -
			 area->offset;
	uint64_t value = ((uint64_t)file_data(area, start) - DIRECT_BASE) | PTE_P | PTE_U | PTE_A |
			 PTE_FILE | (area->flags & AREA_EXEC ? 0 : PTE_NX);
	struct page *record = page_of_address(leaf);

	for (end = MIN(end, whole); start < end; start += PAGE_SIZE, value += PAGE_SIZE) {
		uint64_t *pte = &leaf[leaf_index(start)];

		if (pte_holds(*pte))
			continue;
		*pte |= value;
		record->count++;
	}
}

static enum fault_result map_file(struct space *space, struct area *area, uint64_t va,
				  uint64_t *leaf, uint32_t access)
{
	uint64_t length = file_bytes(area, va);

	if (length == 0)
		return FAULT_PAST_END;
	/* A page is mapped where it lies unless it must differ: for a write, for the zeros after
	 * the end of the file, or when the archive did not align the file. */
	if ((access & AREA_WRITE) || length < PAGE_SIZE ||
	    ((uint64_t)area->node->data & (PAGE_SIZE - 1)))
		return map_copy(space, area, va, leaf, file_data(area, va), length);
	map_file_around(area, va, leaf);
	space->minor_faults++;
	return FAULT_DONE;
}

/* The entry holds a frame: what else can be wrong with it? */
static enum fault_result map_again(struct space *space, struct area *area, uint64_t va,
				   uint64_t *leaf, uint32_t access)
{
	uint64_t *pte = &leaf[leaf_index(va)];

	if (*pte & PTE_KEPT) {
		*pte = (*pte & ~PTE_KEPT) | PTE_P | area_bits(area->flags);
		if (*pte & PTE_FILE)
			*pte &= ~PTE_W;
	}
	if (!(access & AREA_WRITE) || (*pte & PTE_W)) {
		tlb_flush_page(space, va);
		return FAULT_DONE;
	}
	if (*pte & PTE_FILE)
		return map_copy(space, area, va, leaf, direct(*pte & PTE_FRAME), PAGE_SIZE);
	*pte |= PTE_W;
	tlb_flush_page(space, va);
	return FAULT_DONE;
}

/* The area above the hole that holds va, grown down to it, or why it cannot be. */
static enum fault_result grow_stack(struct space *space, uint64_t va, struct area **grown)
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
	area->start = va;
	*grown = area;
	return FAULT_DONE;
}

static uint64_t *leaf_of(struct space *space, uint64_t va)
{
	uint64_t *leaf;

	if (likely(va >> LEAF_SHIFT == space->leaf_number))
		return space->leaf;
	leaf = table_make_leaf(space->root, va);
	if (leaf) {
		space->leaf = leaf;
		space->leaf_number = va >> LEAF_SHIFT;
	}
	return leaf;
}

enum fault_result fault_resolve(struct space *space, uint64_t va, uint32_t access)
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
	leaf = leaf_of(space, va);
	if (unlikely(!leaf))
		return FAULT_NO_MEMORY;
	if (unlikely(pte_holds(leaf[leaf_index(va)])))
		return map_again(space, area, va, leaf, access);
	if (area->node)
		return map_file(space, area, va, leaf, access);
	return map_anonymous(space, area, va, leaf);
}

uint64_t fault_translate(struct space *space, uint64_t va, bool write)
{
	uint64_t need = write ? PTE_P | PTE_U | PTE_W : PTE_P | PTE_U;
	uint64_t *leaf = table_leaf(space->root, va);
	uint64_t *pte = leaf ? &leaf[leaf_index(va)] : NULL;

	if (!pte || (*pte & need) != need) {
		enum fault_result result = FAULT_NO_AREA;

		if (va < USER_END)
			result = fault_resolve(space, va, write ? AREA_WRITE : AREA_READ);
		if (result == FAULT_NO_MEMORY)
			process_out_of_memory(va);
		if (result != FAULT_DONE)
			return 0;
		leaf = table_leaf(space->root, va);
		pte = &leaf[leaf_index(va)];
	}
	*pte |= write ? PTE_A | PTE_D : PTE_A;
	return (*pte & PTE_FRAME) | (va & (PAGE_SIZE - 1));
}

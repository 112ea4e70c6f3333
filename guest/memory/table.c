/*
 * Page tables. table.h says what an entry may be and what a reservation is.
 *
 * Invariants: a leaf's record has PAGE_TABLE, and counts in `count` the entries that hold a frame;
 * a leaf with count 0 exists only inside an operation or before its first fault is done; a leaf
 * with `reserve` is on the list of reservations.
 */
#include "guest/memory/table.h"
#include "guest/cpu/tlb.h"
#include "guest/lib/errno.h"
#include "guest/lib/string.h"
#include "guest/memory/space.h"

#define RESERVE_ORDER 9

/* More flags of a leaf's record. */
#define LEAF_FRESH 0x10 /* its reservation was a fresh block */
#define LEAF_SINGLE                                                                                \
	0x20 /* no reservation to be had, or it was broken: single pages from now on               \
	      */

extern uint64_t boot_pml4[], vmap_pt[], vmap_pdpt[];

static uint32_t reservations; /* first leaf's frame, or 0 */

static void *table_create(void)
{
	struct page *page = page_alloc(0, PAGE_ZERO);

	if (!page && reservations_break() > 0)
		page = page_alloc(0, PAGE_ZERO);
	return page ? page_address(page) : NULL;
}

uint64_t *table_create_root(void)
{
	uint64_t *root = table_create();

	if (root) {
		root[DIRECT_SLOT] = boot_pml4[DIRECT_SLOT];
		root[VMAP_SLOT] = boot_pml4[VMAP_SLOT];
		root[IMAGE_SLOT] = boot_pml4[IMAGE_SLOT];
	}
	return root;
}

static void table_free(uint64_t *table)
{
	page_free(page_of_address(table), 0, false);
}

static inline uint64_t *table_next(const uint64_t *table, unsigned index)
{
	uint64_t entry = table[index];

	return entry & PTE_P ? direct(entry & PTE_FRAME) : NULL;
}

uint64_t *table_leaf(uint64_t *root, uint64_t va)
{
	uint64_t *table = table_next(root, va >> 39 & 511);

	if (table)
		table = table_next(table, va >> 30 & 511);
	return table ? table_next(table, va >> 21 & 511) : NULL;
}

static uint64_t *table_make_next(uint64_t *table, unsigned index, bool leaf)
{
	uint64_t *next = table_next(table, index);

	if (next)
		return next;
	next = table_create();
	if (!next)
		return NULL;
	if (leaf) {
		struct page *record = page_of_address(next);

		record->flags = PAGE_TABLE;
		record->reserve = 0;
		record->count = 0;
	}
	table[index] = page_physical(page_of_address(next)) | PTE_P | PTE_W | PTE_U | PTE_A;
	return next;
}

uint64_t *table_make_leaf(uint64_t *root, uint64_t va)
{
	uint64_t *table = table_make_next(root, va >> 39 & 511, false);

	if (table)
		table = table_make_next(table, va >> 30 & 511, false);
	return table ? table_make_next(table, va >> 21 & 511, true) : NULL;
}

static void reservation_add(struct page *leaf, const struct page *run, bool fresh)
{
	leaf->reserve = page_frame(run);
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

/* Whether the frame that entry `index` holds, if it holds one, is the reservation's. */
static inline bool is_reserved(const struct page *leaf, unsigned index, uint64_t pte)
{
	return leaf->reserve && (pte & PTE_FRAME) >> PAGE_SHIFT == leaf->reserve + index;
}

/* Gives back the run's frames that no entry holds, in runs of equal freshness. */
static uint64_t reservation_break(struct page *leaf)
{
	uint64_t *entry = page_address(leaf);
	uint32_t first = leaf->reserve, freed = 0;
	bool all_fresh = leaf->flags & LEAF_FRESH;
	unsigned start = 0, i = 0;

	while (i < TABLE_ENTRIES) {
		bool fresh = all_fresh && !(entry[i] & PTE_STALE);

		for (start = i; i < TABLE_ENTRIES; i++) {
			bool held = pte_holds(entry[i]) && is_reserved(leaf, i, entry[i]);

			if (held || (all_fresh && !(entry[i] & PTE_STALE)) != fresh)
				break;
			entry[i] &= ~PTE_STALE;
		}
		page_free_run(first + start, i - start, fresh);
		freed += i - start;
		if (i == start)
			i++;
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

static uint64_t single_frame(bool *fresh)
{
	struct page *page = page_alloc_user(0, fresh);

	if (!page && reservations_break() > 0)
		page = page_alloc_user(0, fresh);
	return page ? page_frame(page) : 0;
}

uint64_t table_frame(uint64_t *leaf, unsigned index, bool *fresh)
{
	struct page *record = page_of_address(leaf);

	if (unlikely(!record->reserve)) {
		struct page *run = NULL;
		bool run_fresh;

		if (!(record->flags & LEAF_SINGLE))
			run = page_alloc_user(RESERVE_ORDER, &run_fresh);
		if (!run) {
			record->flags |= LEAF_SINGLE;
			return single_frame(fresh);
		}
		reservation_add(record, run, run_fresh);
	}
	*fresh = (record->flags & LEAF_FRESH) && !(leaf[index] & PTE_STALE);
	return record->reserve + index;
}

void table_drop(uint64_t *leaf, unsigned index)
{
	struct page *record = page_of_address(leaf);
	uint64_t pte = leaf[index];

	if (!pte_holds(pte))
		return;
	record->count--;
	leaf[index] = pte & PTE_STALE;
	if (is_reserved(record, index, pte)) {
		leaf[index] = PTE_STALE;
	} else if (!(pte & PTE_FILE)) {
		struct page *page = page_of_frame((pte & PTE_FRAME) >> PAGE_SHIFT);

		if (page->refs > 0)
			page->refs--;
		else
			page_free(page, 0, false);
	}
}

/* A leaf that holds nothing any more goes, and its reservation with it. */
static void leaf_free(uint64_t *leaf)
{
	struct page *record = page_of_address(leaf);

	if (record->reserve)
		reservation_break(record);
	table_free(leaf);
}

static void leaf_unmap(uint64_t *entry, unsigned first, unsigned last)
{
	uint64_t *leaf = direct(*entry & PTE_FRAME);
	struct page *record = page_of_address(leaf);

	for (unsigned i = first; i < last && record->count > 0; i++) {
		if (leaf[i])
			table_drop(leaf, i);
	}
	if (record->count > 0)
		return;
	*entry = 0;
	leaf_free(leaf);
}

/* Where va's leaf table ends, or the hole above it: *entry is NULL when there is no table. */
static uint64_t leaf_step(uint64_t *root, uint64_t va, uint64_t end, uint64_t **entry)
{
	uint64_t *upper = table_next(root, va >> 39 & 511);
	uint64_t *middle = upper ? table_next(upper, va >> 30 & 511) : NULL;
	uint64_t span = middle ? LEAF_SIZE : upper ? 1ull << 30 : 1ull << 39;

	*entry = middle && (middle[va >> 21 & 511] & PTE_P) ? &middle[va >> 21 & 511] : NULL;
	return MIN(ROUND_DOWN(va, span) + span, end);
}

/* For each leaf table of [start, end) that exists: the part [va, next), the entry that points to
 * it. */
#define FOR_EACH_LEAF(root, va, next, start, end, entry)                                           \
	for (uint64_t va = (start), next, *entry;                                                  \
	     va < (end) && (next = leaf_step(root, va, end, &entry), 1); va = next)                \
		if (entry)

void table_unmap(struct space *space, uint64_t start, uint64_t end)
{
	FOR_EACH_LEAF(space->root, va, next, start, end, entry)
	{
		leaf_unmap(entry, leaf_index(va), leaf_index(va) + ((next - va) >> PAGE_SHIFT));
	}
	tlb_flush_range(space, start, end);
}

void table_protect(struct space *space, uint64_t start, uint64_t end, bool allowed, uint64_t bits)
{
	FOR_EACH_LEAF(space->root, va, next, start, end, entry)
	{
		uint64_t *leaf = direct(*entry & PTE_FRAME);
		uint64_t *last = leaf + leaf_index(va) + ((next - va) >> PAGE_SHIFT);

		for (uint64_t *pte = leaf + leaf_index(va); pte < last; pte++) {
			uint64_t value = *pte & ~(PTE_P | PTE_KEPT | PTE_W | PTE_NX);

			if (!pte_holds(*pte))
				continue;
			value |= allowed ? PTE_P | bits : PTE_KEPT;
			if (value & PTE_FILE)
				value &= ~PTE_W;
			*pte = value;
		}
	}
	tlb_flush_range(space, start, end);
}

/* A reserved frame that moves alone becomes a single one, so its old table gives up the
 * reservation. */
static void entry_move(uint64_t *from, unsigned from_index, uint64_t *to, unsigned to_index)
{
	struct page *record = page_of_address(from);
	uint64_t pte = from[from_index];

	if (!pte_holds(pte))
		return;
	if (is_reserved(record, from_index, pte))
		reservation_break(record);
	from[from_index] = pte & PTE_STALE;
	record->count--;
	to[to_index] = (pte & ~PTE_STALE) | (to[to_index] & PTE_STALE);
	page_of_address(to)->count++;
}

/* Whether a whole leaf table can change places: equal offsets, nothing at the other end. */
static bool leaf_moves(uint64_t *root, uint64_t from, uint64_t to, uint64_t size)
{
	return size == LEAF_SIZE && !((from | to) & (LEAF_SIZE - 1)) && !table_leaf(root, to);
}

static uint64_t *entry_of_leaf(uint64_t *root, uint64_t va)
{
	uint64_t *entry = NULL;

	leaf_step(root, va, va + PAGE_SIZE, &entry);
	return entry;
}

static int part_move(uint64_t *root, uint64_t from, uint64_t to, uint64_t size)
{
	bool whole = leaf_moves(root, from, to, size);
	uint64_t *source = table_leaf(root, from), *target;

	if (!source)
		return 0;
	target = table_make_leaf(root, to);
	if (!target)
		return -ENOMEM;
	if (whole) {
		uint64_t *from_entry = entry_of_leaf(root, from);
		uint64_t *to_entry = entry_of_leaf(root, to);
		uint64_t moved = *from_entry;

		*from_entry = *to_entry;
		*to_entry = moved;
		return 0;
	}
	for (unsigned i = 0; i < size >> PAGE_SHIFT; i++)
		entry_move(source, leaf_index(from) + i, target, leaf_index(to) + i);
	return 0;
}

static uint64_t to_leaf_end(uint64_t va)
{
	return LEAF_SIZE - (va & (LEAF_SIZE - 1));
}

int table_move(struct space *space, uint64_t from, uint64_t to, uint64_t size)
{
	uint64_t part;
	int error = 0;

	for (uint64_t at = 0; at < size && !error; at += part) {
		part = MIN(to_leaf_end(from + at), to_leaf_end(to + at));
		part = MIN(part, size - at);
		error = part_move(space->root, from + at, to + at, part);
		if (error)
			table_move(space, to, from, at);
	}
	if (!error)
		table_unmap(space, from, from + size);
	return error;
}

void table_destroy_root(uint64_t *root)
{
	for (unsigned i = 0; i < TABLE_ENTRIES / 2; i++) {
		uint64_t *upper = table_next(root, i);

		if (!upper)
			continue;
		for (unsigned j = 0; j < TABLE_ENTRIES; j++) {
			uint64_t *middle = table_next(upper, j);

			if (middle)
				table_free(middle);
		}
		table_free(upper);
	}
	table_free(root);
}

bool vmap_set(uint64_t va, uint64_t pte)
{
	uint64_t *leaf = table_make_leaf(boot_pml4, va);

	if (leaf)
		leaf[leaf_index(va)] = pte;
	return leaf != NULL;
}

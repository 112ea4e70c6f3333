/*
 * Page tables. table.h says what an entry may be.
 *
 * Invariants: a table's record counts in `count` its entries in use (the root's does not: the root
 * stays); a leaf's has PAGE_TABLE, and in `where` its space and place; a table with count 0 exists
 * only inside an operation, before the first fault in it is done, or zeroed on the list of free
 * ones.
 */
#include "guest/memory/table.h"
#include "guest/lib/errno.h"
#include "guest/memory/flush.h"
#include "guest/memory/huge.h"
#include "guest/memory/owner.h"
#include "guest/memory/replace.h"
#include "guest/memory/reserve.h"
#include "guest/memory/space.h"

#define FREE_TABLES_MAX 128
#define WHERE_VA_BITS	26 /* of a leaf's `where`: va >> LEAF_SHIFT; the space above it */
#define WHERE_ALIGN	4  /* spaces lie at multiples of 16 */

extern uint64_t boot_pml4[];

static uint32_t free_tables; /* first one's frame, or 0 */
static unsigned free_table_count;

uint64_t *table_create(void)
{
	struct page *page;

	if (free_tables) {
		page = page_of_frame(free_tables);
		free_tables = page->next;
		free_table_count--;
		return page_address(page);
	}
	page = page_alloc(0, PAGE_ZERO);
	return page ? page_address(page) : NULL;
}

void table_free(uint64_t *table)
{
	struct page *page = page_of_address(table);

	if (free_table_count == FREE_TABLES_MAX) {
		page_free(page, 0, false);
		return;
	}
	page->flags = 0;
	page->reserve = 0;
	page->count = 0;
	page->next = free_tables;
	free_tables = page_frame(page);
	free_table_count++;
}

uint64_t table_trim(void)
{
	uint64_t freed = free_table_count;

	while (free_tables) {
		struct page *page = page_of_frame(free_tables);

		free_tables = page->next;
		page_free(page, 0, false);
	}
	free_table_count = 0;
	return freed;
}

uint64_t *table_create_root(void)
{
	uint64_t *root = table_create();

	if (root) {
		for (unsigned i = 0; i < DIRECT_SLOTS; i++)
			root[DIRECT_SLOT + i] = boot_pml4[DIRECT_SLOT + i];
		root[VMAP_SLOT] = boot_pml4[VMAP_SLOT];
		root[IMAGE_SLOT] = boot_pml4[IMAGE_SLOT];
	}
	return root;
}

void table_destroy_root(uint64_t *root)
{
	for (unsigned i = 0; i < DIRECT_SLOTS; i++)
		root[DIRECT_SLOT + i] = 0;
	root[VMAP_SLOT] = root[IMAGE_SLOT] = 0;
	table_free(root);
}

/* ---- from an address down ---- */

static inline uint64_t *table_next(const uint64_t *table, unsigned index)
{
	return pte_table(table[index]);
}

uint64_t *table_leaf(uint64_t *root, uint64_t va)
{
	uint64_t *table = table_next(root, va >> 39 & 511);

	if (table)
		table = table_next(table, va >> GIGA_SHIFT & 511);
	return table ? table_next(table, va >> LEAF_SHIFT & 511) : NULL;
}

uint64_t *table_find(uint64_t *root, uint64_t va, uint64_t *size)
{
	uint64_t *entry = NULL;

	table_step(root, va, va + 1, &entry);
	if (!entry)
		return NULL;
	if (!(*entry & PTE_PS)) {
		*size = PAGE_SIZE;
		return (uint64_t *)direct(*entry & PTE_FRAME) + leaf_index(va);
	}
	*size = huge_size(root, va, entry);
	return entry;
}

uint64_t table_step(uint64_t *root, uint64_t va, uint64_t end, uint64_t **entry)
{
	uint64_t *upper = table_next(root, va >> 39 & 511), *middle = NULL;
	uint64_t span = 1ull << 39;

	*entry = NULL;
	if (upper) {
		uint64_t *at = &upper[va >> GIGA_SHIFT & 511];

		span = GIGA_SIZE;
		middle = pte_table(*at);
		if (!middle && *at)
			*entry = at;
	}
	if (middle) {
		uint64_t *at = &middle[va >> LEAF_SHIFT & 511];

		span = LEAF_SIZE;
		if (*at)
			*entry = at;
	}
	return MIN(ROUND_DOWN(va, span) + span, end);
}

static uint64_t *make_next(uint64_t *table, unsigned index)
{
	uint64_t *next = table_next(table, index);

	if (next || table[index])
		return next;
	next = table_create();
	if (!next)
		return NULL;
	page_of_address(table)->count++;
	table[index] = page_physical(page_of_address(next)) | PTE_P | PTE_W | PTE_U | PTE_A;
	return next;
}

static uint64_t *make_leaf(uint64_t *root, struct space *space, uint64_t va)
{
	uint64_t *table = make_next(root, va >> 39 & 511), *leaf;

	if (table)
		table = make_next(table, va >> GIGA_SHIFT & 511);
	leaf = table ? make_next(table, va >> LEAF_SHIFT & 511) : NULL;
	if (leaf && !(page_of_address(leaf)->flags & PAGE_TABLE))
		table_init_leaf(leaf, space, va);
	return leaf;
}

/* Frees the tables above va's leaf that hold nothing. */
static void prune(uint64_t *root, uint64_t va)
{
	uint64_t *upper_entry = &root[va >> 39 & 511], *upper = pte_table(*upper_entry);
	uint64_t *middle_entry = upper ? &upper[va >> GIGA_SHIFT & 511] : NULL;
	uint64_t *middle = upper ? pte_table(*middle_entry) : NULL;

	if (middle && page_of_address(middle)->count == 0) {
		table_free(middle);
		*middle_entry = 0;
		page_of_address(upper)->count--;
	}
	if (upper && page_of_address(upper)->count == 0) {
		table_free(upper);
		*upper_entry = 0;
	}
}

uint64_t *table_make_leaf(struct space *space, uint64_t va)
{
	uint64_t *leaf = space->doomed ? NULL : make_leaf(space->root, space, va);

	if (!leaf)
		prune(space->root, va);
	return leaf;
}

uint64_t *table_make_entry(struct space *space, uint64_t va, uint64_t size)
{
	uint64_t *table = space->doomed ? NULL : make_next(space->root, va >> 39 & 511);
	unsigned shift = size == GIGA_SIZE ? GIGA_SHIFT : LEAF_SHIFT;

	if (table && shift == LEAF_SHIFT)
		table = make_next(table, va >> GIGA_SHIFT & 511);
	if (!table)
		prune(space->root, va);
	return table ? &table[va >> shift & 511] : NULL;
}

void table_init_leaf(uint64_t *leaf, struct space *space, uint64_t va)
{
	struct page *record = page_of_address(leaf);
	uint64_t number = va >> LEAF_SHIFT & ((1ull << WHERE_VA_BITS) - 1);

	record->flags = PAGE_TABLE;
	record->reserve = 0;
	record->count = 0;
	record->where =
		space ? ((uint64_t)space - DIRECT_BASE) >> WHERE_ALIGN << WHERE_VA_BITS | number
		      : 0;
}

struct space *table_space(const uint64_t *leaf)
{
	return direct(page_of_address(leaf)->where >> WHERE_VA_BITS << WHERE_ALIGN);
}

uint64_t table_address(const uint64_t *leaf)
{
	return (page_of_address(leaf)->where & ((1ull << WHERE_VA_BITS) - 1)) << LEAF_SHIFT;
}

/* ---- emptying ---- */

void table_clear_entry(struct space *space, uint64_t va, uint64_t *entry)
{
	*entry = 0;
	page_of_address(entry)->count--;
	prune(space->root, va);
}

/* A page that no entry holds any more. */
static void anonymous_free(struct page *page, bool reserved)
{
	if (unlikely(swap_on)) {
		replace_remove(page);
		if (page->slot)
			swap_free(page->slot);
		page->slot = 0;
	}
	if (!reserved)
		page_free(page, 0, false);
}

static enum resident_kind kind_of(uint64_t pte)
{
	if (!pte_holds(pte))
		return RESIDENT_SWAPPED;
	return !(pte & PTE_FILE)   ? RESIDENT_ANONYMOUS
	       : pte & PTE_COUNTED ? RESIDENT_SHARED
				   : RESIDENT_FILE;
}

static void drop_other(uint64_t pte)
{
	if (!pte_holds(pte))
		swap_free(pte_frame(pte));
	else if (pte & PTE_COUNTED)
		page_put(pte_frame(pte));
}

void table_drop(struct space *space, uint64_t *leaf, unsigned index)
{
	struct page *record = page_of_address(leaf), *page;
	uint64_t pte = leaf[index];
	bool reserved;

	if (!pte_used(pte))
		return;
	leaf[index] = pte & PTE_SLOT;
	record->count--;
	space->resident[kind_of(pte)]--;
	if (unlikely(!pte_anonymous(pte))) {
		drop_other(pte);
		return;
	}
	page = pte_page(pte);
	reserved = is_reserved(record, index, pte);
	if (reserved)
		leaf[index] = page->refs ? PTE_LENT : PTE_STALE;
	if (page->refs)
		page->refs--;
	else
		anonymous_free(page, reserved);
}

void table_set(struct space *space, uint64_t *leaf, unsigned index, uint64_t value)
{
	leaf[index] = value | (leaf[index] & PTE_SLOT);
	page_of_address(leaf)->count++;
	space->resident[kind_of(value)]++;
}

/* A leaf that holds nothing any more goes, and its reservation with it. */
static void leaf_free(uint64_t *leaf)
{
	struct page *record = page_of_address(leaf);

	if (record->reserve)
		reservation_break(record);
	table_free(leaf);
}

static void leaf_unmap(struct space *space, uint64_t va, uint64_t *entry, uint64_t end, bool all)
{
	uint64_t *leaf = pte_table(*entry);
	struct page *record = page_of_address(leaf);
	unsigned last = leaf_index(va) + ((end - va) >> PAGE_SHIFT);

	for (unsigned i = leaf_index(va); i < last && record->count > 0; i++) {
		if (leaf[i] && (all || (leaf[i] & PTE_FILE)))
			table_drop(space, leaf, i);
	}
	if (record->count > 0)
		return;
	table_clear_entry(space, va, entry);
	leaf_free(leaf);
}

static void unmap(struct space *space, uint64_t start, uint64_t end, bool all)
{
	space->resident_peak = MAX(space->resident_peak, space_resident(space));
	FOR_EACH_LEAF(space->root, va, next, start, end, entry)
	{
		if (unlikely(*entry & PTE_PS)) {
			if (!all || huge_unmap(space, va, next, entry))
				continue;
		}
		leaf_unmap(space, va, entry, next, all);
	}
	space->leaf_number = LEAF_NONE;
	tlb_flush_range(space, start, end);
}

void table_unmap(struct space *space, uint64_t start, uint64_t end)
{
	unmap(space, start, end, true);
}

void table_unmap_files(struct space *space, uint64_t start, uint64_t end)
{
	unmap(space, start, end, false);
}

/* ---- changing ---- */

static uint64_t protected_entry(uint64_t pte, bool allowed, uint64_t bits)
{
	uint64_t value = pte & ~(PTE_P | PTE_KEPT | PTE_W | PTE_NX);

	value |= allowed ? PTE_P | bits : PTE_KEPT;
	if ((value & PTE_W) && ((value & PTE_FILE) || pte_page(pte)->refs))
		value &= ~PTE_W;
	return value;
}

void table_protect(struct space *space, uint64_t start, uint64_t end, bool allowed, uint64_t bits)
{
	FOR_EACH_LEAF(space->root, va, next, start, end, entry)
	{
		uint64_t *leaf, *last;

		if (unlikely(*entry & PTE_PS)) {
			if (huge_protect(space, va, next, entry, allowed, bits))
				continue;
		}
		leaf = pte_table(*entry);
		last = leaf + leaf_index(va) + ((next - va) >> PAGE_SHIFT);
		for (uint64_t *pte = leaf + leaf_index(va); pte < last; pte++) {
			if (pte_holds(*pte))
				*pte = protected_entry(*pte, allowed, bits);
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

	if (!pte_used(pte))
		return;
	if (pte_holds(pte) && is_reserved(record, from_index, pte)) {
		reservation_break(record);
		pte = from[from_index];
	}
	if (pte_anonymous(pte) && !pte_page(pte)->refs)
		page_set_owner(pte_page(pte), page_of_address(to), to_index);
	from[from_index] = pte & PTE_SLOT;
	record->count--;
	to[to_index] = (pte & ~PTE_SLOT) | (to[to_index] & PTE_SLOT);
	page_of_address(to)->count++;
}

static uint64_t *entry_of(uint64_t *root, uint64_t va)
{
	uint64_t *entry = NULL;

	table_step(root, va, va + PAGE_SIZE, &entry);
	return entry;
}

/* A whole leaf table, or a huge page, changes places: equal offsets, nothing at the other end. */
static int whole_move(struct space *space, uint64_t from, uint64_t to)
{
	uint64_t *from_entry = entry_of(space->root, from);
	uint64_t *to_entry = table_make_entry(space, to, LEAF_SIZE);
	uint64_t *leaf = pte_table(*from_entry);

	if (!to_entry)
		return -ENOMEM;
	*to_entry = *from_entry;
	page_of_address(to_entry)->count++;
	if (leaf) {
		struct page *record = page_of_address(leaf);

		record->where = ROUND_DOWN(record->where, 1ull << WHERE_VA_BITS) | to >> LEAF_SHIFT;
	}
	table_clear_entry(space, from, from_entry);
	return 0;
}

static int part_move(struct space *space, uint64_t from, uint64_t to, uint64_t size)
{
	uint64_t *source = entry_of(space->root, from), *target;

	if (!source)
		return 0;
	if (size == LEAF_SIZE && !((from | to) & (LEAF_SIZE - 1)) && !entry_of(space->root, to))
		return whole_move(space, from, to);
	target = table_make_leaf(space, to);
	if (!target || ((*source & PTE_PS) && !huge_split(space, from, source)))
		return -ENOMEM;
	source = table_leaf(space->root, from);
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
		error = part_move(space, from + at, to + at, part);
		if (error)
			table_move(space, to, from, at);
	}
	/* The entries left at `from` hold nothing. */
	if (!error)
		table_unmap(space, from, from + size);
	return error;
}

bool vmap_set(uint64_t va, uint64_t pte)
{
	uint64_t *leaf = make_leaf(boot_pml4, NULL, va);

	if (leaf)
		leaf[leaf_index(va)] = pte;
	return leaf != NULL;
}

volatile void *vmap_registers(uint64_t physical, uint64_t length)
{
	static uint64_t next = VMAP_BASE;
	uint64_t within = physical & (PAGE_SIZE - 1);
	uint64_t end = next + ROUND_UP(within + length, PAGE_SIZE);
	volatile void *registers = (volatile void *)(next + within);

	if (length > GIGA_SIZE || end > VMAP_BASE + GIGA_SIZE)
		return NULL;
	for (physical -= within; next < end; next += PAGE_SIZE, physical += PAGE_SIZE) {
		if (!vmap_set(next, physical | PTE_P | PTE_W | PTE_PCD | PTE_A | PTE_D | PTE_NX))
			return NULL;
	}
	return registers;
}

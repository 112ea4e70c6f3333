/*
 * Huge pages. huge.h has the rules.
 *
 * Invariant: an entry with PTE_PS of 2 MiB owns a block of RESERVE_ORDER and the zero table whose
 * frame is the block's head's `next`; one of 1 GiB owns a block of GIGA_ORDER and no table.
 */
#include "guest/memory/huge.h"
#include "guest/lib/count.h"
#include "guest/lib/string.h"
#include "guest/lib/text.h"
#include "guest/memory/compact.h"
#include "guest/memory/flush.h"
#include "guest/memory/replace.h"
#include "guest/memory/reserve.h"

#define GIGA_ORDER (GIGA_SHIFT - PAGE_SHIFT)
#define PTE_ASKED  PTE_STALE /* of a huge page: MAP_HUGETLB's */

uint64_t huge_on_demand, huge_asked_for;

/* MAP_HUGETLB's pages are not counted as resident, as on Linux. */
static void count(struct space *space, bool asked, int64_t pages)
{
	if (asked) {
		huge_asked_for += pages;
	} else {
		huge_on_demand += pages;
		space->resident[RESIDENT_ANONYMOUS] += pages;
	}
}

uint64_t huge_size(uint64_t *root, uint64_t va, const uint64_t *entry)
{
	const uint64_t *upper = pte_table(root[va >> 39 & 511]);

	return entry == &upper[va >> GIGA_SHIFT & 511] ? GIGA_SIZE : LEAF_SIZE;
}

static bool wants(const struct area *area, uint64_t start, uint64_t size)
{
	return (area->flags & (AREA_HUGE | AREA_HUGETLB)) && !(area->flags & AREA_NO_HUGE) &&
	       !area->content && start >= area->start && start + size <= area->end;
}

static struct page *take_block(unsigned order, bool *fresh)
{
	struct page *block = page_alloc_user(order, fresh);

	if (!block && compact_for(order))
		block = page_alloc_user(order, fresh);
	return block;
}

bool huge_map(struct space *space, struct area *area, uint64_t va)
{
	uint64_t size = area->flags & AREA_GIGA ? GIGA_SIZE : LEAF_SIZE;
	uint64_t start = ROUND_DOWN(va, size), *entry, *leaf = NULL;
	struct page *block = NULL;
	bool fresh;

	if (!wants(area, start, size))
		return false;
	entry = table_make_entry(space, start, size);
	if (!entry || *entry)
		return false;
	if (size == LEAF_SIZE)
		leaf = table_create();
	if (leaf || size == GIGA_SIZE)
		block = take_block(size == GIGA_SIZE ? GIGA_ORDER : RESERVE_ORDER, &fresh);
	if (!block) {
		vm_count.thp_fault_fallback++;
		if (leaf)
			table_free(leaf);
		return false;
	}
	if (!fresh)
		memset(page_address(block), 0, size);
	if (leaf)
		block->next = page_frame(page_of_address(leaf));
	*entry = page_physical(block) | PTE_ANONYMOUS | PTE_PS | area_bits(area->flags) |
		 (area->flags & AREA_HUGETLB ? PTE_ASKED : 0);
	page_of_address(entry)->count++;
	vm_count.thp_fault_alloc++;
	count(space, area->flags & AREA_HUGETLB, size >> PAGE_SHIFT);
	return true;
}

static void drop(struct space *space, uint64_t va, uint64_t *entry, uint64_t size)
{
	struct page *block = pte_page(*entry);

	count(space, *entry & PTE_ASKED, -(int64_t)(size >> PAGE_SHIFT));
	if (size == LEAF_SIZE)
		table_free(direct((uint64_t)block->next << PAGE_SHIFT));
	page_free(block, size == GIGA_SIZE ? GIGA_ORDER : RESERVE_ORDER, false);
	table_clear_entry(space, va, entry);
}

bool huge_unmap(struct space *space, uint64_t va, uint64_t next, uint64_t *entry)
{
	uint64_t size = huge_size(space->root, va, entry);

	if (next - va == size) {
		drop(space, va, entry, size);
		return true;
	}
	CHECK(size == LEAF_SIZE);
	huge_split(space, va, entry);
	return false;
}

bool huge_protect(struct space *space, uint64_t va, uint64_t next, uint64_t *entry, bool allowed,
		  uint64_t bits)
{
	uint64_t size = huge_size(space->root, va, entry);

	if (next - va == size) {
		*entry &= ~(PTE_P | PTE_KEPT | PTE_W | PTE_NX);
		*entry |= allowed ? PTE_P | bits : PTE_KEPT;
		return true;
	}
	CHECK(size == LEAF_SIZE);
	huge_split(space, va, entry);
	return false;
}

static void split_to_leaf(struct space *space, uint64_t va, uint64_t *entry)
{
	struct page *block = pte_page(*entry), *record = page_of_frame(block->next);
	uint64_t *leaf = page_address(record);
	uint64_t value = *entry & ~(PTE_PS | PTE_ASKED);
	bool asked = *entry & PTE_ASKED;

	vm_count.thp_split_page++;
	table_init_leaf(leaf, space, va);
	record->count = TABLE_ENTRIES;
	reservation_add(record, page_frame(block), false);
	for (unsigned i = 0; i < TABLE_ENTRIES; i++) {
		leaf[i] = value + i * PAGE_SIZE;
		if (unlikely(swap_on))
			replace_add(block + i, leaf, i);
	}
	*entry = page_physical(record) | PTE_P | PTE_W | PTE_U | PTE_A;
	count(space, asked, -TABLE_ENTRIES);
	space->resident[RESIDENT_ANONYMOUS] += TABLE_ENTRIES;
	tlb_flush_range(space, ROUND_DOWN(va, LEAF_SIZE), ROUND_DOWN(va, LEAF_SIZE) + LEAF_SIZE);
}

/* A chain, through `next`, of as many zero tables; 0 when memory is out. */
static uint32_t make_tables(unsigned wanted)
{
	uint32_t first = 0;

	for (; wanted > 0; wanted--) {
		uint64_t *table = table_create();

		if (!table)
			break;
		page_of_address(table)->next = first;
		first = page_frame(page_of_address(table));
	}
	while (wanted > 0 && first) {
		struct page *page = page_of_frame(first);

		first = page->next;
		table_free(page_address(page));
	}
	return first;
}

static bool split_giga(struct space *space, uint64_t va, uint64_t *entry)
{
	uint32_t leaf = make_tables(TABLE_ENTRIES);
	uint64_t *table = leaf ? table_create() : NULL, value = *entry;

	while (leaf) {
		struct page *record = page_of_frame(leaf);
		unsigned i = table ? page_of_address(table)->count++ : 0;

		leaf = record->next;
		if (table) {
			table[i] = value + i * LEAF_SIZE;
			pte_page(table[i])->next = page_frame(record);
		} else {
			table_free(page_address(record));
		}
	}
	if (!table)
		return false;
	*entry = page_physical(page_of_address(table)) | PTE_P | PTE_W | PTE_U | PTE_A;
	for (unsigned i = 0; i < TABLE_ENTRIES; i++)
		split_to_leaf(space, ROUND_DOWN(va, GIGA_SIZE) + i * LEAF_SIZE, &table[i]);
	return true;
}

bool huge_split(struct space *space, uint64_t va, uint64_t *entry)
{
	if (huge_size(space->root, va, entry) == GIGA_SIZE)
		return split_giga(space, va, entry);
	split_to_leaf(space, va, entry);
	return true;
}

bool huge_split_any(void)
{
	if (huge_on_demand == 0)
		return false;
	for (struct space *space = space_list; space; space = space->next) {
		FOR_EACH_LEAF(space->root, va, next, 0, USER_END, entry)
		{
			if ((*entry & PTE_PS) && !(*entry & PTE_ASKED))
				return huge_split(space, va, entry);
		}
	}
	return false;
}

void huge_meminfo_text(struct text *text)
{
	text_add(text,
		 "AnonHugePages:  %8lu kB\nHugePages_Total:%8lu\nHugePages_Free: %8u\n"
		 "Hugepagesize:   %8llu kB\nHugetlb:        %8lu kB\n",
		 huge_on_demand * (PAGE_SIZE / 1024), huge_asked_for / TABLE_ENTRIES, 0,
		 LEAF_SIZE / 1024, huge_asked_for * (PAGE_SIZE / 1024));
}

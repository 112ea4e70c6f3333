/*
 * Changes to a process's memory from outside the process: a file's page that changes is unmapped
 * where it is mapped, a written page is found clean or dirty, and a process that is being killed
 * for its memory loses it at once.
 */
#include "guest/memory/mapping.h"
#include "guest/lib/count.h"
#include "guest/memory/cache.h"
#include "guest/memory/flush.h"
#include "guest/memory/space.h"

/* The part of the area that maps pages [first, last) of its file; false when there is none. */
static bool overlap(const struct area *area, uint64_t first, uint64_t last, uint64_t *start,
		    uint64_t *end)
{
	uint64_t low = area_page(area, area->start), high = area_page(area, area->end);

	first = MAX(first, low);
	last = MIN(last, high);
	if (first >= last)
		return false;
	*start = area->start + ((first - low) << PAGE_SHIFT);
	*end = area->start + ((last - low) << PAGE_SHIFT);
	return true;
}

void space_unmap_file(struct content *content, uint64_t first, uint64_t last, bool even_private)
{
	for (struct area *area = content->mappings; area; area = area->next_mapping) {
		uint64_t start, end;

		if (!overlap(area, first, last, &start, &end))
			continue;
		if (even_private)
			table_unmap(area->space, start, end);
		else
			table_unmap_files(area->space, start, end);
	}
}

/* Read-only: the next write marks the page dirty again. */
static void protect_page(const struct area *area, uint64_t index)
{
	uint64_t va, end, *leaf;

	if (!overlap(area, index, index + 1, &va, &end))
		return;
	leaf = table_leaf(area->space->root, va);
	if (!leaf || !pte_holds(leaf[leaf_index(va)]) || !(leaf[leaf_index(va)] & PTE_FILE))
		return;
	leaf[leaf_index(va)] &= ~(PTE_W | PTE_D);
	tlb_flush_page(area->space, va);
}

void mapping_clean_page(struct content *content, uint64_t index)
{
	for (const struct area *area = content->mappings; area; area = area->next_mapping)
		protect_page(area, index);
}

/* The cache's pages that the area maps and that were written are clean from now on, everywhere. */
static void write_back(struct space *space, const struct area *area, uint64_t start, uint64_t end)
{
	FOR_EACH_LEAF(space->root, va, next, start, end, entry)
	{
		uint64_t *leaf = pte_table(*entry);

		for (uint64_t at = va; at < next; at += PAGE_SIZE) {
			uint64_t pte = leaf[leaf_index(at)], index = area_page(area, at);
			struct page *page = pte_page(pte);

			if (!pte_holds(pte) || !(pte & PTE_COUNTED) || !(page->flags & PAGE_DIRTY))
				continue;
			page->flags &= ~PAGE_DIRTY;
			vm_count.nr_written++;
			mapping_clean_page(area->content, index);
		}
	}
}

void mapping_write_back(struct space *space, uint64_t start, uint64_t end)
{
	for (unsigned i = space_index(space, start);
	     i < space->area_count && space->area[i]->start < end; i++) {
		const struct area *area = space->area[i];

		if (area->content && (area->flags & AREA_SHARED))
			write_back(space, area, MAX(area->start, start), MIN(area->end, end));
	}
}

uint64_t space_release_memory(struct space *space)
{
	uint64_t before = page_free_total;

	spaces_doomed += !space->doomed;
	space->doomed = true;
	for (unsigned i = 0; i < space->area_count && !space->transfers; i++) {
		const struct area *area = space->area[i];

		if (!(area->flags & AREA_SHARED))
			table_unmap(space, area->start, area->end);
	}
	space_forget(space);
	table_trim();
	return page_free_total - before;
}

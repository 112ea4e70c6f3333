/* STUB of this branch, until replacement and swap are here. */
#include "guest/memory/replace.h"

bool swap_on;
uint64_t swap_pages_total;

void replace_add(struct page *page, uint64_t *leaf, unsigned index)
{
}

void replace_remove(struct page *page)
{
}

void swap_dup(uint32_t slot)
{
}

void swap_free(uint32_t slot)
{
}

bool swap_in(uint32_t slot, void *page)
{
	return false;
}

bool memory_reclaim(unsigned pages)
{
	return false;
}

/*
 * The swap: an area of guest memory, set aside at boot, that holds pages compressed.
 *
 * A slot is a page's copy; it counts its holders: entries that are in the swap (PTE_SWAP), and a
 * page in memory whose copy still stands (page->slot). A page of one repeated word is kept as that
 * word; one that does not get smaller is kept as it is. Each copy has a checksum: a page goes back
 * as it came, or the kernel stops.
 */
#ifndef GUEST_MEMORY_SWAP_H
#define GUEST_MEMORY_SWAP_H

#include "guest/lib/layout.h"
#include "guest/lib/types.h"

extern bool swap_on;		  /* there is a swap area */
extern uint64_t swap_pages_total; /* what it holds for sure, in pages */
extern uint64_t swap_pages_used;  /* slots in use */
extern uint64_t swap_bytes_used;  /* of the area */

/* Sets an area of so many bytes aside, as far as there is memory. Once, at boot. */
void swap_init(uint64_t bytes);

/* Puts the page's content into a slot with one holder. 0: the area is full. */
uint32_t swap_store(const void *page);

/* It had no room for some pages in a row, and nothing was given back since. */
bool swap_is_full(void);

/* Fills the page from the slot, which stays. False never. */
bool swap_in(uint32_t slot, void *page);

void swap_dup(uint32_t slot);
void swap_free(uint32_t slot);

/* More than half is used: no copies of pages that are in memory are kept. */
static inline bool swap_is_short(void)
{
	return swap_bytes_used > swap_pages_total * (PAGE_SIZE / 2);
}

/* When the slot was filled, in evictions counted (replace.h). */
uint64_t swap_stamp(uint32_t slot);

#endif

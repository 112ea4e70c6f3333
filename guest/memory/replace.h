/* STUB of this branch: what replacement and swap (phys) offer to faults. */
#ifndef GUEST_MEMORY_REPLACE_H
#define GUEST_MEMORY_REPLACE_H

#include "guest/memory/page.h"

extern bool swap_on; /* a swap area exists */
extern uint64_t swap_pages_total;

void replace_add(struct page *page, uint64_t *leaf, unsigned index);
void replace_remove(struct page *page);
void swap_dup(uint32_t slot);
void swap_free(uint32_t slot);
bool swap_in(uint32_t slot, void *page);
bool memory_reclaim(unsigned pages);

#endif

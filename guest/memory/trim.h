/*
 * Memory that is kept because it may be wanted again, and goes when memory is short: the unused
 * frames of reservations, empty page tables, empty slabs, kernel stacks of threads that ended.
 */
#ifndef GUEST_MEMORY_TRIM_H
#define GUEST_MEMORY_TRIM_H

#include "guest/lib/types.h"

/* Gives all of it to the allocator. Returns the pages. Entries of any leaf table may lose their
 * bits of PTE_SLOT: a caller that holds a copy of one must read it again. */
uint64_t memory_trim(void);

/* /proc/sys/vm/drop_caches: 1, 2 or 3, which are the same here - files are not a cache of anything
 * else and stay. */
int drop_caches_store(const char *words);

#endif

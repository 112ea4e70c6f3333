/*
 * Compaction: programs' pages move together, so that free memory lies together.
 *
 * Two scanners, as in Linux's mm/compaction.c. The migrate scanner goes up from the lowest frame,
 * by pieces of 2^RESERVE_ORDER frames, and empties those that are partly used; the free scanner
 * comes down from the highest and finds the frames that the pages move to, in pieces that are
 * partly free. When they meet, all has been done that can be. Only an anonymous page whose owners
 * are all found (owner.h) moves; the kernel's pages, the page cache's and huge pages stay where
 * they are.
 *
 * It is done for an allocation of several pages that finds no block although memory is free and the
 * fragmentation index is above extfrag_threshold (after a failure only now and then, as on Linux),
 * and on a write to /proc/sys/vm/compact_memory. A caller of page_alloc() with an order above 0,
 * and of huge_map(), keeps no physical address of a program's page across the call.
 */
#ifndef GUEST_MEMORY_COMPACT_H
#define GUEST_MEMORY_COMPACT_H

#include "guest/lib/types.h"

struct text;

/* Tries to make a free block of 2^order pages. False: there is none. */
bool compact_for(unsigned order);

/* Any number compacts all memory; reads as nothing. */
int compact_memory_store(const char *words);
void compact_memory_text(struct text *text);

/* 0..1000: allocations compact only where the fragmentation index is above this. */
int extfrag_threshold_store(const char *words);
void extfrag_threshold_text(struct text *text);

#endif

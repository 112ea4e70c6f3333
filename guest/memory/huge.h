/*
 * Huge pages: one entry of a page directory maps 2 MiB, one of the table above it 1 GiB.
 *
 * They come where an area asks (MADV_HUGEPAGE, MAP_HUGETLB), for an aligned piece that lies wholly
 * in the area and has no leaf yet, when the allocator has such a block. A page of 2 MiB is cut into
 * a leaf table when a part of it is to differ; that cannot fail, for the table is set aside when
 * the page is mapped (its frame stands in the head's `next`), and the block becomes the table's
 * reservation. Pages of 1 GiB are cut only by a fork, which may fail.
 *
 * A huge page has one owner: a fork cuts it first.
 */
#ifndef GUEST_MEMORY_HUGE_H
#define GUEST_MEMORY_HUGE_H

#include "guest/memory/space.h"

/* The huge pages of all spaces, in pages of 4 KiB: those mapped on demand (AnonHugePages), and
 * those of MAP_HUGETLB. */
extern uint64_t huge_on_demand, huge_asked_for;

/* Maps a huge page over va if the area wants one there and there is one. False: the fault goes on
 * with small pages. */
bool huge_map(struct space *space, struct area *area, uint64_t va);

/* The size that `entry`, a huge page's on the way to va, maps: LEAF_SIZE or GIGA_SIZE. */
uint64_t huge_size(uint64_t *root, uint64_t va, const uint64_t *entry);

/* For [va, next) of a huge page: done for all of it (true), or it was cut into a leaf table, which
 * `entry` points to now, and the work is still to be done there. */
bool huge_unmap(struct space *space, uint64_t va, uint64_t next, uint64_t *entry);
bool huge_protect(struct space *space, uint64_t va, uint64_t next, uint64_t *entry, bool allowed,
		  uint64_t bits);

/* Cuts the huge page at va: into a leaf table, or 1 GiB into leaf tables (false: no memory for
 * those, nothing changed). */
bool huge_split(struct space *space, uint64_t va, uint64_t *entry);

/* Cuts one page of the on-demand kind, so that its pages can be replaced. False: there is none. */
bool huge_split_any(void);

/* The lines of /proc/meminfo. There is no pool: MAP_HUGETLB takes any free memory. */
struct text;
void huge_meminfo_text(struct text *text);

#endif

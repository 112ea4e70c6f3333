/*
 * The fragmentation of free memory: /proc/buddyinfo, and two measures of external fragmentation for
 * each order, in thousandths as Linux shows them.
 *
 * The unusable free space index is the share of free memory that no allocation of the order can
 * use: 0 when all of it can. The fragmentation index says why an allocation of the order would
 * fail: near 0 for want of memory, near 1 for its being in pieces; -1 when it would not fail. Both
 * are Mel Gorman's, and computed as in Linux's mm/vmstat.c.
 *
 * Memory that reads as zero and memory that does not are kept apart, and shown so.
 */
#ifndef GUEST_MEMORY_FRAGMENT_H
#define GUEST_MEMORY_FRAGMENT_H

#include "guest/lib/types.h"

struct text;

/* -1000..1000. */
int64_t fragmentation_index(unsigned order);
int64_t unusable_index(unsigned order);

void buddyinfo_text(struct text *text);
void extfrag_index_text(struct text *text);
void unusable_index_text(struct text *text);

#endif

/*
 * The TLB. A change of an entry that took something away (the entry, a right, the accessed or dirty
 * bit) is followed by one of these, before the frame is used for anything else; an entry that only
 * gained need not be: the processor looks again before it faults.
 *
 * `space` need not be the current one. The range is of the program's half.
 */
#ifndef GUEST_CPU_TLB_H
#define GUEST_CPU_TLB_H

#include "guest/lib/types.h"

struct space;

void tlb_flush_page(struct space *space, uint64_t va);
void tlb_flush_range(struct space *space, uint64_t start, uint64_t end);
void tlb_flush_space(struct space *space);

#endif

/*
 * Address spaces and the TLB. A change of an entry that took something away (the entry, a right,
 * the accessed or dirty bit) is followed by one of these, before the frame is used for anything
 * else; a change that only added something needs none: the processor looks again before it faults.
 *
 * `space` need not be the current one; other CPUs that run it are interrupted and have flushed when
 * the call returns (shoot-down). The range is of the program's half.
 *
 * With PCID a space's entries stay in the TLB while others run. Every flush raises the space's
 * generation; a CPU that comes back to a space with an older one flushes then.
 */
#ifndef GUEST_MEMORY_FLUSH_H
#define GUEST_MEMORY_FLUSH_H

#include "guest/lib/types.h"

struct space;

void tlb_flush_page(struct space *space, uint64_t va);
void tlb_flush_range(struct space *space, uint64_t start, uint64_t end);
void tlb_flush_space(struct space *space);

/* Makes the space's page tables the CPU's; NULL: the kernel's alone. */
void space_switch(struct space *space);

#endif

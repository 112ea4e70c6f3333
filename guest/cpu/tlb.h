/*
 * The TLB. A change of an entry that took something away (the entry, a right, the accessed or dirty
 * bit) is followed by one of these, before the frame is used for anything else; an entry that only
 * gained need not be: the processor looks again before it faults.
 *
 * `space` need not be the current one; other CPUs that run it are interrupted and have flushed when
 * the call returns (shoot-down). The range is of the program's half.
 *
 * With PCID a space's entries stay in the TLB while others run. Every flush raises the space's
 * generation; a CPU that comes back to a space with an older one flushes then.
 */
#ifndef GUEST_CPU_TLB_H
#define GUEST_CPU_TLB_H

#include "guest/lib/types.h"

struct space;

void tlb_flush_page(struct space *space, uint64_t va);
void tlb_flush_range(struct space *space, uint64_t start, uint64_t end);
void tlb_flush_space(struct space *space);

/* The kernel's own half, on all CPUs; an idle one does it before it touches anything. */
void tlb_flush_kernel(void);

/* Beyond so many pages a whole flush is taken for one by one; /proc/sys/vm/tlb_flush_ceiling. */
extern uint64_t tlb_flush_ceiling;
struct text;
void tlb_ceiling_text(struct text *text);
int tlb_ceiling_store(const char *words);

/* Makes the space's page tables the CPU's; NULL: the kernel's alone. */
void space_switch(struct space *space);

/* Does what another CPU asks for, if one does. Without the kernel lock. */
void tlb_answer(void);

#endif

/*
 * The TLB: flushes on this CPU, on others (shoot-down), and of the kernel's own half. Code that
 * changes an address space calls memory/flush.h, which knows the CPUs that run it.
 */
#ifndef GUEST_CPU_TLB_H
#define GUEST_CPU_TLB_H

#include "guest/lib/types.h"

/* [start, end) on this CPU: single pages, or all of the program's half beyond tlb_flush_ceiling;
 * all there is for a range of the kernel's half. */
void tlb_flush_local(uint64_t start, uint64_t end);

/* The same on other CPUs (`targets`, as bits): they are interrupted and have done it when this
 * returns. */
void tlb_shoot_down(uint32_t targets, uint64_t start, uint64_t end);

/* The kernel's own half, on all CPUs; an idle one does it before it touches anything. */
void tlb_flush_kernel(void);

/* Beyond so many pages a whole flush is taken for one by one; /proc/sys/vm/tlb_flush_ceiling. */
extern uint64_t tlb_flush_ceiling;
struct text;
void tlb_ceiling_text(struct text *text);
int tlb_ceiling_store(const char *words);

/* Does what another CPU asks for, if one does. Without the kernel lock. */
void tlb_answer(void);

#endif

/*
 * The processor: its tables (GDT, TSS, IDT), its features, and what entry.S finds through GS.
 */
#ifndef GUEST_CPU_CPU_H
#define GUEST_CPU_CPU_H

#include "guest/cpu/layout.h"

/* Offsets in struct cpu, for entry.S. */
#define CPU_KERNEL_STACK 0
#define CPU_USER_STACK	 8
#define CPU_WORK	 16

#ifndef __ASSEMBLER__
#include "guest/lib/types.h"

struct process;

struct cpu {
	uint64_t kernel_stack; /* top of the running process's kernel stack */
	uint64_t user_stack;   /* the user's RSP, for the first instructions of a SYSCALL */
	uint64_t work;	       /* not 0: look before returning to ring 3 (work_before_return) */
	struct process *current;
};

/* What CPUID offers and quire uses. */
struct cpu_features {
	bool smep, umip, xsave, gigabyte_pages;
	uint64_t xcr0;
};

extern struct cpu_features cpu_features;

/* Loads the tables and turns on what CPUID offers. Once, before the first trap. */
void cpu_init(void);

/* The stack that traps from ring 3 and system calls begin on. */
void cpu_set_kernel_stack(uint64_t top);

extern struct cpu cpu0;

/* One CPU: the address is a constant, which saves an instruction against going through GS. */
static inline struct cpu *this_cpu(void)
{
	return &cpu0;
}

static inline struct process *current(void)
{
	return cpu0.current;
}
#endif
#endif

/*
 * The processors: tables (GDT, TSS, IDT), features, the record that entry.S finds through GS, and
 * the one big lock. cpu.c sets one up; smp.c starts the others.
 *
 * The kernel lock: a CPU in the kernel holds it, from entry.S's first lines to its last. So kernel
 * data needs no other lock, and kernel code runs alone until it gives up the processor by
 * thread_wait() and the like. Interrupts are off in the kernel; the idle thread alone lets go of
 * the lock and enables them, to sleep.
 */
#ifndef GUEST_CPU_CPU_H
#define GUEST_CPU_CPU_H

#include "guest/lib/layout.h"

/* Offsets in struct cpu, for entry.S. */
#define CPU_KERNEL_STACK 0
#define CPU_USER_STACK	 8
#define CPU_WORK	 16

#ifndef __ASSEMBLER__
#include "guest/abi.h"
#include "guest/lib/types.h"

struct thread;
struct space;

#define CPU_MAX QUIRE_CPU_MAX

/* Bits of cpu.work: what to do before returning to ring 3. */
#define WORK_SIGNAL 1 /* the running thread may have signals to act on */
#define WORK_YIELD  2 /* its time is over */

/* Bits of cpu.events: interrupts that came; handled when the lock is held. */
#define EVENT_TIMER  1
#define EVENT_INPUT  2
#define EVENT_DEVICE 16 /* the first of DEVICE_MAX bits */

#define DEVICE_MAX 16

/* Address-space tags a CPU keeps in use (PCID), as cache of the last spaces it ran. */
#define PCID_COUNT 6

struct tss {
	uint32_t reserved0;
	uint64_t rsp[3];
	uint64_t reserved1;
	uint64_t ist[7];
	uint64_t reserved2;
	uint16_t reserved3;
	uint16_t io_bitmap;
} __attribute__((packed));

/* The samples taken, and those of them that found the kernel (process/sample.h). */
struct samples {
	uint64_t all, system;
};

/* A thread's page faults. */
struct fault_count {
	uint64_t minor, major;
};

struct cpu {
	uint64_t kernel_stack; /* top of the running thread's kernel stack */
	uint64_t user_stack;   /* the user's RSP, for the first instructions of a SYSCALL */
	uint64_t work;
	unsigned number;
	struct thread *current;
	struct fault_count *faults; /* of the running thread */
	struct cpu *self;
	struct thread *idle;
	uint64_t switched; /* TSC when the running thread got the CPU */
	uint64_t started;  /* TSC when it began to run threads */
	uint64_t alarm;	   /* the timer is set for this time, or 0 */
	bool slicing;	   /* at the end of a slice, or before */
	volatile uint32_t events;
	/* process/sample.h: the TSC of the next sample, or 0; the same in ns of clock_now(); how
	 * ring 3 was last returned to, or 0. */
	uint64_t sample_due, sample_alarm, sample_returned;
	struct samples samples; /* of all its threads */
	volatile bool online;

	/* memory/flush.c, tlb.c */
	struct space *space;	       /* loaded, or NULL: the kernel's root alone */
	volatile uint64_t flush_start; /* the range that another CPU asks to be flushed */
	volatile uint64_t flush_end;
	volatile uint32_t flush_wanted; /* 1 until done */
	uint64_t pcid_space[PCID_COUNT], pcid_generation[PCID_COUNT];
	unsigned pcid, pcid_next;

	/* process/vector.c, with vector_by_monitor. Between two requests arg0 is where the
	 * registers' state belongs, or 0: it is there. */
	struct quire_request vector_request;
	uint32_t vector_bell;

	const uint64_t *ldt; /* process/segment.c: loaded, or NULL */
	uint64_t gdt[GDT_ENTRIES];
	struct tss tss;
	uint8_t ist_stack[4][4096] __attribute__((aligned(16)));
};

/* The features that CPUID offers and quire uses. */
struct cpu_features {
	bool emulated;		/* ring 0 is: QUIRE_HOST_EMULATES */
	bool vector_by_monitor; /* QUIRE_HOST_KEEPS_VECTOR */
	bool smep, smap, umip, xsave, pcid, gigabyte_pages;
	uint64_t xcr0;
};

extern struct cpu_features cpu_features;
extern struct cpu cpus[CPU_MAX];
extern uint64_t gdt[GDT_ENTRIES]; /* boot.S: each CPU has a copy */
extern unsigned cpu_count;	  /* that run */

/* Once on each CPU: cpu_init() loads its tables, before its first trap; cpu_enable() then turns on
 * the features that were found. */
void cpu_init(struct cpu *cpu);
void cpu_enable(void);

/* Between the two on the first CPU. emulated: QUIRE_HOST_EMULATES. */
void cpu_find_features(bool emulated);

/* The stack that traps from ring 3 and system calls begin on. */
void cpu_set_kernel_stack(uint64_t top);

/* smp.c: starts the other CPUs, at most `count` in all. prepare: gives a CPU its idle thread, on
 * whose stack it starts, and returns the top of that. run: the CPU then executes it for good, as
 * its idle thread, with the kernel lock. */
void smp_start(unsigned count, uint64_t (*prepare)(struct cpu *cpu), void (*run)(void));

/* A processor's interrupt vectors for others: look at your work; flush. */
void smp_interrupt(const struct cpu *cpu, unsigned vector);

/* entry.S and smp.c: the kernel lock. */
extern volatile uint32_t kernel_lock;
void kernel_lock_take(void);
void kernel_lock_give(void);

#define this_cpu_field(field) (((struct cpu __seg_gs *)0)->field)

static inline struct cpu *this_cpu(void)
{
	return this_cpu_field(self);
}

static inline struct thread *current(void)
{
	return this_cpu_field(current);
}

#endif
#endif

/*
 * System time and user time. A thread's time is kept exactly (thread_ran()); samples show how it
 * divides, for the way into the kernel and out of it has no room for a clock.
 *
 * While a thread runs, its CPU's timer rings every SAMPLE_NS or so, by chance a little earlier or
 * later. In the kernel interrupts are off: a sample that falls due there is taken by the first
 * instruction of ring 3, or by the switch to another thread. So that is a sample of the kernel, and
 * any other is one of the program. Long work in the kernel counts for all samples it held up.
 * A CPU that becomes idle takes its last sample's interrupt, and is left alone then.
 */
#ifndef GUEST_PROCESS_SAMPLE_H
#define GUEST_PROCESS_SAMPLE_H

#include "guest/cpu/cpu.h"
#include "guest/cpu/trap.h"

#define SAMPLE_NS 50000000ull

/* A time as it was last told: neither part goes back when later samples say otherwise. */
struct time_split {
	uint64_t user, system; /* ns */
};

/* Divides `ran` TSC ticks as the samples say; *told is the last answer for the same time. */
struct time_split sample_split(uint64_t ran, const struct samples *samples,
			       struct time_split *told);

void samples_add(struct samples *to, const struct samples *from);

/* The next sample of this CPU, from the TSC `now` on: cpu.sample_due. Its length in ns. */
uint64_t sample_next(uint64_t now);

/* The CPU's timer interrupted ring 3. */
void sample_interrupt(const struct trap_frame *frame);

/* The running thread has had its sample due when the TSC is `now`, and is still in the kernel. */
void sample_kernel(uint64_t now);

/* The registers that a loop would change, so that an interrupt at the same place later differs. */
static inline uint64_t sample_mark(const struct trap_frame *frame)
{
	return frame->rip ^ frame->rax ^ frame->rcx ^ frame->rdx ^ frame->rsi ^ frame->rdi;
}

/* Ring 3 goes on with this frame, behind a fault or a signal. A system call needs no such word: it
 * leaves the address in rcx. */
static inline void sample_return(const struct trap_frame *frame)
{
	this_cpu()->sample_returned = sample_mark(frame);
}

#endif

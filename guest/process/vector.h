/*
 * Vector state (x87, SSE, AVX): a thread's own while it runs, saved when another gets the CPU. A
 * thread that has used no vector instruction yet has none. The kernel itself uses none.
 */
#ifndef GUEST_PROCESS_VECTOR_H
#define GUEST_PROCESS_VECTOR_H

#include "guest/monitor/doorbell.h"
#include "guest/process/thread.h"

/* How many bytes the state takes in a signal frame at most, and at which alignment it must lie
 * there. */
#define VECTOR_ALIGN 64
extern uint32_t vector_size;

/* After cpu_enable(). */
void vector_init(void);

/* At a switch: the CPU's state goes to the thread; and the other way. */
void vector_save(struct thread *thread);
void vector_load(struct thread *thread);

/* By the monitor one request does both, as late as it can be. */
extern bool vector_by_monitor;

static inline void vector_exchange(struct cpu *cpu, const struct thread *next)
{
	if (cpu->vector_request.arg0 == next->vector_physical)
		return;
	cpu->vector_request.arg1 = next->vector_physical;
	doorbell_vector(&cpu->vector_request, cpu->vector_bell);
	cpu->vector_request.arg0 = next->vector_physical;
}

/* The thread gives the CPU to nobody. */
void vector_leave(struct thread *thread);

/* A vector instruction trapped. False: memory for the state is out. */
bool vector_first_use(void);

/* Room for one, aligned, to be freed by memory_free(); NULL when memory is out. */
void *vector_buffer(void);

/* The current thread's state into `state` (aligned as above) and back; the bytes coming back are
 * the program's word: values that the processor would refuse are mended. 0 or -ENOMEM. */
void vector_store(void *state);
int vector_restore(void *state);

/* How many of its bytes count; its first VECTOR_LEAST say that. */
#define VECTOR_LEAST 576
uint32_t vector_length(const void *state);

/* Before a program begins: vector_prepare() gets the memory it needs, 0 or -ENOMEM; then its
 * registers are set. */
int vector_prepare(struct thread *thread);
void vector_reset(void);

/* A copy of the current thread's state for a child. 0 or -ENOMEM. */
int vector_copy(struct thread *child);
void vector_free(struct thread *thread);

#endif

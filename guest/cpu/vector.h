/*
 * Vector state (x87, SSE, AVX): a thread's own while it runs, saved when another gets the CPU; not
 * of a thread that has not used any yet. The kernel itself uses none.
 */
#ifndef GUEST_CPU_VECTOR_H
#define GUEST_CPU_VECTOR_H

#include "guest/lib/types.h"

struct thread;

/* How many bytes the state takes in a signal frame, and at which alignment it must lie there. */
#define VECTOR_ALIGN 64
extern uint32_t vector_size;

/* After cpu_enable(). */
void vector_init(void);

/* At a switch: what the CPU holds goes to the thread, and the other way. */
void vector_save(struct thread *thread);
void vector_load(struct thread *thread);

/* A vector instruction trapped. False: memory for the state is out. */
bool vector_first_use(void);

/* The current thread's state into `state` (aligned as above) and back; the bytes coming back are
 * the program's word: what the processor would refuse is mended. 0 or -ENOMEM. */
void vector_store(void *state);
int vector_restore(void *state);

/* Before a program begins, what it needs: 0 or -ENOMEM; then its registers. */
int vector_prepare(struct thread *thread);
void vector_reset(void);

/* A copy of the current thread's state for a child. 0 or -ENOMEM. */
int vector_copy(struct thread *child);
void vector_free(struct thread *thread);

#endif

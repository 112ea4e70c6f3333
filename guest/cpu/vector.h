/*
 * Vector state (x87, SSE, AVX): a thread's own while it runs, saved when another gets the CPU. The
 * kernel itself uses none of it. A kernel thread has none.
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

/* The current thread's state into `state` (aligned as above) and back; the bytes coming back are
 * the program's word: what the processor would refuse is mended. */
void vector_store(void *state);
void vector_restore(void *state);

/* The state of a new program; and a copy of the current thread's for a child. 0 or -ENOMEM. */
int vector_create(struct thread *thread);
int vector_copy(struct thread *child);
void vector_reset(void);
void vector_free(struct thread *thread);

#endif

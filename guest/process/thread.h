/*
 * Threads, between which the scheduler switches. Each has a kernel stack with a guard page below; a
 * trap or a system call happens on the running thread's kernel stack, so everything the kernel
 * does, it does as the current thread.
 *
 * A thread is RUNNING on one CPU, READY in the queue, WAITING on a channel, or DEAD: the thread
 * that runs next frees its stack. The kernel lock guards all fields.
 */
#ifndef GUEST_PROCESS_THREAD_H
#define GUEST_PROCESS_THREAD_H

#include "guest/cpu/cpu.h"
#include "guest/cpu/timer.h"
#include "guest/cpu/trap.h"
#include "guest/process/signal.h"

struct process;

enum thread_state {
	THREAD_READY,
	THREAD_RUNNING,
	THREAD_WAITING,
	THREAD_DEAD,
};

/* The events that end a wait besides its channel and its deadline. */
enum wait_kind {
	WAIT_SIGNALS, /* any signal that will act */
	WAIT_DEAF,    /* only the end of the process */
};

#define WAIT_FOREVER UINT64_MAX
#define THREAD_NAME  16
#define THREAD_MAX   4096
#define TID_MAX	     (1 << 22)

struct thread {
	uint64_t stack_pointer; /* while it does not run */
	uint64_t stack_top;
	struct process *process;
	struct space *space;		   /* the process's; NULL: an idle thread */
	uint8_t *vector_state;		   /* vector.c; NULL: none of its own yet */
	uint64_t vector_physical;	   /* of the state */
	struct thread *next;		   /* in the process */
	struct thread *queue, *queue_prev; /* neighbours in the ready queue or among the waiters */
	enum thread_state state;
	enum wait_kind wait_kind;
	struct cpu *cpu;     /* on which it runs or ran last */
	uint64_t affinity;   /* CPUs that may run it, as bits: one that exists at least */
	const void *channel; /* what it waits for */
	bool woken;	     /* its last wait ended by a wake, not by time or a signal */
	bool ending;	     /* it alone is to end, on its way to ring 3 (exec by another) */
	struct timer sleep;
	int tid;
	uint64_t fs_base, gs_base;
	uint64_t clear_tid;
	uint64_t ran;		/* TSC ticks it has run, up to its last switch */
	struct samples samples; /* sample.h */
	struct fault_count faults;
	char name[THREAD_NAME];

	/* signal.c */
	struct signal_queue pending;
	uint64_t blocked;
	uint64_t restored; /* with restores: the mask that comes back after the next signal */
	bool restores;
	struct linux_sigaltstack alternate;
};

extern unsigned thread_count;
extern uint64_t threads_made; /* since the start, idle threads not counted */
extern int thread_last;	      /* the number of the last */
extern uint64_t switch_count; /* schedule.c: switches from one thread to another */

/* A thread of `process` without frame, in state THREAD_WAITING. NULL when memory is out or there
 * are THREAD_MAX. process NULL: an idle thread. */
struct thread *thread_create(struct process *process);

/* Unmaps the stacks of threads that ended, which are kept for others. Returns the pages. */
uint64_t thread_trim_stacks(void);

/* Pages that kernel stacks hold, and the tables that map them; for good, those. */
extern uint64_t thread_stack_pages, thread_stack_tables;

/* Frees one that has never run or that is dead and off its stack. */
void thread_destroy(struct thread *thread);

/* Makes `thread` begin in ring 3 with `frame` when first scheduled, and ready. */
void thread_begin(struct thread *thread, const struct trap_frame *frame);

/* The frame that the thread's return to ring 3 will use. */
static inline struct trap_frame *thread_frame(const struct thread *thread)
{
	return (struct trap_frame *)thread->stack_top - 1;
}

/* schedule.c */

/* Waits until somebody wakes `channel` or the deadline (ns of clock_now()) passes. False when a
 * signal that will act ended it. Other threads run meanwhile: objects that are not held may be
 * gone. */
bool thread_wait(const void *channel, uint64_t deadline);

/* The same, whatever signals come; it ends early when the process ends. */
void thread_wait_deaf(const void *channel);

/* Ends the waits for the channel: all, or the first so many. Returns how many. */
unsigned thread_wake(const void *channel);
unsigned thread_wake_some(const void *channel, unsigned count);

/* Ends one thread's wait. */
void thread_rouse(struct thread *thread);

/* If it is ready, it is the next that runs. */
void thread_hurry(struct thread *thread);

/* Gives way to another that is ready, and to none where this CPU may not run the current one. */
void thread_yield(void);

/* The CPUs that may run it from now on, as bits; one of them exists. The current thread goes there
 * before this returns. */
void thread_set_affinity(struct thread *thread, uint64_t cpu_mask);

/* Never again: the thread is dead, and freed after the switch. */
NORETURN void thread_end(void);

/* Handles the interrupts that came (cpu.events). With the lock, from the idle thread or from ring
 * 3. */
void events_handle(void);

/* Gives a CPU its idle thread; the top of its stack. And what that does. */
uint64_t idle_create(struct cpu *cpu);
NORETURN void idle_run(void);

/* Gives this CPU to the first thread of all. */
NORETURN void thread_start(struct thread *first);

/* Asks the CPU that runs the thread to look at its work. */
void thread_notify(struct thread *thread, unsigned work);

/* TSC ticks it has run up to now. */
uint64_t thread_ran(const struct thread *thread);

#endif

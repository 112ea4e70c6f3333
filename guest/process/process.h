/*
 * Processes and their scheduling. Each has a kernel stack with a guard page below; one runs until
 * it waits or ends. A trap or a system call happens on the running process's kernel stack, so
 * everything the kernel does, it does as the current process.
 */
#ifndef GUEST_PROCESS_PROCESS_H
#define GUEST_PROCESS_PROCESS_H

#include "guest/cpu/cpu.h"
#include "guest/cpu/trap.h"
#include "guest/file/file.h"
#include "guest/memory/space.h"
#include "guest/process/signal.h"

enum process_state {
	PROCESS_RUNNABLE,
	PROCESS_WAITING,
	PROCESS_ZOMBIE,
};

#define WAIT_FOREVER UINT64_MAX
#define PROCESS_NAME 16
#define RLIMIT_COUNT 16
#define RLIMIT_STACK 3

struct process {
	uint64_t stack_pointer; /* while another runs */
	uint64_t stack_top;
	unsigned stack_slot;
	struct space *space;
	struct file_table *files;
	struct node *directory;
	struct node *executable;
	struct process *parent, *next;
	enum process_state state;
	const void *channel; /* what it waits for */
	uint64_t deadline;   /* ns of clock_now(), or WAIT_FOREVER */
	bool deaf;	     /* its wait is not ended by signals */
	bool borrows;	     /* a vfork child before exec or exit: the parent waits */
	int pid;
	int wait_status; /* of a zombie, as wait4 gives it */
	uint64_t fs_base, gs_base;
	uint64_t clear_tid;
	uint32_t umask;
	uint64_t started, waited_ns;   /* of clock_now(); how long it waited since */
	uint64_t user_ns, children_ns; /* of a zombie: its own; of those it reaped */
	uint64_t minor_faults;
	char name[PROCESS_NAME];
	struct signal_state signals;
	struct linux_rlimit limit[RLIMIT_COUNT];
	uint8_t *vector_state; /* FXSAVE's 512 bytes, while another runs */
};

extern struct process *process_list;

/* The process on whose behalf the kernel runs, and its memory. */
static inline struct process *current_process(void)
{
	return current();
}

static inline struct space *current_space(void)
{
	return current()->space;
}

/* The monitor's input is there (QUIRE_VECTOR_INPUT): what a reader waits on. */
extern const char console_input;

/* A process without space, files or frame. NULL when memory is out. */
struct process *process_create(struct process *parent);

/* Makes `process` begin in ring 3 with `frame` when first scheduled. */
void process_prepare(struct process *process, const struct trap_frame *frame);

/* The frame that the current process's return to ring 3 will use. */
static inline struct trap_frame *process_frame(const struct process *process)
{
	return (struct trap_frame *)process->stack_top - 1;
}

/* Gives the CPU to the first process, for ever. */
NORETURN void process_start(struct process *first);

/* Waits until somebody wakes `channel` or the deadline (ns of clock_now()) passes. False when a
 * signal that will act ended it. */
bool process_wait(const void *channel, uint64_t deadline);
void process_wake(const void *channel);

/* The same, whatever signals come. */
void process_wait_deaf(const void *channel);

/* Gives way to another that can run. */
void process_yield(void);

/* Ends the current process. wait_status as wait4 gives it. */
NORETURN void process_exit(int wait_status);

/* Memory ran out on the current process's account: says so, and kills it on its way to ring 3. */
void process_out_of_memory(uint64_t address);

/* Frees a zombie's last belongings. */
void process_reap(struct process *zombie);

/* Ends a vfork child's use of its parent's memory: the parent goes on. */
void process_return_space(struct process *process);

/* How long the process ran, in ring 3 and for it in ring 0. The kernel reads no clock on its way in
 * or out, so this is its life less its waits, all of it counted as user time. */
uint64_t process_ran_ns(const struct process *process);

struct process *process_find(int pid);
unsigned process_count(void);

#endif

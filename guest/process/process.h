/*
 * Processes: the things that threads share - the address space, open files, limits, signal actions
 * - and the tree of parents and children.
 *
 * A process ends in two steps: `exiting` is set (an exit_group, a fatal signal) and its threads end
 * one by one, each on its way to ring 3; the last one makes it a zombie, which its parent reaps.
 */
#ifndef GUEST_PROCESS_PROCESS_H
#define GUEST_PROCESS_PROCESS_H

#include "guest/memory/space.h"
#include "guest/process/identity.h"
#include "guest/process/sample.h"
#include "guest/process/thread.h"

#define RLIMIT_COUNT   16
#define RLIMIT_FSIZE   1
#define RLIMIT_DATA    2
#define RLIMIT_STACK   3
#define RLIMIT_RSS     5
#define RLIMIT_PROCESS 6
#define RLIMIT_AS      9

/* The counts that rusage reports. */
struct usage {
	uint64_t ran; /* TSC ticks */
	struct samples samples;
	uint64_t minor_faults, major_faults, resident_max;
};

#define NEWS_STOPPED(signal) ((signal) << 8 | 0x7f)
#define NEWS_CONTINUED	     0xffff

struct file_table;
struct node;

#define FILE_TABLE_MAX 1024 /* files that a process has open */

struct process {
	int pid;
	int group, session;
	struct process *next, *prev; /* all processes */
	struct process *parent, *children, *sibling;
	struct thread *threads;
	unsigned thread_count;
	struct space *space;
	uint64_t *ldt; /* segment.c: its own segments, or NULL */
	struct file_table *files;
	struct node *directory, *executable;
	uint32_t umask;
	bool exiting;	  /* all its threads are to end */
	bool zombie;	  /* they have */
	bool borrows;	  /* a vfork child before exec or exit: the parent waits */
	bool no_random;	  /* personality(ADDR_NO_RANDOMIZE) */
	bool stopped;	  /* its threads wait for SIGCONT on their way to ring 3 */
	int wait_status;  /* as wait4 gives it, when exiting */
	int news;	  /* the same of a stop or a going on not yet waited for, or 0 */
	int end_signal;	  /* to the parent at its end; 0: none */
	int oom_adjust;	  /* -1000..1000 */
	uint64_t started; /* ns of clock_now() */
	struct usage usage, children_usage; /* of ended threads; of reaped children */
	struct time_split told, children_told;
	char name[THREAD_NAME]; /* its first thread's, once that has ended */
	struct node *entry;	/* its directory in /proc, or NULL (proc/proc.c) */
	struct identity identity;
	struct linux_rlimit limit[RLIMIT_COUNT];
	struct linux_sigaction action[SIGNAL_COUNT];
	struct signal_queue pending; /* for any of its threads */
	struct timer alarm;	     /* ITIMER_REAL */
	uint64_t alarm_interval;
};

extern struct process *process_list;
extern struct process *process_init; /* pid 1 */

/* The process for which the kernel runs. */
static inline struct process *current_process(void)
{
	return current()->process;
}

/* The channel that a reader waits on until the monitor has input (QUIRE_VECTOR_INPUT). */
extern const char console_input;

/* A process with one thread (->threads), without space or files. NULL when memory is out. */
struct process *process_create(struct process *parent);

/* Frees one that never began; its space, files and nodes too. */
void process_discard(struct process *process);

/* Gives the process (its threads too) this space, and drops the old one. */
void process_set_space(struct process *process, struct space *space);

/* Ends the current thread. */
NORETURN void process_exit_thread(int status);

/* Ends the process: its threads go on their next way to ring 3. wait_status as wait4 gives it. */
void process_kill(struct process *process, int wait_status);

/* Stops the process by this signal; or lets it go on. The parent is told. */
void process_stop(struct process *process, int signal);
void process_continue(struct process *process);

/* Ends the current process. */
NORETURN void process_exit(int wait_status);

/* Ends the other threads of the current process, and waits for that. False when the process itself
 * is ending. */
bool process_become_single(void);

/* Memory ran out on the current process's account: says so, and kills it on its way to ring 3. */
void process_out_of_memory(uint64_t address);

/* Whether the current process's limits allow it so many pages, and so many of data. */
bool process_may_have(uint64_t pages, uint64_t data_pages);

/* Frees a zombie, its use counted for the parent. */
void process_reap(struct process *zombie);

/* Ends a vfork child's use of its parent's memory: the parent goes on. */
void process_return_space(struct process *process);

/* The current process's limit of a file's size; process_file_too_large() sends it SIGXFSZ for going
 * beyond it, and returns -EFBIG. */
uint64_t process_file_limit(void);
int process_file_too_large(void);

/* The process's use so far. usage_add() adds another's use to a sum. */
struct usage process_usage(const struct process *process);
void usage_add(struct usage *to, const struct usage *from);

/* Its time in the program and in the kernel; told: see sample_split(). */
static inline struct time_split usage_split(const struct usage *usage, struct time_split *told)
{
	return sample_split(usage->ran, &usage->samples, told);
}

/* The process's name, which is its first thread's. */
const char *process_name(const struct process *process);

struct process *process_find(int pid);
struct thread *thread_find(int tid);
unsigned process_count(void);

/* Copies the current process for clone(2) (fork.c); flags as there. The child's tid or -errno. */
int64_t process_clone(uint64_t flags, uint64_t stack, uint64_t parent_tid, uint64_t child_tid,
		      uint64_t tls);

#endif

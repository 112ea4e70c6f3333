/*
 * Signals: the actions of a process, the signals pending for it or for one of its threads, and
 * their delivery on a thread's way to ring 3. handler.c builds the frames of handlers.
 *
 * A process that is stopped goes no further than that: its threads wait on their way to ring 3
 * until SIGCONT comes. Init is not stopped, for nobody would let it go on.
 */
#ifndef GUEST_PROCESS_SIGNAL_H
#define GUEST_PROCESS_SIGNAL_H

#include "guest/lib/linux.h"

#define SIGHUP		 1
#define SIGINT		 2
#define SIGQUIT		 3
#define SIGILL		 4
#define SIGTRAP		 5
#define SIGABRT		 6
#define SIGBUS		 7
#define SIGFPE		 8
#define SIGKILL		 9
#define SIGSEGV		 11
#define SIGPIPE		 13
#define SIGALRM		 14
#define SIGTERM		 15
#define SIGCHLD		 17
#define SIGCONT		 18
#define SIGSTOP		 19
#define SIGTSTP		 20
#define SIGTTIN		 21
#define SIGTTOU		 22
#define SIGURG		 23
#define SIGXFSZ		 25
#define SIGWINCH	 28
#define SIGNAL_COUNT	 64
#define SIGNAL_REAL_TIME 32 /* from here on several of a kind may be pending */

#define SIGNAL_DEFAULT 0
#define SIGNAL_IGNORE  1

/* siginfo's codes. */
#define SI_USER	      0
#define SI_KERNEL     0x80
#define SI_TKILL      (-6)
#define SEGV_MAPERR   1
#define SEGV_ACCERR   2
#define BUS_ADRALN    1
#define BUS_ADRERR    2
#define ILL_ILLOPN    2
#define FPE_INTDIV    1
#define FPE_FLTINV    7
#define TRAP_BRKPT    1
#define TRAP_TRACE    2
#define CLD_EXITED    1
#define CLD_KILLED    2
#define CLD_STOPPED   5
#define CLD_CONTINUED 6

struct process;
struct thread;
struct trap_frame;

/* The content of siginfo; which fields count depends on the code. */
struct signal_info {
	int signal, code;
	int pid, status;
	uint64_t address; /* of a fault; of a queued signal its value */
};

struct signal_item {
	struct signal_item *next;
	struct signal_info info;
};

/* The pending signals: a bit for each, and their information, oldest first. */
struct signal_queue {
	uint64_t set;
	struct signal_item *first;
};

static inline uint64_t signal_bit(int signal)
{
	return 1ull << (signal - 1);
}

/* Makes a signal pending for a process, or for one thread; one that is ignored is dropped. */
void signal_send(struct process *process, int signal);
void signal_send_info(struct process *process, const struct signal_info *info);
void signal_send_thread(struct thread *thread, const struct signal_info *info);

/* A fault of the current thread: its handler runs, or the process ends, blocked or not. Says `why`
 * in the log when it ends. */
PRINTF(2, 3) void signal_fault(const struct signal_info *info, const char *why, ...);

/* Acts on the current thread's pending signals: changes the frame to run a handler, or does not
 * return. from_call: the frame is a system call's, which may be restarted. */
void signal_act(struct trap_frame *frame, bool from_call);

/* Whether a signal that will act is pending for the thread. */
bool signal_waits(const struct thread *thread);

/* Takes the next pending signal of `set` out of the thread's or its process's queue. False: none.
 */
bool signal_take(struct thread *thread, uint64_t set, struct signal_info *info);

/* Sets the current thread's mask. */
void signal_block(uint64_t mask);

/* The signals among `set` that the process does nothing about are forgotten: after a change of
 * action. */
void signal_forget_ignored(struct process *process);

/* After an exec: handlers are gone, ignored signals stay ignored. */
void signal_reset(struct process *process);

void signal_queue_clear(struct signal_queue *queue);

/* "SIGSEGV"; for the log. */
const char *signal_name(int signal);

/* handler.c: makes the frame begin the handler. False when its stack cannot be written. */
bool handler_enter(struct trap_frame *frame, const struct linux_sigaction *action,
		   const struct signal_info *info, uint64_t mask);

/* rt_sigreturn. False when the frame on the stack cannot be read. */
bool handler_return(struct trap_frame *frame);

/* siginfo_t as the program sees it. */
void handler_write_info(const struct signal_info *info, uint32_t words[32]);

#endif

/*
 * Signals: pending and blocked sets, the default actions, and what a fatal one says. Actions are
 * recorded; SIG_IGN is honoured.
 */
#ifndef GUEST_PROCESS_SIGNAL_H
#define GUEST_PROCESS_SIGNAL_H

#include "guest/call/linux.h"

#define SIGHUP	     1
#define SIGINT	     2
#define SIGQUIT	     3
#define SIGILL	     4
#define SIGTRAP	     5
#define SIGABRT	     6
#define SIGBUS	     7
#define SIGFPE	     8
#define SIGKILL	     9
#define SIGSEGV	     11
#define SIGPIPE	     13
#define SIGALRM	     14
#define SIGTERM	     15
#define SIGCHLD	     17
#define SIGCONT	     18
#define SIGSTOP	     19
#define SIGTSTP	     20
#define SIGTTIN	     21
#define SIGTTOU	     22
#define SIGURG	     23
#define SIGWINCH     28
#define SIGNAL_COUNT 64

#define SIGNAL_DEFAULT 0
#define SIGNAL_IGNORE  1

struct process;

struct signal_state {
	uint64_t pending, blocked; /* bit n - 1 is signal n */
	struct linux_sigaction action[SIGNAL_COUNT];
	struct linux_sigaltstack alternate;
};

static inline uint64_t signal_bit(int signal)
{
	return 1ull << (signal - 1);
}

/* Makes a signal pending; one that is ignored is dropped. */
void signal_send(struct process *process, int signal);

/* A fault of the current process: the signal cannot be blocked or ignored. Says `why` in the log.
 */
PRINTF(2, 3) void signal_fault(int signal, const char *why, ...);

/* Acts on the current process's pending signals; a fatal one does not return. */
void signal_act(void);

/* After an exec: handlers are gone, what is ignored stays ignored. */
void signal_reset(struct signal_state *state);

/* "SIGSEGV"; for the log. */
const char *signal_name(int signal);

#endif

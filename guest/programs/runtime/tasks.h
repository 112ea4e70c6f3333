/*
 * Shared by the programs that test processes, threads and signals: the numbers of system calls
 * beyond those of runtime.h, and the few lines that need assembly.
 */
#ifndef GUEST_PROGRAMS_RUNTIME_TASKS_H
#define GUEST_PROGRAMS_RUNTIME_TASKS_H

#include "guest/programs/runtime/check.h"

enum {
	SYS_RT_SIGPROCMASK = 14,
	SYS_RT_SIGRETURN = 15,
	SYS_PIPE = 22,
	SYS_SELECT = 23,
	SYS_YIELD = 24,
	SYS_DUP = 32,
	SYS_DUP2 = 33,
	SYS_PAUSE = 34,
	SYS_ALARM = 37,
	SYS_SETITIMER = 38,
	SYS_CLONE = 56,
	SYS_FCNTL = 72,
	SYS_CHDIR = 80,
	SYS_RENAME = 82,
	SYS_RMDIR = 84,
	SYS_SYMLINK = 88,
	SYS_CHMOD = 90,
	SYS_CHOWN = 92,
	SYS_GETUID = 102,
	SYS_SETUID = 105,
	SYS_SETGID = 106,
	SYS_GETEUID = 107,
	SYS_SETPGID = 109,
	SYS_SETGROUPS = 116,
	SYS_SETRESUID = 117,
	SYS_GETPPID = 110,
	SYS_RT_SIGPENDING = 127,
	SYS_RT_SIGSUSPEND = 130,
	SYS_SIGALTSTACK = 131,
	SYS_SETRLIMIT = 160,
	SYS_GETTID = 186,
	SYS_TKILL = 200,
	SYS_FUTEX = 202,
	SYS_PSELECT6 = 270,
	SYS_PPOLL = 271,
	SYS_FALLOCATE = 285,
	SYS_PIPE2 = 293,
	SYS_MEMFD_CREATE = 319,
};

enum {
	EPERM = 1,
	ENOENT = 2,
	ESRCH = 3,
	EINTR = 4,
	E2BIG = 7,
	ENOEXEC = 8,
	EBADF = 9,
	ECHILD = 10,
	EAGAIN = 11,
	ENOMEM = 12,
	EACCES = 13,
	EFAULT = 14,
	EEXIST = 17,
	ENOTDIR = 20,
	EISDIR = 21,
	EINVAL = 22,
	ENFILE = 23,
	EMFILE = 24,
	EFBIG = 27,
	ENOSPC = 28,
	EPIPE = 32,
	ENAMETOOLONG = 36,
	ELOOP = 40,
	ENOTEMPTY = 39,
	ETIMEDOUT = 110,
};

enum {
	SIGINT = 2,
	SIGILL = 4,
	SIGABRT = 6,
	SIGBUS = 7,
	SIGFPE = 8,
	SIGKILL = 9,
	SIGUSR1 = 10,
	SIGSEGV = 11,
	SIGUSR2 = 12,
	SIGPIPE = 13,
	SIGALRM = 14,
	SIGTERM = 15,
	SIGCHLD = 17,
	SIGCONT = 18,
	SIGSTOP = 19,
	SIGTSTP = 20,
	SIGURG = 23,
	SIGXFSZ = 25,
	SIGWINCH = 28,
};

#define O_WRONLY   01
#define O_RDWR	   02
#define O_CREAT	   0100
#define O_EXCL	   0200
#define O_TRUNC	   01000
#define O_APPEND   02000
#define O_NONBLOCK 04000
#define O_CLOEXEC  02000000

#define WNOHANG	   1
#define WUNTRACED  2
#define WCONTINUED 8

#define SA_NOCLDSTOP 1
#define SA_NODEFER   0x40000000
#define SA_RESETHAND 0x80000000
#define SA_ONSTACK   0x08000000
#define SA_RESTART   0x10000000

#define SHARED_ANONYMOUS  (MAP_SHARED | MAP_ANONYMOUS)
#define PRIVATE_ANONYMOUS (MAP_PRIVATE | MAP_ANONYMOUS)

#define EXITED(status) ((status) >> 8 & 0xff)
#define RLIMIT_FILE    1
#define RLIMIT_STACK   3
#define RLIMIT_SPACE   9

#define STOPPED_BY(signal) ((signal) << 8 | 0x7f)
#define CONTINUED	   0xffff
#define BIT(signal)	   (1ull << ((signal)-1))

/* A call by its name with up to three arguments. */
#define call(name, ...)		 call_of(SYS_##name __VA_OPT__(, ) __VA_ARGS__, 0, 0, 0)
#define call_of(n, a, b, c, ...) syscall3(n, a, b, c)

/* Waits for the child: its wait status, or -errno. */
int wait_for(long pid);

/* How a child that runs the body ends: its wait status. It is killed when it takes more than 20
 * seconds. */
int ends_with(void (*body)(void));

/* setrlimit of what is allowed now. */
long set_limit(int resource, uint64_t value);

/* Ends what is left of a process group, and reaps it and all other children that ended. */
void end_group(long group);
void reap_ended(void);

void nap(unsigned milliseconds);

/* The action of a signal: a handler, or SIGNAL_DEFAULT, SIGNAL_IGNORE. */
#define SIGNAL_DEFAULT ((void (*)(int))0)
#define SIGNAL_IGNORE  ((void (*)(int))1)
long on_signal(int signal, void (*handler)(int), uint64_t flags);

/* Sets the blocked signals and returns those that were. */
uint64_t block_signals(uint64_t mask);

/* A thread on its own stack of 4 pages. `tid` is zero once it has ended, and a futex. The stack is
 * the caller's to unmap. Its number or -errno. */
struct task {
	uint32_t tid;
	char *stack;
};
#define TASK_STACK (4 * PAGE)
long task_start(struct task *task, void (*body)(void *), void *argument);
void task_join(struct task *task);

/* The shared word's futex: waits while it is `value`. */
long futex_wait(uint32_t *word, uint32_t value);
long futex_wake(uint32_t *word, uint32_t count);

#endif

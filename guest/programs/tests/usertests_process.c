/* Tests of processes, threads, futexes, and of what a program may hand to the kernel. */
#include "guest/programs/tests/usertests.h"

#define DIRECT	   0xffff800000200000
#define CALL_LAST  461
#define FORKS	   12
#define CHAIN	   8
#define THREADS	   8
#define PING_PONGS 50
#define O_PATH	   0x200000

#define SYS_FCHDIR	      81
#define SYS_SCHED_SETAFFINITY 203
#define FUTEX_WAKE_PRIVATE    129

/* ---- fork, wait ---- */

static void wait_status(void)
{
	int status = 0;
	long pid;

	for (int i = 0; i < 256; i += 51) {
		pid = call(FORK);
		if (pid == 0)
			exit(i);
		expect(wait_for(pid) == i << 8, "an exit status is wrong");
	}
	expect(call(WAIT4, -1, &status, 0) == -ECHILD, "wait without a child");
	pid = call(FORK);
	if (pid == 0) {
		nap(20);
		exit(3);
	}
	expect(call(WAIT4, pid, &status, WNOHANG) == 0, "WNOHANG waits");
	expect(call(WAIT4, pid + 1, &status, 0) == -ECHILD, "a wait for somebody else's child");
	expect(wait_for(pid) == 3 << 8, "the status after WNOHANG");
	expect(call(KILL, pid, 0) == -ESRCH, "a reaped process is there");
}

static void fork_many(void)
{
	unsigned ended = 0, sum = 0;

	for (unsigned i = 0; i < FORKS; i++) {
		if (call(FORK) == 0)
			exit(i);
	}
	for (int status; (status = wait_for(-1)) >= 0; ended++)
		sum += EXITED(status);
	expect(ended == FORKS && sum == FORKS * (FORKS - 1) / 2, "children are lost");
}

static void chain(unsigned depth)
{
	long pid;

	if (depth == 0)
		return;
	pid = call(FORK);
	if (pid == 0) {
		chain(depth - 1);
		exit(failures ? 0 : depth);
	}
	expect(EXITED(wait_for(pid)) == (int)depth, "a chain of forks breaks");
}

static void fork_chain(void)
{
	chain(CHAIN);
}

/* The orphan's new parent is init, which need not be ours. */
static void orphans(void)
{
	volatile uint32_t *word = shared_words();
	long pid = call(FORK);

	if (pid == 0) {
		uint32_t parent = call(GETPID);

		if (call(FORK) == 0) {
			while (call(GETPPID) == parent)
				nap(1);
			word[1] = call(GETPPID);
			word[0] = 1;
			exit(0);
		}
		exit(0);
	}
	expect(wait_for(pid) == 0, "a parent that leaves early");
	for (unsigned i = 0; i < 1000 && !word[0]; i++)
		nap(1);
	expect(word[0] == 1 && word[1] == 1, "an orphan does not go to init");
}

static void groups(void)
{
	long first = call(FORK), second;

	if (first == 0)
		call(PAUSE);
	call(SETPGID, first, first);
	second = call(FORK);
	if (second == 0)
		call(PAUSE);
	expect(call(SETPGID, second, first) == 0, "no place in a child's group");
	expect(call(KILL, -first, SIGTERM) == 0, "a group cannot be killed");
	expect(wait_for(-first) == SIGTERM && wait_for(-first) == SIGTERM,
	       "a signal to a group misses one");
	expect(call(KILL, -first, SIGTERM) == -ESRCH, "an empty group");
}

/* ---- threads and futexes ---- */

static uint32_t turn, total;

static void add(void *argument)
{
	for (unsigned i = 0; i < 100; i++)
		__atomic_fetch_add(&total, 1, __ATOMIC_SEQ_CST);
	expect(call(GETTID) != call(GETPID), "a thread's number");
}

static void threads(void)
{
	static struct task task[THREADS];

	for (unsigned i = 0; i < THREADS; i++)
		expect(task_start(&task[i], add, NULL) > 0, "no thread");
	for (unsigned i = 0; i < THREADS; i++)
		task_join(&task[i]);
	expect(total == THREADS * 100, "threads count wrong");
}

static void pong(void *argument)
{
	for (unsigned i = 0; i < PING_PONGS; i++) {
		while (__atomic_load_n(&turn, __ATOMIC_SEQ_CST) != 1)
			futex_wait(&turn, 0);
		__atomic_store_n(&turn, 0, __ATOMIC_SEQ_CST);
		futex_wake(&turn, 1);
	}
}

/* A private one is known by its address alone, whatever is there. */
static void futex_nowhere(void)
{
	uint32_t *word = map(NULL, PAGE, RW, PRIVATE_ANONYMOUS, -1);

	call(MPROTECT, word, PAGE, PROT_READ);
	expect(futex_wake(word, 1) == -EFAULT, "a wake where nothing can change");
	call(MPROTECT, word, PAGE, 0);
	expect(futex_wake(word, 1) == -EFAULT, "a wake where nothing can be read");
	call(MUNMAP, word, PAGE);
	expect(futex_wake(word, 1) == -EFAULT, "a wake where nothing is");
	expect(syscall3(SYS_FUTEX, word, FUTEX_WAKE_PRIVATE, 1) == 0, "a private one");
	expect(syscall3(SYS_FUTEX, KERNEL, FUTEX_WAKE_PRIVATE, 1) == -EFAULT, "in the kernel");
}

static void futexes(void)
{
	struct timespec soon = { 0, 10000000 };
	struct task task;

	expect(task_start(&task, pong, NULL) > 0, "no thread");
	for (unsigned i = 0; i < PING_PONGS; i++) {
		__atomic_store_n(&turn, 1, __ATOMIC_SEQ_CST);
		futex_wake(&turn, 1);
		while (__atomic_load_n(&turn, __ATOMIC_SEQ_CST) != 0)
			futex_wait(&turn, 1);
	}
	task_join(&task);
	expect(futex_wait(&turn, 1) == -EAGAIN, "a futex of another value");
	expect(syscall6(SYS_FUTEX, (long)&turn, 0, 0, (long)&soon, 0, 0) == -ETIMEDOUT,
	       "a futex's timeout");
	expect(futex_wait((uint32_t *)((char *)&turn + 1), 0) == -EINVAL, "an odd futex");
	expect(futex_wait((uint32_t *)KERNEL, 0) == -EFAULT, "a futex in the kernel");
	futex_nowhere();
}

static void futex_shared(void)
{
	uint32_t *word = (uint32_t *)shared_words();
	long pid = call(FORK);

	if (pid == 0) {
		nap(10);
		*(volatile uint32_t *)word = 1;
		exit(futex_wake(word, 1) < 0);
	}
	while (*(volatile uint32_t *)word == 0)
		futex_wait(word, 0);
	expect(wait_for(pid) == 0, "the waker");
}

static void sleep_for_ever(void *argument)
{
	for (;;)
		call(PAUSE);
}

static void leave_threads(void)
{
	static struct task task[4];

	for (unsigned i = 0; i < 4; i++)
		task_start(&task[i], sleep_for_ever, NULL);
	exit(9);
}

static void exec_with_threads(void)
{
	static struct task task[4];

	for (unsigned i = 0; i < 4; i++)
		task_start(&task[i], sleep_for_ever, NULL);
	exec_echo();
}

static void thread_ends(void)
{
	expect(EXITED(ends_with(leave_threads)) == 9, "exit_group with threads");
	expect(EXITED(ends_with(exec_with_threads)) == 42, "exec with threads");
}

/* ---- what a program may hand to the kernel ---- */

/* Ends or suspends the program, or changes what the test stands on. */
static bool spared(long number)
{
	static const short list[] = { 3,   9,	10,  11,  12, 13,  14,	15,  25,  28,  34,
				      37,  38,	56,  57,  58, 60,  62,	112, 109, 130, 131,
				      158, 200, 231, 234, 22, 23,  32,	33,  72,  293, 292,
				      319, 95,	160, 302, 7,  270, 271, 435 };

	for (unsigned i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		if (list[i] == number)
			return true;
	}
	return false;
}

/* With each of its arguments in turn: what it answers to good ones in the other places is not
 * known, but it must answer. */
static void kernel_pointers(void)
{
	static const long bad[] = { (long)KERNEL, (long)DIRECT, 1l << 47, -PAGE };
	int ends[2];

	/* 0 has nothing to read: what would wait for input does not. */
	call(PIPE, ends);
	call(CLOSE, ends[1]);
	call(DUP2, ends[0], 0);
	for (long number = 0; number <= CALL_LAST; number++) {
		for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]) && !spared(number); i++) {
			syscall6(number, 0, bad[i], 64, 0, 0, 0);
			syscall6(number, bad[i], 1, 0, 0, 0, 0);
			syscall6(number, bad[i], bad[i], bad[i], bad[i], bad[i], bad[i]);
		}
	}
	expect(call(READ, 0, KERNEL, 0) == -EFAULT || call(READ, 0, KERNEL, 0) == 0,
	       "read of none");
}

/* Buffers that begin well and end in a hole. */
static void page_end(void)
{
	char *memory = map(NULL, 2 * PAGE, RW, PRIVATE_ANONYMOUS, -1), *end = memory + PAGE;
	static char text[64];
	long fd;
	int ends[2];

	call(MUNMAP, end, PAGE);
	memcpy(end - 5, "/tmp", 5);
	expect(call(OPEN, end - 5, 0, 0) >= 0, "a path up to a page's end");
	end[-1] = '/';
	expect(call(OPEN, end - 5, 0, 0) == -EFAULT, "a path into a hole");
	expect(call(UNAME, end - 100) == -EFAULT, "uname into a hole");
	expect(call(PIPE, end - 4) == -EFAULT, "pipe into a hole");
	expect(call(PIPE, ends) == 0 && ends[0] == 4, "the pipe that failed has descriptors");
	expect(call(WRITE, ends[1], end - 3, 8) == -EFAULT, "a pipe takes from a hole");
	expect(call(WRITE, ends[1], end - 8, 8) == 8, "a pipe takes up to a page's end");
	expect(call(READ, ends[0], end - 4, 8) == -EFAULT, "a pipe gives into a hole");
	expect(call(READ, ends[0], text, 8) == 8, "a pipe loses what it could not give");
	fd = call(OPEN, "/tmp/end", O_CREAT | O_RDWR, 0600);
	call(WRITE, fd, text, 64);
	call(LSEEK, fd, 0, 0);
	expect(call(READ, fd, end - 4, 64) < 5, "a file gives into a hole");
	call(UNLINK, "/tmp/end");
	expect(call(NANOSLEEP, end - 8, 0) == -EFAULT, "a time in a hole");
	expect(syscall6(SYS_RT_SIGACTION, SIGUSR1, (long)end - 8, 0, 8, 0, 0) == -EFAULT,
	       "an action in a hole");
}

#define OTHER 65534

static void file_of_mode(const char *path, int mode)
{
	call(CLOSE, call(OPEN, path, O_CREAT | O_RDWR, 0600));
	expect(call(CHMOD, path, mode) == 0, "chmod");
}

/* User 0 may take another's number and come back; for good is for good. */
static void as_another(void)
{
	uint64_t every = ~0ull;

	expect(call(SETRESUID, -1, OTHER, -1) == 0 && call(GETEUID) == OTHER && call(GETUID) == 0,
	       "seteuid");
	expect(call(OPEN, "/tmp/private", O_RDWR, 0) == -EACCES, "what is private");
	expect(call(SETRESUID, -1, 0, -1) == 0 && call(GETEUID) == 0, "back");
	expect(call(SETGROUPS, 0, 0) == 0 && call(SETGID, OTHER) == 0 && call(SETUID, OTHER) == 0,
	       "setuid");
	expect(call(GETUID) == OTHER && call(SETUID, 0) == -EPERM, "for good");
	expect(file_number("/proc/self/status", "Uid:") == OTHER, "what /proc says");
	expect(call(OPEN, "/tmp/private", 0, 0) == -EACCES, "a file without rights for others");
	expect(call(OPEN, "/tmp/open", 0, 0) >= 0, "one with the right to read");
	expect(call(OPEN, "/tmp/open", O_WRONLY, 0) == -EACCES, "and not to write");
	expect(call(OPEN, "/tmp/closed/x", O_CREAT | O_WRONLY, 0600) == -EACCES, "a new name");
	expect(call(UNLINK, "/tmp/closed/y") == -EACCES, "a name that goes");
	expect(call(OPEN, "/tmp/hidden/y", 0, 0) == -EACCES, "a folder that may not be searched");
	expect(call(CHDIR, "/tmp/hidden") == -EACCES, "chdir to it");
	expect(syscall3(SYS_FCHDIR, call(OPEN, "/tmp/hidden", O_PATH, 0), 0, 0) == -EACCES,
	       "fchdir to it");
	expect(syscall3(SYS_SCHED_SETAFFINITY, call(GETPPID), 8, &every) == -EPERM &&
		       syscall3(SYS_SCHED_SETAFFINITY, 0, 8, &every) == 0,
	       "the processors of another's thread");
	expect(call(CHMOD, "/tmp/open", 0777) == -EPERM, "chmod");
	expect(call(CHOWN, "/tmp/open", OTHER, -1) == -EPERM, "chown");
	expect(call(KILL, call(GETPPID), 0) == -EPERM, "a signal to another's process");
	expect(call(SETGROUPS, 0, 0) == -EPERM, "setgroups");
	expect(call(OPEN, "/tmp/mine", O_CREAT | O_RDWR, 0600) >= 0 &&
		       call(CHMOD, "/tmp/mine", 0400) == 0 && call(UNLINK, "/tmp/mine") == 0,
	       "its own file");
	exit(failures ? 1 : 0);
}

static void identities(void)
{
	expect(call(CHMOD, "/tmp", 01777) == 0, "chmod");
	file_of_mode("/tmp/private", 0600);
	file_of_mode("/tmp/open", 0644);
	call(MKDIR, "/tmp/closed", 0755);
	call(MKDIR, "/tmp/hidden", 0700);
	file_of_mode("/tmp/closed/y", 0666);
	file_of_mode("/tmp/hidden/y", 0666);
	expect(ends_with(as_another) == 0, "another user");
	call(UNLINK, "/tmp/closed/y");
	call(UNLINK, "/tmp/hidden/y");
	call(RMDIR, "/tmp/closed");
	call(RMDIR, "/tmp/hidden");
	call(UNLINK, "/tmp/private");
	call(UNLINK, "/tmp/open");
}

#define CLONE_PARENT 0x8000

static void as_sibling(void)
{
	long pid = call(CLONE, CLONE_PARENT | SIGCHLD, 0, 0);

	if (pid == 0)
		exit(11);
	exit(pid > 0 && call(WAIT4, pid, 0, 0) == -ECHILD ? 0 : 1);
}

/* The child of a child that is its parent's. */
static void clone_parent(void)
{
	int status = 0, ends = 0;

	expect(ends_with(as_sibling) == 0, "who clones has no child");
	expect(call(WAIT4, -1, &status, 0) > 0 && EXITED(status) == 11, "its parent has");
	expect(call(WAIT4, -1, &ends, 0) == -ECHILD, "and no other");
}

const struct user_test process_tests[] = {
	{ "wait-status", wait_status },
	{ "fork-many", fork_many },
	{ "fork-chain", fork_chain },
	{ "orphans", orphans },
	{ "groups", groups },
	{ "threads", threads },
	{ "futexes", futexes },
	{ "futex-shared", futex_shared },
	{ "thread-ends", thread_ends },
	{ "kernel-pointers", kernel_pointers },
	{ "page-end", page_end },
	{ "identities", identities },
	{ "clone-parent", clone_parent },
	{ NULL, NULL },
};

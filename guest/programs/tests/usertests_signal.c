/* Tests of signals, and of stopping. */
#include "guest/programs/tests/usertests.h"

static volatile unsigned caught;

static void count_signal(int signal)
{
	caught += signal;
}

static void signal_handler(void)
{
	on_signal(SIGUSR1, count_signal, 0);
	for (unsigned i = 0; i < 20; i++)
		call(KILL, call(GETPID), SIGUSR1);
	expect(caught == 20 * SIGUSR1, "a handler is not called");
	on_signal(SIGUSR1, count_signal, SA_RESETHAND);
	call(KILL, call(GETPID), SIGUSR1);
	on_signal(SIGUSR2, SIGNAL_IGNORE, 0);
	call(KILL, call(GETPID), SIGUSR2);
	expect(caught == 21 * SIGUSR1, "SA_RESETHAND's last call, or an ignored signal");
}

static void signal_mask(void)
{
	uint64_t pending = 0, none = 0;

	on_signal(SIGUSR1, count_signal, 0);
	block_signals(BIT(SIGUSR1));
	call(KILL, call(GETPID), SIGUSR1);
	call(KILL, call(GETPID), SIGUSR1);
	call(RT_SIGPENDING, &pending, 8);
	expect(caught == 0 && pending == BIT(SIGUSR1), "a blocked signal comes");
	expect(call(RT_SIGSUSPEND, &none, 8) == -EINTR && caught == SIGUSR1,
	       "sigsuspend does not let it in");
	expect(block_signals(0) == BIT(SIGUSR1) && caught == SIGUSR1, "two of a kind are kept");
	block_signals(~0ull);
	expect(block_signals(0) == ~(BIT(SIGKILL) | BIT(19)), "SIGKILL can be blocked");
}

static void signal_child(void)
{
	long pid;
	int ends[2];
	char byte;

	call(PIPE, ends);
	on_signal(SIGCHLD, count_signal, 0);
	pid = call(FORK);
	if (pid == 0) {
		nap(10);
		exit(0);
	}
	expect(call(READ, ends[0], &byte, 1) == -EINTR, "SIGCHLD does not end a read");
	expect(caught == SIGCHLD && wait_for(pid) == 0, "no SIGCHLD");
	on_signal(SIGALRM, count_signal, SA_RESTART);
	caught = 0;
	pid = call(FORK);
	if (pid == 0) {
		nap(30);
		call(KILL, call(GETPPID), SIGALRM);
		nap(10);
		exit(call(WRITE, ends[1], "x", 1) != 1);
	}
	on_signal(SIGCHLD, SIGNAL_DEFAULT, 0);
	expect(call(READ, ends[0], &byte, 1) == 1 && caught == SIGALRM, "SA_RESTART");
	expect(wait_for(pid) == 0, "the writer");
}

static void signal_alarm(void)
{
	uint64_t start = now();

	on_signal(SIGALRM, count_signal, 0);
	expect(call(ALARM, 1) > 0, "the alarm before is not told");
	expect(call(PAUSE) == -EINTR && caught == SIGALRM, "no alarm");
	expect(now() - start > 900000000 && now() - start < 5000000000, "an alarm at a wrong time");
}

/* A sleep of 2 s that a signal ends after 200 ms: what it says is left, in ns; and how long it was.
 */
static uint64_t left_of(long number, uint64_t unit, uint64_t *passed)
{
	struct timespec time = { 2, 0 }, wanted = time;
	uint64_t alarm[4] = { 0, 0, 0, 200000 }, start = now();

	call(SETITIMER, 0, alarm, 0);
	if (number == SYS_NANOSLEEP)
		expect(syscall3(number, &wanted, &time, 0) == -EINTR, "no EINTR");
	else if (number == SYS_PPOLL)
		expect(syscall6(number, 0, 0, (long)&time, 0, 8, 0) == -EINTR, "no EINTR");
	else
		expect(syscall6(number, 0, 0, 0, 0, (long)&time, 0) == -EINTR, "no EINTR");
	*passed = now() - start;
	return time.seconds * 1000000000ull + time.nanoseconds * unit;
}

static void signal_time_left(void)
{
	static const struct {
		const char *name;
		long number;
		uint64_t unit;
	} sleeps[] = { { "nanosleep", SYS_NANOSLEEP, 1 },
		       { "ppoll", SYS_PPOLL, 1 },
		       { "select", SYS_SELECT, 1000 },
		       { "pselect6", SYS_PSELECT6, 1 } };

	on_signal(SIGALRM, count_signal, 0);
	for (unsigned i = 0; i < sizeof(sleeps) / sizeof(sleeps[0]); i++) {
		uint64_t passed, left = left_of(sleeps[i].number, sleeps[i].unit, &passed);

		if (left <= 1850000000 && left + passed >= 1999000000)
			continue;
		print("%s: %lu ns passed, %lu are left\n", sleeps[i].name, passed, left);
		failures++;
	}
}

static void raise_it(int signal)
{
	call(KILL, call(GETPID), signal);
}

static int died_by(int signal)
{
	long pid = call(FORK);

	if (pid == 0) {
		raise_it(signal);
		exit(0);
	}
	return wait_for(pid);
}

static void divide(void)
{
	__asm__ volatile("xorl %%ecx, %%ecx\n divl %%ecx" : : : "eax", "ecx", "edx");
}

static void undefined(void)
{
	__asm__ volatile("ud2");
}

static void privileged(void)
{
	__asm__ volatile("hlt");
}

static void write_null(void)
{
	*(volatile char *)8 = 1;
}

static void read_kernel(void)
{
	*(volatile char *)KERNEL;
}

static void signal_deaths(void)
{
	static const int deadly[] = {
		SIGINT, SIGABRT, SIGKILL, SIGSEGV, SIGPIPE, SIGALRM, SIGTERM
	};
	static const int harmless[] = { SIGCHLD, SIGCONT, SIGURG, SIGWINCH };

	for (unsigned i = 0; i < sizeof(deadly) / sizeof(deadly[0]); i++)
		expect(died_by(deadly[i]) == deadly[i], "a deadly signal");
	for (unsigned i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++)
		expect(died_by(harmless[i]) == 0, "a harmless signal");
	expect(DIED_OF(ends_with(divide)) == SIGFPE, "a division by zero");
	expect(DIED_OF(ends_with(undefined)) == SIGILL, "an undefined instruction");
	expect(DIED_OF(ends_with(privileged)) == SIGSEGV, "a privileged instruction");
	expect(DIED_OF(ends_with(write_null)) == SIGSEGV, "a write to null");
	expect(DIED_OF(ends_with(read_kernel)) == SIGSEGV, "a read of the kernel");
}

static void *alternate;

static void on_alternate(int signal)
{
	char here;

	caught = &here >= (char *)alternate && &here < (char *)alternate + 16 * PAGE;
	exit(caught ? 7 : 8);
}

static void run_out_of_stack(void)
{
	struct {
		void *stack;
		int flags;
		size_t size;
	} stack = { alternate, 0, 16 * PAGE };

	call(SIGALTSTACK, &stack, 0);
	on_signal(SIGSEGV, on_alternate, SA_ONSTACK);
	__asm__ volatile("1: push %rax\n jmp 1b");
}

static void signal_stack(void)
{

	alternate = map(NULL, 16 * PAGE, RW, PRIVATE_ANONYMOUS, -1);
	set_limit(RLIMIT_STACK, 256 << 10);
	expect(EXITED(ends_with(run_out_of_stack)) == 7, "the stack's end on another stack");
}

static void caught_usual(int signal)
{
	exit(signal == SIGSEGV ? 9 : 8);
}

/* The alternate stack cannot be written: SIGSEGV comes instead, on the usual stack, and once. */
static void stack_nowhere(void)
{
	struct {
		void *stack;
		int flags;
		size_t size;
	} stack = { map(NULL, 16 * PAGE, PROT_READ, PRIVATE_ANONYMOUS, -1), 0, 16 * PAGE };

	call(SIGALTSTACK, &stack, 0);
	on_signal(SIGUSR1, count_signal, SA_ONSTACK);
	call(KILL, call(GETPID), SIGUSR1);
}

static void stack_nowhere_handled(void)
{
	on_signal(SIGSEGV, caught_usual, 0);
	stack_nowhere();
}

static void stack_nowhere_twice(void)
{
	on_signal(SIGSEGV, caught_usual, SA_ONSTACK);
	stack_nowhere();
}

static void signal_stack_nowhere(void)
{
	expect(EXITED(ends_with(stack_nowhere_handled)) == 9, "its handler");
	expect(DIED_OF(ends_with(stack_nowhere_twice)) == SIGSEGV, "a handler without a stack");
	expect(DIED_OF(ends_with(stack_nowhere)) == SIGSEGV, "no handler");
}

/* A frame for rt_sigreturn that is nowhere: the program dies, not more. */
static void return_from_nowhere(void)
{
	__asm__ volatile("movq $0x1000, %rsp\n movl $15, %eax\n syscall\n ud2");
}

static void signal_return(void)
{
	expect(DIED_OF(ends_with(return_from_nowhere)) == SIGSEGV, "rt_sigreturn from nowhere");
}

/* ---- stopping ---- */

/* A child that stops, and then tells that it runs, and ends when it is told to. */
struct stopping {
	long pid;
	int orders[2];
	volatile uint32_t *runs;
};

static void stopping_child(struct stopping *child)
{
	char byte;

	call(KILL, call(GETPID), SIGSTOP);
	*child->runs = 1;
	call(READ, child->orders[0], &byte, 1);
	exit(7);
}

/* The child's next change of state, or 0 when there is none yet. */
static int change(long pid, int options)
{
	int status = 0;
	long result;

	do
		result = call(WAIT4, pid, &status, options);
	while (result == -EINTR);
	return result < 0 ? (int)result : status;
}

static struct stopping start_stopping(void)
{
	struct stopping child = { .runs = shared_words() };

	call(PIPE, child.orders);
	child.pid = call(FORK);
	if (child.pid == 0)
		stopping_child(&child);
	expect(change(child.pid, WUNTRACED) == STOPPED_BY(SIGSTOP), "a child that stops");
	return child;
}

static void finish_stopping(struct stopping *child)
{
	call(WRITE, child->orders[1], "x", 1);
	expect(change(child->pid, WUNTRACED | WCONTINUED) == 7 << 8, "its end");
	call(CLOSE, child->orders[0]);
	call(CLOSE, child->orders[1]);
}

static void stop_and_continue(void)
{
	struct stopping child = start_stopping();

	expect(change(child.pid, WUNTRACED | WNOHANG) == 0, "a stop is told twice");
	nap(10);
	expect(change(child.pid, WCONTINUED | WNOHANG) == 0 && !*child.runs,
	       "it runs though it is stopped");
	expect(call(KILL, child.pid, SIGCONT) == 0, "SIGCONT");
	expect(change(child.pid, WUNTRACED | WCONTINUED) == CONTINUED, "a child that goes on");
	expect(change(child.pid, WCONTINUED | WNOHANG) == 0, "going on is told twice");
	finish_stopping(&child);
	expect(*child.runs == 1, "it went on elsewhere");
	expect(on_signal(SIGSTOP, count_signal, 0) == -EINVAL, "SIGSTOP can be caught");
	on_signal(SIGTSTP, count_signal, 0);
	raise_it(SIGTSTP);
	expect(caught == SIGTSTP, "SIGTSTP cannot be caught");
}

/* A signal that arrives while the process is stopped waits for SIGCONT; SIGKILL does not. */
static void stopped_deaths(void)
{
	struct stopping child = start_stopping();

	call(KILL, child.pid, SIGTERM);
	nap(10);
	expect(change(child.pid, WNOHANG) == 0, "SIGTERM ends what is stopped");
	call(KILL, child.pid, SIGCONT);
	expect(change(child.pid, 0) == SIGTERM && !*child.runs, "SIGTERM is lost");
	child = start_stopping();
	call(KILL, child.pid, SIGKILL);
	expect(change(child.pid, 0) == SIGKILL, "SIGKILL waits for SIGCONT");
}

/* SIGCHLD for a stop, for going on and for the end; with SA_NOCLDSTOP for the end only. */
static void stop_told(void)
{
	for (unsigned quiet = 0; quiet < 2; quiet++) {
		struct stopping child;

		caught = 0;
		on_signal(SIGCHLD, count_signal, quiet ? SA_NOCLDSTOP : 0);
		child = start_stopping();
		expect(caught == (quiet ? 0 : SIGCHLD), "SIGCHLD for a stop");
		call(KILL, child.pid, SIGCONT);
		expect(change(child.pid, WCONTINUED) == CONTINUED, "a child that goes on");
		finish_stopping(&child);
		expect(caught == (quiet ? 1 : 3) * SIGCHLD, "SIGCHLD for going on and the end");
	}
}

static void __attribute__((noreturn)) fork_on(volatile uint32_t *forks)
{
	while (call(FORK) > 0)
		(*forks)++;
	for (;;)
		call(PAUSE);
}

/* All of a group that forks end by one signal, also who was born meanwhile. */
static void group_kill(void)
{
	volatile uint32_t *forks = shared_words();
	int ends[2];
	char byte;

	for (unsigned round = 0; round < 10; round++) {
		long group;

		call(PIPE, ends);
		*forks = 0;
		group = call(FORK);
		if (group == 0) {
			call(SETPGID, 0, 0);
			fork_on(forks);
		}
		call(CLOSE, ends[1]);
		while (*forks < 3)
			call(SCHED_YIELD);
		expect(call(KILL, -group, SIGTERM) == 0, "no such group");
		expect(DIED_OF(wait_for(group)) == SIGTERM, "who forks does not die");
		/* Until the last has closed its end. One that lives ends this test by SIGALRM. */
		expect(call(READ, ends[0], &byte, 1) == 0, "a pipe's end");
		call(CLOSE, ends[0]);
		end_group(group);
	}
}

/* Without SA_RESTART too, no fork fails for a signal. */
static void signal_fork(void)
{
	volatile uint32_t *done = shared_words();
	long self_pid = call(GETPID), pest;

	on_signal(SIGUSR1, count_signal, 0);
	pest = call(FORK);
	if (pest == 0) {
		while (!*done && call(KILL, self_pid, SIGUSR1) == 0)
			nap(10);
		exit(0);
	}
	while (caught < 20 * SIGUSR1 && !failures) {
		long pid = call(FORK);

		if (pid == 0)
			exit(0);
		expect(pid > 0 && wait_for(pid) == 0, "a fork under signals");
	}
	*done = 1;
	expect(wait_for(pest) == 0, "who sends the signals");
}

const struct user_test signal_tests[] = {
	{ "signal-handler", signal_handler },
	{ "signal-mask", signal_mask },
	{ "signal-child", signal_child },
	{ "signal-alarm", signal_alarm },
	{ "signal-time-left", signal_time_left },
	{ "signal-deaths", signal_deaths },
	{ "signal-stack", signal_stack },
	{ "signal-stack-nowhere", signal_stack_nowhere },
	{ "signal-return", signal_return },
	{ "stop-and-continue", stop_and_continue },
	{ "stopped-deaths", stopped_deaths },
	{ "stop-told", stop_told },
	{ "group-kill", group_kill },
	{ "signal-fork", signal_fork },
	{ NULL, NULL },
};

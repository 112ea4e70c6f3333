/* Processes, threads and signals for the programs that try them. */
#include "guest/programs/runtime/tasks.h"

#define THREAD_FLAGS  0x250f00 /* VM FS FILES SIGHAND THREAD SYSVSEM CHILD_CLEARTID */
#define SA_RESTORER   0x04000000
#define MASK_SET      2
#define FUTEX_WAIT    0
#define FUTEX_WAKE    1
#define CHILD_SECONDS 20

int wait_for(long pid)
{
	int status = -1;
	long result;

	do
		result = syscall6(SYS_WAIT4, pid, (long)&status, 0, 0, 0, 0);
	while (result == -EINTR);
	return result < 0 ? (int)result : status;
}

int ends_with(void (*body)(void))
{
	long pid = call(FORK);

	if (pid == 0) {
		call(ALARM, CHILD_SECONDS);
		body();
		exit(0);
	}
	return pid < 0 ? (int)pid : wait_for(pid);
}

long set_limit(int resource, uint64_t value)
{
	uint64_t limit[2] = { value, ~0ull };

	return call(SETRLIMIT, resource, limit);
}

void reap_ended(void)
{
	int status;

	while (syscall6(SYS_WAIT4, -1, (long)&status, WNOHANG, 0, 0, 0) > 0)
		;
}

/* Orphans become init's when their parent ends, which may be here: so again until there are none.
 */
void end_group(long group)
{
	while (call(KILL, -group, SIGKILL) == 0) {
		if (wait_for(-group) < 0)
			break;
		while (wait_for(-group) >= 0)
			;
	}
	reap_ended();
}

void nap(unsigned milliseconds)
{
	struct timespec time = { milliseconds / 1000, milliseconds % 1000 * 1000000ll };

	call(NANOSLEEP, &time, &time);
}

/* Where a handler returns to. */
__asm__("signal_restorer:\n"
	"	movl $15, %eax\n"
	"	syscall\n");
void signal_restorer(void);

long on_signal(int signal, void (*handler)(int), uint64_t flags)
{
	struct {
		void (*handler)(int);
		uint64_t flags;
		void (*restorer)(void);
		uint64_t mask;
	} action = { handler, flags | SA_RESTORER, signal_restorer, 0 };

	return syscall6(SYS_RT_SIGACTION, signal, (long)&action, 0, 8, 0, 0);
}

uint64_t block_signals(uint64_t mask)
{
	uint64_t old = 0;

	syscall6(SYS_RT_SIGPROCMASK, MASK_SET, (long)&mask, (long)&old, 8, 0, 0);
	return old;
}

long task_start(struct task *task, void (*body)(void *), void *argument)
{
	uint64_t *top;
	long result;

	task->stack = map(NULL, TASK_STACK, RW, PRIVATE_ANONYMOUS, -1);
	if (!task->stack)
		return -ENOMEM;
	top = (uint64_t *)(task->stack + TASK_STACK);
	*--top = 0;
	*--top = 0; /* at the call the stack is aligned */
	*--top = (uint64_t)argument;
	*--top = (uint64_t)body;
	task->tid = 1;
	register long r10 __asm__("r10") = (long)&task->tid;
	__asm__ volatile("syscall\n"
			 "	testq %%rax, %%rax\n"
			 "	jnz 1f\n"
			 "	popq %%rax\n"
			 "	popq %%rdi\n"
			 "	call *%%rax\n"
			 "	movl $60, %%eax\n"
			 "	xorl %%edi, %%edi\n"
			 "	syscall\n"
			 "1:"
			 : "=a"(result)
			 : "a"(SYS_CLONE), "D"(THREAD_FLAGS), "S"(top), "d"(0), "r"(r10)
			 : "rcx", "r11", "memory");
	if (result < 0) {
		call(MUNMAP, task->stack, TASK_STACK);
		task->tid = 0;
	}
	return result;
}

void task_join(struct task *task)
{
	uint32_t tid;

	while ((tid = __atomic_load_n(&task->tid, __ATOMIC_SEQ_CST)) != 0)
		futex_wait(&task->tid, tid);
	call(MUNMAP, task->stack, TASK_STACK);
}

long futex_wait(uint32_t *word, uint32_t value)
{
	return syscall6(SYS_FUTEX, (long)word, FUTEX_WAIT, value, 0, 0, 0);
}

long futex_wake(uint32_t *word, uint32_t count)
{
	return syscall6(SYS_FUTEX, (long)word, FUTEX_WAKE, count, 0, 0, 0);
}

/* Recursion into the stack's guard: a handler on a stack of its own sees where, and goes on; with
 * an argument there is no handler, and the program dies. */
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

static sigjmp_buf back;
static volatile uintptr_t fault;

static void handle(int number, siginfo_t *info, void *context)
{
	fault = (uintptr_t)info->si_addr;
	siglongjmp(back, info->si_code);
}

static int __attribute__((noinline)) deeper(volatile char *above)
{
	volatile char room[1024];

	room[0] = above[0];
	return deeper(room) + room[0];
}

int main(int argc, char **argv)
{
	stack_t stack = { .ss_sp = malloc(65536), .ss_size = 65536 };
	struct sigaction action = { .sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	struct rlimit limit;
	static volatile int round;
	char here = 1;

	getrlimit(RLIMIT_STACK, &limit);
	if (argc < 2) {
		sigaltstack(&stack, NULL);
		sigaction(SIGSEGV, &action, NULL);
	}
	for (; round < 2; round++) {
		if (sigsetjmp(back, 1) == 0)
			return deeper(&here);
		if ((uintptr_t)&here - fault > limit.rlim_cur + 65536 ||
		    (uintptr_t)&here - fault < limit.rlim_cur / 2) {
			printf("guard: the fault is at %p, the stack at %p\n", (void *)fault,
			       &here);
			return 1;
		}
	}
	puts("guard: all is right");
	return 0;
}

/*
 * Vector registers across switches: several processes each keep a pattern of their own in all
 * sixteen XMM registers while they are preempted, and look again and again. Status 0 when nobody
 * ever saw anything but his own, and no state was kept of a process that used none of them.
 */
#include "guest/programs/check.h"

#define PROCESSES 3
#define RUN_NS	  400000000ull

/* How many threads began to use vector registers. */
static long first_uses(void)
{
	return file_number("/proc/vmstat", "vector_first_use");
}

/* Loads the sixteen registers, spins `count` times, and stores them. */
void vector_hold(const uint64_t *pattern, uint64_t *found, uint64_t count);
__asm__(".text\n"
	"vector_hold:\n"
	".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
	"	movdqu \\n*16(%rdi), %xmm\\n\n"
	".endr\n"
	"1:	dec %rdx\n"
	"	jnz 1b\n"
	".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
	"	movdqu %xmm\\n, \\n*16(%rsi)\n"
	".endr\n"
	"	ret\n");

/* How often the registers came back changed. */
static unsigned hold(unsigned who)
{
	uint64_t pattern[32], found[32], end = now() + RUN_NS;
	unsigned wrong = 0;

	for (unsigned i = 0; i < 32; i++)
		pattern[i] = mix(who << 8 | i);
	while (now() < end) {
		bool same = true;

		vector_hold(pattern, found, 100000);
		for (unsigned i = 0; i < 32; i++) {
			if (found[i] == pattern[i])
				continue;
			if (same)
				print("vector: process %u: half %u of xmm%u is %lx, not %lx\n", who,
				      i % 2, i / 2, found[i], pattern[i]);
			same = false;
		}
		wrong += !same;
	}
	return wrong;
}

int main(int argc, char **argv)
{
	int failed = 0, status;
	long users;

	if (syscall3(SYS_FORK, 0, 0, 0) == 0)
		exit(0);
	syscall6(SYS_WAIT4, -1, 0, 0, 0, 0, 0);
	users = first_uses();
	if (users != 0) {
		print("vector: %ld threads that use no vector register have a state\n", users);
		return 1;
	}
	for (unsigned who = 0; who < PROCESSES; who++) {
		if (syscall3(SYS_FORK, 0, 0, 0) == 0)
			exit(hold(who) != 0);
	}
	for (unsigned who = 0; who < PROCESSES; who++) {
		syscall6(SYS_WAIT4, -1, (long)&status, 0, 0, 0, 0);
		failed |= status;
	}
	users = first_uses();
	print("vector: %ld first uses were seen\n", users);
	failed |= users != 0 && users != PROCESSES;
	print("vector: %s\n", failed ? "lost" : "kept");
	return failed != 0;
}

/*
 * Vector registers across switches and signals: several processes of two threads each keep patterns
 * of their own in all registers that the processor has - XMM, YMM or ZMM with the masks - while
 * they are preempted, and while a handler fills the same registers with others; and look again and
 * again. Status 0 when nobody ever saw anything but his own, and no state was kept of a process
 * that used none of them.
 */
#include "guest/programs/runtime/tasks.h"

#define PROCESSES 3
#define RUN_NS	  400000000ull
#define TICK_US	  40000
#define WORDS_MAX 264

/* How many threads began to use vector registers. */
static long first_uses(void)
{
	return file_number("/proc/vmstat", "vector_first_use");
}

/* Load the registers, spin `count` times, and store them. */
#define HOLD(name, load, store)                                                                    \
	void name(const uint64_t *pattern, uint64_t *found, uint64_t count);                       \
	__asm__(".text\n" #name ":\n" load "1:	dec %rdx\n	jnz 1b\n" store "	ret\n")

HOLD(hold_sse,
     ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
     "	movdqu \\n*16(%rdi), %xmm\\n\n"
     ".endr\n",
     ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
     "	movdqu %xmm\\n, \\n*16(%rsi)\n"
     ".endr\n");
HOLD(hold_avx,
     ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
     "	vmovdqu \\n*32(%rdi), %ymm\\n\n"
     ".endr\n",
     ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
     "	vmovdqu %ymm\\n, \\n*32(%rsi)\n"
     ".endr\n	vzeroupper\n");
#define ZMM                                                                                        \
	"0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n"
HOLD(hold_avx512,
     ".irp n," ZMM "	vmovdqu64 \\n*64(%rdi), %zmm\\n\n"
     ".endr\n"
     ".irp n,0,1,2,3,4,5,6,7\n"
     "	kmovq 2048+\\n*8(%rdi), %k\\n\n"
     ".endr\n",
     ".irp n," ZMM "	vmovdqu64 %zmm\\n, \\n*64(%rsi)\n"
     ".endr\n"
     ".irp n,0,1,2,3,4,5,6,7\n"
     "	kmovq %k\\n, 2048+\\n*8(%rsi)\n"
     ".endr\n	vzeroupper\n");

struct width {
	const char *name;
	void (*hold)(const uint64_t *pattern, uint64_t *found, uint64_t count);
	unsigned words;
};
static const struct width widths[] = { { "SSE", hold_sse, 32 },
				       { "AVX", hold_avx, 64 },
				       { "AVX-512", hold_avx512, 264 } };
static const struct width *width = widths;

static void cpuid(uint32_t leaf, uint32_t *ebx, uint32_t *ecx)
{
	uint32_t eax = leaf, edx;

	*ecx = 0;
	__asm__ volatile("cpuid" : "+a"(eax), "=b"(*ebx), "+c"(*ecx), "=d"(edx));
}

/* The widest registers that the processor has and the kernel has turned on. */
static const struct width *find_width(void)
{
	uint32_t ebx, ecx, leaf1, low = 0, high;

	cpuid(1, &ebx, &leaf1);
	if (leaf1 >> 27 & 1)
		__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	cpuid(7, &ebx, &ecx);
	if ((low & 0xe6) == 0xe6 && (ebx >> 16 & 1) && (ebx >> 30 & 1))
		return &widths[2];
	return (low & 6) == 6 && (leaf1 >> 28 & 1) ? &widths[1] : &widths[0];
}

static void make_pattern(uint64_t *pattern, uint64_t who)
{
	for (unsigned i = 0; i < WORDS_MAX; i++)
		pattern[i] = mix(who << 16 | i);
}

static volatile unsigned ticks;

/* A handler has the registers to itself. */
static void tick(int signal)
{
	uint64_t pattern[WORDS_MAX], found[WORDS_MAX];

	make_pattern(pattern, ++ticks + 1000);
	width->hold(pattern, found, 1);
}

/* How often the registers came back changed. */
static unsigned hold(unsigned who)
{
	uint64_t pattern[WORDS_MAX], found[WORDS_MAX], end = now() + RUN_NS;
	unsigned wrong = 0;

	make_pattern(pattern, who);
	while (now() < end) {
		bool same = true;

		width->hold(pattern, found, 100000);
		for (unsigned i = 0; i < width->words; i++) {
			if (found[i] == pattern[i])
				continue;
			if (same)
				print("vector: thread %u: word %u is %lx, not %lx\n", who, i,
				      found[i], pattern[i]);
			same = false;
		}
		wrong += !same;
	}
	return wrong;
}

static uint32_t wrong_in_task;

static void hold_in_task(void *who)
{
	wrong_in_task = hold((unsigned)(uint64_t)who);
}

static void __attribute__((noreturn)) hold_in_two(unsigned who)
{
	uint64_t every[4] = { 0, TICK_US, 0, TICK_US };
	struct task task;
	unsigned wrong;

	on_signal(SIGALRM, tick, SA_RESTART);
	call(SETITIMER, 0, every, 0);
	if (task_start(&task, hold_in_task, (void *)(uint64_t)(2 * who)) < 0)
		exit(1);
	wrong = hold(2 * who + 1);
	task_join(&task);
	exit(wrong || wrong_in_task || !ticks);
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
	width = find_width();
	print("vector: %s\n", width->name);
	for (unsigned who = 0; who < PROCESSES; who++) {
		if (syscall3(SYS_FORK, 0, 0, 0) == 0)
			hold_in_two(who);
	}
	for (unsigned who = 0; who < PROCESSES; who++) {
		syscall6(SYS_WAIT4, -1, (long)&status, 0, 0, 0, 0);
		failed |= status;
	}
	users = first_uses();
	print("vector: %ld first uses were seen\n", users);
	/* This process may be one of them, and then its children have a copy of its state. */
	failed |= users > 2 * PROCESSES + 1;
	print("vector: %s\n", failed ? "lost" : "kept");
	return failed != 0;
}

/*
 * All CPUs at once: twice as many processes as CPUs, each of which maps, touches, checks, protects
 * and unmaps memory and forks children that do the same, with a thread beside it in the same memory
 * whose TLB must be told of every change. `cpus [ROUNDS]`.
 */
#include "guest/programs/runtime/runtime.h"

#define SYS_CLONE	      56
#define SYS_FORK	      57
#define SYS_FUTEX	      202
#define SYS_SCHED_SETAFFINITY 203
#define SYS_SCHED_GETAFFINITY 204
#define SYS_GETCPU	      309
#define THREAD_FLAGS	      0x250f00 /* VM FS FILES SIGHAND THREAD SYSVSEM CHILD_CLEARTID */
#define PAGES		      24
#define STACK		      (16 * PAGE)
#define SIGKILL		      9
#define SIGSEGV		      11
#define TURNS		      16
#define TURN_MOST	      300000000ul /* ns, on a busy host */

struct shared {
	uint32_t cpus_seen; /* bits */
	uint32_t children;
	uint32_t failures;
	uint32_t turn;
};

static struct shared *shared;

static void fail(const char *what)
{
	print("cpus: %s\n", what);
	__atomic_fetch_add(&shared->failures, 1, __ATOMIC_SEQ_CST);
}

static uint32_t this_cpu(void)
{
	uint32_t cpu = 0;

	syscall3(SYS_GETCPU, &cpu, 0, 0);
	return cpu;
}

static void note_cpu(void)
{
	__atomic_fetch_or(&shared->cpus_seen, 1u << this_cpu(), __ATOMIC_SEQ_CST);
}

/* From here on this process, and what it forks, runs there and nowhere else. */
static void stay_on(unsigned cpu)
{
	uint64_t mask = 1ull << cpu, is = 0;

	if (syscall3(SYS_SCHED_SETAFFINITY, 0, 8, &mask) || this_cpu() != cpu)
		fail("it did not go where it was sent");
	syscall3(SYS_SCHED_GETAFFINITY, 0, 8, &is);
	if (is != mask)
		fail("another affinity than was set");
}

static void fill(uint64_t *page, uint64_t seed)
{
	for (unsigned i = 0; i < PAGES; i++)
		page[i * PAGE / 8] = mix(seed + i);
}

static bool holds(const uint64_t *page, uint64_t seed)
{
	for (unsigned i = 0; i < PAGES; i++) {
		if (page[i * PAGE / 8] != mix(seed + i))
			return false;
	}
	return true;
}

static void in_child(uint64_t *memory, uint64_t seed)
{
	note_cpu();
	if (!holds(memory, seed))
		fail("a child's copy is wrong");
	fill(memory, seed + 1000);
	if (!holds(memory, seed + 1000))
		fail("a child's own pages are wrong");
	__atomic_fetch_add(&shared->children, 1, __ATOMIC_SEQ_CST);
	exit(0);
}

static void one_round(uint64_t seed)
{
	uint64_t *memory = map_memory(PAGES * PAGE, PROT_READ | PROT_WRITE);
	long child;

	if (!memory) {
		fail("no memory");
		return;
	}
	fill(memory, seed);
	child = syscall3(SYS_FORK, 0, 0, 0);
	if (child == 0)
		in_child(memory, seed);
	if (child < 0)
		fail("no child");
	syscall3(SYS_MPROTECT, memory, PAGES * PAGE / 2, PROT_READ);
	if (!holds(memory, seed))
		fail("a parent's pages are wrong");
	syscall6(SYS_WAIT4, child, 0, 0, 0, 0, 0);
	if (!holds(memory, seed))
		fail("a parent's pages changed");
	syscall3(SYS_MUNMAP, memory, PAGES * PAGE, 0);
	note_cpu();
}

/* A thread that reads a page which the other takes away and puts back: what it sees is never the
 * content from before. */
struct pair {
	volatile uint64_t *page;
	volatile uint64_t generation; /* the page holds this, or more, or zero */
	volatile bool stop;
	uint32_t tid;
	uint64_t reads;
};

static void reader(struct pair *pair)
{
	while (!pair->stop) {
		uint64_t least = pair->generation, value = *pair->page;

		if (value && value < least)
			fail("a thread read what was unmapped long ago");
		pair->reads++;
	}
	note_cpu();
}

static long start_thread(struct pair *pair)
{
	char *stack = map_memory(STACK, PROT_READ | PROT_WRITE);
	uint64_t *top = (uint64_t *)(stack + STACK);
	long result;

	*--top = (uint64_t)pair;
	*--top = (uint64_t)reader;
	pair->tid = 1;
	register long r10 __asm__("r10") = (long)&pair->tid;
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
	return result;
}

static void shoot_down(uint64_t rounds)
{
	struct pair pair = { 0 };
	uint32_t tid;

	pair.page = map_memory(PAGE, PROT_READ | PROT_WRITE);
	if (start_thread(&pair) < 0) {
		fail("no thread");
		return;
	}
	for (uint64_t i = 1; i <= rounds * 10; i++) {
		*pair.page = i;
		/* Empties the page: from here on the old value must not be seen. */
		syscall3(SYS_MADVISE, pair.page, PAGE, 4);
		pair.generation = i + 1;
	}
	pair.stop = true;
	while ((tid = __atomic_load_n(&pair.tid, __ATOMIC_SEQ_CST)) != 0)
		syscall6(SYS_FUTEX, (long)&pair.tid, 0, tid, 0, 0, 0);
}

/* Every third goes from CPU to CPU. */
static void worker(unsigned number, uint64_t rounds, unsigned cpus)
{
	for (uint64_t i = 0; i < rounds; i++) {
		unsigned cpu = (unsigned)(number + i) % cpus;

		if (number % 3 == 2)
			stay_on(cpu);
		one_round(number * 1000000 + i);
		if (number % 3 == 2 && this_cpu() != cpu)
			fail("it left the CPU where it must stay");
	}
	shoot_down(rounds);
	exit(0);
}

static unsigned bits(uint64_t mask)
{
	unsigned count = 0;

	for (; mask; mask &= mask - 1)
		count++;
	return count;
}

/* Two that wait for each other in ring 3, on one CPU, while the next timer is far away: only the
 * end of a slice lets them go on. */
static void slices(unsigned cpu)
{
	struct timespec far = { 1000, 0 };
	volatile uint32_t *turn = &shared->turn;
	long sleeper, child;
	uint64_t start;

	stay_on(cpu);
	sleeper = syscall3(SYS_FORK, 0, 0, 0);
	if (sleeper == 0) {
		syscall3(SYS_NANOSLEEP, &far, 0, 0);
		exit(0);
	}
	syscall3(SYS_SCHED_YIELD, 0, 0, 0);
	*turn = 0;
	start = now();
	child = syscall3(SYS_FORK, 0, 0, 0);
	for (uint32_t i = child == 0; i < TURNS; i += 2) {
		while (*turn != i)
			;
		*turn = i + 1;
	}
	if (child == 0)
		exit(0);
	syscall6(SYS_WAIT4, child, 0, 0, 0, 0, 0);
	/* A slice is 10 ms. */
	if (now() - start > TURNS * TURN_MOST)
		fail("there are no slices");
	syscall3(SYS_KILL, sleeper, SIGKILL, 0);
	syscall6(SYS_WAIT4, sleeper, 0, 0, 0, 0, 0);
}

int main(int argc, char **argv)
{
	uint64_t mask = 0, rounds = 20;
	unsigned cpus, workers;
	int status;

	if (argc > 1 && !parse_size(argv[1], &rounds))
		return 2;
	syscall3(SYS_SCHED_GETAFFINITY, 0, 8, &mask);
	cpus = bits(mask);
	workers = 2 * cpus;
	shared = (void *)syscall6(SYS_MMAP, 0, PAGE, PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (unsigned i = 0; i < workers; i++) {
		if (syscall3(SYS_FORK, 0, 0, 0) == 0)
			worker(i, rounds, cpus);
	}
	for (unsigned i = 0; i < workers; i++) {
		if (syscall6(SYS_WAIT4, -1, (long)&status, 0, 0, 0, 0) < 0 || status)
			fail("a worker did not end well");
	}
	slices(0);
	slices(cpus - 1);
	print("cpus: %u of %u CPUs ran, %u children, %u failures\n", bits(shared->cpus_seen), cpus,
	      shared->children, shared->failures);
	if (shared->failures || shared->children != workers * rounds)
		return 1;
	print("cpus: all is right\n");
	return 0;
}

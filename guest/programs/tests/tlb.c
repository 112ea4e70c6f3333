/*
 * Measures the cost of a flush of the TLB, page by page (INVLPG) and as a whole, and where one
 * overtakes the other: a range of pages is touched, taken away by mprotect, given back and touched
 * again, with the kernel told (/proc/sys/vm/tlb_flush_ceiling) to flush always one by one, or
 * always all.
 *
 * It also checks that flushes are right: memory that was taken away is gone at once, on one CPU and
 * on several, and the counts in /proc/vmstat match the flushes that were done.
 */
#include "guest/programs/runtime/check.h"

#define SYS_CLONE  56
#define PAGES_MOST 256
#define ROUNDS	   12
#define CEILING	   "/proc/sys/vm/tlb_flush_ceiling"

/* ns of one mprotect of `pages` pages and the touches behind it, the least of ROUNDS. */
static uint64_t cost(volatile char *memory, uint64_t pages)
{
	uint64_t least = UINT64_MAX;

	for (unsigned round = 0; round < ROUNDS; round++) {
		uint64_t start = now(), took;

		syscall3(SYS_MPROTECT, memory, pages * PAGE, PROT_READ);
		for (uint64_t i = 0; i < PAGES_MOST; i++)
			(void)memory[i * PAGE];
		took = now() - start;
		least = took < least ? took : least;
		syscall3(SYS_MPROTECT, memory, pages * PAGE, PROT_READ | PROT_WRITE);
	}
	return least;
}

static long count(const char *name)
{
	return file_number("/proc/vmstat", name);
}

/* One mprotect of eight pages is eight flushes one by one, or one of all. */
static void check_counts(void *memory)
{
	long one = count("nr_tlb_local_flush_one"), all = count("nr_tlb_local_flush_all");

	must_write(CEILING, "8");
	syscall3(SYS_MPROTECT, memory, 8 * PAGE, PROT_READ);
	expect(count("nr_tlb_local_flush_one") - one == 8, "eight pages are not flushed singly");
	expect(count("nr_tlb_local_flush_all") == all, "eight pages are flushed as a whole");
	syscall3(SYS_MPROTECT, memory, 8 * PAGE, RW);
	one = count("nr_tlb_local_flush_one");
	must_write(CEILING, "7");
	syscall3(SYS_MPROTECT, memory, 8 * PAGE, PROT_READ);
	expect(count("nr_tlb_local_flush_one") == one, "above the ceiling pages go singly");
	expect(count("nr_tlb_local_flush_all") - all == 1, "not one flush of all");
	syscall3(SYS_MPROTECT, memory, 8 * PAGE, RW);
	must_write(CEILING, "32");
}

/* A page's place taken by another page: the old one must not be seen, whatever the ceiling. */
static void check_remapping(const char *ceiling)
{
	uint64_t *memory = map(NULL, 8 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	must_write(CEILING, ceiling);
	for (unsigned round = 1; round <= 20; round++) {
		for (unsigned i = 0; i < 8; i++)
			memory[i * PAGE / 8] = round;
		map(memory, 8 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1);
		expect(is_zero(memory, 8 * PAGE), "an old page is seen after it was replaced");
	}
	syscall3(SYS_MUNMAP, memory, 8 * PAGE, 0);
	must_write(CEILING, "32");
}

/*
 * A child in the same memory writes a page without end, until it dies of it: once mprotect has
 * returned no write may come through, wherever the writer runs.
 */
struct writer {
	volatile uint64_t *word, *turns;
};

static int write_on(void *argument)
{
	struct writer *writer = argument;

	for (;;) {
		*writer->word += 1;
		*writer->turns += 1;
	}
	return 0;
}

/* A process in this memory (CLONE_VM | SIGCHLD), which calls body on a stack of its own. */
static long start_sharing(int (*body)(void *), void *argument, uint64_t *stack_end)
{
	long result;

	*--stack_end = (uint64_t)argument;
	*--stack_end = (uint64_t)body;
	__asm__ volatile("xorl %%r10d, %%r10d\n\t"
			 "xorl %%r8d, %%r8d\n\t"
			 "syscall\n\t"
			 "testq %%rax, %%rax\n\t"
			 "jnz 1f\n\t"
			 "popq %%rax\n\t"
			 "popq %%rdi\n\t"
			 "callq *%%rax\n"
			 "1:"
			 : "=a"(result)
			 : "a"(SYS_CLONE), "D"(0x111), "S"(stack_end), "d"(0)
			 : "rcx", "r8", "r10", "r11", "memory");
	return result;
}

static void check_shoot_down(void)
{
	volatile uint64_t *page = map(NULL, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	volatile uint64_t *turns = map(NULL, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	struct writer writer = { page, turns };
	static uint64_t stack[512];
	long child = start_sharing(write_on, &writer, stack + 512);
	int status = 0;
	uint64_t seen;

	while (*turns < 1000)
		syscall3(SYS_SCHED_YIELD, 0, 0, 0);
	syscall3(SYS_MPROTECT, page, PAGE, PROT_READ);
	seen = *page;
	expect(syscall6(SYS_WAIT4, child, (long)&status, 0, 0, 0, 0) == child, "no writer");
	expect(DIED_OF(status) == 11, "the writer does not die of SIGSEGV");
	expect(*page == seen, "a write came through after mprotect");
	syscall3(SYS_MUNMAP, page, PAGE, 0);
	syscall3(SYS_MUNMAP, turns, PAGE, 0);
}

/* Two processes that hand the CPU to each other keep what the TLB holds of them, with PCID. */
static void check_switches(void)
{
	long kept = count("nr_tlb_switch_kept"), flushed = count("nr_tlb_switch_flush");
	long child = syscall3(SYS_FORK, 0, 0, 0);

	for (unsigned i = 0; i < 100; i++)
		syscall3(SYS_SCHED_YIELD, 0, 0, 0);
	if (child == 0)
		exit(0);
	syscall6(SYS_WAIT4, child, 0, 0, 0, 0, 0);
	kept = count("nr_tlb_switch_kept") - kept;
	flushed = count("nr_tlb_switch_flush") - flushed;
	if (kept + flushed == 0) {
		print("tlb: no PCID here\n");
		return;
	}
	print("tlb: %ld switches kept their entries (PCID), %ld did not\n", kept, flushed);
	expect(kept > flushed, "PCID is of no use");
}

int main(int argc, char **argv)
{
	volatile char *memory = map_memory(PAGES_MOST * PAGE, PROT_READ | PROT_WRITE);
	uint64_t crossing = 0;

	for (uint64_t i = 0; i < PAGES_MOST; i++)
		memory[i * PAGE] = 1;
	print("  pages   one by one, ns      all, ns\n");
	for (uint64_t pages = 1; pages <= PAGES_MOST; pages *= 2) {
		uint64_t single, whole;

		must_write(CEILING, "1000000");
		single = cost(memory, pages);
		must_write(CEILING, "0");
		whole = cost(memory, pages);
		print("  %5lu   %14lu   %10lu\n", pages, single, whole);
		if (!crossing && whole < single)
			crossing = pages;
	}
	must_write(CEILING, "32");
	if (crossing)
		print("tlb: a whole flush is cheaper from %lu pages on\n", crossing);
	else
		print("tlb: one by one is cheaper up to %u pages\n", PAGES_MOST);
	check_counts((void *)memory);
	check_switches();
	check_remapping("0");
	check_remapping("1000");
	for (unsigned i = 0; i < 5; i++)
		check_shoot_down();
	print("tlb: flushes are %s\n", failures ? "wrong" : "right");
	return failures != 0;
}

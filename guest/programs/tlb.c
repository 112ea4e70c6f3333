/*
 * What a flush of the TLB costs, page by page (INVLPG) and as a whole, and where one overtakes the
 * other: a range of pages is touched, taken away by mprotect, given back and touched again, with
 * the kernel told (/proc/sys/vm/tlb_flush_ceiling) to flush always one by one, or always all.
 */
#include "guest/programs/runtime.h"

#define PAGES_MOST 256
#define ROUNDS	   12

static void set_ceiling(const char *words)
{
	long fd = syscall3(SYS_OPEN, "/proc/sys/vm/tlb_flush_ceiling", 1, 0);

	if (syscall3(SYS_WRITE, fd, words, strlen(words)) < 0) {
		print("tlb: the ceiling cannot be set\n");
		exit(1);
	}
	syscall3(SYS_CLOSE, fd, 0, 0);
}

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

int main(int argc, char **argv)
{
	volatile char *memory = map_memory(PAGES_MOST * PAGE, PROT_READ | PROT_WRITE);
	uint64_t crossing = 0;

	for (uint64_t i = 0; i < PAGES_MOST; i++)
		memory[i * PAGE] = 1;
	print("  pages   one by one, ns      all, ns\n");
	for (uint64_t pages = 1; pages <= PAGES_MOST; pages *= 2) {
		uint64_t single, whole;

		set_ceiling("1000000");
		single = cost(memory, pages);
		set_ceiling("0");
		whole = cost(memory, pages);
		print("  %5lu   %14lu   %10lu\n", pages, single, whole);
		if (!crossing && whole < single)
			crossing = pages;
	}
	set_ceiling("32");
	if (crossing)
		print("tlb: a whole flush is cheaper from %lu pages on\n", crossing);
	else
		print("tlb: one by one is cheaper up to %u pages\n", PAGES_MOST);
	return 0;
}

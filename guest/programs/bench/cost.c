/*
 * Measures the kernel's own paths: `cost WAY COUNT` does one thing so many times and says how long
 * it took, and how often the processor changed hands. Beside KVM's count of emulated instructions
 * (bifold run --report) it gives instructions each, by the difference of two runs.
 */
#include "guest/programs/runtime/check.h"

#define SYS_FORK 57

/* Not the test's own page: a fault each, one page apart downward, so that none is mapped ahead. */
static void touch(uint64_t count)
{
	volatile char *memory = map_memory(count * PAGE, PROT_READ | PROT_WRITE);

	for (uint64_t i = count; memory && i > 0; i--)
		memory[(i - 1) * PAGE] = 1;
}

static void touch_upward(uint64_t count)
{
	volatile char *memory = map_memory(count * PAGE, PROT_READ | PROT_WRITE);

	for (uint64_t i = 0; memory && i < count; i++)
		memory[i * PAGE] = 1;
}

static void null_call(uint64_t count)
{
	for (; count > 0; count--)
		syscall3(SYS_GETPID, 0, 0, 0);
}

static void yield(uint64_t count)
{
	for (; count > 0; count--)
		syscall3(SYS_SCHED_YIELD, 0, 0, 0);
}

/* Two processes hand the processor to each other: each call is a switch. */
static void switch_between(uint64_t count)
{
	long child = syscall3(SYS_FORK, 0, 0, 0);

	yield(count / 2);
	if (child == 0)
		exit(0);
	syscall6(SYS_WAIT4, child, 0, 0, 0, 0, 0);
}

static void fork_and_exit(uint64_t count)
{
	for (; count > 0; count--) {
		long child = syscall3(SYS_FORK, 0, 0, 0);

		if (child == 0)
			exit(0);
		if (child < 0 || syscall6(SYS_WAIT4, child, 0, 0, 0, 0, 0) != child) {
			print("fork: %ld\n", child);
			exit(1);
		}
	}
}

static const struct way {
	const char *name;
	void (*go)(uint64_t count);
} ways[] = {
	{ "null", null_call }, { "touch", touch },	     { "upward", touch_upward },
	{ "yield", yield },    { "switch", switch_between }, { "fork", fork_and_exit },
};

int main(int argc, char **argv)
{
	uint64_t count = 1000;

	if (argc > 2 && !parse_size(argv[2], &count))
		argc = 0;
	for (unsigned i = 0; argc > 1 && i < sizeof(ways) / sizeof(ways[0]); i++) {
		uint64_t start;
		long switches;

		if (!equal(argv[1], ways[i].name))
			continue;
		switches = file_number("/proc/stat", "ctxt");
		start = now();
		ways[i].go(count);
		print("%s: %lu times in %lu us", argv[1], count, (now() - start) / 1000);
		print(", %ld switches\n", file_number("/proc/stat", "ctxt") - switches);
		return 0;
	}
	print_error("cost null|touch|upward|yield|switch|fork COUNT\n");
	return 2;
}

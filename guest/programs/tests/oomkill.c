/*
 * Three children hold memory, one of them most, and the fattest grows until there is none: it is
 * killed, the others and the parent go on with their memory as it was.
 *
 * "oomkill adjust" does as oom_score_adj says: a small process with 1000 dies before the fat one,
 * and a fat one with -1000 does not die.
 */
#include "guest/programs/runtime/check.h"

#define SMALL	  200
#define GROWTH	  32 /* pages */
#define SIGKILL	  9
#define SYS_PIPE2 293

static int hold[2]; /* who holds memory does until the parent closes its end */

/* Words that do not compress. */
static void fill(uint64_t *memory, uint64_t pages)
{
	for (uint64_t i = 0; i < pages * PAGE / 8; i++)
		memory[i] = mix(i);
}

static bool filled(const uint64_t *memory, uint64_t pages)
{
	for (uint64_t i = 0; i < pages * PAGE / 8; i++) {
		if (memory[i] != mix(i))
			return false;
	}
	return true;
}

static void grow(void)
{
	uint64_t *more = map_memory(GROWTH * PAGE, PROT_READ | PROT_WRITE);

	if (more)
		fill(more, GROWTH);
}

static long child_that_holds(uint64_t pages, const char *adjustment)
{
	long child = syscall3(SYS_FORK, 0, 0, 0);
	uint64_t *memory;
	char byte;

	if (child != 0)
		return child;
	syscall3(SYS_CLOSE, hold[1], 0, 0);
	must_write("/proc/self/oom_score_adj", adjustment);
	memory = map_memory(pages * PAGE, PROT_READ | PROT_WRITE);
	fill(memory, pages);
	syscall3(SYS_READ, hold[0], &byte, 1);
	exit(!filled(memory, pages));
}

/* Whether it was killed; for that it has to run once. */
static bool is_dead(long pid)
{
	char path[32] = "/proc/";
	const char *text;

	syscall3(SYS_SCHED_YIELD, 0, 0, 0);
	memcpy(path + 6 + put_number(path + 6, (uint64_t)pid), "/stat", 6);
	for (text = read_text(path); *text && *text != ')'; text++)
		;
	return begins(text, ") Z");
}

/* A child that takes memory until the other one is dead. */
static long child_that_grows(long other)
{
	long child = syscall3(SYS_FORK, 0, 0, 0);

	if (child != 0)
		return child;
	syscall3(SYS_CLOSE, hold[1], 0, 0);
	while (!is_dead(other))
		grow();
	exit(0);
}

static int status_of(long child)
{
	int status = -1;

	syscall6(SYS_WAIT4, child, (long)&status, 0, 0, 0, 0);
	return status;
}

static int adjusted(void)
{
	long small = child_that_holds(SMALL, "1000"), fat = child_that_grows(small), never;
	int fat_status = status_of(fat), small_status = status_of(small), never_status;

	print("oomkill: the small one ended with %d, the fat one with %d\n", small_status,
	      fat_status);
	never = child_that_holds(SMALL * 12, "-1000");
	fat = child_that_grows(never);
	fat_status |= status_of(fat);
	print("oomkill: who grows beside the one that is kept ended with %d\n", fat_status);
	syscall3(SYS_CLOSE, hold[1], 0, 0);
	never_status = status_of(never);
	print("oomkill: the one that is kept ended with %d\n", never_status);
	if (small_status != SIGKILL || fat_status != SIGKILL || never_status)
		return 1;
	print("oomkill: oom_score_adj is heeded\n");
	return 0;
}

static int fattest(void)
{
	long first = child_that_holds(SMALL, "0"), second = child_that_holds(SMALL * 4, "0");
	int fat_status = status_of(child_that_grows(first)), first_status, second_status;

	syscall3(SYS_CLOSE, hold[1], 0, 0);
	first_status = status_of(first);
	second_status = status_of(second);
	print("oomkill: the fat one ended with %d, the others with %d and %d\n", fat_status,
	      first_status, second_status);
	if (fat_status != SIGKILL || first_status || second_status)
		return 1;
	print("oomkill: only the fattest died\n");
	return 0;
}

int main(int argc, char **argv)
{
	if (syscall3(SYS_PIPE2, hold, 0, 0))
		return 1;
	return argc > 1 && equal(argv[1], "adjust") ? adjusted() : fattest();
}

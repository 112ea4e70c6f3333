/*
 * Three children hold memory, one of them most, then the fattest grows until there is none: it is
 * killed, the others and the parent go on with their memory as it was.
 *
 * "oomkill adjust" does as oom_score_adj says: a small process with 1000 dies before the fat one, and
 * a fat one with -1000 does not die.
 */
#include "guest/programs/check.h"

#define SMALL	 200
#define SIGKILL	 9

static long child_that_holds(uint64_t pages, bool grows)
{
	long child = syscall3(SYS_FORK, 0, 0, 0);
	struct timespec nap = { 0, 300000000 };
	uint64_t *memory;

	if (child != 0)
		return child;
	memory = map_memory(pages * PAGE, PROT_READ | PROT_WRITE);
	for (uint64_t i = 0; i < pages; i++)
		memory[i * PAGE / 8] = mix(i);
	while (grows) {
		uint64_t *more = map_memory(64 * PAGE, PROT_READ | PROT_WRITE);

		for (unsigned i = 0; more && i < 64; i++)
			more[i * PAGE / 8] = 1;
	}
	syscall3(SYS_NANOSLEEP, &nap, 0, 0);
	for (uint64_t i = 0; i < pages; i++) {
		if (memory[i * PAGE / 8] != mix(i))
			exit(1);
	}
	exit(0);
}

static int status_of(long child)
{
	int status = -1;

	syscall6(SYS_WAIT4, child, (long)&status, 0, 0, 0, 0);
	return status;
}

static void adjust(const char *value)
{
	long fd = syscall3(SYS_OPEN, "/proc/self/oom_score_adj", 1, 0);

	if (syscall3(SYS_WRITE, fd, value, strlen(value)) < 0)
		exit(2);
	syscall3(SYS_CLOSE, fd, 0, 0);
}

/* A child that holds pages until it is killed. */
static long child_that_waits(uint64_t pages, const char *adjustment)
{
	long child = syscall3(SYS_FORK, 0, 0, 0);
	struct timespec nap = { 1, 0 };
	uint64_t *memory;

	if (child != 0)
		return child;
	adjust(adjustment);
	memory = map_memory(pages * PAGE, PROT_READ | PROT_WRITE);
	for (uint64_t i = 0; i < pages; i++)
		memory[i * PAGE / 8] = mix(i);
	for (;;)
		syscall3(SYS_NANOSLEEP, &nap, 0, 0);
}

/* The file's words that are the process's state: "Z" once it was killed. */
static bool is_dead(long pid)
{
	char path[32] = "/proc/", digits[12];
	unsigned at = sizeof(digits), end = 6;
	const char *text;

	for (; pid > 0; pid /= 10)
		digits[--at] = (char)('0' + pid % 10);
	while (at < sizeof(digits))
		path[end++] = digits[at++];
	memcpy(path + end, "/stat", 6);
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
	while (!is_dead(other)) {
		uint64_t *more = map_memory(64 * PAGE, PROT_READ | PROT_WRITE);

		for (unsigned i = 0; more && i < 64; i++)
			more[i * PAGE / 8] = 1;
	}
	exit(0);
}

static int adjusted(void)
{
	long small = child_that_waits(SMALL, "1000"), fat = child_that_grows(small), never;
	int fat_status = status_of(fat), small_status = status_of(small), never_status;

	print("oomkill: the small one ended with %d, the fat one with %d\n", small_status,
	      fat_status);
	never = child_that_waits(SMALL * 16, "-1000");
	fat = child_that_grows(never);
	never_status = status_of(fat);
	print("oomkill: who grows beside the one that is kept ended with %d\n", never_status);
	if (small_status != SIGKILL || fat_status || never_status != SIGKILL || is_dead(never))
		return 1;
	syscall3(SYS_KILL, never, SIGKILL, 0);
	status_of(never);
	print("oomkill: oom_score_adj is heeded\n");
	return 0;
}

static int fattest(void)
{
	long first = child_that_holds(SMALL, false), fat = child_that_holds(SMALL * 4, true);
	long second = child_that_holds(SMALL, false);
	int fat_status = status_of(fat), first_status = status_of(first);
	int second_status = status_of(second);

	print("oomkill: the fat one ended with %d, the others with %d and %d\n", fat_status,
	      first_status, second_status);
	if (fat_status != SIGKILL || first_status || second_status)
		return 1;
	print("oomkill: only the fattest died\n");
	return 0;
}

int main(int argc, char **argv)
{
	return argc > 1 && equal(argv[1], "adjust") ? adjusted() : fattest();
}

/*
 * Three children hold memory, one of them most, then the fattest grows until there is none: it is
 * killed, the others and the parent go on with their memory as it was.
 */
#include "guest/programs/runtime.h"

#define SYS_FORK 57
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

int main(int argc, char **argv)
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

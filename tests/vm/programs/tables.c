/*
 * tables MIB CHILDREN: many page tables that stand for few pages. Each child looks at one page in
 * every 2 MiB of shared memory, whose page tables the host's KVM shadows, and then holds still.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define STEP ((size_t)2 << 20)

static volatile unsigned char *memory;
static size_t size;

static void child(int out)
{
	unsigned sum = 0;

	for (size_t at = 0; at < size; at += STEP)
		sum += memory[at];
	if (sum != size / STEP || write(out, "", 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

int main(int argc, char **argv)
{
	int count = argc == 3 ? atoi(argv[2]) : 0, ends[2];
	char byte;

	size = argc == 3 ? (size_t)atoi(argv[1]) << 20 : 0;
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED || pipe(ends) != 0)
		return 1;
	for (size_t at = 0; at < size; at += STEP)
		memory[at] = 1;
	for (int i = 0; i < count; i++) {
		if (fork() == 0)
			child(ends[1]);
		if (read(ends[0], &byte, 1) != 1)
			return 1;
	}
	puts("held");
	fflush(stdout);
	signal(SIGTERM, SIG_IGN);
	return kill(0, SIGTERM);
}

/*
 * Random system calls: `fuzz SEED SECONDS`. Workers call what they like with arguments that hurt -
 * page ends, holes, the kernel's half, no addresses at all, huge lengths - and die as they may; the
 * parent starts new ones and looks after the kernel: that it answers, and that memory comes back.
 */
#include "guest/programs/runtime/runtime.h"

#define SYS_ALARM 37
#define SYS_FORK  57
#define WORKERS	  3
#define CALL_LAST 440

struct shared {
	uint64_t calls, deaths;
};

static struct shared *shared;
static uint64_t state;
static uint8_t *page; /* one page, and a hole behind */

static uint64_t next(void)
{
	state = mix(state);
	return state;
}

/* Calls that would end the whole test and not only a worker, or wait for ever. */
static bool is_spared(long number)
{
	switch (number) {
	case 62: /* kill, tkill, tgkill and queues: the parent lives in the same group of none */
	case 129:
	case 200:
	case 234:
	case 297:
	case 34: /* pause, sigsuspend */
	case 130:
	case 37: /* alarm: the worker's own */
	case 38:
	case 57: /* forks by the handful are the bombs' */
	case 58:
	case 56:
	case 435:
	case 1: /* write: the console is not to be flooded */
	case 20:
	case 18:
		return true;
	default:
		return false;
	}
}

static long argument(void)
{
	uint64_t r = next();

	switch (r % 16) {
	case 0:
		return 0;
	case 1:
		return (long)(page + PAGE - (r >> 8) % 16);
	case 2:
		return (long)page;
	case 3:
		return (long)(page + PAGE);
	case 4:
		return (long)0xffffffff80200000;
	case 5:
		return (long)0xffff800000000000;
	case 6:
		return 1l << (r >> 8) % 64;
	case 7:
		return -(long)(1ull << (r >> 8) % 64);
	case 8:
		return (long)(r >> 8) % 8;
	case 9:
		return (long)(r >> 8) % 4096;
	case 10:
		return 0x7ffffffff000 - (long)((r >> 8) % 3) * 4096;
	case 11:
		return (long)(PAGE << (r >> 8) % 20);
	case 12:
		return -1 - (long)((r >> 8) % 200);
	case 13:
		return (long)((r >> 8) & 0xffffffff);
	case 14:
		return (long)(0x10000 + ((r >> 8) % 256) * PAGE);
	default:
		return (long)r;
	}
}

static void worker(uint64_t seed)
{
	static const char *const paths[] = { "/tmp/a",	  "/tmp",     "/proc/self/maps",
					     "/dev/zero", "/tmp/a/b", "/proc/vmstat",
					     "..",	  "" };

	state = seed;
	syscall3(SYS_ALARM, 2, 0, 0);
	page = map_memory(2 * PAGE, PROT_READ | PROT_WRITE);
	syscall3(SYS_MUNMAP, page + PAGE, PAGE, 0);
	for (;;) {
		long number = (long)(next() % (CALL_LAST + 1));
		const char *path = paths[next() % (sizeof(paths) / sizeof(paths[0]))];

		if (is_spared(number))
			continue;
		for (unsigned i = 0; i < 32; i++)
			page[next() % PAGE] = (uint8_t)next();
		memcpy(page, path, strlen(path) + 1);
		syscall6(number, argument(), argument(), argument(), argument(), argument(),
			 argument());
		__atomic_fetch_add(&shared->calls, 1, __ATOMIC_SEQ_CST);
	}
}

static void start_worker(uint64_t seed)
{
	if (syscall3(SYS_FORK, 0, 0, 0) == 0)
		worker(seed);
}

int main(int argc, char **argv)
{
	uint64_t seed = 1, seconds = 10, end;
	int status;

	if ((argc > 1 && !parse_size(argv[1], &seed)) ||
	    (argc > 2 && !parse_size(argv[2], &seconds))) {
		print_error("fuzz [SEED [SECONDS]]\n");
		return 2;
	}
	print("fuzz: seed %lu\n", seed);
	shared = (void *)syscall6(SYS_MMAP, 0, PAGE, PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	state = seed;
	end = now() + seconds * 1000000000ull;
	for (unsigned i = 0; i < WORKERS; i++)
		start_worker(next());
	while (now() < end) {
		if (syscall6(SYS_WAIT4, -1, (long)&status, 0, 0, 0, 0) > 0)
			shared->deaths++;
		start_worker(next());
	}
	print("fuzz: seed %lu, %lu calls, %lu workers died, alive\n", seed, shared->calls,
	      shared->deaths);
	return 0;
}

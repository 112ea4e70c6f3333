/* Clocks: never back, sleeps as long as asked and not much longer, the wall clock near what it was
 * told: clock [SECONDS SINCE 1970]. */
#include "guest/programs/runtime/runtime.h"

#define MS 1000000ull

static bool monotonic(void)
{
	uint64_t last = now();

	for (unsigned i = 0; i < 2000; i++) {
		uint64_t next = now();

		if (next < last) {
			print("clock: went back from %lu to %lu\n", last, next);
			return false;
		}
		last = next;
	}
	return true;
}

static bool sleeps(uint64_t ms)
{
	struct timespec time = { ms / 1000, ms % 1000 * MS };
	uint64_t start = now(), took;
	long result = syscall3(SYS_NANOSLEEP, &time, 0, 0);

	took = now() - start;
	if (result || took < ms * MS || took > ms * MS + 500 * MS) {
		print("clock: slept %lu us instead of %lu (result %ld)\n", took / 1000, ms * 1000,
		      result);
		return false;
	}
	return true;
}

static bool wall(uint64_t expected)
{
	struct timespec time = { 0, 0 };

	syscall3(SYS_CLOCK_GETTIME, 0, &time, 0);
	if ((uint64_t)time.seconds + 60 < expected || (uint64_t)time.seconds > expected + 60) {
		print("clock: it is %ld, not %lu\n", time.seconds, expected);
		return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	uint64_t expected;
	bool right = monotonic() & sleeps(1) & sleeps(20) & sleeps(200);

	if (argc > 1)
		right &= parse_size(argv[1], &expected) && wall(expected);
	print("%s\n", right ? "clocks are right" : "clocks are WRONG");
	return right ? 0 : 1;
}

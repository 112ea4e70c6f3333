/*
 * The kernel's estimate of the working set (/proc/sys/vm/workingset_window): a loop over N pages of
 * a larger area that was all touched gives about N; over 2N, 2N; over N again, N; and a rest gives
 * next to nothing. "workingset swap" needs swap=SIZE: the area becomes a window that holds 2N pages
 * (/proc/sys/vm/window), where the estimate counts only what is in it, and pages in use must stay
 * in memory although the scans take their accessed bits.
 */
#include "guest/programs/runtime/check.h"

#define VMSTAT	 "/proc/vmstat"
#define INTERVAL "200" /* ms */
#define AREA	 2400  /* pages */
#define PASSING	 500   /* of them, in a window */
#define STEP	 50    /* of those that pass by */
#define FEW	 200
#define OWN	 60		/* at most, the program's own: text, stack, what reads /proc */
#define SCANS	 3		/* the first of them began before the loop did */
#define TRIES	 20		/* of a loop that a slow host spoils */
#define PATIENCE 30000000000ull /* ns */
#define LAP	 20000000	/* ns between two looks at the clock of scans */
#define TOO_SLOW 50000000	/* ns for a round: a quarter of the interval */

static volatile char *area;

static void touch(size_t pages)
{
	for (size_t i = 0; i < pages; i++)
		area[i * PAGE]++;
}

/* The estimate, after so long a loop over so many pages that it can know of nothing else; and how
 * long the slowest round of it took. */
static long loop(size_t pages, uint64_t *slowest)
{
	long scans = file_number(VMSTAT, "workingset_scans");
	uint64_t begin = now(), last = begin;

	*slowest = 0;
	while (file_number(VMSTAT, "workingset_scans") < scans + SCANS) {
		if (now() - begin > PATIENCE) {
			print("wrong: nothing scans\n");
			exit(1);
		}
		for (uint64_t start = last; last - start < LAP;) {
			uint64_t end;

			touch(pages);
			end = now();
			if (end - last > *slowest)
				*slowest = end - last;
			last = end;
		}
	}
	return file_number(VMSTAT, "workingset_estimate_pages");
}

/* Where the host fetches the guest's pages, or is busy, a round may take longer than the interval,
 * and then an estimate that is too low is right. */
static void expect_estimate(size_t pages, size_t more)
{
	uint64_t slowest;
	long estimate = loop(pages, &slowest);

	for (unsigned i = 1; i < TRIES && estimate < (long)pages && slowest > TOO_SLOW; i++)
		estimate = loop(pages, &slowest);
	print("  a loop over %4lu pages: estimate %ld\n", (unsigned long)pages, estimate);
	expect(estimate >= (long)pages && estimate <= (long)(pages + more),
	       "the estimate is not what is in use");
}

static void sleep_for_scans(void)
{
	struct timespec nap = { 0, 250000000 };
	long scans = file_number(VMSTAT, "workingset_scans");

	for (unsigned i = 0; i == 0 || file_number(VMSTAT, "workingset_scans") < scans + 2; i++) {
		expect(i < 40, "nothing scans while all rests");
		if (i == 40)
			return;
		syscall3(SYS_NANOSLEEP, &nap, 0, 0);
	}
}

static void rest(void)
{
	long estimate;

	sleep_for_scans();
	estimate = file_number(VMSTAT, "workingset_estimate_pages");
	print("  a rest: estimate %ld\n", estimate);
	expect(estimate >= 0 && estimate <= OWN, "the estimate does not see a rest");
}

static void in_all_memory(void)
{
	expect_estimate(FEW, OWN);
	expect_estimate(2 * FEW, OWN);
	expect_estimate(FEW, OWN);
	rest();
}

static char *put(char *to, uint64_t number)
{
	char digits[24];
	unsigned count = 0;

	do {
		digits[count++] = (char)('0' + number % 10);
		number /= 10;
	} while (number);
	while (count > 0)
		*to++ = digits[--count];
	*to++ = ' ';
	return to;
}

/* Half of the window is in use all the time, the other half passes through. */
static void in_a_window(void)
{
	char words[80];
	long in;

	*put(put(put(words, (uint64_t)area), AREA * PAGE), 2 * FEW) = 0;
	expect(write_text("/proc/sys/vm/window", words), "the window is not taken");
	expect_estimate(FEW, 0);
	expect_estimate(2 * FEW, 0);
	in = 0;
	for (size_t i = 2 * FEW; i < 2 * FEW + PASSING; i++) {
		/* Before, all were equally in use. */
		if (i == 2 * FEW + 2 * STEP)
			in = file_number(VMSTAT, "pswpin");
		if (i % STEP == 0) {
			touch(FEW);
			sleep_for_scans();
		}
		area[i * PAGE]++;
	}
	in = file_number(VMSTAT, "pswpin") - in;
	print("  %u pages passed by %u in use, of which %ld came from the swap\n",
	      PASSING - 2 * STEP, FEW, in);
	expect(in <= FEW / 10, "pages in use go to the swap");
	expect(write_text("/proc/sys/vm/window", "0 0 0"), "the window is not given up");
}

int main(int argc, char **argv)
{
	bool swap = argc > 1 && equal(argv[1], "swap");

	area = map(NULL, AREA * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	if (!swap)
		touch(AREA);
	expect(file_number(VMSTAT, "workingset_scans") == 0, "there are scans unasked");
	expect(write_text("/proc/sys/vm/workingset_window", INTERVAL), "no window is taken");
	expect(!write_text("/proc/sys/vm/workingset_window", "long"), "a wrong window is taken");
	if (swap)
		in_a_window();
	else
		in_all_memory();
	expect(write_text("/proc/sys/vm/workingset_window", "0"), "scans cannot be stopped");
	print("%s\n", failures ? "the working set is WRONG" : "the working set is right");
	return failures ? 1 : 0;
}

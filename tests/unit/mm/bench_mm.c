/*
 * Measures the cost of the manager itself, on the fake backing: a budget, a working set of twice
 * that, and the walks of docs/benchmarks.md. Not a test.
 * Usage: bench_mm [BUDGET_MIB [POLICY [OPTIONS]]]
 *
 * Environment: BENCH_SWAP (a directory, or "memory"; none: no swap), BENCH_FACTOR (working set in
 * percent of the budget), BENCH_CONTENT (enum content).
 *
 * Then it measures how long it takes to lower the budget under touches, and to give memory up, by
 * pages and by runs.
 *
 * "guest us" adds to the measured time what a real backing would take: a round trip for each
 * fault, and each page's fill, unmap and release, as measured through userfaultfd.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tests/unit/mm/fake.h"
#include "policy/table.h"

#define FAULT_US 38.0
#define FILL_US	 1.2

static struct fake fake;
static uint32_t frames; /* the working set */
static uint64_t rng = 88172645463325252ull;

static uint32_t sequential(uint64_t i)
{
	return (uint32_t)(i % frames);
}

static uint32_t uniform(uint64_t i)
{
	return rng_below(&rng, frames);
}

/* Zipf with exponent 0.99 by inversion of the continuous law; ranks spread by a multiplier. */
static uint32_t zipf(uint64_t i)
{
	double u = (double)(rng_next(&rng) >> 11) / 9007199254740992.0;
	double e = 1 - 0.99;
	double rank = pow(u * (pow((double)frames + 1, e) - 1) + 1, 1 / e) - 1;

	return (uint32_t)(((uint64_t)rank * 2654435761u) % frames);
}

static void add_one(void *page, void *context)
{
	++*(volatile uint64_t *)page;
}

static void read_one(void *page, void *context)
{
	(void)*(volatile uint64_t *)page;
}

static void walk(const char *name, uint32_t (*next)(uint64_t), uint64_t touches, bool writes)
{
	struct mm_stats before, after;
	uint64_t began, took, faults = 0;

	mm_stats_get(fake.mm, &before);
	began = clock_now_ns();
	for (uint64_t i = 0; i < touches; i++) {
		bool write = writes && (i & 3) == 0;

		if (fake_access(&fake, next(i), write, write ? add_one : read_one, NULL) != 0)
			abort();
	}
	took = clock_now_ns() - began;
	mm_stats_get(fake.mm, &after);
	for (int k = 0; k < MM_FAULT_KINDS; k++)
		faults += after.faults[k] - before.faults[k];
	uint64_t filled = faults + after.filled_ahead - before.filled_ahead -
			  (after.faults[MM_FAULT_MINOR] - before.faults[MM_FAULT_MINOR]);
	printf("%-12s %8.2f us/touch, guest %7.2f; faults/1000: %4llu zero %4llu minor %4llu pool "
	       "%4llu swap; filled %5.2f a fault; direct %llu; stall %.1f us a fault\n",
	       name, (double)took / 1e3 / (double)touches,
	       ((double)took / 1e3 + FAULT_US * (double)faults + FILL_US * (double)filled) /
		       (double)touches,
	       (unsigned long long)((after.faults[0] - before.faults[0]) * 1000 / touches),
	       (unsigned long long)((after.faults[1] - before.faults[1]) * 1000 / touches),
	       (unsigned long long)((after.faults[2] - before.faults[2]) * 1000 / touches),
	       (unsigned long long)((after.faults[3] - before.faults[3]) * 1000 / touches),
	       faults > 0 ? (double)filled / (double)faults : 0.0,
	       (unsigned long long)(after.direct_reclaims - before.direct_reclaims),
	       faults > 0 ? (double)(after.stall_ns - before.stall_ns) / 1e3 / (double)faults
			  : 0.0);
}

/* All of a working set that fits, given up so many pages to a call. */
static void give_up(uint32_t pages, const char *how)
{
	uint32_t count = frames / 4 / pages * pages;
	struct mm_stats before, after;
	uint64_t took;

	mm_release(fake.mm, gfn(0), frames, MM_RELEASE_REPORTED, 0);
	for (uint32_t i = 0; i < count; i++)
		fake_read(&fake, i);
	mm_stats_get(fake.mm, &before);
	took = clock_now_ns();
	for (uint32_t i = 0; i < count; i += pages)
		if (mm_release(fake.mm, gfn(i), pages, MM_RELEASE_BALLOON, 0) != 0)
			abort();
	took = clock_now_ns() - took;
	mm_stats_get(fake.mm, &after);
	mm_balloon_return(fake.mm, gfn(0), frames);
	printf("given up %-14s %7.2f GiB/s, %6.3f us a page; %llu pages punched in %llu runs\n",
	       how, (double)count * PAGE_SIZE / (double)took * 1e9 / (1 << 30),
	       (double)took / 1e3 / (double)count,
	       (unsigned long long)(after.punched_frames - before.punched_frames),
	       (unsigned long long)(after.punched_runs - before.punched_runs));
}

/* Under uniform touches: how long until it is in force, and the longest a touch took meanwhile. */
static void lower(uint64_t budget)
{
	uint64_t began = clock_now_ns(), longest = 0, touches = 0;
	struct mm_stats before, after;

	mm_stats_get(fake.mm, &before);
	if (mm_set_budget(fake.mm, budget) != 0)
		abort();
	do {
		uint64_t at = clock_now_ns(), took;

		if (fake_access(&fake, uniform(touches++), false, read_one, NULL) != 0)
			abort();
		took = clock_now_ns() - at;
		longest = took > longest ? took : longest;
		mm_stats_get(fake.mm, &after);
	} while (after.budget_bytes != budget);
	printf("lowered from %llu to %llu KiB in %.1f ms; %llu touches meanwhile, the longest %.0f "
	       "us; "
	       "direct %llu\n",
	       (unsigned long long)before.budget_bytes >> 10, (unsigned long long)budget >> 10,
	       (double)(clock_now_ns() - began) / 1e6, (unsigned long long)touches,
	       (double)longest / 1e3,
	       (unsigned long long)(after.direct_reclaims - before.direct_reclaims));
}

static uint64_t number(const char *name, uint64_t standard)
{
	const char *text = getenv(name);

	return text != NULL ? strtoull(text, NULL, 0) : standard;
}

int main(int argc, char **argv)
{
	uint64_t budget = (argc > 1 ? strtoull(argv[1], NULL, 0) : 64) << 20;
	enum content kind = (enum content)number("BENCH_CONTENT", CONTENT_HALF);
	struct mm_config config;
	struct mm_stats s;

	frames = (uint32_t)(number("BENCH_FACTOR", 200) * budget / 100 / PAGE_SIZE);
	swap_memory_reset();
	fake_init(&fake, frames);
	config = fake_config(&fake);
	config.no_reclaimer = false;
	config.budget_bytes = budget;
	config.swap_directory = getenv("BENCH_SWAP");
	if (config.swap_directory != NULL && strcmp(config.swap_directory, "memory") != 0)
		config.swap_io = NULL;
	if (argc > 2)
		config.policy = mm_policy_find(argv[2]);
	if (argc > 3)
		config.policy_options = argv[3];
	fake_create(&fake, &config);
	for (uint32_t i = 0; i < frames; i++)
		fake_put(&fake, i, kind, i + 1);
	mm_stats_get(fake.mm, &s);
	printf("budget %llu KiB: resident %llu, pool %llu (stored %llu), tables %llu, swap %llu\n",
	       (unsigned long long)budget >> 10, (unsigned long long)s.resident_bytes >> 10,
	       (unsigned long long)s.pool_bytes >> 10,
	       (unsigned long long)s.pool_stored_bytes >> 10,
	       (unsigned long long)s.table_bytes >> 10, (unsigned long long)s.swap_bytes >> 10);
	walk("sequential", sequential, 4ull * frames, false);
	walk("seq. writes", sequential, 4ull * frames, true);
	walk("uniform", uniform, 4ull * frames, true);
	walk("zipf", zipf, 8ull * frames, true);
	mm_stats_get(fake.mm, &s);
	printf("evictions: %llu same, %llu compressed, %llu swapped, %llu clean, %llu cancelled; "
	       "%llu written back, peak %llu KiB\n",
	       (unsigned long long)s.evictions_same_filled,
	       (unsigned long long)s.evictions_compressed, (unsigned long long)s.evictions_swapped,
	       (unsigned long long)s.evictions_clean, (unsigned long long)s.evictions_cancelled,
	       (unsigned long long)s.written_back, (unsigned long long)s.peak_bytes >> 10);
	lower(budget / 2);
	lower(budget / 4);
	mm_set_budget(fake.mm, budget);
	fake.no_poison = true;
	give_up(1, "page by page:");
	give_up(256, "256 to a call:");
	give_up(1024, "1024 to a call:");
	fake_end(&fake);
	return 0;
}

/*
 * Changing the budget while the guest runs: up at once, down in steps, from none to one and back,
 * and what happens when it cannot fall. Contents are checked throughout.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/units.h"
#include "mm/mm_internal.h"
#include "tests/unit/mm/fake.h"

#define FRAMES 6000

static struct fake fake;
static struct mm_config config;
static struct mm_stats stats;
static uint64_t least;

/* As a host of shadow pages spends. */
static uint64_t beside(void *context, uint64_t budget)
{
	uint64_t share = budget / 10;

	return KIB(900) + (share > KIB(640) ? share : KIB(640));
}

static void prepare(uint64_t budget)
{
	swap_memory_reset();
	fake_init(&fake, FRAMES);
	config = fake_config(&fake);
	config.beside = beside;
	config.swap_directory = "memory";
	least = mm_least_budget(&config);
	config.budget_bytes = budget;
}

static const struct mm_stats *now(void)
{
	mm_stats_get(fake.mm, &stats);
	cr_assert_eq(mm_check(fake.mm, stderr), 0);
	return &stats;
}

static void put_all(uint32_t frames, uint32_t version)
{
	for (uint32_t i = 0; i < frames; i++)
		cr_assert_eq(fake_put(&fake, i, i % CONTENT_KINDS, version), 0);
}

static void expect_all(uint32_t frames, uint32_t version)
{
	for (uint32_t i = 0; i < frames; i++)
		cr_assert_eq(fake_expect(&fake, i, i % CONTENT_KINDS, version), 0);
}

Test(budget, under_the_least)
{
	prepare(0);
	fake_create(&fake, &config);
	cr_assert_eq(mm_set_budget(fake.mm, least - 1), -EINVAL);
	cr_assert_eq(mm_set_budget(fake.mm, 1), -EINVAL);
	cr_assert_eq(now()->budget_bytes, 0);
	cr_assert_eq(stats.budget_least_bytes, least);
	cr_assert_eq(mm_set_budget(fake.mm, least), 0);
	cr_assert_eq(now()->budget_bytes, least);
	fake_end(&fake);
}

/* The memory that others spend is inside the budget, and follows it. */
Test(budget, beside)
{
	uint64_t own;

	prepare(MIB(16));
	config.beside = NULL;
	own = mm_least_budget(&config);
	config.beside = beside;
	cr_assert_geq(least, own + beside(NULL, least));
	cr_assert_lt(least, own + beside(NULL, least) + KIB(4));
	fake_create(&fake, &config);
	put_all(FRAMES, 1);
	own = now()->table_bytes - beside(NULL, MIB(16));
	cr_assert_lt(own, MIB(2));
	cr_assert_eq(mm_set_budget(fake.mm, MIB(64)), 0);
	cr_assert_geq(now()->table_bytes, own + beside(NULL, MIB(64)));
	put_all(FRAMES, 2);
	cr_assert_eq(mm_set_budget(fake.mm, least), 0);
	cr_assert_eq(now()->budget_bytes, least);
	cr_assert_lt(now()->table_bytes, own + beside(NULL, least) + KIB(256));
	expect_all(FRAMES, 2);
	cr_assert_eq(mm_set_budget(fake.mm, 0), 0);
	cr_assert_lt(now()->table_bytes, own + KIB(512));
	fake_finish(&fake);
}

/* So are the page tables, from the first touch of a unit on; a budget must have room for all. */
Test(budget, units)
{
	uint64_t none, per_unit = KIB(12), units = (FRAMES + 511) / 512;

	prepare(0);
	none = least;
	config.unit_bytes = per_unit;
	least = mm_least_budget(&config);
	cr_assert_geq(least, none + units * per_unit);
	cr_assert_leq(least, none + (units + 4) * per_unit);
	fake_create(&fake, &config);
	none = now()->table_bytes;
	/* Two in one unit, and the last frame, whose unit is not whole. */
	cr_assert_eq(fake_put(&fake, 7, CONTENT_WORD, 1), 0);
	cr_assert_eq(fake_put(&fake, 300, CONTENT_WORD, 1), 0);
	cr_assert_eq(fake_put(&fake, FRAMES - 1, CONTENT_WORD, 1), 0);
	cr_assert_eq(now()->table_bytes, none + 2 * per_unit);
	/* A page that goes leaves its tables. */
	cr_assert_eq(mm_reclaim(fake.mm, 3), 3);
	cr_assert_eq(now()->table_bytes, none + 2 * per_unit);
	cr_assert_eq(mm_set_budget(fake.mm, least), 0);
	put_all(FRAMES, 2);
	cr_assert_eq(now()->budget_bytes, least);
	expect_all(FRAMES, 2);
	fake_end(&fake);
}

Test(budget, up)
{
	prepare(0);
	config.budget_bytes = least;
	fake_create(&fake, &config);
	put_all(FRAMES, 1);
	cr_assert_leq(now()->peak_bytes, least);
	uint32_t window = fake.mm->sizes.swap_window;
	uint64_t faults = stats.faults[MM_FAULT_SWAP];

	cr_assert_eq(mm_set_budget(fake.mm, MIB(64)), 0);
	cr_assert_eq(now()->budget_bytes, MIB(64));
	cr_assert_eq(stats.budget_wanted_bytes, MIB(64));
	cr_assert_eq(stats.budget_most_bytes, MIB(64));
	cr_assert_gt(fake.mm->sizes.swap_window, window);
	cr_assert_eq(fake.mm->fill_works[0]->window, fake.mm->sizes.swap_window);
	expect_all(FRAMES, 1);
	expect_all(FRAMES, 1);
	cr_assert_gt(now()->peak_bytes, least);
	/* All of it fits now: the second time nothing was read. */
	faults = stats.faults[MM_FAULT_SWAP];
	expect_all(FRAMES, 1);
	cr_assert_eq(now()->faults[MM_FAULT_SWAP], faults);
	fake_end(&fake);
}

/* Without the background thread the caller does it all. */
Test(budget, down)
{
	prepare(0);
	config.budget_bytes = MIB(64);
	fake_create(&fake, &config);
	put_all(FRAMES, 1);
	cr_assert_gt(now()->resident_bytes, MIB(20));
	cr_assert_eq(mm_set_budget(fake.mm, MIB(10)), 0);
	cr_assert_eq(now()->budget_bytes, MIB(10));
	cr_assert_leq(stats.held_bytes, MIB(10));
	cr_assert_eq(stats.budget_most_bytes, MIB(64));
	cr_assert_eq(mm_set_budget(fake.mm, least), 0);
	cr_assert_eq(now()->budget_bytes, least);
	cr_assert_leq(stats.held_bytes, least);
	expect_all(FRAMES, 1);
	put_all(FRAMES, 2);
	expect_all(FRAMES, 2);
	cr_assert_leq(now()->held_bytes, least);
	fake_end(&fake);
}

static void none_and_back(bool swap, enum mm_compressor compressor)
{
	uint32_t frames = swap ? FRAMES : FRAMES / 5;

	prepare(0);
	config.swap_directory = swap ? "memory" : NULL;
	config.compressor = compressor;
	least = mm_least_budget(&config);
	fake_create(&fake, &config);
	put_all(frames, 1);
	cr_assert_eq(now()->budget_bytes, 0);
	for (uint32_t round = 1; round <= 3; round++) {
		cr_assert_eq(mm_set_budget(fake.mm, least + MIB(round)), 0);
		cr_assert_eq(now()->budget_bytes, least + MIB(round));
		cr_assert_eq(stats.budget_most_bytes, 0, "there was none at some time");
		expect_all(frames, round);
		cr_assert_leq(now()->held_bytes, least + MIB(round));
		cr_assert_eq(mm_set_budget(fake.mm, 0), 0);
		cr_assert_eq(now()->budget_bytes, 0);
		cr_assert_eq(stats.budget_wanted_bytes, 0);
		put_all(frames, round + 1);
		cr_assert_gt(now()->resident_bytes, (frames - 1) * PAGE_SIZE);
	}
	fake_end(&fake);
}

Test(budget, none_and_back)
{
	none_and_back(true, MM_COMPRESSOR_LZ4);
	none_and_back(true, MM_COMPRESSOR_ZSTD);
	none_and_back(false, MM_COMPRESSOR_LZ4);
}

/* No assertion in a thread of its own: Criterion keeps something for each that asserts. */
static void *fall_main(void *context)
{
	*(int *)context = mm_set_budget(fake.mm, least);
	return NULL;
}

/*
 * While it falls, the guest runs: no fault evicts more than a batch or two for itself, and the
 * budget in force only ever falls.
 */
Test(budget, down_while_the_guest_runs)
{
	uint64_t rng = test_seed(), last, direct, steps = 0, most_direct = 0;
	pthread_t thread;
	int error;

	prepare(0);
	config.no_reclaimer = false;
	config.budget_bytes = MIB(64);
	least = mm_least_budget(&config);
	fake_create(&fake, &config);
	put_all(FRAMES, 1);
	last = now()->budget_bytes;
	direct = stats.direct_reclaims;
	cr_assert_eq(pthread_create(&thread, NULL, fall_main, &error), 0);
	while (stats.budget_bytes != least) {
		uint32_t i = rng_below(&rng, FRAMES);

		cr_assert_eq(fake_expect(&fake, i, i % CONTENT_KINDS, 1), 0);
		now();
		cr_assert_leq(stats.budget_bytes, last, "it rose");
		cr_assert_leq(stats.held_bytes, stats.budget_bytes);
		steps += stats.budget_bytes < last;
		last = stats.budget_bytes;
		if (stats.direct_reclaims - direct > most_direct)
			most_direct = stats.direct_reclaims - direct;
		direct = stats.direct_reclaims;
	}
	pthread_join(thread, NULL);
	cr_assert_eq(error, 0);
	cr_assert_gt(steps, 3, "it fell in one go");
	cr_assert_leq(most_direct, 4, "a fault reclaimed %llu times",
		      (unsigned long long)most_direct);
	expect_all(FRAMES, 1);
	cr_assert_leq(now()->held_bytes, least);
	fake_end(&fake);
}

/* The background thread of a machine that began without a budget. */
Test(budget, from_none_in_the_background)
{
	prepare(0);
	config.no_reclaimer = false;
	least = mm_least_budget(&config);
	fake_create(&fake, &config);
	put_all(FRAMES, 1);
	cr_assert_eq(mm_set_budget(fake.mm, least + MIB(1)), 0);
	cr_assert_neq(now()->budget_bytes, 0, "at least as far as what is held, at once");
	cr_assert_eq(stats.budget_wanted_bytes, least + MIB(1));
	while (now()->budget_bytes > least + MIB(1))
		sched_yield();
	expect_all(FRAMES, 1);
	cr_assert_leq(now()->held_bytes, least + MIB(1));
	fake_end(&fake);
}

/* Raised while it falls: at once again. */
Test(budget, turned_round)
{
	prepare(0);
	config.no_reclaimer = false;
	config.budget_bytes = MIB(64);
	least = mm_least_budget(&config);
	fake_create(&fake, &config);
	put_all(FRAMES, 1);
	for (int i = 0; i < 20; i++) {
		cr_assert_eq(mm_set_budget(fake.mm, least), 0);
		sched_yield();
		cr_assert_eq(mm_set_budget(fake.mm, MIB(32) + MIB(i)), 0);
		cr_assert_eq(now()->budget_bytes, MIB(32) + MIB(i));
		cr_assert_eq(stats.budget_wanted_bytes, stats.budget_bytes);
	}
	expect_all(FRAMES, 1);
	fake_end(&fake);
}

/*
 * Nothing compresses and there is no swap: it falls to what is held, and comes back rather than
 * stop a guest that lived well before. Beyond the old one there is nothing, as ever.
 */
Test(budget, cannot_fall)
{
	uint32_t i;
	int error = 0;

	prepare(0);
	config.swap_directory = NULL;
	config.budget_bytes = mm_least_budget(&config) + MIB(8);
	fake.expect_failure = true;
	fake_create(&fake, &config);
	for (i = 0; i < 1500; i++)
		cr_assert_eq(fake_put(&fake, i, CONTENT_RANDOM, 1), 0);
	cr_assert_eq(mm_set_budget(fake.mm, mm_least_budget(&config)), 0);
	cr_assert_lt(now()->budget_bytes, config.budget_bytes);
	cr_assert_gt(stats.budget_bytes, stats.budget_wanted_bytes);
	for (; i < 1700 && error == 0; i++)
		error = fake_put(&fake, i, CONTENT_RANDOM, 1);
	cr_assert_eq(error, 0);
	cr_assert_eq(now()->budget_bytes, config.budget_bytes);
	cr_assert_eq(stats.budget_wanted_bytes, mm_least_budget(&config));
	for (uint32_t k = 0; k < i; k++)
		cr_assert_eq(fake_expect(&fake, k, CONTENT_RANDOM, 1), 0);
	for (; i < FRAMES && error == 0; i++)
		error = fake_put(&fake, i, CONTENT_RANDOM, 1);
	cr_assert_eq(error, -ENOMEM);
	cr_assert_leq(now()->peak_bytes, config.budget_bytes);
	fake_end(&fake);
}

/* Pages that the guest gives up meanwhile let the budget fall after all. */
Test(budget, falls_when_the_guest_gives_up)
{
	prepare(0);
	config.no_reclaimer = false;
	config.swap_directory = NULL;
	config.budget_bytes = mm_least_budget(&config) + MIB(8);
	least = mm_least_budget(&config);
	fake_create(&fake, &config);
	for (uint32_t i = 0; i < 2000; i++)
		cr_assert_eq(fake_put(&fake, i, CONTENT_RANDOM, 1), 0);
	cr_assert_eq(mm_set_budget(fake.mm, least), 0);
	cr_assert_gt(now()->budget_bytes, least);
	cr_assert_eq(mm_release(fake.mm, gfn(0), 1900, MM_RELEASE_BALLOON, 0), 0);
	while (now()->budget_bytes > least)
		sched_yield();
	for (uint32_t i = 1900; i < 2000; i++)
		cr_assert_eq(fake_expect(&fake, i, CONTENT_RANDOM, 1), 0);
	fake_end(&fake);
}

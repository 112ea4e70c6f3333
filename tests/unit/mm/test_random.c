/*
 * The randomised test: random touches, writes, evictions, cancellations, pages given up and taken
 * again, pins, changes of the budget and injected failures against a model that knows what every
 * page should hold. The seed is printed; BIFOLD_SEED repeats a run, BIFOLD_STEPS makes it longer.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/units.h"
#include "tests/long.h"
#include "tests/unit/mm/fake.h"
#include "policy/table.h"

#define FRAMES	   3000 /* with a hole in the middle */
#define HOLE_FIRST 1400u
#define HOLE_COUNT 200u

struct model {
	struct fake fake;
	uint64_t rng;
	uint32_t version[FRAMES];
	unsigned char kind[FRAMES];
	unsigned char pins[FRAMES];
	bool balloon[FRAMES];
	uint32_t walk; /* a sequential walker's place */
	uint32_t next_version;
	uint64_t least; /* budget; 0: it is left alone, as there may be no room for a lower one */
};

static struct model model;

/* The guest touches a frame in the middle of its eviction, to read or to write. */
static void interfere(struct model *m, uint32_t frame)
{
	if (rng_below(&m->rng, 2) == 0) {
		fake_expect(&m->fake, frame, m->kind[frame], m->version[frame]);
		return;
	}
	m->kind[frame] = (unsigned char)rng_below(&m->rng, CONTENT_KINDS);
	m->version[frame] = ++m->next_version;
	fake_put(&m->fake, frame, m->kind[frame], m->version[frame]);
}

static void after_unmap(struct fake *fake, gfn_t first, uint32_t count)
{
	struct model *m = fake->context;

	/* An absent frame would be filled: with the means that this very thread may hold. */
	for (uint32_t i = 0; i < count; i++)
		if (fake->present[first.v + i] && rng_below(&m->rng, 40) == 0)
			interfere(m, (uint32_t)first.v + i);
}

static void at_page(struct fake *fake, gfn_t frame)
{
	struct model *m = fake->context;

	if (rng_below(&m->rng, 40) == 0)
		interfere(m, (uint32_t)frame.v);
}

/* A touch in the middle of a release would wait for its end: not from the same thread. */
static void set_hooks(struct model *m, bool on)
{
	m->fake.context = m;
	m->fake.unmapped = on ? after_unmap : NULL;
	m->fake.paged = on ? at_page : NULL;
}

/* None of them is in the hole. */
static bool exist(uint32_t first, uint32_t count)
{
	return first + count <= HOLE_FIRST || first >= HOLE_FIRST + HOLE_COUNT;
}

static uint32_t any_frame(struct model *m)
{
	switch (rng_below(&m->rng, 4)) {
	case 0:
		m->walk = (m->walk + 1) % FRAMES;
		return m->walk;
	case 1:
		return rng_below(&m->rng, FRAMES / 10); /* hot */
	case 2:
		return FRAMES - 1 - (m->walk = (m->walk + 1) % FRAMES);
	default:
		return rng_below(&m->rng, FRAMES);
	}
}

static uint32_t choose_frame(struct model *m)
{
	uint32_t frame = any_frame(m);

	while (!exist(frame, 1))
		frame = any_frame(m);
	return frame;
}

/* A stretch full of zeros, or one frame full of a word. */
static void give_up(struct model *m)
{
	bool poison = rng_below(&m->rng, 4) == 0;
	uint32_t count = poison ? 1 : 1 + rng_below(&m->rng, rng_below(&m->rng, 8) == 0 ? 200 : 8);
	uint32_t first = rng_below(&m->rng, FRAMES - count);
	enum mm_release_kind kind = rng_below(&m->rng, MM_RELEASE_KINDS);
	uint64_t page[PAGE_SIZE / 8] = { 0 };
	uint32_t version = ++m->next_version;

	if (!exist(first, count)) {
		cr_assert_eq(mm_release(m->fake.mm, gfn(first), count, kind, 0), -ERANGE);
		return;
	}
	if (poison)
		content_make(page, CONTENT_WORD, first, version);
	set_hooks(m, false);
	m->fake.inject[FAKE_UNMAP].times = 0;
	cr_assert_eq(mm_release(m->fake.mm, gfn(first), count, kind, page[0]), 0);
	set_hooks(m, true);
	for (uint32_t i = first; i < first + count; i++) {
		m->kind[i] = poison ? CONTENT_WORD : CONTENT_ZERO;
		m->version[i] = version;
		m->balloon[i] |= kind == MM_RELEASE_BALLOON;
	}
}

static void take_again(struct model *m)
{
	uint32_t count = 1 + rng_below(&m->rng, 400), first = rng_below(&m->rng, FRAMES - count);

	cr_assert_eq(mm_balloon_return(m->fake.mm, gfn(first), count),
		     exist(first, count) ? 0 : -ERANGE);
	if (!exist(first, count))
		return;
	for (uint32_t i = first; i < first + count; i++)
		m->balloon[i] = false;
}

static void pin_or_unpin(struct model *m)
{
	uint32_t frame = rng_below(&m->rng, FRAMES - 4), count = 1 + rng_below(&m->rng, 4);

	if (m->pins[frame] > 0) {
		mm_unpin(m->fake.mm, gfn(frame), 1);
		m->pins[frame]--;
		return;
	}
	if (rng_below(&m->rng, 4) != 0)
		return;
	for (uint32_t i = 0; i < count; i++)
		if (m->pins[frame + i] == 3)
			return;
	int error = mm_pin(m->fake.mm, gfn(frame), count);

	if (!exist(frame, count)) {
		cr_assert_eq(error, -ERANGE);
		return;
	}
	cr_assert(error == 0 || error == -ENOMEM || error == -EBUSY);
	for (uint32_t i = 0; i < count && error == 0; i++)
		m->pins[frame + i]++;
}

/* The monitor's own writing to a pinned page, which the guest sees. */
static void write_pinned(struct model *m)
{
	uint32_t frame = rng_below(&m->rng, FRAMES);

	if (m->pins[frame] == 0)
		return;
	m->kind[frame] = (unsigned char)rng_below(&m->rng, CONTENT_KINDS);
	m->version[frame] = ++m->next_version;
	content_make(m->fake.memory + frame * PAGE_SIZE, m->kind[frame], frame, m->version[frame]);
}

static void change_budget(struct model *m)
{
	uint64_t budget = m->least + rng_below(&m->rng, FRAMES) * PAGE_SIZE;

	if (m->least == 0 || rng_below(&m->rng, 20) != 0)
		return;
	if (rng_below(&m->rng, 8) == 0)
		budget = 0;
	cr_assert_eq(mm_set_budget(m->fake.mm, budget), 0);
}

static void inject(struct model *m)
{
	static const int errors[] = { -EAGAIN, -EINTR, -EBUSY, -ENOMEM, -EIO };
	uint32_t what = rng_below(&m->rng, 5);
	enum fake_op op = rng_below(&m->rng, FAKE_RELEASE + 1);

	/* A release that fails in part, and for good, ends the machine: test_partial.c. */
	if (op == FAKE_RELEASE)
		what %= 3;
	m->fake.inject[op].error = errors[what];
	m->fake.inject[op].after = rng_below(&m->rng, 40);
	m->fake.inject[op].times = 1 + rng_below(&m->rng, 2);
	m->fake.inject[op].untold = 0;
	if ((op == FAKE_UNMAP || op == FAKE_SEAL) && what >= 3)
		m->fake.inject[op].untold = rng_below(&m->rng, 40);
	/* The page that a fault needs itself is tried alone, and must not be refused for good. */
	m->fake.inject[op].spare_first = what >= 3;
}

static void step(struct model *m)
{
	uint32_t what = rng_below(&m->rng, 1000), frame = choose_frame(m);

	if (what < 600) {
		cr_assert_eq(fake_expect(&m->fake, frame, m->kind[frame], m->version[frame]), 0);
	} else if (what < 940) {
		m->kind[frame] = (unsigned char)rng_below(&m->rng, CONTENT_KINDS);
		m->version[frame] = ++m->next_version;
		cr_assert_eq(fake_put(&m->fake, frame, m->kind[frame], m->version[frame]), 0);
	} else if (what < 960) {
		mm_reclaim(m->fake.mm, 1 + rng_below(&m->rng, 64));
	} else if (what < 968) {
		give_up(m);
	} else if (what < 970) {
		take_again(m);
	} else if (what < 985) {
		pin_or_unpin(m);
	} else if (what < 995) {
		write_pinned(m);
	} else if (what < 999) {
		inject(m);
	} else {
		change_budget(m);
	}
}

static void run(const struct mm_config *config, uint64_t steps, const char *name)
{
	struct model *m = &model;
	struct mm_stats stats;
	uint64_t seed = test_seed();

	fprintf(stderr, "%s: BIFOLD_SEED=%llu BIFOLD_STEPS=%llu\n", name, (unsigned long long)seed,
		(unsigned long long)steps);
	m->rng = seed;
	m->least = 0;
	if (config->swap_bytes == 0 ? config->swap_directory != NULL
				    : config->swap_bytes >= FRAMES * PAGE_SIZE)
		m->least = config->budget_bytes;
	set_hooks(m, true);
	fake_create(&m->fake, config);
	for (uint64_t i = 0; i < steps; i++) {
		step(m);
		fake_compare(&m->fake);
		if (i % 20000 == 0)
			cr_assert_eq(mm_check(m->fake.mm, stderr), 0);
	}
	for (uint32_t i = 0; i < FRAMES; i++)
		if (exist(i, 1))
			cr_assert_eq(fake_expect(&m->fake, i, m->kind[i], m->version[i]), 0);
	for (uint32_t i = 0; i < FRAMES; i++)
		while (m->pins[i] > 0) {
			mm_unpin(m->fake.mm, gfn(i), 1);
			m->pins[i]--;
		}
	mm_stats_get(m->fake.mm, &stats);
	cr_assert(stats.budget_most_bytes == 0 || stats.peak_bytes <= stats.budget_most_bytes);
	if (m->least == 0)
		cr_assert_leq(stats.peak_bytes, config->budget_bytes);
	cr_assert_gt(stats.evictions_cancelled, 0);
	fprintf(stderr,
		"%s: faults %llu zero %llu minor %llu pool %llu swap; evictions %llu same %llu "
		"compressed %llu swapped %llu clean %llu cancelled; %llu written back\n",
		name, (unsigned long long)stats.faults[0], (unsigned long long)stats.faults[1],
		(unsigned long long)stats.faults[2], (unsigned long long)stats.faults[3],
		(unsigned long long)stats.evictions_same_filled,
		(unsigned long long)stats.evictions_compressed,
		(unsigned long long)stats.evictions_swapped,
		(unsigned long long)stats.evictions_clean,
		(unsigned long long)stats.evictions_cancelled,
		(unsigned long long)stats.written_back);
	for (uint32_t i = 0; i < FRAMES; i++)
		stats.balloon_frames -= m->balloon[i];
	cr_assert_eq(stats.balloon_frames, 0);
	/* Nothing may be left behind once all content is dropped. */
	set_hooks(m, false);
	m->fake.inject[FAKE_UNMAP].times = 0;
	cr_assert_eq(mm_release(m->fake.mm, gfn(0), HOLE_FIRST, MM_RELEASE_BALLOON, 0), 0);
	cr_assert_eq(mm_release(m->fake.mm, gfn(HOLE_FIRST + HOLE_COUNT),
				FRAMES - HOLE_FIRST - HOLE_COUNT, MM_RELEASE_BALLOON, 0),
		     0);
	mm_stats_get(m->fake.mm, &stats);
	cr_assert_eq(stats.released_frames, FRAMES - HOLE_COUNT);
	cr_assert_eq(stats.balloon_frames, FRAMES - HOLE_COUNT);
	cr_assert_eq(stats.resident_bytes, 0);
	cr_assert_eq(stats.pool_stored_bytes, 0);
	cr_assert_eq(stats.swap_bytes, 0);
	fake_end(&m->fake);
}

static struct mm_config prepare(bool scans)
{
	struct mm_config config;

	swap_memory_reset();
	fake_init(&model.fake, FRAMES);
	model.fake.hole_first = HOLE_FIRST;
	model.fake.hole_count = HOLE_COUNT;
	model.fake.scans = scans;
	config = fake_config(&model.fake);
	config.unit_bytes = KIB(12);
	return config;
}

static void sfifo_lz4_swap(bool scans, const char *name)
{
	struct mm_config config = prepare(scans);

	config.swap_directory = "memory";
	config.budget_bytes = mm_least_budget(&config) + 300 * PAGE_SIZE;
	swap_memory.random_trouble = 20;
	swap_memory.random_refusal = 10;
	run(&config, test_steps(test_times(140000, 700000)), name);
}

Test(random, sfifo_lz4_swap)
{
	sfifo_lz4_swap(false, "sfifo, lz4, swap with trouble");
}

Test(random, scanned_sfifo_lz4_swap)
{
	sfifo_lz4_swap(true, "scanned, sfifo, swap with trouble");
}

static void clock_lz4_small_swap(bool scans, const char *name)
{
	struct mm_config config = prepare(scans);

	config.policy = mm_policy_find("clock");
	config.swap_directory = "memory";
	config.swap_bytes = FRAMES * PAGE_SIZE * 3 / 4;
	config.budget_bytes = mm_least_budget(&config) + 900 * PAGE_SIZE;
	run(&config, test_steps(test_times(100000, 500000)), name);
}

Test(random, clock_lz4_small_swap)
{
	clock_lz4_small_swap(false, "clock, lz4, small swap");
}

Test(random, scanned_clock_small_swap)
{
	clock_lz4_small_swap(true, "scanned, clock, small swap");
}

Test(random, fifo_only_swap)
{
	struct mm_config config = prepare(false);

	config.policy = mm_policy_find("fifo");
	config.compressor = MM_COMPRESSOR_NONE;
	config.swap_directory = "memory";
	config.swap_bytes = 2 * FRAMES * PAGE_SIZE;
	config.budget_bytes = mm_least_budget(&config) + 300 * PAGE_SIZE;
	run(&config, test_steps(test_times(100000, 500000)), "fifo, no compressor");
}

Test(random, sfifo_zstd_no_swap)
{
	struct mm_config config = prepare(false);

	config.compressor = MM_COMPRESSOR_ZSTD;
	config.budget_bytes = mm_least_budget(&config) + 2400 * PAGE_SIZE;
	run(&config, test_steps(test_times(40000, 200000)), "sfifo, zstd, no swap");
}

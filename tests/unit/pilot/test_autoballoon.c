/*
 * The balloon's controller against the model of a guest: loads that rise, fall and come back, a
 * guest that swaps, kills, stalls, refuses, says nothing or late, and one that lies. What counts is
 * that available memory stays over the floor, and how often the target turns round.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/addr.h"
#include "base/units.h"
#include "pilot/autoballoon.h"
#include "tests/unit/mm/fake.h"

#define PAGES(mib) ((int64_t)(MIB(mib) >> PAGE_SHIFT))
#define TOTAL	   PAGES(512)
#define FLOOR	   PAGES(32) /* the default for such a guest */
#define SECOND	   1000000000ull

/* Pages, seconds. */
static struct plant {
	struct autoballoon a;
	struct autoballoon_decision decision;
	int64_t at;	/* seconds since the start */
	int64_t load;	/* what programs and kernel hold */
	int64_t cache;	/* what the guest would cache, had it room */
	int64_t budget; /* of the monitor; 0: none */
	int64_t balloon;
	int64_t swapped, swap_size;
	int64_t refuses_at; /* the balloon never grows beyond; 0: it does */
	int64_t pace;	    /* the balloon grows by so much a second */
	int64_t stats_age;  /* seconds that statistics take to arrive */
	bool silent;
	bool host_pressed;
	bool deflates_on_oom;
	uint64_t swapped_in, swapped_out, kills, refaults, pressure_ns;
	struct autoballoon_guest sent[64]; /* statistics under way */
	/* Seen. */
	int64_t lowest; /* available memory */
	unsigned reversals;
	int direction;
	uint64_t target;
	unsigned reasons[AUTOBALLOON_REASONS];
} p;

static void begin(void)
{
	struct autoballoon_config config = { .guest_pages = TOTAL };

	p = (struct plant){ .pace = PAGES(64),
			    .lowest = TOTAL,
			    .load = PAGES(100),
			    .cache = PAGES(600),
			    .host_pressed = true };
	autoballoon_init(&p.a, &config);
}

static int64_t available(void)
{
	int64_t left = TOTAL - p.balloon - (p.load - p.swapped);

	return left > 0 ? left : 0;
}

static int64_t smaller(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static void guest_balloon(void)
{
	int64_t more = (int64_t)p.decision.target_pages - p.balloon;

	more = smaller(more, p.pace);
	if (p.refuses_at != 0)
		more = smaller(more, p.refuses_at - p.balloon);
	if (more > 0 && more > available() - PAGES(8))
		more = available() > PAGES(8) ? available() - PAGES(8) : 0;
	p.balloon += more;
}

/* Memory that does not fit is swapped, and comes back when it may; without a swap the guest kills
 * for it. */
static void guest_memory(void)
{
	int64_t deficit = p.load - p.swapped - (TOTAL - p.balloon);
	int64_t back;

	if (p.deflates_on_oom && deficit > 0) {
		int64_t helped = smaller(deficit, p.balloon);

		p.balloon -= helped;
		deficit -= helped;
	}
	if (deficit > 0) {
		int64_t out = smaller(deficit, p.swap_size - p.swapped);

		p.swapped += out;
		p.swapped_out += (uint64_t)out << PAGE_SHIFT;
		p.kills += deficit > out;
		p.load -= deficit - out;
	}
	back = smaller(smaller(p.swapped, available() / 4), PAGES(16));
	p.swapped -= back;
	p.swapped_in += (uint64_t)back << PAGE_SHIFT;
}

/* Under a budget a page in twenty of what is too much is missed each second. */
static void monitor_memory(void)
{
	int64_t touched = p.load + smaller(p.cache, available());

	if (p.budget != 0 && touched > p.budget) {
		p.refaults += (uint64_t)(touched - p.budget) / 20;
		p.pressure_ns += (uint64_t)(touched - p.budget) / 20 * 40000;
	}
}

static void send_statistics(void)
{
	p.sent[p.at % 64] = (struct autoballoon_guest){
		.balloon_pages = (uint64_t)p.balloon,
		.known = AUTOBALLOON_AVAILABLE | AUTOBALLOON_SWAPS | AUTOBALLOON_OOM_KILLS,
		.available_bytes = (uint64_t)available() << PAGE_SHIFT,
		.swapped_in_bytes = p.swapped_in,
		.swapped_out_bytes = p.swapped_out,
		.oom_kills = p.kills,
	};
}

static void observe(void)
{
	int direction = p.decision.target_pages > p.target   ? 1
			: p.decision.target_pages < p.target ? -1
							     : 0;

	cr_assert_leq(p.decision.target_pages, TOTAL);
	p.reasons[p.decision.reason]++;
	if (direction != 0) {
		p.reversals += direction == -p.direction;
		p.direction = direction;
	}
	p.target = p.decision.target_pages;
	p.lowest = smaller(p.lowest, available());
	if (getenv("BIFOLD_TRACE") != NULL)
		fprintf(stderr, "%lld load %lld balloon %lld target %llu available %lld %s\n",
			(long long)p.at, (long long)p.load >> 8, (long long)p.balloon >> 8,
			(unsigned long long)p.target >> 8, (long long)available() >> 8,
			autoballoon_reason_name(p.decision.reason));
}

static void one_second(int64_t load)
{
	struct autoballoon_sample s = { .now_ns = (uint64_t)(1000 + p.at) * SECOND };
	int64_t touched;

	p.load = load;
	guest_balloon();
	guest_memory();
	monitor_memory();
	send_statistics();
	touched = p.load + smaller(p.cache, available());
	if (!p.silent && p.at >= p.stats_age) {
		s.guest = p.sent[(p.at - p.stats_age) % 64];
		s.guest.when_ns = s.now_ns;
	} else {
		s.guest = p.a.guest;
	}
	s.balloon_pages = (uint64_t)p.balloon;
	s.mm.budget_bytes = (uint64_t)p.budget << PAGE_SHIFT;
	s.mm.held_bytes = (uint64_t)smaller(touched, p.budget) << PAGE_SHIFT;
	s.mm.refaults_near = p.refaults;
	s.mm.pressure_ns = p.pressure_ns;
	s.host.total_bytes = GIB(16);
	s.host.available_bytes = p.host_pressed ? GIB(1) : GIB(8);
	p.decision = autoballoon_step(&p.a, &s);
	observe();
	p.at++;
}

static void seconds(int64_t count, int64_t load)
{
	for (int64_t i = 0; i < count; i++)
		one_second(load);
}

static int64_t triangle(int64_t at, int64_t period, int64_t low, int64_t high)
{
	int64_t phase = at % period, half = period / 2;

	return low + (high - low) * (phase < half ? phase : period - phase) / half;
}

Test(autoballoon, takes_what_is_to_spare)
{
	begin();
	seconds(300, PAGES(100));
	cr_assert_gt(p.balloon, PAGES(300), "%lld", (long long)p.balloon);
	cr_assert_gt(p.lowest, FLOOR);
	cr_assert_eq(p.reversals, 0);
	cr_assert_eq(p.decision.reason, AUTOBALLOON_KEEP);
}

/* No step is larger than a sixty-fourth of the guest a second. */
Test(autoballoon, takes_slowly_and_only_after_a_while)
{
	uint64_t before = 0;

	begin();
	for (int i = 0; i < 200; i++) {
		one_second(PAGES(100));
		cr_assert_leq(p.target, before + TOTAL / 64);
		before = p.target;
		if (i < 30)
			cr_assert_eq(p.target, 0);
	}
	cr_assert_gt(p.target, 0);
}

Test(autoballoon, nobody_is_pressed)
{
	begin();
	p.host_pressed = false;
	seconds(600, PAGES(100));
	cr_assert_eq(p.target, 0);
	cr_assert_eq(p.decision.reason, AUTOBALLOON_CALM);
}

/* A budget is pressure enough once it is used up; its refaults make the balloon hurry. */
Test(autoballoon, the_budget_presses)
{
	begin();
	p.host_pressed = false;
	p.budget = PAGES(256);
	seconds(100, PAGES(100));
	cr_assert_gt(p.balloon, PAGES(150));
	seconds(200, PAGES(100));
	uint64_t refaults = p.refaults;

	seconds(300, PAGES(100));
	cr_assert_eq(p.refaults, refaults, "what the guest can spare was more than the excess");
	cr_assert_gt(p.lowest, FLOOR);
	cr_assert_leq(p.reversals, 1);
}

Test(autoballoon, rising_load)
{
	begin();
	seconds(200, PAGES(60));
	for (int64_t i = 0; i < 300; i++)
		one_second(PAGES(60) + PAGES(1) * i);
	seconds(100, PAGES(360));
	cr_assert_gt(p.lowest, FLOOR, "%lld", (long long)p.lowest >> 8);
	cr_assert_leq(p.reversals, 1);
	cr_assert_gt(p.reasons[AUTOBALLOON_SHORT_GIVE], 0);
	cr_assert_eq(p.kills, 0);
}

Test(autoballoon, falling_load)
{
	begin();
	for (int64_t i = 0; i < 300; i++)
		one_second(PAGES(400) - PAGES(1) * i);
	seconds(300, PAGES(100));
	cr_assert_gt(p.balloon, PAGES(250));
	cr_assert_gt(p.lowest, FLOOR);
	cr_assert_eq(p.reversals, 0);
}

/* Rises and falls, for so long: the controller learns the period. */
static void cycles(int64_t period, int64_t high, int64_t count, unsigned reversals_most)
{
	unsigned second_half;

	begin();
	seconds(60, PAGES(80));
	for (int64_t i = 0; i < period * count / 2; i++)
		one_second(triangle(i, period, PAGES(80), high));
	second_half = p.reversals;
	for (int64_t i = 0; i < period * count / 2; i++)
		one_second(triangle(i, period, PAGES(80), high));
	second_half = p.reversals - second_half;
	cr_assert_gt(p.lowest, FLOOR, "period %lld: %lld MiB", (long long)period,
		     (long long)p.lowest >> 8);
	cr_assert_leq(p.reversals, reversals_most, "period %lld: %u", (long long)period,
		      p.reversals);
	cr_assert_leq(second_half, reversals_most / 3 + 1, "period %lld: %u", (long long)period,
		      second_half);
	cr_assert_eq(p.kills, 0);
	cr_assert_eq(p.swapped_out, 0);
}

Test(autoballoon, rising_and_falling_load)
{
	cycles(60, PAGES(200), 60, 4);
	cycles(120, PAGES(300), 60, 8);
	cycles(300, PAGES(400), 40, 8);
	cycles(900, PAGES(400), 20, 12);
}

/* A jump and a slow fall, again and again. */
static void sawtooth(int64_t period, int64_t height, int64_t free_jumps)
{
	begin();
	p.deflates_on_oom = true;
	for (int64_t i = 0; i < 30 * period; i++) {
		one_second(PAGES(300) - height * (i % period) / period);
		if (i < period * (free_jumps + 1))
			p.lowest = TOTAL;
	}
	cr_assert_gt(p.lowest, FLOOR, "period %lld: %lld MiB", (long long)period,
		     (long long)p.lowest >> 8);
	cr_assert_leq(p.reversals, 5, "period %lld: %u", (long long)period, p.reversals);
	cr_assert_eq(p.kills, 0);
}

Test(autoballoon, sawtooth)
{
	/* The peak is remembered, or the jump fits in what is left. */
	sawtooth(10, PAGES(160), 0);
	sawtooth(25, PAGES(160), 0);
	sawtooth(50, PAGES(160), 0);
	sawtooth(100, PAGES(40), 0);
	sawtooth(400, PAGES(40), 0);
	/* Nobody can foresee the first. Seen once or twice, it is reckoned with. */
	sawtooth(100, PAGES(160), 1);
	sawtooth(200, PAGES(160), 1);
	sawtooth(400, PAGES(160), 2);
}

/* A jump larger than all that was left: the guest swaps, and gets memory back at once. */
Test(autoballoon, a_guest_that_swaps)
{
	int64_t before;

	begin();
	p.swap_size = PAGES(512);
	seconds(300, PAGES(60));
	before = p.balloon;
	seconds(1, PAGES(300));
	cr_assert_gt(p.swapped_out, 0, "the model does not press");
	seconds(2, PAGES(300));
	cr_assert_lt(p.balloon, before / 2 + PAGES(20));
	seconds(60, PAGES(300));
	cr_assert_eq(p.swapped, 0);
	cr_assert_eq(p.reversals, 1, "taken again so soon: %u", p.reversals);
	seconds(1000, PAGES(300));
	cr_assert_leq(p.reversals, 2);
	cr_assert_gt(p.balloon, 0, "but in the end");
}

/* Swap-outs alone, with memory available by its own word. */
Test(autoballoon, swapping_is_believed_over_statistics)
{
	uint64_t before;

	begin();
	seconds(300, PAGES(100));
	before = p.target;
	p.swapped_out += MIB(4);
	seconds(1, PAGES(100));
	cr_assert_eq(p.decision.reason, AUTOBALLOON_SWAP_GIVE);
	cr_assert_lt(p.target, before);
	seconds(14, PAGES(100));
	cr_assert_lt(p.target, before, "and not taken back at once");
	cr_assert_eq(p.decision.reason, AUTOBALLOON_WAIT);
}

Test(autoballoon, a_guest_that_kills)
{
	uint64_t before;

	begin();
	seconds(300, PAGES(100));
	before = p.target;
	p.kills++;
	seconds(1, PAGES(100));
	cr_assert_eq(p.decision.reason, AUTOBALLOON_OOM_GIVE);
	cr_assert_leq(p.target, before / 2);
	seconds(600, PAGES(100));
	cr_assert_lt(p.target, before, "it remembers");
}

/* The guest's faults take ever longer since memory was taken. */
Test(autoballoon, a_guest_that_stalls)
{
	uint64_t before;

	begin();
	seconds(50, PAGES(100));
	cr_assert_eq(p.decision.reason, AUTOBALLOON_TAKE);
	before = p.target;
	p.pressure_ns += SECOND / 2;
	seconds(1, PAGES(100));
	cr_assert_eq(p.decision.reason, AUTOBALLOON_STALL_GIVE);
	cr_assert_lt(p.target, before);
	seconds(5, PAGES(100));
	cr_assert_eq(p.decision.reason, AUTOBALLOON_WAIT);
}

Test(autoballoon, a_guest_that_refuses)
{
	begin();
	p.refuses_at = PAGES(50);
	seconds(600, PAGES(100));
	cr_assert_gt(p.reasons[AUTOBALLOON_REFUSED], 0);
	cr_assert_leq(p.target, PAGES(50) + 3 * TOTAL / 64, "it does not run ahead");
	cr_assert_leq(p.reversals, 16);
	p.refuses_at = 0;
	seconds(1200, PAGES(100));
	cr_assert_gt(p.balloon, PAGES(250), "asked again in the end");
}

Test(autoballoon, no_statistics)
{
	begin();
	p.silent = true;
	seconds(600, PAGES(100));
	cr_assert_eq(p.target, 0);
	cr_assert_eq(p.decision.reason, AUTOBALLOON_NO_STATISTICS);
}

/* They arrive seconds late: the margins hold. */
Test(autoballoon, late_statistics)
{
	for (int64_t age = 1; age <= 4; age++) {
		begin();
		p.stats_age = age;
		seconds(60, PAGES(80));
		for (int64_t i = 0; i < 3000; i++)
			one_second(triangle(i, 200, PAGES(80), PAGES(300)));
		cr_assert_gt(p.lowest, FLOOR, "%lld s: %lld MiB", (long long)age,
			     (long long)p.lowest >> 8);
		cr_assert_leq(p.reversals, 6);
	}
}

/* They stop: nothing more is taken, and after a while all is given back. */
Test(autoballoon, statistics_cease)
{
	uint64_t before;

	begin();
	seconds(60, PAGES(100));
	cr_assert_eq(p.decision.reason, AUTOBALLOON_TAKE);
	before = p.target;
	p.silent = true;
	seconds(6, PAGES(100));
	before = p.target;
	seconds(20, PAGES(100));
	cr_assert_eq(p.target, before);
	cr_assert_eq(p.decision.reason, AUTOBALLOON_LATE);
	seconds(200, PAGES(100));
	cr_assert_eq(p.target, 0);
}

/* Pressure that goes when memory is taken and comes when it is given back. */
Test(autoballoon, its_own_effect_does_not_rock_it)
{
	begin();
	for (int i = 0; i < 4 * 3600; i++) {
		p.host_pressed = p.balloon < PAGES(100);
		one_second(PAGES(100));
	}
	cr_assert_leq(p.reversals, 12, "%u in four hours", p.reversals);
	cr_assert_gt(p.lowest, FLOOR);
}

/* The pressure goes for good: what was taken comes back, down to a comfortable margin. */
Test(autoballoon, calm_again)
{
	begin();
	seconds(300, PAGES(100));
	cr_assert_gt(p.balloon, PAGES(300));
	p.host_pressed = false;
	seconds(60, PAGES(100));
	cr_assert_gt(p.balloon, PAGES(300), "not at once");
	seconds(600, PAGES(100));
	cr_assert_lt(p.balloon, PAGES(272));
	cr_assert_eq(p.decision.reason, AUTOBALLOON_CALM);
	cr_assert_eq(p.reversals, 1);
}

static void random_sample(uint64_t *rng, struct autoballoon_sample *s, uint64_t now)
{
	uint64_t odd[] = { 0, 1, UINT64_MAX, UINT64_MAX / 2, GIB(1), MIB(100), rng_next(rng) };
#define ODD odd[rng_below(rng, 7)]

	*s = (struct autoballoon_sample){ .now_ns = now, .balloon_pages = ODD };
	s->guest = (struct autoballoon_guest){ now, ODD, rng_below(rng, 32), ODD, ODD, ODD, ODD,
					       ODD, ODD };
	s->mm.budget_bytes = rng_below(rng, 2) ? GIB(1) : 0;
	s->mm.held_bytes = rng_below(rng, 1u << 30);
	s->mm.refaults_near = ODD;
	s->mm.pressure_ns = ODD;
	s->host.has_pressure = rng_below(rng, 2);
	s->host.some_avg10 = rng_below(rng, 10001);
	s->host.total_bytes = ODD;
	s->host.available_bytes = ODD;
}

/* A guest that says just anything gets nothing but a balloon of its own size at most. */
Test(autoballoon, lies)
{
	uint64_t seed = test_seed(), rng = seed, now = SECOND, steps = test_steps(200000);
	struct autoballoon_config config = { .guest_pages = TOTAL };
	struct autoballoon a, b;

	fprintf(stderr, "autoballoon: BIFOLD_SEED=%llu\n", (unsigned long long)seed);
	autoballoon_init(&a, &config);
	autoballoon_init(&b, &config);
	for (uint64_t i = 0; i < steps; i++) {
		struct autoballoon_sample s;
		struct autoballoon_decision d, e;

		now += rng_below(&rng, 4) ? SECOND : rng_next(&rng) % (100 * SECOND);
		random_sample(&rng, &s, now);
		d = autoballoon_step(&a, &s);
		e = autoballoon_step(&b, &s);
		cr_assert_leq(d.target_pages, TOTAL - FLOOR);
		cr_assert_lt(d.reason, AUTOBALLOON_REASONS);
		cr_assert_eq(d.target_pages, e.target_pages, "the same samples, another answer");
		cr_assert_eq(d.reason, e.reason);
	}
}

Test(autoballoon, set_by_hand)
{
	begin();
	seconds(100, PAGES(100));
	autoballoon_set(&p.a, PAGES(200));
	seconds(1, PAGES(100));
	cr_assert_geq(p.target, PAGES(200));
	autoballoon_set(&p.a, UINT64_MAX);
	cr_assert_leq(p.a.target, TOTAL);
}

Test(autoballoon, names)
{
	for (int i = 0; i < AUTOBALLOON_REASONS; i++) {
		cr_assert_not_null(autoballoon_reason_name((enum autoballoon_reason)i));
		cr_assert_not_null(autoballoon_reason_text((enum autoballoon_reason)i));
	}
	cr_assert_str_eq(autoballoon_reason_name(AUTOBALLOON_TAKE), "take");
}

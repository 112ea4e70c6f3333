/*
 * How quire measures its timer, on a clock of our own that stands still for the measurer wherever
 * the test says: at any one step, at several, at all.
 */
#include <criterion/criterion.h>
#include <stdbool.h>

#include "guest/cpu/rate.h"

#define TICKS_PER_US 25
#define STEP_NS	     300 /* what one call takes */
#define STALL_NS     7000000
#define WINDOW_NS    500000

struct fake {
	uint64_t time, started;
	unsigned calls, stall_first, stall_every, windows;
	uint64_t round_ns, seen, last; /* the clock goes round, and is read by differences; 0: no */
};

/* A call, and before it, perhaps, a stall. */
static void step(struct fake *fake)
{
	unsigned call = fake->calls++;

	fake->time += STEP_NS;
	if (call == fake->stall_first ||
	    (fake->stall_every > 0 && call % fake->stall_every == fake->stall_every - 1))
		fake->time += STALL_NS;
}

static uint64_t now(void *context)
{
	struct fake *fake = context;

	step(fake);
	if (fake->round_ns == 0)
		return fake->time;
	fake->seen += (fake->time - fake->last) % fake->round_ns;
	fake->last = fake->time;
	return fake->seen;
}

static void start(void *context)
{
	struct fake *fake = context;

	step(fake);
	fake->started = fake->time;
	fake->windows++;
}

static uint64_t count(void *context)
{
	struct fake *fake = context;

	step(fake);
	return (fake->time - fake->started) * TICKS_PER_US / 1000;
}

static uint64_t measure(struct fake *fake)
{
	const struct rate_source source = {
		.now = now,
		.start = start,
		.count = count,
		.context = fake,
		.window_ns = WINDOW_NS,
		.unsure_most_ns = WINDOW_NS / 10,
	};

	return rate_measure(&source);
}

static bool is_right(uint64_t rate)
{
	return rate > TICKS_PER_US * 1000 * 98 / 100 && rate < TICKS_PER_US * 1000 * 102 / 100;
}

Test(rate, undisturbed)
{
	struct fake fake = { .stall_first = UINT32_MAX };
	uint64_t rate = measure(&fake);

	cr_assert(is_right(rate), "%llu", (unsigned long long)rate);
	cr_assert_eq(fake.windows, 3);
}

/* Each step in turn, of every window. */
Test(rate, a_stall_anywhere)
{
	struct fake calm = { .stall_first = UINT32_MAX };

	measure(&calm);
	for (unsigned at = 0; at < calm.calls; at++) {
		struct fake fake = { .stall_first = at };
		uint64_t rate = measure(&fake);

		cr_assert(is_right(rate), "a stall at call %u gives %llu", at,
			  (unsigned long long)rate);
	}
}

/* A stall that the clock itself does not see, for it has gone round: as the board's timer does. */
Test(rate, a_stall_longer_than_the_clock)
{
	struct fake calm = { .stall_first = UINT32_MAX };

	measure(&calm);
	for (unsigned at = 0; at < calm.calls; at++) {
		struct fake fake = { .stall_first = at, .round_ns = STALL_NS - WINDOW_NS / 3 };
		uint64_t rate = measure(&fake);

		cr_assert(is_right(rate), "a stall at call %u gives %llu", at,
			  (unsigned long long)rate);
	}
}

/* Often enough to spoil windows, but not all; and all, where any answer must still be a number that
 * a timer can be set by. */
Test(rate, stalls_again_and_again)
{
	for (unsigned every = 2000; every < 9000; every += 97) {
		struct fake fake = { .stall_first = 1, .stall_every = every };
		uint64_t rate = measure(&fake);

		cr_assert(is_right(rate), "a stall every %u calls gives %llu", every,
			  (unsigned long long)rate);
	}
	for (unsigned every = 1; every < 5; every++) {
		struct fake fake = { .stall_first = 0, .stall_every = every };
		uint64_t rate = measure(&fake);

		cr_assert(rate > TICKS_PER_US * 1000 / 4 && rate < TICKS_PER_US * 1000 * 4, "%llu",
			  (unsigned long long)rate);
	}
}

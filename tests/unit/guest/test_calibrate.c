/* Tests guest/programs/bench/calibrate.h, with clocks that stop their reader. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "guest/programs/bench/calibrate.h"

#define FEMTOSECONDS 400000 /* a tick of 2.5 GHz */

/* Each reading costs a little; sometimes, time passes between it and the next. */
struct world {
	double ns;	   /* now */
	double slower;	   /* what the counter's pace is multiplied by */
	unsigned seed;	   /* of whether it stalls */
	unsigned stall_in; /* one of so many readings is followed by a stall; 0: none */
	double stall_ns;   /* the longest */
	double drift;	   /* of the counter, a reading */
};

static void pass(struct world *world)
{
	world->ns += 40;
	world->slower *= 1 + world->drift;
	if (world->stall_in != 0 && (unsigned)rand_r(&world->seed) % world->stall_in == 0)
		world->ns += world->stall_ns * rand_r(&world->seed) / RAND_MAX;
}

static uint64_t now(void *context)
{
	struct world *world = context;
	uint64_t ns = (uint64_t)world->ns;

	pass(world);
	return ns;
}

static uint64_t ticks(void *context)
{
	struct world *world = context;
	uint64_t value = (uint64_t)(world->ns * 1e6 / FEMTOSECONDS * world->slower);

	pass(world);
	return value;
}

static uint64_t calibrate_in(struct world world)
{
	const struct calibrate_clock clock = { now, ticks, &world };

	world.ns = 12345678;
	if (world.slower == 0)
		world.slower = 1;
	return calibrate(&clock);
}

Test(calibrate, finds_the_tick)
{
	uint64_t tick = calibrate_in((struct world){ 0 });

	cr_assert(calibrate_agree(tick, FEMTOSECONDS), "%lu", tick);
	tick = calibrate_in((struct world){ .slower = 0.5 });
	cr_assert(calibrate_agree(tick, FEMTOSECONDS * 2), "%lu", tick);
}

/* Scheduling: a stall of up to 60 ms now and then. None of it is in the answer. */
Test(calibrate, stalls_are_not_in_it)
{
	const char *given = getenv("BIFOLD_SEED");
	unsigned seed = given != NULL ? (unsigned)strtoul(given, NULL, 0) : (unsigned)time(NULL);

	fprintf(stderr, "calibrate: BIFOLD_SEED=%u\n", seed);
	for (unsigned i = 0; i < 200; i++) {
		uint64_t tick = calibrate_in((struct world){
			.seed = seed + i, .stall_in = 4 << i % 10, .stall_ns = 6e7 });

		cr_assert(calibrate_agree(tick, FEMTOSECONDS), "seed %u: %lu", seed + i, tick);
	}
}

/* A counter whose pace changes has no tick. */
Test(calibrate, refuses_what_does_not_agree)
{
	cr_assert_eq(calibrate_in((struct world){ .drift = 1e-6 }), 0);
	cr_assert_eq(calibrate_in((struct world){ .slower = 1e-12 }), 0);
}

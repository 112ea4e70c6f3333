/*
 * Each policy by itself: golden numbers of faults over small traces, against a memory of a fixed
 * number of frames. A watched frame's touch is counted as minor; the rest are misses.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mm/mm.h"
#include "tests/unit/mm/fake.h"
#include "policy/table.h"

#define FRAMES 256

enum where { ABSENT, MAPPED, WATCHED };

static struct sim {
	struct mm_policy_host host;
	const struct mm_policy_ops *ops;
	struct mm_policy *policy;
	unsigned char where[FRAMES];
	uint32_t resident, size;
	uint32_t misses, minor, evicted;
} sim;

static bool is_resident(const struct mm_policy_host *host, uint32_t frame)
{
	return sim.where[frame] != ABSENT;
}

static bool is_watched(const struct mm_policy_host *host, uint32_t frame)
{
	return sim.where[frame] == WATCHED;
}

static uint32_t resident_count(const struct mm_policy_host *host)
{
	return sim.resident;
}

static void sim_init(const char *name, const char *options, uint32_t size)
{
	memset(&sim, 0, sizeof(sim));
	sim.ops = mm_policy_find(name);
	cr_assert_not_null(sim.ops);
	sim.size = size;
	sim.host = (struct mm_policy_host){ FRAMES, is_resident, is_watched, resident_count,
					    calloc(FRAMES, sim.ops->frame_size) };
	cr_assert_eq(sim.ops->init(&sim.host, options, &sim.policy), 0);
}

static void sim_finish(void)
{
	sim.ops->finish(sim.policy);
	free(sim.host.frames);
}

static void make_room(void)
{
	while (sim.resident >= sim.size) {
		struct mm_policy_pick picks[4];
		size_t n = sim.ops->pick(sim.policy, 1, picks, 4);

		cr_assert_gt(n, 0, "nothing picked of %u resident", sim.resident);
		cr_assert_leq(n, 4);
		for (size_t i = 0; i < n; i++) {
			uint32_t frame = picks[i].frame;

			cr_assert_neq(sim.where[frame], ABSENT, "picked an absent frame");
			if (picks[i].action == MM_POLICY_WATCH) {
				sim.where[frame] = WATCHED;
				continue;
			}
			sim.where[frame] = ABSENT;
			sim.ops->removed(sim.policy, frame);
			sim.resident--;
			sim.evicted++;
		}
	}
}

static void touch(uint32_t frame)
{
	if (sim.where[frame] == WATCHED) {
		sim.where[frame] = MAPPED;
		sim.minor++;
		sim.ops->touched(sim.policy, frame);
	} else if (sim.where[frame] == ABSENT) {
		make_room();
		sim.where[frame] = MAPPED;
		sim.resident++;
		sim.misses++;
		sim.ops->inserted(sim.policy, frame);
	}
}

/* 40 hot frames touched often, and a scan over the others that never ends. */
static void hot_and_scan(void)
{
	uint64_t rng = 12345;

	for (uint32_t i = 0; i < 20000; i++)
		touch(i % 4 == 0 ? 40 + i / 4 % (FRAMES - 40) : rng_below(&rng, 40));
}

static void loop(void)
{
	for (uint32_t i = 0; i < 20000; i++)
		touch(i % 80);
}

static void skewed(void)
{
	uint64_t rng = 99;

	for (uint32_t i = 0; i < 20000; i++) {
		uint32_t a = rng_below(&rng, FRAMES), b = rng_below(&rng, FRAMES);

		touch(a * b / FRAMES);
	}
}

static const struct {
	const char *policy, *options;
	void (*trace)(void);
	const char *name;
	uint32_t misses, minor;
} golden[] = {
	{ "fifo", NULL, hot_and_scan, "hot and scan", 9152, 0 },
	{ "fifo", NULL, loop, "a loop", 20000, 0 },
	{ "fifo", NULL, skewed, "a skewed walk", 11722, 0 },
	{ "clock", NULL, hot_and_scan, "hot and scan", 7604, 5461 },
	{ "clock", NULL, loop, "a loop", 20000, 0 },
	{ "clock", NULL, skewed, "a skewed walk", 11365, 4115 },
	{ "sfifo", NULL, hot_and_scan, "hot and scan", 7342, 947 },
	{ "sfifo", NULL, loop, "a loop", 20000, 0 },
	{ "sfifo", NULL, skewed, "a skewed walk", 11289, 844 },
	{ "sfifo", "watched=50", hot_and_scan, "hot and scan", 6265, 4515 },
	{ "sfifo", "watched=50", loop, "a loop", 20000, 0 },
	{ "sfifo", "watched=50", skewed, "a skewed walk", 10998, 4029 },
};

Test(policies, golden_numbers)
{
	for (size_t i = 0; i < sizeof(golden) / sizeof(golden[0]); i++) {
		sim_init(golden[i].policy, golden[i].options, 64);
		golden[i].trace();
		cr_expect(sim.misses == golden[i].misses && sim.minor == golden[i].minor,
			  "%s(%s) over %s: %u, %u", golden[i].policy,
			  golden[i].options != NULL ? golden[i].options : "", golden[i].name,
			  sim.misses, sim.minor);
		sim_finish();
	}
}

Test(policies, hot_pages_survive_a_scan)
{
	sim_init("fifo", NULL, 64);
	hot_and_scan();
	uint32_t fifo = sim.misses;

	sim_finish();
	for (size_t i = 0; mm_policies[i] != NULL; i++) {
		if (strcmp(mm_policies[i]->name, "fifo") == 0)
			continue;
		sim_init(mm_policies[i]->name, NULL, 64);
		hot_and_scan();
		cr_expect_lt(sim.misses, fifo, "%s", mm_policies[i]->name);
		sim_finish();
	}
}

Test(policies, table)
{
	for (size_t i = 0; mm_policies[i] != NULL; i++) {
		const struct mm_policy_ops *ops = mm_policies[i];

		cr_expect_eq(ops->api, MM_POLICY_API);
		cr_expect(ops->name && ops->summary && ops->init && ops->finish && ops->inserted &&
			  ops->touched && ops->removed && ops->pick);
		cr_expect_eq(mm_policy_find(ops->name), ops);
		ops->finish(NULL);
	}
	cr_expect_str_eq(mm_policies[0]->name, "sfifo");
	cr_expect_null(mm_policy_find("lru"));
}

Test(policies, options)
{
	struct mm_policy_host host = { .frame_count = 1 };
	struct mm_policy *policy;
	static const char *const bad[] = { "watched",	"watched=",   "watched=0", "watched=91",
					   "watched=x", "watched=5%", "other=1" };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_expect_eq(mm_policy_find("sfifo")->init(&host, bad[i], &policy), -EINVAL, "%s",
			     bad[i]);
	cr_expect_eq(mm_policy_find("fifo")->init(&host, "x=1", &policy), -EINVAL);
	cr_expect_eq(mm_policy_find("clock")->init(&host, "x=1", &policy), -EINVAL);
	cr_assert_eq(mm_policy_find("sfifo")->init(&host, "watched=40", &policy), 0);
	mm_policy_find("sfifo")->finish(policy);
}

/* In a large memory neighbours are watched together, whatever order they came in. */
Test(policies, sfifo_watches_stretches)
{
	enum { MANY = 65536, RESIDENT = 32768, BATCH = 256 };
	static struct mm_policy_pick picks[BATCH];
	static bool named[MANY];
	const struct mm_policy_ops *ops = mm_policy_find("sfifo");
	struct mm_policy_host host = { .frame_count = MANY,
				       .frames = calloc(MANY, ops->frame_size) };
	struct mm_policy *policy;
	uint32_t runs = 0;
	size_t count;

	cr_assert_eq(ops->init(&host, NULL, &policy), 0);
	for (uint32_t i = 0; i < RESIDENT; i++)
		ops->inserted(policy, i * 40503u % MANY);
	count = ops->pick(policy, 64, picks, BATCH);
	cr_assert_eq(count, BATCH);
	for (size_t i = 0; i < count; i++) {
		cr_assert_eq(picks[i].action, MM_POLICY_WATCH);
		cr_assert(!named[picks[i].frame], "named twice");
		named[picks[i].frame] = true;
	}
	/* A run ends where 16 frames on end are left out. */
	for (uint32_t i = 0, gap = 16; i < MANY; i++) {
		runs += named[i] && gap >= 16;
		gap = named[i] ? 0 : gap + 1;
	}
	cr_expect_lt(runs, BATCH / 16, "%u runs", runs);
	ops->finish(policy);
	free(host.frames);
}

/* Whatever the order of events, a policy names only what is resident, each frame once. */
static void churn(const char *name, uint64_t seed)
{
	uint64_t rng = seed;

	sim_init(name, NULL, 100);
	for (uint32_t i = 0; i < 50000; i++) {
		uint32_t frame = rng_below(&rng, FRAMES);

		switch (rng_below(&rng, 8)) {
		case 0: /* discarded */
			if (sim.where[frame] != ABSENT) {
				sim.where[frame] = ABSENT;
				sim.resident--;
				sim.ops->removed(sim.policy, frame);
			}
			break;
		case 1: /* offered again, whatever it is */
			if (sim.where[frame] == MAPPED)
				sim.ops->touched(sim.policy, frame);
			break;
		default:
			touch(frame);
		}
	}
	sim.size = 0;
	while (sim.resident > 0) {
		sim.size = sim.resident;
		make_room();
	}
	sim_finish();
}

Test(policies, churn)
{
	uint64_t seed = test_seed();

	fprintf(stderr, "policies: BIFOLD_SEED=%llu\n", (unsigned long long)seed);
	for (size_t i = 0; mm_policies[i] != NULL; i++)
		churn(mm_policies[i]->name, seed);
}

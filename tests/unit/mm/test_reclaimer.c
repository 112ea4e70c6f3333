/*
 * The background thread: the pool kept under its cap whatever lies in it, headroom kept whatever
 * becomes of the pool; and picks that were skipped.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/units.h"
#include "mm/tiers.h"
#include "tests/unit/mm/fake.h"

#define FRAMES	20000
#define WAIT_NS (20 * 1000 * 1000 * 1000ull) /* for what must come at once */

static struct fake fake;
static struct mm_config config;

static void prepare(uint32_t frames)
{
	swap_memory_reset();
	fake_init(&fake, frames);
	fake.no_poison = true;
	config = fake_config(&fake);
	config.swap_directory = "memory";
	config.no_reclaimer = false;
}

/* A page that makes a small object: a hundred of them to a block. */
static void small(void *page, void *context)
{
	uint64_t *words = page, state = *(uint32_t *)context * 0x9e3779b97f4a7c15ull | 1;

	memset(page, 0, PAGE_SIZE);
	for (int i = 0; i < 32; i++)
		words[i] = rng_next(&state);
}

static void put_small(uint32_t frame)
{
	cr_assert_eq(fake_access(&fake, frame, true, small, &frame), 0);
}

static void wait_for(bool (*condition)(struct mm *mm), const char *what)
{
	uint64_t until = clock_now_ns() + WAIT_NS;
	bool met = false;

	while (!met) {
		cr_assert_lt(clock_now_ns(), until, "%s", what);
		sched_yield();
		lock_take(&fake.mm->lock);
		met = condition(fake.mm);
		lock_drop(&fake.mm->lock);
	}
}

static bool pool_fits(struct mm *mm)
{
	return pool_bytes(mm->pool) <= mm->sizes.pool_cap;
}

/* Many pages for few bytes each: they are written back all the same once the pool is over its cap.
 */
Test(reclaimer, pool_of_small_objects_stays_under_its_cap)
{
	prepare(FRAMES);
	config.budget_bytes = MIB(8);
	fake_create(&fake, &config);
	for (uint32_t i = 0; i < FRAMES; i++)
		put_small(i);
	wait_for(pool_fits, "the pool stays over its cap");
	cr_assert_gt(fake.mm->stats.written_back, 0);
	for (uint32_t i = 0; i < FRAMES; i += 7) {
		uint64_t should[PAGE_SIZE / 8];

		small(should, &i);
		cr_assert_eq(fake_read(&fake, i), should[0]);
	}
	fake_end(&fake);
}

/* Nothing of the pool can go: each object in it is damaged, and left to the fault that needs it. */
static void damage_all(void)
{
	lock_take(&fake.mm->lock);
	for (uint32_t i = 0; i < FRAMES; i++) {
		struct mm_frame *f = &fake.mm->frames[i];
		struct pool_object object;
		unsigned char data[POOL_OBJECT_MAX];

		if (f->state != FRAME_COMPRESSED)
			continue;
		pool_load(fake.mm->pool, f->where, &object, data);
		pool_free(fake.mm->pool, f->where);
		object.checksum ^= 1;
		cr_assert_eq(pool_store(fake.mm->pool, &object, data, &f->where), 0);
	}
	lock_drop(&fake.mm->lock);
}

static bool sleeps_over_its_cap(struct mm *mm)
{
	return mm->reclaimer_idle && tiers_are_over(mm, false);
}

static bool has_headroom(struct mm *mm)
{
	return mm->held + mm->sizes.high <= mm->sizes.limit;
}

/* Then the thread sleeps, but with an ear for faults: none of them has to reclaim for itself. */
Test(reclaimer, write_back_in_vain_does_not_keep_it_from_reclaim)
{
	struct mm_stats stats;

	prepare(FRAMES);
	fake_create(&fake, &config);
	for (uint32_t i = 0; i < FRAMES - 4000; i++)
		put_small(i);
	cr_assert_eq(mm_reclaim(fake.mm, FRAMES - 4000), FRAMES - 4000);
	damage_all();
	cr_assert_eq(mm_set_budget(fake.mm, MIB(12)), 0);
	wait_for(sleeps_over_its_cap, "it hears no fault while the pool is over its cap");
	for (uint32_t i = FRAMES - 4000; i < FRAMES; i++) {
		fake_put(&fake, i, CONTENT_WORD, 1);
		if (!has_headroom(fake.mm))
			wait_for(has_headroom, "it did not come when it was called");
	}
	mm_stats_get(fake.mm, &stats);
	cr_assert_gt(stats.evictions_same_filled, 0);
	cr_assert_eq(stats.direct_reclaims, 0);
	fake_end(&fake);
}

/* ---- a policy that names one frame, and notes what it is told of it */

static struct {
	uint32_t frame;
	enum mm_policy_action action;
	bool named;
	unsigned touched;
} probe;

static int probe_init(const struct mm_policy_host *host, const char *options,
		      struct mm_policy **policy)
{
	*policy = NULL;
	return 0;
}

static void probe_finish(struct mm_policy *policy)
{
}

static void probe_ignore(struct mm_policy *policy, uint32_t frame)
{
}

static void probe_touched(struct mm_policy *policy, uint32_t frame)
{
	probe.touched += frame == probe.frame;
}

static size_t probe_pick(struct mm_policy *policy, size_t want, struct mm_policy_pick *picks,
			 size_t max)
{
	if (probe.named)
		return 0;
	probe.named = true;
	picks[0] = (struct mm_policy_pick){ probe.frame, probe.action };
	return 1;
}

static const struct mm_policy_ops probe_ops = {
	.api = MM_POLICY_API,
	.name = "probe",
	.summary = "names one frame",
	.init = probe_init,
	.finish = probe_finish,
	.inserted = probe_ignore,
	.touched = probe_touched,
	.removed = probe_ignore,
	.pick = probe_pick,
};

/* ---- it rests, and what it rested for is over */

#define OTHERS_BYTES MIB(4)

static struct {
	unsigned asked; /* under mm's lock */
	bool others;	/* hold OTHERS_BYTES */
} meagre;

/* Nothing can go; but the others give back what they hold while it is looked for. */
static size_t meagre_pick(struct mm_policy *policy, size_t want, struct mm_policy_pick *picks,
			  size_t max)
{
	meagre.asked++;
	if (meagre.others)
		mm_uncharge(fake.mm, OTHERS_BYTES);
	meagre.others = false;
	return 0;
}

static bool was_asked(struct mm *mm)
{
	return meagre.asked > 0;
}

/*
 * There is no headroom, and the thread is called. It holds the lock from the question to its sleep.
 */
static void be_short(void)
{
	struct mm *mm = fake.mm;

	pthread_mutex_lock(&mm->lock);
	meagre.asked = 0;
	meagre.others = mm_charge(mm, OTHERS_BYTES, mm->sizes.limit);
	cr_assert(meagre.others && mm->held + mm->sizes.low > mm->sizes.limit);
	mm_kick_reclaimer(mm);
	pthread_mutex_unlock(&mm->lock);
	wait_for(was_asked, "it does not come when it is called");
}

/* Its rest after work in vain is no reason not to hear of the next shortage. */
Test(reclaimer, a_rest_ends_with_the_shortage)
{
	struct mm_policy_ops ops = probe_ops;

	prepare(1000);
	ops.pick = meagre_pick;
	memset(&meagre, 0, sizeof(meagre));
	config.policy = &ops;
	config.budget_bytes = mm_least_budget(&config) + OTHERS_BYTES - 512 * PAGE_SIZE;
	fake_create(&fake, &config);
	for (int i = 0; i < 3; i++)
		be_short();
	fake_end(&fake);
}

/* The frame was pinned when it was named: it is offered again when it no longer is. */
static void skipped(enum mm_policy_action action)
{
	prepare(100);
	config.no_reclaimer = true;
	config.policy = &probe_ops;
	memset(&probe, 0, sizeof(probe));
	probe.frame = 7;
	probe.action = action;
	fake_create(&fake, &config);
	cr_assert_eq(fake_put(&fake, 7, CONTENT_HALF, 1), 0);
	cr_assert_eq(mm_pin(fake.mm, gfn(7), 1), 0);
	cr_assert_eq(mm_reclaim(fake.mm, 1), 0);
	cr_assert(probe.named);
	cr_assert_eq(probe.touched, 0);
	mm_unpin(fake.mm, gfn(7), 1);
	cr_assert_eq(probe.touched, 1);
	fake_end(&fake);
}

Test(reclaimer, a_skipped_eviction_is_offered_again)
{
	skipped(MM_POLICY_EVICT);
}

Test(reclaimer, a_skipped_watch_is_offered_again)
{
	skipped(MM_POLICY_WATCH);
}

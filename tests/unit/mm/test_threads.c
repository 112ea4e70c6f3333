/*
 * The manager under several threads: guest threads, the monitor's pins, stretches given up and
 * taken again, stale faults, and the background reclaimer, all on one small budget that goes up and
 * down. Each page's expected content is guarded by a stripe lock of the test, which mm knows
 * nothing of.
 */
#ifdef UNIT_NO_CRITERION
#include "tests/unit/no_criterion.h"
#else
#include <criterion/criterion.h>
#endif
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/mm/fake.h"
#include "policy/table.h"

#define FRAMES	2000
#define STRIPES 64
#define GUESTS	2
#define OTHERS	4

/*
 * Built with ThreadSanitizer: an eviction copies a page that a guest may be writing; when it does,
 * the eviction was cancelled and the copy is thrown away. The swap's write is the same.
 */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
	return "race:examine\nrace:swap_write\n";
}

static struct {
	struct fake fake;
	pthread_mutex_t stripe[STRIPES];
	uint32_t version[FRAMES];
	unsigned char kind[FRAMES];
	uint64_t seed, steps, least;
	bool done;
} t;

static void *guest_main(void *context)
{
	uint64_t rng = t.seed + (uintptr_t)context * 7919;
	uint32_t walk = rng_below(&rng, FRAMES);

	for (uint64_t i = 0; i < t.steps; i++) {
		uint32_t frame =
			rng_below(&rng, 3) ? (walk = (walk + 1) % FRAMES) : rng_below(&rng, FRAMES);
		pthread_mutex_t *stripe = &t.stripe[frame % STRIPES];

		pthread_mutex_lock(stripe);
		if (rng_below(&rng, 3) == 0) {
			t.kind[frame] = (unsigned char)rng_below(&rng, CONTENT_KINDS);
			t.version[frame]++;
			cr_assert_eq(fake_put(&t.fake, frame, t.kind[frame], t.version[frame]), 0);
		} else {
			cr_assert_eq(fake_expect(&t.fake, frame, t.kind[frame], t.version[frame]),
				     0);
		}
		pthread_mutex_unlock(stripe);
	}
	return NULL;
}

static void pin_and_look(uint32_t frame)
{
	uint64_t should[PAGE_SIZE / 8];
	int error = mm_pin(t.fake.mm, gfn(frame), 1);

	cr_assert(error == 0 || error == -ENOMEM || error == -EBUSY);
	if (error != 0)
		return;
	content_make(should, t.kind[frame], frame, t.version[frame]);
	cr_assert_eq(memcmp(fake_ops.page(&t.fake, gfn(frame)), should, PAGE_SIZE), 0);
	mm_unpin(t.fake.mm, gfn(frame), 1);
}

static void *monitor_main(void *context)
{
	uint64_t rng = t.seed * 3 | 1;

	while (!__atomic_load_n(&t.done, __ATOMIC_ACQUIRE)) {
		uint32_t frame = rng_below(&rng, FRAMES);
		pthread_mutex_t *stripe = &t.stripe[frame % STRIPES];

		pthread_mutex_lock(stripe);
		pin_and_look(frame);
		pthread_mutex_unlock(stripe);
		if (rng_below(&rng, 50) == 0)
			mm_reclaim(t.fake.mm, 20);
	}
	return NULL;
}

/* Gives stretches up, whatever the others do with the frames around and in them. */
static void *balloon_main(void *context)
{
	uint64_t rng = t.seed * 5 | 1;

	while (!__atomic_load_n(&t.done, __ATOMIC_ACQUIRE)) {
		uint32_t stripe = rng_below(&rng, STRIPES - 1);
		uint32_t count = 1 + rng_below(&rng, STRIPES - stripe - 1);
		uint32_t first = rng_below(&rng, FRAMES / STRIPES) * STRIPES + stripe;
		enum mm_release_kind kind = rng_below(&rng, MM_RELEASE_KINDS);

		for (uint32_t i = 0; i < count; i++)
			pthread_mutex_lock(&t.stripe[stripe + i]);
		cr_assert_eq(mm_release(t.fake.mm, gfn(first), count, kind, 0), 0);
		for (uint32_t i = 0; i < count; i++) {
			t.kind[first + i] = CONTENT_ZERO;
			pthread_mutex_unlock(&t.stripe[stripe + i]);
		}
		cr_assert_eq(mm_balloon_return(t.fake.mm, gfn(first), count / 2), 0);
	}
	return NULL;
}

/* Up, or down as far as it gets until the next one. */
static void *budget_main(void *context)
{
	uint64_t rng = t.seed * 11 | 1;

	while (!__atomic_load_n(&t.done, __ATOMIC_ACQUIRE)) {
		uint64_t budget = t.least + rng_below(&rng, FRAMES / 2) * PAGE_SIZE;
		struct mm_stats stats;

		cr_assert_eq(mm_set_budget(t.fake.mm, rng_below(&rng, 8) ? budget : 0), 0);
		for (uint32_t i = rng_below(&rng, 400); i > 0; i--) {
			mm_stats_get(t.fake.mm, &stats);
			cr_assert(stats.budget_bytes == 0 ||
				  stats.held_bytes <= stats.budget_bytes);
			sched_yield();
		}
	}
	return NULL;
}

/* Faults that no longer have a reason, on frames in any state. */
static void *stale_main(void *context)
{
	uint64_t rng = t.seed * 7 | 1;

	while (!__atomic_load_n(&t.done, __ATOMIC_ACQUIRE))
		cr_assert_eq(mm_fault(t.fake.mm, gfn(rng_below(&rng, FRAMES)), false), 0);
	return NULL;
}

static void run(const char *policy, const char *name)
{
	static void *(*const mains[OTHERS])(void *) = { monitor_main, balloon_main, stale_main,
							budget_main };
	struct mm_config config;
	struct mm_stats stats;
	pthread_t guests[GUESTS], others[OTHERS];

	swap_memory_reset();
	swap_memory.random_trouble = 10;
	fake_init(&t.fake, FRAMES);
	for (int i = 0; i < STRIPES; i++)
		pthread_mutex_init(&t.stripe[i], NULL);
	config = fake_config(&t.fake);
	config.policy = mm_policy_find(policy);
	config.no_reclaimer = false;
	config.swap_directory = "memory";
	t.least = mm_least_budget(&config) + 100 * PAGE_SIZE;
	config.budget_bytes = t.least;
	memset(t.version, 0, sizeof(t.version));
	memset(t.kind, 0, sizeof(t.kind));
	t.done = false;
	t.seed = test_seed();
	t.steps = test_steps(60000);
	fprintf(stderr, "%s: BIFOLD_SEED=%llu BIFOLD_STEPS=%llu\n", name,
		(unsigned long long)t.seed, (unsigned long long)t.steps);
	fake_create(&t.fake, &config);
	for (int i = 0; i < OTHERS; i++)
		cr_assert_eq(pthread_create(&others[i], NULL, mains[i], NULL), 0);
	for (uintptr_t i = 0; i < GUESTS; i++)
		cr_assert_eq(pthread_create(&guests[i], NULL, guest_main, (void *)i), 0);
	for (int i = 0; i < GUESTS; i++)
		pthread_join(guests[i], NULL);
	__atomic_store_n(&t.done, true, __ATOMIC_RELEASE);
	for (int i = 0; i < OTHERS; i++)
		pthread_join(others[i], NULL);
	for (uint32_t i = 0; i < FRAMES; i++)
		cr_assert_eq(fake_expect(&t.fake, i, t.kind[i], t.version[i]), 0);
	mm_stats_get(t.fake.mm, &stats);
	cr_assert(stats.budget_most_bytes == 0 || stats.peak_bytes <= stats.budget_most_bytes);
	cr_assert_gt(stats.faults[MM_FAULT_POOL], 0);
	cr_assert_gt(stats.faults[MM_FAULT_SWAP], 0);
	fprintf(stderr, "%s: %llu cancelled, %llu direct reclaims, %llu pool, %llu swap faults\n",
		name, (unsigned long long)stats.evictions_cancelled,
		(unsigned long long)stats.direct_reclaims,
		(unsigned long long)stats.faults[MM_FAULT_POOL],
		(unsigned long long)stats.faults[MM_FAULT_SWAP]);
	fake_end(&t.fake);
}

Test(threads, sfifo, .timeout = 200)
{
	run("sfifo", "threads, sfifo");
}

Test(threads, fifo, .timeout = 200)
{
	run("fifo", "threads, fifo");
}

#ifdef UNIT_NO_CRITERION
int main(void)
{
	threads_sfifo();
	threads_fifo();
	return 0;
}
#endif

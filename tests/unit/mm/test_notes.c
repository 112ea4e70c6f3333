/*
 * The manager's messages: the first failure comes first, and nothing is logged with the lock held.
 * The test takes the place of the log and tries the lock in each call: a log that blocks would do
 * so there.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <time.h>

#include "mm/mm_internal.h"
#include "tests/unit/mm/fake.h"
#include "policy/table.h"

#define FRAMES 2048

static struct fake fake;
static struct mm_config config;

static void prepare(void)
{
	swap_memory_reset();
	fake_init(&fake, FRAMES);
	config = fake_config(&fake);
	config.policy = mm_policy_find("fifo");
	config.swap_directory = "memory";
}

static void put(uint32_t frame, enum content kind)
{
	cr_assert_eq(fake_put(&fake, frame, kind, 1), 0);
}

/* ---- which failure is named */

static unsigned told;
static struct mm_failure named;
static int good_fault, second_fault;
static bool second_returned, second_was_early;

static void *fail_as_well(void *context)
{
	second_fault = mm_fault(fake.mm, gfn(150), false);
	second_returned = true;
	second_was_early = told == 0;
	return NULL;
}

static bool somebody_waits(void)
{
	bool waits;

	lock_take(&fake.mm->lock);
	waits = fake.mm->waiters > 0;
	lock_drop(&fake.mm->lock);
	return waits;
}

/* While the first failure is being told, the world goes on; nobody sees its consequences. */
static void telling(void *context, const struct mm_failure *failure)
{
	pthread_t *second = context;

	if (told > 0) {
		told++;
		return;
	}
	good_fault = mm_fault(fake.mm, gfn(50), false);
	cr_assert_eq(pthread_create(second, NULL, fail_as_well, NULL), 0);
	while (!__atomic_load_n(&second_returned, __ATOMIC_ACQUIRE) && !somebody_waits())
		sched_yield();
	named = *failure;
	told++;
}

Test(notes, the_first_failure_is_told_before_it_is_seen)
{
	pthread_t second;

	prepare();
	config.failed = telling;
	config.failed_context = &second;
	fake_create(&fake, &config);
	for (uint32_t i = 0; i < 5; i++)
		put(i * 50, CONTENT_RANDOM);
	cr_assert_eq(mm_reclaim(fake.mm, 5), 5);
	for (uint32_t i = 2; i < 4; i++)
		swap_memory.bytes[fake.mm->frames[i * 50].where * PAGE_SIZE] ^= 1;
	cr_assert_eq(mm_fault(fake.mm, gfn(100), false), -EBADMSG);
	cr_assert_eq(pthread_join(second, NULL), 0);
	cr_assert_eq(good_fault, 0, "nothing had been told yet");
	cr_assert_eq(second_fault, -EBADMSG);
	cr_assert(!second_was_early, "the second failure came back before the first was told");
	cr_assert_eq(told, 1);
	cr_assert_eq(named.frame.v, 100);
	cr_assert_eq(mm_fault(fake.mm, gfn(50), false), -EIO);
	cr_assert_eq(mm_pin(fake.mm, gfn(50), 1), -EIO);
	mm_destroy(fake.mm);
	fake_finish(&fake);
}

/* ---- no line with the lock held */

static unsigned lines, with_lock;

void __wrap_log_warn(const char *format, ...);
void __wrap_log_info(const char *format, ...);

static void line(void)
{
	__atomic_fetch_add(&with_lock, lock_held != 0, __ATOMIC_RELAXED);
	__atomic_fetch_add(&lines, 1, __ATOMIC_RELEASE);
}

void __wrap_log_warn(const char *format, ...)
{
	line();
}

void __wrap_log_info(const char *format, ...)
{
	line();
}

static void on_touch(void *context, const struct mm_balloon_touch *touch)
{
	line();
}

static void expect_line(void)
{
	cr_assert_eq(lines, 1, "%u lines", lines);
	cr_assert_eq(with_lock, 0, "the log was called with mm's lock held");
	lines = 0;
}

Test(notes, a_failed_store)
{
	prepare();
	fake_create(&fake, &config);
	put(7, CONTENT_RANDOM);
	swap_memory.write = (struct swap_fault){ .error = -EIO, .times = 1 };
	mm_reclaim(fake.mm, 1);
	expect_line();
	cr_assert_eq(fake_expect(&fake, 7, CONTENT_RANDOM, 1), 0);
	fake_end(&fake);
}

/* In a fault that reclaims for itself. */
Test(notes, a_failed_store_in_a_fault)
{
	prepare();
	config.budget_bytes = mm_least_budget(&config) + 200 * PAGE_SIZE;
	fake_create(&fake, &config);
	swap_memory.write = (struct swap_fault){ .error = -EIO, .times = 1 };
	for (uint32_t i = 0; i < FRAMES; i++)
		put(i, CONTENT_RANDOM);
	expect_line();
	fake_end(&fake);
}

/* In the background. */
Test(notes, a_failed_store_of_the_reclaimer)
{
	prepare();
	config.no_reclaimer = false;
	config.budget_bytes = mm_least_budget(&config) + 200 * PAGE_SIZE;
	swap_memory.write = (struct swap_fault){ .error = -EIO, .times = 3 };
	fake_create(&fake, &config);
	for (uint32_t i = 0; i < FRAMES; i++)
		put(i, CONTENT_RANDOM);
	while (__atomic_load_n(&lines, __ATOMIC_ACQUIRE) == 0)
		sched_yield();
	mm_destroy(fake.mm);
	fake.mm = NULL;
	expect_line();
	fake_finish(&fake);
}

Test(notes, a_touch_of_what_the_balloon_holds)
{
	prepare();
	config.balloon_touched = on_touch;
	fake_create(&fake, &config);
	cr_assert_eq(mm_release(fake.mm, gfn(7), 2, MM_RELEASE_BALLOON, 0), 0);
	put(7, CONTENT_HALF);
	expect_line();
	fake_end(&fake);
}

Test(notes, a_budget_that_must_wait)
{
	uint64_t least;

	prepare();
	config.swap_directory = NULL;
	least = mm_least_budget(&config);
	config.budget_bytes = least + 1000 * PAGE_SIZE;
	fake_create(&fake, &config);
	for (uint32_t i = 0; i < 900; i++)
		put(i, CONTENT_RANDOM);
	cr_assert_eq(mm_set_budget(fake.mm, least), 0);
	for (uint32_t i = 900; lines == 0; i++)
		put(i, CONTENT_RANDOM);
	expect_line();
	fake_end(&fake);
}

/*
 * Touches that are no faults: the host kernel maps a watched page again by itself, and a scan tells
 * when the page is to go. What is to be stored is sealed, so that a write is a fault, and cancels.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "base/units.h"
#include "mm/mm_internal.h"
#include "policy/table.h"
#include "tests/unit/mm/fake.h"

#define FRAMES 2048
#define USED   600

static struct fake fake;
static struct mm_config config;
static struct mm_stats stats;

static void prepare(const char *policy)
{
	swap_memory_reset();
	fake_init(&fake, FRAMES);
	fake.scans = true;
	config = fake_config(&fake);
	config.policy = mm_policy_find(policy);
	config.swap_directory = "memory";
}

static unsigned state(uint32_t frame)
{
	return fake.mm->frames[frame].state;
}

static const struct mm_stats *now(void)
{
	mm_stats_get(fake.mm, &stats);
	fake_compare(&fake);
	cr_assert_eq(mm_check(fake.mm, stderr), 0);
	return &stats;
}

static void put(uint32_t first, uint32_t count, uint32_t version)
{
	for (uint32_t i = first; i < first + count; i++)
		cr_assert_eq(fake_put(&fake, i, i % CONTENT_KINDS, version), 0);
}

static void expect(uint32_t first, uint32_t count, uint32_t version)
{
	for (uint32_t i = first; i < first + count; i++)
		cr_assert_eq(fake_expect(&fake, i, i % CONTENT_KINDS, version), 0);
}

/* All of USED frames are watched, none is gone. */
static void watch_all(void)
{
	prepare("sfifo");
	config.policy_options = "watched=90";
	fake_create(&fake, &config);
	put(0, USED, 1);
	for (int i = 0; i < 400 && fake.mm->count[FRAME_WATCHED] < USED / 2; i++)
		mm_reclaim(fake.mm, 1);
	cr_assert_geq(fake.mm->count[FRAME_WATCHED], USED / 2);
}

/* So many of the frames that are watched, from the lowest on, are touched. How many of them. */
static uint32_t touch_watched(uint32_t most, bool write)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < USED && n < most; i++) {
		if (state(i) != FRAME_WATCHED)
			continue;
		if (write)
			put(i, 1, 1);
		else
			expect(i, 1, 1);
		n++;
	}
	return n;
}

Test(watch, touched_pages_stay_and_no_touch_is_a_fault)
{
	uint64_t faults;
	uint32_t touched;

	watch_all();
	faults = now()->faults[MM_FAULT_MINOR];
	touched = touch_watched(100, false) + touch_watched(50, true);
	cr_assert_eq(touched, 150);
	cr_assert_eq(now()->faults[MM_FAULT_MINOR], faults);
	cr_assert_eq(stats.touches_found, 0, "nobody has looked yet");
	while (now()->touches_found < 100)
		cr_assert_gt(mm_reclaim(fake.mm, 16), 0);
	expect(0, USED, 1);
	fake_end(&fake);
}

/* Frame 3 is evicted, and something happens between the seal and the commit. */
static void evict_while(void (*happens)(struct fake *, gfn_t, uint32_t))
{
	prepare("fifo");
	fake_create(&fake, &config);
	cr_assert_eq(fake_put(&fake, 3, CONTENT_TEXT, 1), 0);
	fake.unmapped = happens;
	cr_assert_eq(mm_reclaim(fake.mm, 1), 1);
	fake.unmapped = NULL;
	now();
}

static void write_one(struct fake *f, gfn_t first, uint32_t count)
{
	f->unmapped = NULL;
	cr_assert_eq(fake_put(f, (uint32_t)first.v, CONTENT_RANDOM, 7), 0);
}

/* The second try has it. */
Test(watch, a_write_to_a_sealed_page_cancels)
{
	evict_while(write_one);
	cr_assert_eq(stats.evictions_cancelled, 1);
	cr_assert_eq(fake_expect(&fake, 3, CONTENT_RANDOM, 7), 0);
	fake_end(&fake);
}

static void read_one(struct fake *f, gfn_t first, uint32_t count)
{
	cr_assert_eq(fake_expect(f, (uint32_t)first.v, CONTENT_TEXT, 1), 0);
}

Test(watch, a_read_of_a_sealed_page_does_not_mind)
{
	evict_while(read_one);
	cr_assert_eq(stats.evictions_cancelled, 0);
	cr_assert_eq(state(3), FRAME_COMPRESSED);
	cr_assert_eq(fake_expect(&fake, 3, CONTENT_TEXT, 1), 0);
	fake_end(&fake);
}

/* Pages whose seal may have failed are unsealed again. */
Test(watch, seals_that_fail_in_part)
{
	static const uint32_t untold[] = { 0, 3 };

	for (int i = 0; i < 2; i++) {
		prepare("fifo");
		fake_create(&fake, &config);
		put(0, 32, 1);
		fake.inject[FAKE_SEAL].error = -EINVAL;
		fake.inject[FAKE_SEAL].after = 10;
		fake.inject[FAKE_SEAL].times = 1;
		fake.inject[FAKE_SEAL].untold = untold[i];
		cr_assert_geq(mm_reclaim(fake.mm, 16), 10 - untold[i]);
		cr_assert_gt(now()->store_failures, 0);
		put(0, 32, 2);
		cr_assert_eq(now()->faults[MM_FAULT_MINOR], 0, "no page was left sealed");
		expect(0, 32, 2);
		fake_end(&fake);
	}
}

/* Then nobody knows who was touched, and the policy's choice stands. */
Test(watch, a_scan_that_fails)
{
	watch_all();
	touch_watched(USED, true);
	fake.inject[FAKE_SCAN].error = -EIO;
	fake.inject[FAKE_SCAN].times = 1000;
	cr_assert_gt(mm_reclaim(fake.mm, 32), 0);
	cr_assert_eq(now()->touches_found, 0);
	expect(0, USED, 1);
	fake_end(&fake);
}

/* A page that could not be stored loses its seal with the end of its batch. */
Test(watch, a_page_that_stays_is_open)
{
	prepare("fifo");
	config.compressor = MM_COMPRESSOR_NONE;
	config.swap_directory = NULL;
	fake_create(&fake, &config);
	cr_assert_eq(fake_put(&fake, 3, CONTENT_RANDOM, 1), 0);
	cr_assert_eq(mm_reclaim(fake.mm, 1), 0);
	cr_assert_gt(fake.calls[FAKE_SEAL], 0);
	cr_assert_eq(fake_put(&fake, 3, CONTENT_RANDOM, 2), 0);
	cr_assert_eq(now()->faults[MM_FAULT_MINOR], 0);
	fake_end(&fake);
}

/* The guest may reach what it gives up until its page is gone. */
static void touch_one(struct fake *f, gfn_t first, uint32_t count)
{
	f->releasing = NULL;
	f->mapped[first.v] = 1;
}

Test(watch, a_page_that_is_given_up_may_be_reached)
{
	prepare("fifo");
	fake_create(&fake, &config);
	put(0, 8, 1);
	fake.releasing = touch_one;
	cr_assert_eq(mm_release(fake.mm, gfn(0), 8, MM_RELEASE_REPORTED, 0), 0);
	for (uint32_t i = 0; i < 8; i++)
		cr_assert_eq(fake_read(&fake, i), 0);
	now();
	fake_end(&fake);
}

/* --- what lies between victims and has no page is gone over by one call, not by several */

/* Every second frame of so many; but for `kept`, the others are given up. Calls count from here. */
static void put_every_second(uint32_t frames, uint32_t kept)
{
	for (uint32_t i = 0; i < frames; i++)
		cr_assert_eq(fake_put(&fake, i, CONTENT_TEXT, 1), 0);
	for (uint32_t i = 0; i < FRAMES; i++)
		if (fake.present[i] && i != kept && (i % 2 == 1 || i >= frames))
			cr_assert_eq(mm_release(fake.mm, gfn(i), 1, MM_RELEASE_REPORTED, 0), 0);
	memset(fake.calls, 0, sizeof(fake.calls));
	memset(fake.frames, 0, sizeof(fake.frames));
}

static void expect_every_second(uint32_t frames)
{
	for (uint32_t i = 0; i < frames; i += 2)
		cr_assert_eq(fake_expect(&fake, i, CONTENT_TEXT, 1), 0);
}

static void go_over_gaps(bool scans)
{
	enum fake_op op = scans ? FAKE_SEAL : FAKE_UNMAP;

	prepare("fifo");
	fake.scans = scans;
	config = fake_config(&fake);
	config.policy = mm_policy_find("fifo");
	fake_create(&fake, &config);
	put_every_second(64, FRAMES);
	cr_assert_eq(mm_reclaim(fake.mm, 16), 16);
	cr_assert_eq(fake.calls[op], 1);
	cr_assert_eq(fake.frames[op], 31);
	cr_assert_eq(fake.frames[FAKE_RELEASE], 16, "only what was stored is given back");
	now();
	expect_every_second(64);
	fake_end(&fake);
}

Test(watch, gaps_without_pages)
{
	go_over_gaps(true);
	go_over_gaps(false);
}

/* A page in between, which is not to go, and one too far away, end the call. */
Test(watch, gaps_with_a_page_or_too_wide)
{
	prepare("fifo");
	fake.scans = false;
	config = fake_config(&fake);
	config.policy = mm_policy_find("fifo");
	fake_create(&fake, &config);
	put_every_second(8, 3);
	cr_assert_eq(fake_put(&fake, 40, CONTENT_TEXT, 1), 0);
	cr_assert_eq(mm_pin(fake.mm, gfn(3), 1), 0);
	cr_assert_eq(mm_reclaim(fake.mm, 5), 5);
	cr_assert_eq(fake.calls[FAKE_UNMAP], 3, "0 to 2, 4 to 6, 40");
	cr_assert(fake.mapped[3]);
	mm_unpin(fake.mm, gfn(3), 1);
	now();
	expect_every_second(8);
	fake_end(&fake);
}

/* It fails in the middle of a gap: those before it go, those behind it stay and are open. */
Test(watch, a_call_that_fails_in_a_gap)
{
	prepare("fifo");
	fake_create(&fake, &config);
	put_every_second(64, FRAMES);
	fake.inject[FAKE_SEAL].error = -EINVAL;
	fake.inject[FAKE_SEAL].after = 9;
	fake.inject[FAKE_SEAL].times = 1;
	cr_assert_geq(mm_reclaim(fake.mm, 16), 5);
	cr_assert_gt(now()->store_failures, 0);
	for (uint32_t i = 0; i < 64; i += 2)
		cr_assert_eq(fake_put(&fake, i, CONTENT_TEXT, 1), 0);
	cr_assert_eq(now()->faults[MM_FAULT_MINOR], 0, "no page was left sealed");
	expect_every_second(64);
	fake_end(&fake);
}

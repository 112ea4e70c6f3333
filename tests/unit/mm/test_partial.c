/*
 * Calls of the backing that are done in part. What was done is committed, the rest stays as it was,
 * a neighbour's trouble is not the fault's; and after each, every frame's state is compared with
 * what is really present and mapped.
 */
#include <criterion/criterion.h>
#include <errno.h>

#include "mm/mm_internal.h"
#include "tests/unit/mm/fake.h"
#include "policy/table.h"

#define FRAMES	2048
#define USED	1000
#define WATCHED 300

static struct fake fake;
static struct mm_config config;

static void prepare(const char *policy)
{
	swap_memory_reset();
	fake_init(&fake, FRAMES);
	config = fake_config(&fake);
	config.policy = mm_policy_find(policy);
	config.swap_directory = "memory";
}

static unsigned state(uint32_t frame)
{
	return fake.mm->frames[frame].state;
}

static void inject(enum fake_op op, int error, uint32_t after, uint32_t times)
{
	fake.inject[op].error = error;
	fake.inject[op].after = after;
	fake.inject[op].times = times;
}

static void put(uint32_t first, uint32_t count, enum content kind)
{
	for (uint32_t i = first; i < first + count; i++)
		cr_assert_eq(fake_put(&fake, i, kind, 1), 0);
}

static void expect(uint32_t first, uint32_t count, enum content kind)
{
	for (uint32_t i = first; i < first + count; i++)
		cr_assert_eq(fake_expect(&fake, i, kind, 1), 0);
	fake_compare(&fake);
}

/* Of USED frames so many are watched, and some evicted. */
static void watch_all(void)
{
	prepare("sfifo");
	config.policy_options = "watched=90";
	fake_create(&fake, &config);
	put(0, USED, CONTENT_RANDOM);
	for (int i = 0; i < 200 && fake.mm->count[FRAME_WATCHED] < WATCHED; i++)
		mm_reclaim(fake.mm, 1);
	cr_assert_geq(fake.mm->count[FRAME_WATCHED], WATCHED);
	fake_compare(&fake);
}

static uint32_t first_in(enum frame_state wanted)
{
	uint32_t i = 0;

	while (state(i) != wanted)
		i++;
	return i;
}

static uint32_t in_state(enum frame_state wanted, uint32_t first, uint32_t count)
{
	uint32_t n = 0;

	for (uint32_t i = first; i < first + count; i++)
		n += state(i) == wanted;
	return n;
}

/* A walk up over watched frames: the window is mapped in part, what is mapped is no longer watched.
 */
Test(partial, map_of_a_window_upwards)
{
	uint32_t first;

	watch_all();
	first = first_in(FRAME_WATCHED);
	fake_read(&fake, first);
	inject(FAKE_MAP, -ENOMEM, 5, 1);
	fake_read(&fake, first + 1);
	cr_assert_eq(fake.inject[FAKE_MAP].times, 0, "the window was tried");
	cr_assert_eq(in_state(FRAME_MAPPED, first + 1, 5), 5);
	cr_assert_eq(state(first + 6), FRAME_WATCHED);
	fake_compare(&fake);
	expect(0, USED, CONTENT_RANDOM);
	fake_end(&fake);
}

/* Downwards the fault's own frame is the last of its window: the others' trouble comes first. */
Test(partial, map_of_a_window_downwards)
{
	uint32_t last;

	watch_all();
	last = first_in(FRAME_WATCHED) + 60;
	fake_read(&fake, last);
	inject(FAKE_MAP, -ENOMEM, 2, 1);
	fake_read(&fake, last - 1);
	cr_assert_eq(fake.inject[FAKE_MAP].times, 0, "the window was tried");
	cr_assert_eq(state(last - 1), FRAME_MAPPED, "alone it could be mapped");
	cr_assert_eq(in_state(FRAME_MAPPED, last - 10, 9), 2);
	cr_assert_eq(fake.failure_count, 0);
	expect(0, USED, CONTENT_RANDOM);
	fake_end(&fake);
}

/* The frame itself cannot be mapped: that is a failure, and names it. */
Test(partial, map_of_the_frame_itself)
{
	uint32_t last;

	watch_all();
	fake.expect_failure = true;
	last = first_in(FRAME_WATCHED) + 60;
	fake_read(&fake, last);
	inject(FAKE_MAP, -ENOMEM, 2, UINT32_MAX);
	cr_assert_eq(mm_fault(fake.mm, gfn(last - 1), false), -ENOMEM);
	cr_assert_eq(fake.failure_count, 1);
	cr_assert_eq(fake.failure.frame.v, last - 1);
	cr_assert_eq(in_state(FRAME_MAPPED, last - 20, 20), 2);
	fake_end(&fake);
}

/* A walk over what was evicted runs into watched frames, which are mapped along with the window. */
Test(partial, map_of_watched_frames_ahead_of_a_fill)
{
	watch_all();
	for (uint32_t i = first_in(FRAME_SWAPPED); fake.mm->count[FRAME_SWAPPED] > 0; i++) {
		inject(FAKE_MAP, -ENOMEM, 3, 1);
		fake.inject[FAKE_MAP].spare_first = true;
		fake_read(&fake, i);
		fake_compare(&fake);
	}
	cr_assert_eq(fake.failure_count, 0);
	expect(0, USED, CONTENT_RANDOM);
	fake_end(&fake);
}

/* Victims that could be unmapped go, the rest stays; told or not. */
static void unmap_in_part(uint32_t untold)
{
	prepare("fifo");
	fake_create(&fake, &config);
	put(0, 16, CONTENT_HALF);
	inject(FAKE_UNMAP, -EINVAL, 9, 1);
	fake.inject[FAKE_UNMAP].untold = untold;
	fake.inject[FAKE_UNMAP].spare_first = true;
	mm_reclaim(fake.mm, 16);
	cr_assert_eq(fake.inject[FAKE_UNMAP].times, 0);
	fake_compare(&fake);
	cr_assert_eq(fake.mm->stats.store_failures, 16 - 9 + untold);
	expect(0, 16, CONTENT_HALF);
	fake_end(&fake);
}

Test(partial, unmap)
{
	unmap_in_part(0);
}

Test(partial, unmap_untold)
{
	unmap_in_part(9);
}

/* A batch whose pages cannot all be given back: those that were are accounted for, the rest are
 * unchanged. */
static void release_in_part(uint32_t untold)
{
	uint64_t held;

	prepare("fifo");
	fake.expect_failure = true;
	fake_create(&fake, &config);
	put(0, 16, CONTENT_WORD);
	held = fake.mm->held;
	inject(FAKE_RELEASE, -EIO, 9, UINT32_MAX);
	fake.inject[FAKE_RELEASE].untold = untold;
	mm_reclaim(fake.mm, 16);
	cr_assert_eq(fake.failure_count, 1);
	cr_assert_eq(fake.failure.frame.v, 9 - untold, "the first that may be there still");
	cr_assert_eq(in_state(FRAME_SAME_FILLED, 0, 16), 9 - untold);
	cr_assert_eq(in_state(FRAME_RELEASING, 0, 16), 16 - 9 + untold);
	cr_assert_eq(held - fake.mm->held, (9 - untold) * PAGE_SIZE,
		     "charged while it may be there");
	cr_assert_eq(mm_fault(fake.mm, gfn(15), false), -EIO, "nobody waits for it");
	fake_end(&fake);
}

Test(partial, release)
{
	release_in_part(0);
}

Test(partial, release_untold)
{
	release_in_part(9);
}

/* The same for what the guest gives up, in runs of one. */
Test(partial, giving_up)
{
	prepare("fifo");
	fake.expect_failure = true;
	fake_create(&fake, &config);
	for (uint32_t i = 0; i < 20; i++)
		put(i * 50, 1, CONTENT_HALF);
	inject(FAKE_RELEASE, -EIO, 11, UINT32_MAX);
	cr_assert_eq(mm_release(fake.mm, gfn(0), 1000, MM_RELEASE_BALLOON, 0), -EIO);
	cr_assert_eq(fake.failure.frame.v, 11 * 50);
	cr_assert_eq(in_state(FRAME_RELEASED, 0, 1000), 1000 - 9);
	cr_assert_eq(in_state(FRAME_RELEASING, 0, 1000), 9);
	cr_assert_eq(fake.mm->stats.punched_frames, 11);
	cr_assert_eq(mm_release(fake.mm, gfn(0), 1000, MM_RELEASE_BALLOON, 0), -EIO);
	fake_end(&fake);
}

Test(partial, giving_up_what_cannot_be_unmapped)
{
	prepare("fifo");
	fake.expect_failure = true;
	fake_create(&fake, &config);
	put(0, 8, CONTENT_HALF);
	inject(FAKE_UNMAP, -EINVAL, 3, UINT32_MAX);
	cr_assert_eq(mm_release(fake.mm, gfn(0), 8, MM_RELEASE_BALLOON, 0), -EINVAL);
	cr_assert_eq(fake.failure.frame.v, 3);
	cr_assert_eq(fake.calls[FAKE_RELEASE], 0);
	cr_assert_eq(fake.present[0], 1);
	mm_destroy(fake.mm);
	fake_finish(&fake);
}

/* Fills ahead: zeros, and content, up and down. */
Test(partial, fills)
{
	static const enum fake_op ops[] = { FAKE_ZERO, FAKE_FILL };

	prepare("fifo");
	fake_create(&fake, &config);
	for (unsigned k = 0; k < 4; k++) {
		uint32_t from = k * 200 + 100;

		if (k % 2 == 1) {
			put(from - 50, 100, CONTENT_RANDOM);
			while (in_state(FRAME_SWAPPED, from - 50, 100) < 100)
				mm_reclaim(fake.mm, 100);
		}
		fake_read(&fake, from);
		inject(ops[k % 2], -ENOMEM, 3, 1);
		fake_read(&fake, k < 2 ? from + 1 : from - 1);
		cr_assert_eq(fake.inject[ops[k % 2]].times, 0);
		fake_compare(&fake);
		if (k % 2 == 1)
			expect(from - 50, 100, CONTENT_RANDOM);
	}
	cr_assert_eq(fake.failure_count, 0);
	fake_end(&fake);
}

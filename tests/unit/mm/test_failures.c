/*
 * Failures outside mm: the disk full or broken, data damaged on its way, the host refusing. Pages
 * stay where they are, or the failure names the page; never wrong data.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mm/mm_internal.h"
#include "tests/unit/mm/fake.h"
#include "policy/table.h"

#define FRAMES 1024

static struct fake fake;
static struct mm_config config;
static struct mm_stats stats;

static void prepare(void)
{
	swap_memory_reset();
	fake_init(&fake, FRAMES);
	config = fake_config(&fake);
	config.policy = mm_policy_find("fifo");
	config.swap_directory = "memory";
}

static void begin(void)
{
	fake_create(&fake, &config);
}

static const struct mm_stats *now(void)
{
	mm_stats_get(fake.mm, &stats);
	return &stats;
}

static unsigned state(uint32_t frame)
{
	return fake.mm->frames[frame].state;
}

static void expect_failure(uint32_t frame, int error, const char *word)
{
	char page[32];

	cr_assert_eq(fake.failure_count, 1);
	cr_assert_eq(fake.failure.frame.v, frame);
	cr_assert_eq(fake.failure.error, error);
	snprintf(page, sizeof(page), "page 0x%x (address 0x%x", frame, frame << PAGE_SHIFT);
	cr_assert_not_null(strstr(fake.failure.text, page), "%s", fake.failure.text);
	cr_assert_not_null(strstr(fake.failure.text, word), "%s", fake.failure.text);
	cr_assert_eq(fake.present[frame], 0, "nothing was filled");
	cr_assert_eq(mm_fault(fake.mm, gfn(0), false), -EIO);
	cr_assert_eq(fake.failure_count, 1, "reported once");
}

/* Put pages far apart, and evict them. */
static void put_and_evict(enum content kind, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		cr_assert_eq(fake_put(&fake, i * 50, kind, 1), 0);
	cr_assert_eq(mm_reclaim(fake.mm, count), count);
}

static void full_disk(int error)
{
	prepare();
	begin();
	for (uint32_t i = 0; i < 20; i++)
		cr_assert_eq(fake_put(&fake, i * 50, CONTENT_RANDOM, 1), 0);
	swap_memory.write = (struct swap_fault){ .error = error, .times = UINT64_MAX };
	cr_assert_eq(mm_reclaim(fake.mm, 20), 0);
	cr_assert_gt(now()->store_failures, 0);
	cr_assert_eq(stats.swap_bytes, 0, "no slot is left taken");
	uint64_t tries = swap_memory.writes;

	cr_assert_lt(tries, 50, "not in a hot loop");
	for (uint32_t i = 0; i < 20; i++)
		cr_assert_eq(fake_expect(&fake, i * 50, CONTENT_RANDOM, 1), 0);
	/* There is room again. */
	swap_memory.write.times = 0;
	cr_assert_eq(mm_reclaim(fake.mm, 20), 20);
	for (uint32_t i = 0; i < 20; i++)
		cr_assert_eq(fake_expect(&fake, i * 50, CONTENT_RANDOM, 1), 0);
	fake_end(&fake);
}

Test(failures, disk_full)
{
	full_disk(-ENOSPC);
}

Test(failures, disk_broken_for_writing)
{
	full_disk(-EIO);
}

/* The disk fills up while the guest runs on a budget: what fits goes on, or it ends cleanly. */
Test(failures, disk_full_in_mid_run)
{
	prepare();
	config.budget_bytes = mm_least_budget(&config) + 200 * PAGE_SIZE;
	fake.expect_failure = true;
	begin();
	int error = 0;
	uint32_t i, good;

	for (i = 0; i < 300 && error == 0; i++)
		error = fake_put(&fake, i, CONTENT_RANDOM, 1);
	cr_assert_eq(error, 0);
	swap_memory.write = (struct swap_fault){ .error = -ENOSPC, .times = UINT64_MAX };
	/* Compressible pages still go, to the pool. */
	for (good = 300; good < 500 && error == 0; good++)
		error = fake_put(&fake, good, CONTENT_WORD, 1);
	cr_assert_eq(error, 0);
	for (i = good; i < FRAMES && error == 0; i++)
		error = fake_put(&fake, i, CONTENT_RANDOM, 1);
	cr_assert_eq(error, -ENOMEM);
	cr_assert_eq(fake.failure.error, ENOMEM);
	cr_assert_leq(now()->peak_bytes, config.budget_bytes);
	fake_end(&fake);
}

Test(failures, swap_file_too_small)
{
	prepare();
	config.swap_bytes = 10 * PAGE_SIZE;
	begin();
	for (uint32_t i = 0; i < 20; i++)
		cr_assert_eq(fake_put(&fake, i * 50, CONTENT_RANDOM, 1), 0);
	cr_assert_eq(mm_reclaim(fake.mm, 20), 10);
	for (uint32_t i = 0; i < 20; i++)
		cr_assert_eq(fake_expect(&fake, i * 50, CONTENT_RANDOM, 1), 0);
	/* Kept slots of resident pages make room for others. */
	for (uint32_t i = 0; i < 20; i++)
		cr_assert_eq(fake_put(&fake, i * 50, CONTENT_RANDOM, 2), 0);
	uint32_t gone = mm_reclaim(fake.mm, 20);

	cr_assert_eq(gone, 10, "%u", gone);
	for (uint32_t i = 0; i < 20; i++)
		cr_assert_eq(fake_expect(&fake, i * 50, CONTENT_RANDOM, 2), 0);
	fake_end(&fake);
}

Test(failures, read_error)
{
	prepare();
	fake.expect_failure = true;
	begin();
	put_and_evict(CONTENT_RANDOM, 5);
	swap_memory.read = (struct swap_fault){ .error = -EIO, .times = UINT64_MAX };
	cr_assert_eq(fake_expect(&fake, 100, CONTENT_RANDOM, 1), -EIO);
	expect_failure(100, EIO, "swap");
	fake_end(&fake);
}

Test(failures, read_cut_short_for_good)
{
	prepare();
	fake.expect_failure = true;
	begin();
	put_and_evict(CONTENT_RANDOM, 5);
	swap_memory.read = (struct swap_fault){ .cut_to = 0, .times = UINT64_MAX };
	cr_assert_eq(fake_expect(&fake, 50, CONTENT_RANDOM, 1), -EIO);
	expect_failure(50, EIO, "swap");
	fake_end(&fake);
}

Test(failures, flipped_bit_in_the_swap_file)
{
	prepare();
	fake.expect_failure = true;
	begin();
	put_and_evict(CONTENT_RANDOM, 5);
	swap_memory.bytes[fake.mm->frames[150].where * PAGE_SIZE + 7] ^= 1;
	cr_assert_eq(fake_expect(&fake, 100, CONTENT_RANDOM, 1), 0, "the others are well");
	cr_assert_eq(fake_expect(&fake, 150, CONTENT_RANDOM, 1), -EBADMSG);
	expect_failure(150, EBADMSG, "checksum");
	fake_end(&fake);
}

Test(failures, flipped_bit_in_the_pool)
{
	struct pool_object object;
	unsigned char data[POOL_OBJECT_MAX];
	struct mm_frame *f;

	prepare();
	fake.expect_failure = true;
	begin();
	put_and_evict(CONTENT_HALF, 3);
	f = &fake.mm->frames[50];
	pool_load(fake.mm->pool, f->where, &object, data);
	pool_free(fake.mm->pool, f->where);
	data[object.length / 2] ^= 16;
	cr_assert_eq(pool_store(fake.mm->pool, &object, data, &f->where), 0);
	cr_assert_eq(fake_expect(&fake, 50, CONTENT_HALF, 1), -EBADMSG);
	expect_failure(50, EBADMSG, "pool");
	fake_end(&fake);
}

/* A page that cannot be read does not take its neighbours with it, until it is needed itself. */
Test(failures, a_bad_neighbour)
{
	prepare();
	fake.expect_failure = true;
	begin();
	for (uint32_t i = 0; i < 200; i++)
		cr_assert_eq(fake_put(&fake, i, CONTENT_RANDOM, 1), 0);
	cr_assert_geq(mm_reclaim(fake.mm, 300), 200);
	swap_memory.bytes[fake.mm->frames[120].where * PAGE_SIZE] ^= 1;
	for (uint32_t i = 0; i < 120; i++)
		cr_assert_eq(fake_expect(&fake, i, CONTENT_RANDOM, 1), 0);
	for (uint32_t i = 199; i > 120; i--)
		cr_assert_eq(fake_expect(&fake, i, CONTENT_RANDOM, 1), 0);
	cr_assert_eq(fake.failure_count, 0);
	cr_assert_eq(fake_expect(&fake, 120, CONTENT_RANDOM, 1), -EBADMSG);
	expect_failure(120, EBADMSG, "swap");
	fake_end(&fake);
}

Test(failures, passing_refusals_of_the_backing)
{
	static const int errors[] = { -EAGAIN, -EINTR, -EBUSY };

	prepare();
	begin();
	for (uint32_t e = 0; e < 3; e++) {
		for (int op = 0; op < FAKE_WAKE; op++) {
			fake.inject[op].error = errors[e];
			fake.inject[op].after = 5;
			fake.inject[op].times = 3;
		}
		for (uint32_t i = 0; i < 60; i++)
			cr_assert_eq(fake_put(&fake, i, CONTENT_HALF, e), 0);
		cr_assert_geq(mm_reclaim(fake.mm, 100), 60);
		for (uint32_t i = 0; i < 60; i++)
			cr_assert_eq(fake_expect(&fake, i, CONTENT_HALF, e), 0);
	}
	fake_end(&fake);
}

static void refused(enum fake_op op, int error)
{
	fake.inject[op].error = error;
	fake.inject[op].after = 0;
	fake.inject[op].times = UINT32_MAX;
}

Test(failures, no_host_memory_for_a_first_touch)
{
	prepare();
	fake.expect_failure = true;
	begin();
	refused(FAKE_ZERO, -ENOMEM);
	cr_assert_eq(mm_fault(fake.mm, gfn(3), false), -ENOMEM);
	expect_failure(3, ENOMEM, "host");
	cr_assert_eq(state(3), FRAME_UNTOUCHED);
	cr_assert_eq(now()->resident_bytes, 0);
	fake_end(&fake);
}

Test(failures, no_host_memory_for_a_neighbour)
{
	prepare();
	begin();
	cr_assert_eq(fake_put(&fake, 10, CONTENT_HALF, 1), 0);
	/* The second touch of the walk asks for a window; only one page may be had. */
	fake.inject[FAKE_ZERO].error = -ENOMEM;
	fake.inject[FAKE_ZERO].after = 1;
	fake.inject[FAKE_ZERO].times = 1;
	cr_assert_eq(fake_put(&fake, 11, CONTENT_HALF, 1), 0);
	cr_assert_eq(now()->resident_bytes, 2 * PAGE_SIZE);
	fake_end(&fake);
}

Test(failures, a_page_where_none_should_be)
{
	prepare();
	fake.expect_failure = true;
	begin();
	put_and_evict(CONTENT_HALF, 2);
	refused(FAKE_FILL, -EEXIST);
	cr_assert_eq(mm_fault(fake.mm, gfn(50), false), -EEXIST);
	expect_failure(50, EEXIST, "absent");
	cr_assert_eq(state(50), FRAME_COMPRESSED, "its content is still there");
	fake_end(&fake);
}

/* The host does not let victims go: they stay, whole, and go once it does. */
static void victims_stay(enum fake_op op, int error)
{
	prepare();
	begin();
	for (uint32_t i = 0; i < 10; i++)
		cr_assert_eq(fake_put(&fake, i * 50, CONTENT_HALF, 1), 0);
	refused(op, error);
	cr_assert_eq(mm_reclaim(fake.mm, 10), 0);
	for (uint32_t i = 0; i < 10; i++)
		cr_assert_eq(fake_expect(&fake, i * 50, CONTENT_HALF, 1), 0);
	cr_assert_eq(now()->pool_frames, 0);
	fake.inject[op].times = 0;
	cr_assert_eq(mm_reclaim(fake.mm, 10), 10);
	fake_end(&fake);
}

Test(failures, waking_refused)
{
	prepare();
	begin();
	fake.expect_failure = true;
	refused(FAKE_WAKE, -EINVAL);
	cr_assert_eq(mm_fault(fake.mm, gfn(50), false), -EINVAL);
	cr_assert(fake.failure_count == 1 && fake.failure.frame.v == 50 &&
		  fake.failure.error == EINVAL && strstr(fake.failure.text, "waking") != NULL);
	fake_end(&fake);
}

Test(failures, unmapping_refused)
{
	victims_stay(FAKE_UNMAP, -EINVAL);
}

Test(failures, reading_refused)
{
	victims_stay(FAKE_READ, -EIO);
}

Test(failures, watching_refused)
{
	prepare();
	config.policy = mm_policy_find("clock");
	begin();
	for (uint32_t i = 0; i < 10; i++)
		cr_assert_eq(fake_put(&fake, i * 50, CONTENT_HALF, 1), 0);
	refused(FAKE_UNMAP, -EINVAL);
	cr_assert_eq(mm_reclaim(fake.mm, 10), 0);
	cr_assert_eq(now()->watched_bytes, 0, "none is watched that was not unmapped");
	fake.inject[FAKE_UNMAP].times = 0;
	cr_assert_eq(mm_reclaim(fake.mm, 10), 10);
	fake_end(&fake);
}

Test(failures, releasing_refused)
{
	prepare();
	fake.expect_failure = true;
	begin();
	cr_assert_eq(fake_put(&fake, 50, CONTENT_HALF, 1), 0);
	refused(FAKE_RELEASE, -EINVAL);
	mm_reclaim(fake.mm, 1);
	cr_assert_eq(fake.failure_count, 1);
	cr_assert_eq(fake.failure.frame.v, 50);
	cr_assert_eq(mm_fault(fake.mm, gfn(50), false), -EIO);
	fake_end(&fake);
}

Test(failures, mapping_refused)
{
	prepare();
	config.policy = mm_policy_find("clock");
	fake.expect_failure = true;
	begin();
	cr_assert_eq(fake_put(&fake, 50, CONTENT_HALF, 1), 0);
	cr_assert_eq(fake_put(&fake, 200, CONTENT_HALF, 1), 0);
	cr_assert_eq(mm_reclaim(fake.mm, 1), 1);
	refused(FAKE_MAP, -ENOENT);
	uint32_t left = state(50) == FRAME_WATCHED ? 50 : 200;

	cr_assert_eq(state(left), FRAME_WATCHED);
	cr_assert_eq(mm_fault(fake.mm, gfn(left), false), -ENOENT);
	cr_assert_eq(fake.failure_count, 1);
	cr_assert_eq(fake.failure.frame.v, left);
	fake_end(&fake);
}

Test(failures, a_pin_that_cannot_be_read)
{
	prepare();
	fake.expect_failure = true;
	begin();
	put_and_evict(CONTENT_RANDOM, 5);
	swap_memory.read = (struct swap_fault){ .error = -EIO, .times = UINT64_MAX };
	cr_assert_eq(mm_pin(fake.mm, gfn(99), 3), -EIO);
	expect_failure(100, EIO, "swap");
	cr_assert_eq(fake.mm->frames[99].pins, 0);
	fake_end(&fake);
}

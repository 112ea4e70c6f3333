/*
 * The manager, one behaviour at a time, without threads: each state transition, the budget, pins,
 * discards, windows, and each way a failure may come.
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

/* A guest without a budget: nothing is evicted but by mm_reclaim(). */
static void prepare(uint32_t frames)
{
	swap_memory_reset();
	fake_init(&fake, frames);
	config = fake_config(&fake);
	config.policy = mm_policy_find("fifo");
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

/* Frames far apart, so that no stream forms. */
static uint32_t far(uint32_t i)
{
	return i * 97 % FRAMES;
}

Test(mm, first_touch_reads_zero)
{
	prepare(FRAMES);
	begin();
	cr_assert_eq(fake_read(&fake, 5), 0);
	cr_assert_eq(state(5), FRAME_MAPPED);
	cr_assert_eq(now()->faults[MM_FAULT_ZERO_FILL], 1);
	cr_assert_eq(stats.touched_frames, 1);
	cr_assert_eq(stats.resident_bytes, PAGE_SIZE);
	cr_assert_eq(stats.latency_ns[MM_FAULT_ZERO_FILL].count, 1);
	cr_assert_gt(stats.stall_ns, 0);
	fake_end(&fake);
}

Test(mm, stale_fault_is_harmless)
{
	prepare(FRAMES);
	begin();
	fake_write(&fake, 5, 77);
	cr_assert_eq(mm_fault(fake.mm, gfn(5), true), 0);
	cr_assert_eq(fake_read(&fake, 5), 77);
	cr_assert_eq(now()->faults[MM_FAULT_MINOR], 1);
	fake_end(&fake);
}

Test(mm, frames_beyond_the_guest)
{
	prepare(FRAMES);
	begin();
	cr_assert_eq(mm_fault(fake.mm, gfn(FRAMES), false), -ERANGE);
	cr_assert_eq(mm_fault(fake.mm, gfn(UINT64_MAX), false), -ERANGE);
	cr_assert_eq(mm_pin(fake.mm, gfn(FRAMES - 1), 2), -ERANGE);
	cr_assert_eq(mm_release(fake.mm, gfn(FRAMES + 1), 0, MM_RELEASE_REPORTED, 0), -ERANGE);
	cr_assert_eq(mm_release(fake.mm, gfn(0), FRAMES + 1, MM_RELEASE_REPORTED, 0), -ERANGE);
	fake_end(&fake);
}

/* Put one page of a kind, evict it, expect it in a state, bring it back. */
static void there_and_back(enum content kind, enum frame_state where, enum mm_fault_kind fault)
{
	cr_assert_eq(fake_put(&fake, 9, kind, 3), 0);
	cr_assert_eq(mm_reclaim(fake.mm, 1), 1);
	cr_assert_eq(state(9), where, "state %u", state(9));
	cr_assert_eq(fake.present[9], 0);
	cr_assert_eq(fake_expect(&fake, 9, kind, 3), 0);
	cr_assert_eq(state(9), FRAME_MAPPED);
	cr_assert_eq(now()->faults[fault], fault == MM_FAULT_ZERO_FILL ? 2 : 1);
	fake_end(&fake);
}

Test(mm, same_filled)
{
	prepare(FRAMES);
	begin();
	there_and_back(CONTENT_WORD, FRAME_SAME_FILLED, MM_FAULT_POOL);
	cr_assert_eq(stats.evictions_same_filled, 1);
	cr_assert_eq(stats.pool_bytes, 0);
}

Test(mm, zero_filled)
{
	prepare(FRAMES);
	begin();
	there_and_back(CONTENT_ZERO, FRAME_SAME_FILLED, MM_FAULT_POOL);
	cr_assert_eq(fake.frames[FAKE_FILL], 0, "zeros are not copied");
}

Test(mm, compressed_lz4)
{
	prepare(FRAMES);
	begin();
	there_and_back(CONTENT_HALF, FRAME_COMPRESSED, MM_FAULT_POOL);
	cr_assert_eq(stats.evictions_compressed, 1);
	cr_assert_eq(stats.pool_stored_bytes, 0);
}

Test(mm, compressed_zstd)
{
	prepare(FRAMES);
	config.compressor = MM_COMPRESSOR_ZSTD;
	begin();
	there_and_back(CONTENT_TEXT, FRAME_COMPRESSED, MM_FAULT_POOL);
}

Test(mm, incompressible_goes_to_swap)
{
	prepare(FRAMES);
	config.swap_directory = "memory";
	begin();
	there_and_back(CONTENT_RANDOM, FRAME_SWAPPED, MM_FAULT_SWAP);
	cr_assert_eq(stats.evictions_swapped, 1);
	cr_assert_eq(stats.swap_bytes, PAGE_SIZE, "the slot is kept");
}

Test(mm, no_compressor_all_to_swap)
{
	prepare(FRAMES);
	config.compressor = MM_COMPRESSOR_NONE;
	config.swap_directory = "memory";
	begin();
	there_and_back(CONTENT_HALF, FRAME_SWAPPED, MM_FAULT_SWAP);
}

Test(mm, incompressible_stays_without_swap)
{
	prepare(FRAMES);
	begin();
	fake_put(&fake, 1, CONTENT_RANDOM, 1);
	cr_assert_eq(mm_reclaim(fake.mm, 1), 0);
	cr_assert_eq(state(1), FRAME_MAPPED);
	cr_assert_eq(fake_expect(&fake, 1, CONTENT_RANDOM, 1), 0);
	cr_assert_gt(now()->store_failures, 0);
	fake_put(&fake, 500, CONTENT_HALF, 1);
	cr_assert_eq(mm_reclaim(fake.mm, 2), 1, "the other one still goes");
	fake_end(&fake);
}

Test(mm, no_compressor_no_swap)
{
	prepare(FRAMES);
	config.compressor = MM_COMPRESSOR_NONE;
	config.budget_bytes = mm_least_budget(&config);
	fake.expect_failure = true;
	begin();
	int error = 0;
	uint32_t i;

	for (i = 0; i < FRAMES && error == 0; i++)
		error = fake_put(&fake, far(i), CONTENT_WORD, 1);
	cr_assert_eq(error, 0, "same-filled pages always fit");
	for (i = 0; i < FRAMES && error == 0; i++)
		error = fake_put(&fake, far(i), CONTENT_TEXT, 1);
	cr_assert_eq(error, -ENOMEM);
	cr_assert_eq(fake.failure_count, 1);
	cr_assert_eq(fake.failure.error, ENOMEM);
	cr_assert_eq(fake.failure.frame.v, far(i - 1));
	cr_assert_not_null(strstr(fake.failure.text, "budget"));
	cr_assert_eq(mm_fault(fake.mm, gfn(0), false), -EIO, "after a failure nothing is served");
	cr_assert_eq(mm_pin(fake.mm, gfn(0), 1), -EIO);
	cr_assert_leq(now()->peak_bytes, config.budget_bytes);
	fake_end(&fake);
}

Test(mm, clean_page_is_dropped_unstored)
{
	prepare(FRAMES);
	config.swap_directory = "memory";
	begin();
	fake_put(&fake, 3, CONTENT_RANDOM, 1);
	cr_assert_eq(mm_reclaim(fake.mm, 1), 1);
	cr_assert_eq(fake_expect(&fake, 3, CONTENT_RANDOM, 1), 0);
	cr_assert_eq(swap_memory.writes, 1);
	cr_assert_eq(mm_reclaim(fake.mm, 1), 1);
	cr_assert_eq(swap_memory.writes, 1, "unchanged: not written again");
	cr_assert_eq(now()->evictions_clean, 1);
	fake_put(&fake, 3, CONTENT_RANDOM, 2);
	cr_assert_eq(mm_reclaim(fake.mm, 1), 1);
	cr_assert_eq(swap_memory.writes, 2, "changed: written");
	cr_assert_eq(now()->swap_bytes, PAGE_SIZE, "the old slot is free");
	cr_assert_eq(fake_expect(&fake, 3, CONTENT_RANDOM, 2), 0);
	fake_end(&fake);
}

/* Touches in the middle of an eviction. */
static void touch_read(struct fake *f, gfn_t first, uint32_t count)
{
	f->unmapped = NULL;
	cr_assert_eq(state((uint32_t)first.v), FRAME_EVICTING);
	cr_assert_eq(fake_expect(f, (uint32_t)first.v, CONTENT_HALF, 1), 0);
}

static void page_write(struct fake *f, gfn_t frame)
{
	f->paged = NULL;
	cr_assert_eq(fake_put(f, (uint32_t)frame.v, CONTENT_TEXT, 9), 0);
}

Test(mm, touch_cancels_an_eviction)
{
	prepare(FRAMES);
	begin();
	fake_put(&fake, 4, CONTENT_HALF, 1);
	fake.unmapped = touch_read;
	cr_assert_eq(mm_reclaim(fake.mm, 1), 1, "cancelled once, then gone at the second try");
	cr_assert_eq(now()->evictions_cancelled, 1);
	cr_assert_eq(stats.faults[MM_FAULT_MINOR], 1);
	cr_assert_eq(fake_expect(&fake, 4, CONTENT_HALF, 1), 0);
	fake_end(&fake);
}

Test(mm, a_write_while_storing_is_not_lost)
{
	prepare(FRAMES);
	begin();
	fake_put(&fake, 4, CONTENT_HALF, 1);
	fake.paged = page_write;
	mm_reclaim(fake.mm, 1);
	cr_assert_eq(now()->evictions_cancelled, 1);
	cr_assert_eq(fake_expect(&fake, 4, CONTENT_TEXT, 9), 0);
	fake_end(&fake);
}

static void swap_write_touch(void *context, bool write)
{
	if (!write)
		return;
	swap_memory.transferring = NULL;
	cr_assert_eq(fake_put(&fake, 4, CONTENT_RANDOM, 9), 0);
}

Test(mm, a_write_while_swapping_is_not_lost)
{
	prepare(FRAMES);
	config.swap_directory = "memory";
	begin();
	fake_put(&fake, 4, CONTENT_RANDOM, 1);
	swap_memory.transferring = swap_write_touch;
	mm_reclaim(fake.mm, 1);
	cr_assert_eq(now()->evictions_cancelled, 1);
	cr_assert_eq(fake_expect(&fake, 4, CONTENT_RANDOM, 9), 0);
	fake_end(&fake);
}

Test(mm, watched_pages_cost_a_minor_fault)
{
	prepare(FRAMES);
	config.policy = mm_policy_find("clock");
	begin();
	for (uint32_t i = 0; i < 8; i++)
		fake_put(&fake, far(i), CONTENT_HALF, 1);
	cr_assert_eq(mm_reclaim(fake.mm, 1), 1);
	cr_assert_gt(now()->watched_bytes, 0);
	for (uint32_t i = 1; i < 8; i++)
		cr_assert_eq(fake_expect(&fake, far(i), CONTENT_HALF, 1), 0);
	cr_assert_gt(now()->faults[MM_FAULT_MINOR], 0);
	cr_assert_eq(stats.watched_bytes, 0);
	cr_assert_eq(stats.faults[MM_FAULT_POOL], 0);
	fake_end(&fake);
}

Test(mm, pinned_pages_stay)
{
	prepare(FRAMES);
	begin();
	cr_assert_eq(mm_pin(fake.mm, gfn(0), 20), 0);
	mm_unpin(fake.mm, gfn(0), 20);
	for (uint32_t i = 0; i < 20; i++)
		fake_put(&fake, i, CONTENT_HALF, 1);
	cr_assert_eq(now()->resident_bytes, 20 * PAGE_SIZE, "a pin brings no more than it needs");
	cr_assert_eq(mm_pin(fake.mm, gfn(5), 3), 0);
	cr_assert_eq(mm_pin(fake.mm, gfn(5), 1), 0);
	cr_assert_eq(mm_reclaim(fake.mm, 100), 17);
	for (uint32_t i = 5; i < 8; i++)
		cr_assert(fake.present[i]);
	mm_unpin(fake.mm, gfn(5), 3);
	cr_assert_eq(mm_reclaim(fake.mm, 100), 2, "frame 5 is pinned once more");
	mm_unpin(fake.mm, gfn(5), 1);
	cr_assert_eq(mm_reclaim(fake.mm, 100), 1, "unpinned, it is offered to the policy again");
	/* A pin brings in what is stored. */
	cr_assert_eq(mm_pin(fake.mm, gfn(0), 20), 0);
	for (uint32_t i = 0; i < 20; i++)
		cr_assert(fake.present[i]);
	mm_unpin(fake.mm, gfn(0), 20);
	fake_end(&fake);
}

Test(mm, pins_are_counted_to_their_limit)
{
	prepare(FRAMES);
	begin();
	for (int i = 0; i < 255; i++)
		cr_assert_eq(mm_pin(fake.mm, gfn(1), 1), 0);
	cr_assert_eq(mm_pin(fake.mm, gfn(0), 3), -EBUSY);
	cr_assert_eq(fake.mm->frames[0].pins, 0, "all or nothing");
	for (int i = 0; i < 255; i++)
		mm_unpin(fake.mm, gfn(1), 1);
	fake_end(&fake);
}

Test(mm, pins_leave_room_for_the_guest)
{
	prepare(FRAMES);
	config.budget_bytes = mm_least_budget(&config);
	begin();
	cr_assert_eq(mm_pin(fake.mm, gfn(0), FRAMES), -EBUSY);
	cr_assert_eq(fake.failure_count, 0, "the caller's trouble, not the VM's");
	for (uint32_t i = 0; i < FRAMES; i++)
		cr_assert_eq(fake.mm->frames[i].pins, 0);
	cr_assert_eq(fake_put(&fake, 7, CONTENT_HALF, 1), 0);
	fake_end(&fake);
}

Test(mm, discard_each_state)
{
	static const enum content kinds[] = { CONTENT_WORD, CONTENT_HALF, CONTENT_RANDOM };

	prepare(FRAMES);
	config.swap_directory = "memory";
	begin();
	for (uint32_t i = 0; i < 3; i++)
		fake_put(&fake, 10 + i, kinds[i], 1);
	cr_assert_eq(mm_reclaim(fake.mm, 3), 3);
	fake_put(&fake, 13, CONTENT_HALF, 1);
	fake_put(&fake, 14, CONTENT_HALF, 1);
	cr_assert_eq(fake_expect(&fake, 12, CONTENT_RANDOM, 1), 0); /* resident, with a slot */
	cr_assert_eq(mm_pin(fake.mm, gfn(14), 1), 0);
	cr_assert_eq(mm_release(fake.mm, gfn(0), FRAMES, MM_RELEASE_REPORTED, 0), 0);
	cr_assert_eq(state(14), FRAME_MAPPED, "pinned: emptied in place");
	mm_unpin(fake.mm, gfn(14), 1);
	cr_assert_eq(now()->pool_frames, 0);
	cr_assert_eq(stats.swap_bytes, 0);
	cr_assert_eq(stats.resident_bytes, PAGE_SIZE);
	for (uint32_t i = 9; i < 16; i++)
		cr_assert_eq(fake_expect(&fake, i, CONTENT_ZERO, 0), 0);
	fake_end(&fake);
}

Test(mm, walks_widen_their_windows)
{
	const uint32_t frames = 64 * 64;

	prepare(frames);
	begin();
	for (uint32_t i = 0; i < frames; i++)
		cr_assert_eq(fake_put(&fake, i, CONTENT_HALF, 1), 0);
	cr_assert_lt(now()->faults[MM_FAULT_ZERO_FILL], 70);
	cr_assert_eq(stats.faults[MM_FAULT_ZERO_FILL] + stats.filled_ahead, frames);
	cr_assert_eq(mm_reclaim(fake.mm, frames), frames);
	/* Downwards as well. */
	for (uint32_t i = frames; i-- > 0;)
		cr_assert_eq(fake_expect(&fake, i, CONTENT_HALF, 1), 0);
	cr_assert_lt(now()->faults[MM_FAULT_POOL], 70);
	/* And the backing saw runs. */
	cr_assert_lt(fake.calls[FAKE_FILL], 80);
	cr_assert_lt(fake.calls[FAKE_RELEASE], 80);
	fake_end(&fake);
}

Test(mm, random_faults_bring_one_page)
{
	prepare(FRAMES);
	begin();
	for (uint32_t i = 0; i < 200; i++)
		fake_put(&fake, far(i), CONTENT_HALF, 1);
	cr_assert_eq(now()->filled_ahead, 0);
	fake_end(&fake);
}

Test(mm, several_walks_at_once)
{
	prepare(FRAMES);
	begin();
	for (uint32_t i = 0; i < 256; i++)
		for (uint32_t k = 0; k < 4; k++)
			fake_read(&fake, k * 256 + i);
	cr_assert_lt(now()->faults[MM_FAULT_ZERO_FILL], 60);
	fake_end(&fake);
}

Test(mm, swap_comes_back_in_large_reads)
{
	prepare(FRAMES);
	config.compressor = MM_COMPRESSOR_NONE;
	config.swap_directory = "memory";
	begin();
	for (uint32_t i = 0; i < FRAMES; i++)
		fake_put(&fake, i, CONTENT_RANDOM, 1);
	cr_assert_eq(mm_reclaim(fake.mm, FRAMES), FRAMES);
	cr_assert_lt(swap_memory.writes, 80);
	for (uint32_t i = 0; i < FRAMES; i++)
		cr_assert_eq(fake_expect(&fake, i, CONTENT_RANDOM, 1), 0);
	cr_assert_lt(swap_memory.reads, 90);
	cr_assert_lt(now()->faults[MM_FAULT_SWAP], 60);
	fake_end(&fake);
}

Test(mm, the_budget_is_never_exceeded)
{
	prepare(4 * FRAMES);
	config.swap_directory = "memory";
	config.policy = mm_policy_find("sfifo");
	config.budget_bytes = mm_least_budget(&config) + 512 * PAGE_SIZE;
	begin();
	for (uint32_t round = 1; round <= 3; round++)
		for (uint32_t i = 0; i < 4 * FRAMES; i++)
			cr_assert_eq(fake_put(&fake, i, i % CONTENT_KINDS, round), 0);
	for (uint32_t i = 0; i < 4 * FRAMES; i++)
		cr_assert_eq(fake_expect(&fake, i, i % CONTENT_KINDS, 3), 0);
	cr_assert_leq(now()->peak_bytes, config.budget_bytes);
	cr_assert_gt(stats.peak_bytes, config.budget_bytes * 9 / 10, "the budget is used");
	cr_assert_gt(stats.written_back, 0, "the pool is over its share");
	cr_assert_leq(stats.held_bytes, stats.peak_bytes);
	fake_end(&fake);
}

static void least_budget_works(uint32_t frames, enum mm_compressor compressor, bool swap)
{
	prepare(frames);
	config.compressor = compressor;
	config.swap_directory = swap ? "memory" : NULL;
	config.policy = mm_policy_find("sfifo");
	config.budget_bytes = mm_least_budget(&config) - 1;
	cr_assert_eq(mm_create(&config, &fake.mm), -EINVAL);
	config.budget_bytes++;
	begin();
	for (uint32_t round = 1; round <= 2; round++)
		for (uint32_t i = 0; i < 600; i++)
			cr_assert_eq(fake_put(&fake, i * 3 % 600,
					      swap ? CONTENT_RANDOM : CONTENT_WORD, round),
				     0);
	cr_assert_leq(now()->peak_bytes, config.budget_bytes);
	fake_end(&fake);
}

Test(mm, the_least_budget_makes_progress)
{
	least_budget_works(600, MM_COMPRESSOR_LZ4, true);
	least_budget_works(600, MM_COMPRESSOR_ZSTD, true);
	least_budget_works(600, MM_COMPRESSOR_NONE, true);
	least_budget_works(600, MM_COMPRESSOR_LZ4, false);
	least_budget_works(1 << 20, MM_COMPRESSOR_LZ4, true);
}

Test(mm, large_budgets_start)
{
	prepare(1 << 20);
	config.swap_directory = "memory";
	for (uint64_t mib = 64; mib <= 8192; mib *= 2) {
		config.budget_bytes = mib << 20;
		cr_assert_eq(mm_create(&config, &fake.mm), 0);
		mm_destroy(fake.mm);
	}
	begin();
	fake_end(&fake);
}

Test(mm, bad_configurations)
{
	prepare(FRAMES);
	config.policy_options = "nonsense";
	cr_assert_eq(mm_create(&config, &fake.mm), -EINVAL);
	config.policy_options = NULL;
	config.swap_directory = "missing";
	cr_assert_eq(mm_create(&config, &fake.mm), -ENOENT);
	config.swap_directory = NULL;
	config.frame_count = 0;
	cr_assert_eq(mm_create(&config, &fake.mm), -EINVAL);
	mm_destroy(NULL);
	fake_finish(&fake);
}

/* Pages missed soon after they went are near; what was gone for long is not. */
Test(mm, refaults)
{
	const uint32_t frames = 90; /* so few of them that none are neighbours */

	prepare(FRAMES);
	begin();
	for (uint32_t i = 0; i < frames; i++)
		fake_put(&fake, far(i), CONTENT_HALF, 1);
	cr_assert_eq(mm_reclaim(fake.mm, 60), 60); /* fifo: the first 60, in batches */
	cr_assert_eq(now()->refaults, 0);
	cr_assert_eq(stats.pressure_ns, 0, "first touches with room to spare");
	cr_assert_eq(fake_expect(&fake, far(59), CONTENT_HALF, 1), 0);
	cr_assert_eq(now()->refaults, 1, "%llu", (unsigned long long)stats.refaults);
	cr_assert_eq(stats.refaults_near, 1);
	cr_assert_eq(fake_expect(&fake, far(0), CONTENT_HALF, 1), 0);
	cr_assert_eq(now()->refaults, 2);
	cr_assert_eq(stats.refaults_near, 1);
	cr_assert_gt(stats.pressure_ns, 0);
	/* A page that was given up does not come back: it is new. */
	cr_assert_eq(mm_release(fake.mm, gfn(far(1)), 1, MM_RELEASE_REPORTED, 7), 0);
	cr_assert_eq(fake_read(&fake, far(1)), 7);
	cr_assert_eq(now()->refaults, 2);
	fake_end(&fake);
}

Test(mm, pressure_share)
{
	struct mm_stats before = { .pressure_ns = 500 }, after = { .pressure_ns = 750 };

	cr_assert_eq(mm_pressure_permille(&before, &after, 1000), 250);
	cr_assert_eq(mm_pressure_permille(&before, &after, 0), 0);
	after.pressure_ns = 4500;
	cr_assert_eq(mm_pressure_permille(&before, &after, 1000), 4000);
}

Test(mm, names)
{
	cr_assert_str_eq(mm_fault_kind_name(MM_FAULT_ZERO_FILL), "zero_fill");
	cr_assert_str_eq(mm_fault_kind_name(MM_FAULT_SWAP), "swap");
}

/*
 * Pages that lie in the pool untouched while a walk turns over all the rest go to the swap, and
 * their room goes to resident pages.
 */
Test(mm, cold_pool_makes_room)
{
	const uint32_t warm = 1500, cold = 600;
	uint64_t pooled, resident;
	int passes = 0;

	prepare(warm + cold);
	config.swap_directory = "memory";
	config.swap_io = &test_swap_io;
	config.budget_bytes = mm_least_budget(&config) + (1 << 20);
	config.no_reclaimer = false;
	begin();
	for (uint32_t i = 0; i < cold; i++)
		cr_assert_eq(fake_put(&fake, i, CONTENT_HALF, 1), 0);
	for (uint32_t i = cold; i < cold + warm; i++)
		cr_assert_eq(fake_put(&fake, i, CONTENT_RANDOM, 1), 0);
	pooled = now()->pool_frames;
	resident = stats.resident_bytes;
	cr_assert_gt(pooled, 0);
	while (now()->pool_frames > pooled / 4 && passes++ < 100)
		for (uint32_t i = cold; i < cold + warm; i++)
			cr_assert_eq(fake_expect(&fake, i, CONTENT_RANDOM, 1), 0);
	cr_assert_leq(now()->pool_frames, pooled / 4, "after %d walks", passes);
	cr_assert_gt(stats.resident_bytes, resident);
	cr_assert_gt(stats.evictions_clean, 0);
	for (uint32_t i = 0; i < cold; i++)
		cr_assert_eq(fake_expect(&fake, i, CONTENT_HALF, 1), 0);
	fake_end(&fake);
}

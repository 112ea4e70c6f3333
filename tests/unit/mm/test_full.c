/*
 * The disk of the swap file is full: what lies free in the file is used first, and given back when
 * there is much of it; and only then somebody has to wait.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <sched.h>
#include <string.h>

#include "base/clock.h"
#include "mm/mm_internal.h"
#include "tests/unit/mm/fake.h"
#include "policy/table.h"

#define FRAMES	  16384
#define WINDOW_NS 200000000ull

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

static void put(uint32_t first, uint32_t count, uint32_t version)
{
	for (uint32_t i = first; i < first + count; i++)
		cr_assert_eq(fake_put(&fake, i, CONTENT_RANDOM, version), 0);
}

static int put_until_it_fails(uint32_t first, uint32_t end)
{
	int error = 0;

	for (uint32_t i = first; i < end && error == 0; i++)
		error = fake_put(&fake, i, CONTENT_RANDOM, 1);
	return error;
}

static void expect(uint32_t first, uint32_t count, uint32_t version)
{
	for (uint32_t i = first; i < first + count; i++)
		cr_assert_eq(fake_expect(&fake, i, CONTENT_RANDOM, version), 0);
}

static uint32_t resident(void)
{
	return fake.mm->count[FRAME_MAPPED] + fake.mm->count[FRAME_WATCHED];
}

/*
 * A guest that turns over more than its budget on a disk with room for that and little more: for
 * ever, as the sort of the demo does. The file's free slots lie before the ones never used.
 */
Test(full, free_slots_are_used_first)
{
	struct mm_stats stats;

	prepare();
	config.budget_bytes = mm_least_budget(&config) + 400 * PAGE_SIZE;
	swap_memory.capacity = 2100;
	fake_create(&fake, &config);
	for (uint32_t round = 1; round < 12; round++)
		put(0, 2600, round);
	expect(0, 2600, 11);
	mm_stats_get(fake.mm, &stats);
	cr_assert_gt(stats.store_failures, 0, "the disk was never full: this shows nothing");
	cr_assert_leq(swap_memory.allocated, 2100);
	fake_end(&fake);
}

/* Full, and full no more: new slots are tried again after a while. */
Test(full, the_file_grows_again)
{
	prepare();
	swap_memory.capacity = 100;
	fake_create(&fake, &config);
	put(0, 300, 1);
	mm_reclaim(fake.mm, 300);
	cr_assert_eq(fake.mm->count[FRAME_SWAPPED], 100);
	cr_assert(swap_is_full(fake.mm->swap));
	swap_memory.capacity = 0;
	while (fake.mm->count[FRAME_SWAPPED] < 300)
		mm_reclaim(fake.mm, 300);
	cr_assert(!swap_is_full(fake.mm->swap));
	expect(0, 300, 1);
	fake_end(&fake);
}

/* Pages given up leave slots behind; most of them go back to the disk, some are kept at hand. */
static void fill_and_give_up(void)
{
	fake_create(&fake, &config);
	put(0, 10000, 1);
	while (resident() > 0)
		mm_reclaim(fake.mm, FRAMES);
	cr_assert_eq(swap_memory.allocated, 10000);
	cr_assert_eq(mm_release(fake.mm, gfn(0), 9000, MM_RELEASE_BALLOON, 0), 0);
}

Test(full, slots_go_back_to_the_disk)
{
	prepare();
	config.no_reclaimer = false;
	fill_and_give_up();
	while (__atomic_load_n(&swap_memory.allocated, __ATOMIC_ACQUIRE) > 6000)
		sched_yield();
	expect(9000, 1000, 1);
	put(0, 3000, 2);
	mm_reclaim(fake.mm, 3000);
	expect(0, 3000, 2);
	fake_end(&fake);
}

/* A file system that cannot: the slots stay good. */
Test(full, slots_cannot_be_punched)
{
	prepare();
	config.no_reclaimer = false;
	swap_memory.punch_error = -EOPNOTSUPP;
	fill_and_give_up();
	while (__atomic_load_n(&swap_memory.punches, __ATOMIC_ACQUIRE) == 0)
		sched_yield();
	put(0, 3000, 2);
	mm_reclaim(fake.mm, 3000);
	expect(0, 3000, 2);
	expect(9000, 1000, 1);
	cr_assert_eq(swap_memory.punches, 1, "it is not asked again");
	cr_assert_lt(swap_memory.allocated, 10300, "%llu",
		     (unsigned long long)swap_memory.allocated);
	fake_end(&fake);
}

/* ---- who waits */

static struct {
	unsigned calls, over;
	unsigned room_after; /* calls; 0: never */
	unsigned give_up_after;
	uint64_t since_ns;
	uint64_t tries;	    /* pages that could not go before the first call */
	bool overtaken;	    /* another fault finds room before the first call has done anything */
	bool clean_pages;   /* the first call makes most pages such that go without the disk */
	bool larger_budget; /* the first call makes room for all */
	bool some_room;	    /* the second call makes room for less than a batch */
	bool stands;
} owner;

static bool work_is_held(void)
{
	bool held = false;

	lock_take(&fake.mm->lock);
	for (unsigned i = 0; i < WORK_MAX; i++)
		held |= fake.mm->fill_works[i] != NULL && fake.mm->fill_works[i]->busy;
	lock_drop(&fake.mm->lock);
	return held;
}

/* Most of what is resident becomes pages of one value. */
static void clean_pages(void)
{
	for (uint32_t i = 0; i < FRAMES; i++) {
		enum frame_state state = (enum frame_state)mm_frame(fake.mm, i)->state;

		if (i % 64 != 0 && (state == FRAME_MAPPED || state == FRAME_WATCHED))
			cr_assert_eq(fake_put(&fake, i, CONTENT_ZERO, 1), 0);
	}
}

static bool full(void *context, uint64_t since_ns)
{
	struct mm_stats stats;

	cr_assert(owner.calls == 0 ? since_ns == 0 : since_ns >= owner.since_ns, "call %u: %llu",
		  owner.calls, (unsigned long long)since_ns);
	if (owner.calls == 0) {
		mm_stats_get(fake.mm, &stats);
		owner.tries = stats.store_failures;
	}
	owner.since_ns = since_ns;
	owner.calls++;
	/* The lock is free: other threads can look at the manager's state. */
	cr_assert_eq(mm_check(fake.mm, stderr), 0);
	cr_assert(!work_is_held(), "other faults wait for it");
	if (owner.overtaken && owner.calls == 1) {
		swap_memory.capacity = 0;
		cr_assert_eq(fake_put(&fake, FRAMES - 1, CONTENT_RANDOM, 1), 0);
	}
	if (owner.larger_budget && owner.calls == 1)
		cr_assert_eq(mm_set_budget(fake.mm, 4 * config.budget_bytes + 3000 * PAGE_SIZE), 0);
	if (owner.some_room && owner.calls == 2)
		swap_memory.capacity += 5;
	if (owner.clean_pages && owner.calls == 1)
		clean_pages();
	owner.stands = true;
	if (owner.calls == owner.room_after)
		swap_memory.capacity = 0;
	return owner.give_up_after == 0 || owner.calls < owner.give_up_after;
}

static void full_no_more(void *context)
{
	owner.over++;
	owner.stands = false;
	owner.since_ns = 0;
	cr_assert_eq(mm_check(fake.mm, stderr), 0);
}

static void prepare_owner(void)
{
	memset(&owner, 0, sizeof(owner));
	prepare();
	config.full = full;
	config.full_no_more = full_no_more;
	config.budget_bytes = mm_least_budget(&config) + 400 * PAGE_SIZE;
	swap_memory.capacity = 200;
}

Test(full, the_owner_waits_until_there_is_room)
{
	prepare_owner();
	owner.room_after = 5;
	fake_create(&fake, &config);
	put(0, 3000, 1);
	cr_assert_eq(owner.calls, 5);
	cr_assert_eq(owner.over, 1);
	cr_assert_eq(fake.failure_count, 0);
	expect(0, 3000, 1);
	fake_end(&fake);
}

Test(full, the_owner_does_not_wait_for_ever)
{
	int error;

	prepare_owner();
	fake.expect_failure = true;
	owner.give_up_after = 3;
	fake_create(&fake, &config);
	error = put_until_it_fails(0, 3000);
	cr_assert_eq(error, -ENOSPC);
	cr_assert_eq(owner.calls, 3);
	cr_assert_eq(owner.over, 0);
	cr_assert_eq(fake.failure.error, ENOSPC);
	cr_assert_not_null(strstr(fake.failure.text, "the disk of the swap file is full"));
	fake_end(&fake);
}

/*
 * Whether nothing at all can go is known after several rounds over all that is resident, which in a
 * large guest is a hang without a word: after a while of that the guest stands.
 */
static void wait_with_window(uint64_t ns, uint64_t *tries)
{
	prepare_owner();
	owner.room_after = 5;
	fake_create(&fake, &config);
	if (ns != 0)
		fake.mm->hunt_window_ns = ns;
	put(0, 3000, 1);
	cr_assert_eq(owner.calls, 5);
	cr_assert_eq(owner.over, 1);
	expect(0, 3000, 1);
	*tries = owner.tries;
	fake_end(&fake);
}

Test(full, a_hunt_takes_no_longer_than_its_window)
{
	uint64_t whole, brief;

	wait_with_window(0, &whole);
	wait_with_window(1, &brief);
	cr_assert_lt(brief, whole / 3, "%llu, %llu", (unsigned long long)brief,
		     (unsigned long long)whole);
}

/*
 * Each fault soon finds a page that can go without the disk, but looks at dozens that cannot: the
 * guest goes on, at a fraction of its speed. For a moment that may be.
 */
static unsigned calls_of_a_slow_guest(uint64_t window_ns)
{
	prepare_owner();
	owner.room_after = 2;
	fake_create(&fake, &config);
	if (window_ns != 0)
		fake.mm->hunt_window_ns = window_ns;
	for (uint32_t i = 0; i < 600; i++)
		cr_assert_eq(fake_put(&fake, i, i % 32 ? CONTENT_RANDOM : CONTENT_WORD, 1), 0);
	for (uint32_t i = 600; i < 3000; i++)
		cr_assert_eq(fake_put(&fake, i, CONTENT_WORD, 1), 0);
	fake_end(&fake);
	return owner.calls;
}

Test(full, a_guest_that_always_hunts_stands)
{
	cr_assert_eq(calls_of_a_slow_guest(0), 0);
	cr_assert_gt(calls_of_a_slow_guest(1), 0);
}

/*
 * A guest that hunts stands until the disk has room. Pages that go without the disk are found in a
 * standing guest, too, but would let it go on for a moment only.
 */
Test(full, clean_pages_do_not_end_the_standing)
{
	prepare_owner();
	owner.clean_pages = true;
	owner.room_after = 5;
	fake_create(&fake, &config);
	fake.mm->hunt_window_ns = 1;
	put(0, 3000, 1);
	cr_assert_eq(owner.calls, 5);
	cr_assert_eq(owner.over, 1);
	fake_end(&fake);
}

/* Room for a few pages ends it for as long as they last. */
Test(full, a_little_room_ends_the_standing)
{
	prepare_owner();
	owner.some_room = true;
	owner.room_after = 6;
	fake_create(&fake, &config);
	fake.mm->hunt_window_ns = 1;
	put(0, 3000, 1);
	cr_assert_eq(owner.calls, 6);
	cr_assert_eq(owner.over, 2);
	expect(0, 3000, 1);
	fake_end(&fake);
}

/* A guest that turns over the slots there are does not hunt, though no new ones can be had. */
Test(full, turning_slots_over_is_no_hunt)
{
	uint64_t began = clock_now_ns();
	uint32_t round = 0;

	prepare_owner();
	swap_memory.capacity = 2100;
	fake_create(&fake, &config);
	fake.mm->hunt_window_ns = WINDOW_NS;
	while (clock_now_ns() - began < 5 * WINDOW_NS)
		put(0, 2600, ++round);
	cr_assert_eq(owner.calls, 0);
	expect(0, 2600, round);
	fake_end(&fake);
}

/* Room in the budget does end it. */
Test(full, a_larger_budget_ends_the_standing)
{
	prepare_owner();
	owner.larger_budget = true;
	fake_create(&fake, &config);
	fake.mm->hunt_window_ns = 1;
	put(0, 3000, 1);
	cr_assert_eq(owner.calls, 1);
	cr_assert_eq(owner.over, 1);
	expect(0, 3000, 1);
	fake_end(&fake);
}

/* A budget that cannot fall any lower gives back what it has taken, before anybody stands. */
static void lower_and_go_on(uint64_t window_ns)
{
	prepare_owner();
	fake_create(&fake, &config);
	if (window_ns != 0)
		fake.mm->hunt_window_ns = window_ns;
	swap_memory.capacity = 0;
	put(0, 1500, 1);
	swap_memory.capacity = swap_memory.allocated + 50;
	owner.give_up_after = 3;
	cr_assert_eq(mm_set_budget(fake.mm, config.budget_bytes - 300 * PAGE_SIZE), 0);
	for (uint32_t i = 1500; i < FRAMES && fake.mm->budget < config.budget_bytes; i++) {
		cr_assert_gt(fake.mm->budget, fake.mm->wanted, "it has fallen");
		put(i, 1, 1);
	}
	cr_assert_eq(fake.mm->budget, config.budget_bytes);
	cr_assert_eq(owner.calls, 0);
	swap_memory.capacity = 0;
	expect(0, 1500, 1);
	fake_end(&fake);
}

Test(full, a_falling_budget_relents_first)
{
	lower_and_go_on(0);
	lower_and_go_on(1);
}

/* The last thread that waited tells the owner that it is over, though another did so before it
 * began. */
Test(full, the_last_to_wait_lets_the_guest_go_on)
{
	prepare_owner();
	owner.overtaken = true;
	fake_create(&fake, &config);
	put(0, 3000, 1);
	cr_assert_eq(owner.calls, 1);
	cr_assert(!owner.stands);
	expect(0, 3000, 1);
	fake_end(&fake);
}

/* A pin is for a thread that others wait for: it hears at once that there is no room. */
Test(full, a_pin_does_not_wait)
{
	int error = 0;
	uint32_t i = 0;

	prepare_owner();
	fake_create(&fake, &config);
	while (i < 3000 && error == 0) {
		error = mm_pin(fake.mm, gfn(i), 1);
		if (error == 0) {
			cr_assert_eq(fake_put(&fake, i, CONTENT_RANDOM, 1), 0);
			mm_unpin(fake.mm, gfn(i++), 1);
		}
	}
	cr_assert_eq(error, -ENOMEM);
	cr_assert_eq(owner.calls, 0);
	cr_assert_eq(fake.failure_count, 0);
	swap_memory.capacity = 0;
	cr_assert_eq(mm_pin(fake.mm, gfn(i), 1), 0);
	mm_unpin(fake.mm, gfn(i), 1);
	expect(0, i, 1);
	fake_end(&fake);
}

/* The disk was full, but that is not why nothing can go now: room on it would not help. */
Test(full, a_disk_that_was_full)
{
	int error;

	prepare_owner();
	fake.expect_failure = true;
	fake_create(&fake, &config);
	put(0, 300, 1);
	mm_reclaim(fake.mm, 300);
	cr_assert(swap_is_full(fake.mm->swap));
	fake.inject[FAKE_READ].error = -EIO;
	fake.inject[FAKE_READ].times = UINT32_MAX;
	error = put_until_it_fails(300, 3000);
	cr_assert_eq(error, -ENOMEM);
	cr_assert_eq(owner.calls, 0);
	cr_assert_null(strstr(fake.failure.text, "disk"));
	memset(&fake.inject[FAKE_READ], 0, sizeof(fake.inject[FAKE_READ]));
	fake_end(&fake);
}

/* Its own limit is no matter of the disk: nobody waits for room that cannot come. */
Test(full, a_swap_file_at_its_limit)
{
	int error;

	prepare_owner();
	fake.expect_failure = true;
	swap_memory.capacity = 0;
	config.swap_bytes = 200 * PAGE_SIZE;
	config.budget_bytes = mm_least_budget(&config) + 400 * PAGE_SIZE;
	fake_create(&fake, &config);
	error = put_until_it_fails(0, 3000);
	cr_assert_eq(error, -ENOMEM);
	cr_assert_eq(owner.calls, 0);
	cr_assert_not_null(strstr(fake.failure.text, "the swap file is as large as it may be"));
	fake_end(&fake);
}

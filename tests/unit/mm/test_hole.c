/*
 * Memory with a hole in it, as each guest above 3 GiB has: nothing that is done for the frames on
 * its one side reaches into it, or over it.
 */
#include <criterion/criterion.h>
#include <errno.h>

#include "mm/look.h"
#include "mm/mm_internal.h"
#include "tests/unit/mm/fake.h"
#include "policy/table.h"

#define BELOW  600u /* frames below the hole */
#define HOLE   300u
#define ABOVE  600u
#define END    (BELOW + HOLE) /* of the hole */
#define FRAMES (END + ABOVE)

static struct fake fake;
static struct mm_config config;

static void prepare(const char *policy)
{
	swap_memory_reset();
	fake_init(&fake, FRAMES);
	fake.hole_first = BELOW;
	fake.hole_count = HOLE;
	config = fake_config(&fake);
	config.policy = mm_policy_find(policy);
	config.swap_directory = "memory";
}

/* Touches count frames from one on, up or down; each content, and all of it is still there. */
static void walk(uint32_t from, int step, uint32_t count, enum content kind)
{
	for (uint32_t i = 0; i < count; i++) {
		cr_assert_eq(fake_put(&fake, from, kind, 1), 0);
		from += (uint32_t)step;
	}
	fake_compare(&fake);
	cr_assert_eq(mm_check(fake.mm, stderr), 0);
}

static void walk_back(uint32_t from, int step, uint32_t count, enum content kind)
{
	for (uint32_t i = 0; i < count; i++) {
		cr_assert_eq(fake_expect(&fake, from, kind, 1), 0);
		from += (uint32_t)step;
	}
	fake_compare(&fake);
	cr_assert_eq(mm_check(fake.mm, stderr), 0);
}

static void evict_all(void)
{
	while (fake.mm->count[FRAME_MAPPED] + fake.mm->count[FRAME_WATCHED] > 0)
		mm_reclaim(fake.mm, FRAMES);
}

/* Windows of zeros, from the pool, from the swap, and of watched pages. */
static void both_sides(uint32_t from, int step, uint32_t count)
{
	static const enum content kinds[] = { CONTENT_WORD, CONTENT_HALF, CONTENT_RANDOM };

	for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
		prepare("sfifo");
		config.policy_options = "watched=90";
		fake_create(&fake, &config);
		walk(from, step, count, kinds[k]);
		mm_reclaim(fake.mm, 1); /* watches most of them */
		walk_back(from, step, count, kinds[k]);
		evict_all();
		walk_back(from, step, count, kinds[k]);
		fake_end(&fake);
	}
}

Test(hole, up_to_it)
{
	both_sides(0, 1, BELOW);
}

Test(hole, down_to_it)
{
	both_sides(FRAMES - 1, -1, ABOVE);
}

Test(hole, away_from_it)
{
	both_sides(BELOW - 1, -1, BELOW);
	both_sides(END, 1, ABOVE);
}

Test(hole, up_to_the_end_of_memory)
{
	both_sides(END, 1, ABOVE);
	both_sides(BELOW - 1, -1, BELOW);
}

/* The last frame before it and the first behind it are no neighbours. */
Test(hole, over_it)
{
	prepare("fifo");
	fake_create(&fake, &config);
	walk(BELOW - 40, 1, 40, CONTENT_HALF);
	walk(END, 1, 40, CONTENT_HALF);
	evict_all();
	walk_back(END + 39, -1, 40, CONTENT_HALF);
	walk_back(BELOW - 1, -1, 40, CONTENT_HALF);
	fake_end(&fake);
}

Test(hole, its_frames_are_outside_the_guest)
{
	static const uint32_t inside[] = { BELOW, BELOW + HOLE / 2, END - 1, FRAMES };
	uint64_t counts[FRAME_STATES] = { 0 };
	struct mm_look look;

	prepare("fifo");
	fake_create(&fake, &config);
	for (size_t i = 0; i < sizeof(inside) / sizeof(inside[0]); i++) {
		gfn_t frame = gfn(inside[i]);

		cr_assert_eq(mm_fault(fake.mm, frame, true), -ERANGE);
		cr_assert_eq(mm_pin(fake.mm, frame, 1), -ERANGE);
		cr_assert_eq(mm_release(fake.mm, frame, 1, MM_RELEASE_BALLOON, 0), -ERANGE);
		cr_assert_eq(mm_balloon_return(fake.mm, frame, 1), -ERANGE);
		cr_assert_eq(mm_look(fake.mm, frame, &look, NULL), -ERANGE);
		cr_assert_eq(mm_look_count(fake.mm, frame, 1, counts), -ERANGE);
	}
	cr_assert_eq(fake.failure_count, 0);
	fake_end(&fake);
}

/* Ranges that reach into it, over it, or beyond the end; and those that just do not. */
Test(hole, ranges)
{
	static const struct {
		uint32_t first, count;
		bool good;
	} cases[] = {
		{ BELOW - 3, 3, true },
		{ BELOW - 3, 4, false },
		{ BELOW - 3, HOLE + 6, false },
		{ END - 1, 2, false },
		{ END, 3, true },
		{ FRAMES - 3, 3, true },
		{ FRAMES - 3, 4, false },
		{ 0, FRAMES, false },
		{ 0, BELOW, true },
		{ END, ABOVE, true },
		{ END, UINT32_MAX, false },
	};

	prepare("fifo");
	fake_create(&fake, &config);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		gfn_t first = gfn(cases[i].first);
		uint32_t count = cases[i].count;
		int should = cases[i].good ? 0 : -ERANGE;
		uint64_t counts[FRAME_STATES] = { 0 };

		cr_assert_eq(mm_look_count(fake.mm, first, count, counts), should, "case %zu", i);
		if (count < 10) {
			cr_assert_eq(mm_pin(fake.mm, first, count), should, "case %zu", i);
			if (should == 0)
				mm_unpin(fake.mm, first, count);
		}
		cr_assert_eq(mm_release(fake.mm, first, count, MM_RELEASE_BALLOON, 0), should);
		cr_assert_eq(mm_balloon_return(fake.mm, first, count), should);
		fake_compare(&fake);
	}
	fake_end(&fake);
}

/* A pin of many brings them in as one window; it ends at the hole as well. */
Test(hole, pins_up_to_it)
{
	prepare("fifo");
	fake_create(&fake, &config);
	walk(BELOW - 100, 1, 100, CONTENT_HALF);
	evict_all();
	cr_assert_eq(mm_pin(fake.mm, gfn(BELOW - 100), 100), 0);
	mm_unpin(fake.mm, gfn(BELOW - 100), 100);
	cr_assert_eq(mm_pin(fake.mm, gfn(END), 100), 0);
	mm_unpin(fake.mm, gfn(END), 100);
	fake_end(&fake);
}

Test(hole, checks_find_what_is_in_it)
{
	prepare("fifo");
	fake_create(&fake, &config);
	cr_assert_eq(mm_check(fake.mm, NULL), 0);
	fake.mm->frames[BELOW + 7].flags = FRAME_SEEN;
	cr_assert_eq(mm_check(fake.mm, NULL), 1);
	fake.mm->frames[BELOW + 7].flags = 0;
	fake.mm->frames[END - 1].state = FRAME_RELEASED;
	cr_assert_eq(mm_check(fake.mm, NULL), 1);
	fake.mm->frames[END - 1].state = FRAME_UNTOUCHED;
	fake_end(&fake);
}

/* No frame of it counts as memory: sizes are those of the guest without it. */
Test(hole, is_no_memory)
{
	struct mm_config solid;

	prepare("fifo");
	solid = config;
	solid.range_count = 0;
	fake_create(&fake, &config);
	cr_assert_eq(fake.mm->count[FRAME_UNTOUCHED], BELOW + ABOVE);
	cr_assert_eq(swap_slots_free(fake.mm->swap), BELOW + ABOVE);
	cr_assert_leq(mm_least_budget(&config), mm_least_budget(&solid));
	fake_end(&fake);
}

/* Slots kept by frames on both sides can be had again. */
Test(hole, kept_slots_on_both_sides)
{
	prepare("fifo");
	config.swap_bytes = 20 * PAGE_SIZE;
	fake_create(&fake, &config);
	for (uint32_t i = 0; i < 10; i++) {
		walk(BELOW - 50 + i * 4, 1, 1, CONTENT_RANDOM);
		walk(END + i * 4, 1, 1, CONTENT_RANDOM);
	}
	cr_assert_eq(mm_reclaim(fake.mm, 20), 20);
	for (uint32_t i = 0; i < 10; i++) {
		fake_put(&fake, BELOW - 50 + i * 4, CONTENT_RANDOM, 2);
		fake_put(&fake, END + i * 4, CONTENT_RANDOM, 2);
	}
	cr_assert_eq(mm_reclaim(fake.mm, 20), 20);
	fake_end(&fake);
}

/*
 * Releases of pages by the guest: {inflate, report, deflate} x {wherever a page may be, moving or
 * at rest}. Every page's content is read back afterwards, those of the neighbours too, and the
 * counters are what they must be.
 *
 * The manager knows pages of 4 KiB only; guests on larger host pages are not managed.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <sched.h>
#include <string.h>

#include "mm/look.h"
#include "mm/tiers.h"
#include "tests/unit/mm/fake.h"
#include "policy/table.h"

#define FRAMES 256
#define FIRST  100
#define COUNT  8
#define MIDDLE (FIRST + 3)
#define MARGIN 4 /* neighbours on either side, in the same place */

enum op { INFLATE, REPORT, DEFLATE, OPS };
static const char *const op_names[OPS] = { "inflate", "report", "deflate" };

enum place {
	UNTOUCHED,
	RESIDENT,
	WATCHED,
	COMPRESSED,
	SAME_FILLED,
	SWAPPED,
	KEPT_SLOT,    /* resident again, its swap slot still stands */
	EVICTING,     /* while its page is being examined */
	SWAPPING_OUT, /* while it is written to the swap */
	GOING,	      /* stored, while its page is being given back */
	COMING,	      /* while it is read from the swap */
	WRITTEN_BACK, /* in the pool, while it is written to the swap from there */
	PINNED,	      /* and its swap slot stands */
	PLACES,
};

static const struct {
	const char *name;
	enum content content;
	enum frame_state state; /* before the operation, where it stands still */
} places[PLACES] = {
	[UNTOUCHED] = { "untouched", CONTENT_ZERO, FRAME_UNTOUCHED },
	[RESIDENT] = { "resident", CONTENT_TEXT, FRAME_MAPPED },
	[WATCHED] = { "watched", CONTENT_TEXT, FRAME_WATCHED },
	[COMPRESSED] = { "compressed", CONTENT_TEXT, FRAME_COMPRESSED },
	[SAME_FILLED] = { "same-filled", CONTENT_WORD, FRAME_SAME_FILLED },
	[SWAPPED] = { "swapped", CONTENT_RANDOM, FRAME_SWAPPED },
	[KEPT_SLOT] = { "resident with a slot", CONTENT_RANDOM, FRAME_MAPPED },
	[EVICTING] = { "being evicted", CONTENT_TEXT, FRAME_MAPPED },
	[SWAPPING_OUT] = { "being swapped out", CONTENT_RANDOM, FRAME_MAPPED },
	[GOING] = { "being given back", CONTENT_TEXT, FRAME_MAPPED },
	[COMING] = { "being read in", CONTENT_RANDOM, FRAME_SWAPPED },
	[WRITTEN_BACK] = { "being written back", CONTENT_TEXT, FRAME_COMPRESSED },
	[PINNED] = { "pinned, with a slot", CONTENT_RANDOM, FRAME_MAPPED },
};

static struct fake fake;
static struct mm_config config;
static struct mm_stats stats;

static struct {
	enum op op;
	enum place place;
	uint64_t word;
	bool acted, threaded;
	int error; /* what the operation said */
	pthread_t thread;
} now;

#define EXPECT(condition)                                                                          \
	cr_assert(condition, "%s, %s, word %#llx: %s", op_names[now.op], places[now.place].name,   \
		  (unsigned long long)now.word, #condition)

static unsigned state(uint32_t frame)
{
	return fake.mm->frames[frame].state;
}

static bool is_ours(uint32_t frame)
{
	return frame >= FIRST && frame < FIRST + COUNT;
}

static void act(void)
{
	if (now.op == DEFLATE)
		now.error = mm_balloon_return(fake.mm, gfn(FIRST), COUNT);
	else
		now.error = mm_release(fake.mm, gfn(FIRST), COUNT,
				       now.op == INFLATE ? MM_RELEASE_BALLOON : MM_RELEASE_REPORTED,
				       now.word);
}

/* No assertion in here: Criterion keeps something for each thread that asserts. */
static void *act_main(void *context)
{
	act();
	return NULL;
}

static void wait_until_it_waits(void)
{
	unsigned waiters;

	do {
		sched_yield();
		lock_take(&fake.mm->lock);
		waiters = fake.mm->waiters;
		lock_drop(&fake.mm->lock);
	} while (waiters == 0);
}

/* In the middle of a move: what must wait for its end does so in a thread. */
static void act_between(void)
{
	if (now.acted)
		return;
	now.acted = true;
	if (now.op == DEFLATE || now.place == WRITTEN_BACK) {
		act();
		return;
	}
	now.threaded = pthread_create(&now.thread, NULL, act_main, NULL) == 0;
	EXPECT(now.threaded);
	wait_until_it_waits();
}

static void at_page(struct fake *f, gfn_t frame)
{
	if (frame.v == MIDDLE)
		act_between();
}

static void at_release(struct fake *f, gfn_t first, uint32_t count)
{
	act_between();
}

static void at_transfer(void *context, bool write)
{
	if (write != (now.place == COMING))
		act_between();
}

static void write_all_back(void)
{
	struct reclaim_work *work;

	lock_take(&fake.mm->lock);
	work = reclaim_work_take(fake.mm, true);
	EXPECT(mm_tier_pool.give(fake.mm, work, false) > 0);
	reclaim_work_put(fake.mm, work);
	lock_drop(&fake.mm->lock);
}

/* All that moves them; the operation comes in between, or after. */
static void move(void)
{
	switch (now.place) {
	case EVICTING:
		fake.paged = at_page;
		mm_reclaim(fake.mm, FRAMES);
		fake.paged = NULL;
		break;
	case GOING:
		fake.releasing = at_release;
		mm_reclaim(fake.mm, FRAMES);
		fake.releasing = NULL;
		break;
	case SWAPPING_OUT:
		swap_memory.transferring = at_transfer;
		mm_reclaim(fake.mm, FRAMES);
		swap_memory.transferring = NULL;
		break;
	case COMING:
		swap_memory.transferring = at_transfer;
		EXPECT(mm_fault(fake.mm, gfn(MIDDLE), false) == 0);
		swap_memory.transferring = NULL;
		break;
	case WRITTEN_BACK:
		swap_memory.transferring = at_transfer;
		write_all_back();
		swap_memory.transferring = NULL;
		break;
	default:
		now.acted = true;
		act();
	}
	EXPECT(now.acted);
	if (now.threaded)
		pthread_join(now.thread, NULL);
	EXPECT(now.error == 0);
}

static bool keeps_slot(void)
{
	return now.place == KEPT_SLOT || now.place == PINNED;
}

static bool starts_stored(void)
{
	enum frame_state s = places[now.place].state;

	return s == FRAME_SAME_FILLED || s == FRAME_COMPRESSED || s == FRAME_SWAPPED;
}

/* All frames of the range and its margins into the place, but for what is a move. */
static void prepare(void)
{
	enum content content = places[now.place].content;

	swap_memory_reset();
	fake_init(&fake, FRAMES);
	config = fake_config(&fake);
	config.policy = mm_policy_find(now.place == WATCHED ? "clock" : "fifo");
	config.swap_directory = "memory";
	fake_create(&fake, &config);
	if (now.op == DEFLATE)
		EXPECT(mm_release(fake.mm, gfn(FIRST), COUNT, MM_RELEASE_BALLOON, now.word) == 0);
	if (now.place == UNTOUCHED)
		return;
	/* The first is the one that the second hand of the clock evicts. */
	if (now.place == WATCHED)
		fake_put(&fake, 0, content, 1);
	for (uint32_t i = FIRST - MARGIN; i < FIRST + COUNT + MARGIN; i++)
		EXPECT(fake_put(&fake, i, content, 1) == 0);
	if (now.place == WATCHED)
		EXPECT(mm_reclaim(fake.mm, 1) == 1);
	if (starts_stored() || keeps_slot())
		EXPECT(mm_reclaim(fake.mm, FRAMES) >= COUNT + 2 * MARGIN);
	if (keeps_slot())
		for (uint32_t i = FIRST - MARGIN; i < FIRST + COUNT + MARGIN; i++)
			EXPECT(fake_expect(&fake, i, content, 1) == 0);
	if (now.place == PINNED)
		EXPECT(mm_pin(fake.mm, gfn(FIRST), COUNT) == 0);
	for (uint32_t i = FIRST - MARGIN; i < FIRST + COUNT + MARGIN; i++)
		EXPECT(state(i) == places[now.place].state);
}

static void read_page(void *page, void *context)
{
	memcpy(context, page, PAGE_SIZE);
}

static void expect_word(uint32_t frame)
{
	uint64_t is[PAGE_SIZE / 8];

	EXPECT(fake_access(&fake, frame, false, read_page, is) == 0);
	for (size_t i = 0; i < PAGE_SIZE / 8; i++)
		EXPECT(is[i] == now.word);
}

/* Right after it, before anything is touched. */
static void check_given_up(void)
{
	bool pinned = now.place == PINNED;
	struct mm_look look;

	mm_stats_get(fake.mm, &stats);
	EXPECT(stats.releases[MM_RELEASE_BALLOON] == (now.op == INFLATE ? COUNT : 0));
	EXPECT(stats.releases[MM_RELEASE_REPORTED] == (now.op == REPORT ? COUNT : 0));
	EXPECT(stats.balloon_frames == (now.op == INFLATE ? COUNT : 0));
	EXPECT(stats.released_frames == (pinned ? 0 : COUNT));
	EXPECT(stats.balloon_touches == 0);
	for (uint32_t i = FIRST; i < FIRST + COUNT; i++) {
		EXPECT(state(i) == (pinned ? FRAME_MAPPED : FRAME_RELEASED));
		EXPECT(fake.present[i] == pinned);
		EXPECT(mm_look(fake.mm, gfn(i), &look, NULL) == 0);
		EXPECT(look.in_balloon == (now.op == INFLATE));
	}
	if (now.place == RESIDENT || now.place == WATCHED || now.place == KEPT_SLOT)
		EXPECT(stats.punched_runs == 1 && stats.punched_frames == COUNT);
	if (starts_stored() && now.place != COMING)
		EXPECT(stats.punched_frames == 0);
	/* The copies are gone: what is left is the neighbours'. */
	if (now.place == SWAPPED || now.place == WRITTEN_BACK || keeps_slot())
		EXPECT(stats.swap_bytes == 2 * MARGIN * PAGE_SIZE);
	if (now.place == COMPRESSED || now.place == GOING)
		EXPECT(stats.pool_frames == 2 * MARGIN);
}

static void check_contents(void)
{
	bool faults = now.place != PINNED;

	for (uint32_t i = FIRST - MARGIN; i < FIRST + COUNT + MARGIN; i++) {
		if (is_ours(i) && now.op != DEFLATE)
			expect_word(i);
		else if (is_ours(i) && now.place == UNTOUCHED)
			expect_word(i);
		else
			EXPECT(fake_expect(&fake, i, places[now.place].content, 1) == 0);
	}
	mm_stats_get(fake.mm, &stats);
	if (now.op == INFLATE)
		EXPECT(stats.balloon_touches == (faults ? COUNT : 0));
	if (now.op == REPORT)
		EXPECT(stats.balloon_touches == 0);
	EXPECT(stats.released_frames == 0);
}

static void one_case(enum op op, enum place place, uint64_t word)
{
	uint64_t touches;

	memset(&now, 0, sizeof(now));
	now.op = op;
	now.place = place;
	now.word = word;
	prepare();
	mm_stats_get(fake.mm, &stats);
	touches = stats.balloon_touches;
	if (op == DEFLATE)
		EXPECT(place == UNTOUCHED || touches >= COUNT);
	move();
	EXPECT(mm_check(fake.mm, stderr) == 0);
	if (op != DEFLATE)
		check_given_up();
	check_contents();
	if (op == DEFLATE) {
		EXPECT(stats.balloon_frames == 0);
		EXPECT(stats.balloon_touches == touches);
		EXPECT(stats.releases[MM_RELEASE_BALLOON] == COUNT);
	}
	if (place == PINNED)
		mm_unpin(fake.mm, gfn(FIRST), COUNT);
	EXPECT(mm_release(fake.mm, gfn(0), FRAMES, MM_RELEASE_REPORTED, 0) == 0);
	mm_stats_get(fake.mm, &stats);
	EXPECT(stats.resident_bytes == 0 && stats.pool_stored_bytes == 0 && stats.swap_bytes == 0);
	EXPECT(stats.released_frames == FRAMES);
	fake_end(&fake);
}

static void all_places(enum op op)
{
	for (enum place place = 0; place < PLACES; place++) {
		one_case(op, place, 0);
		one_case(op, place, 0xaaaaaaaaaaaaaaaa);
	}
}

Test(release, inflate)
{
	all_places(INFLATE);
}

Test(release, report)
{
	all_places(REPORT);
}

Test(release, deflate)
{
	all_places(DEFLATE);
}

static void begin(uint32_t frames)
{
	swap_memory_reset();
	fake_init(&fake, frames);
	config = fake_config(&fake);
	config.policy = mm_policy_find("fifo");
	config.swap_directory = "memory";
	fake_create(&fake, &config);
}

static struct mm_balloon_touch touch;
static unsigned touches;

static void on_touch(void *context, const struct mm_balloon_touch *t)
{
	touch = *t;
	touches++;
}

/* A touch is a pin, too. Each page counts once for each time it goes into the balloon, however
 * often it is used, and whatever stale messages say of it. */
Test(release, touches_of_the_balloon)
{
	begin(FRAMES);
	cr_assert_eq(mm_release(fake.mm, gfn(10), 4, MM_RELEASE_BALLOON, 0), 0);
	fake_write(&fake, 11, 5);
	for (int i = 0; i < 3; i++)
		cr_assert_eq(mm_fault(fake.mm, gfn(11), false), 0);
	mm_reclaim(fake.mm, FRAMES);
	fake_read(&fake, 11);
	mm_stats_get(fake.mm, &stats);
	cr_assert_eq(stats.balloon_touches, 1);
	cr_assert_eq(mm_pin(fake.mm, gfn(12), 2), 0);
	cr_assert_eq(mm_pin(fake.mm, gfn(12), 2), 0);
	mm_unpin(fake.mm, gfn(12), 2);
	mm_stats_get(fake.mm, &stats);
	cr_assert_eq(stats.balloon_touches, 3);
	cr_assert_eq(stats.balloon_frames, 4);
	cr_assert_eq(stats.released_frames, 1);
	mm_unpin(fake.mm, gfn(12), 2);
	cr_assert_eq(mm_balloon_return(fake.mm, gfn(0), FRAMES), 0);
	cr_assert_eq(fake_read(&fake, 11), 5, "the guest keeps what it wrote");
	mm_reclaim(fake.mm, FRAMES);
	fake_read(&fake, 11);
	mm_stats_get(fake.mm, &stats);
	cr_assert_eq(stats.balloon_touches, 3);
	cr_assert_eq(stats.balloon_frames, 0);
	fake_end(&fake);
}

/* The call names the thread and the page's state, and comes at most once a second. */
Test(release, touches_are_told_of)
{
	swap_memory_reset();
	fake_init(&fake, FRAMES);
	config = fake_config(&fake);
	config.policy = mm_policy_find("fifo");
	config.swap_directory = "memory";
	config.balloon_touched = on_touch;
	fake_create(&fake, &config);
	cr_assert_eq(mm_release(fake.mm, gfn(10), 4, MM_RELEASE_BALLOON, 0), 0);
	cr_assert_eq(mm_fault_of(fake.mm, gfn(5), true, 7), 0);
	cr_assert_eq(touches, 0, "it is not in the balloon");
	cr_assert_eq(mm_fault_of(fake.mm, gfn(12), true, 7), 0);
	cr_assert_eq(touches, 1);
	cr_assert_eq(touch.frame.v, 12);
	cr_assert_eq(touch.thread, 7);
	cr_assert(touch.write);
	cr_assert_eq(touch.was, FRAME_RELEASED);
	cr_assert_eq(touch.pages, 1);
	cr_assert_eq(mm_fault_of(fake.mm, gfn(13), false, 8), 0);
	cr_assert_eq(touches, 1, "so soon");
	mm_stats_get(fake.mm, &stats);
	cr_assert_eq(stats.balloon_touches, 2);
	/* Out and in again: it counts again. */
	cr_assert_eq(mm_balloon_return(fake.mm, gfn(10), 4), 0);
	cr_assert_eq(mm_release(fake.mm, gfn(10), 4, MM_RELEASE_BALLOON, 0), 0);
	cr_assert_eq(mm_fault_of(fake.mm, gfn(12), true, 7), 0);
	mm_stats_get(fake.mm, &stats);
	cr_assert_eq(stats.balloon_touches, 3);
	fake_end(&fake);
}

/* Twice in the balloon is once. */
Test(release, inflated_twice)
{
	begin(FRAMES);
	for (int i = 0; i < 2; i++)
		cr_assert_eq(mm_release(fake.mm, gfn(10), 4, MM_RELEASE_BALLOON, 0), 0);
	mm_stats_get(fake.mm, &stats);
	cr_assert_eq(stats.balloon_frames, 4);
	cr_assert_eq(stats.released_frames, 4);
	fake_end(&fake);
}

/* A walk does not bring in what the guest has in its balloon, but what it reported free. */
Test(release, walks_pass_by_the_balloon)
{
	begin(FRAMES);
	cr_assert_eq(mm_release(fake.mm, gfn(0), FRAMES, MM_RELEASE_REPORTED, 0), 0);
	cr_assert_eq(mm_release(fake.mm, gfn(40), 8, MM_RELEASE_BALLOON, 0), 0);
	for (uint32_t i = 0; i < FRAMES; i++)
		if (i < 40 || i >= 48)
			cr_assert_eq(fake_expect(&fake, i, CONTENT_ZERO, 0), 0);
	mm_stats_get(fake.mm, &stats);
	cr_assert_gt(stats.filled_ahead, FRAMES / 2);
	cr_assert_eq(stats.released_frames, 8);
	cr_assert_eq(stats.balloon_touches, 0);
	fake_end(&fake);
}

/* Whatever lies between, memory goes back in as few calls as there are stretches of it. */
Test(release, longest_runs)
{
	const uint32_t frames = 40000;

	begin(frames);
	for (uint32_t i = 0; i < frames; i++)
		if (i % 1000 != 999)
			fake_read(&fake, i);
	/* The walk brought in the thousandth as well: put it away. */
	for (uint32_t i = 999; i < frames; i += 1000)
		cr_assert_eq(mm_release(fake.mm, gfn(i), 1, MM_RELEASE_REPORTED, 0), 0);
	mm_stats_get(fake.mm, &stats);
	uint64_t before = stats.punched_runs, unmaps = fake.calls[FAKE_UNMAP];

	cr_assert_eq(mm_release(fake.mm, gfn(0), frames, MM_RELEASE_BALLOON, 0), 0);
	mm_stats_get(fake.mm, &stats);
	cr_assert_eq(stats.punched_frames, frames);
	/* A sweep's end may cut one. */
	cr_assert_leq(stats.punched_runs - before, 40 + frames / 2048 + 1);
	cr_assert_leq(fake.calls[FAKE_UNMAP] - unmaps, 40 + frames / 2048 + 1);
	cr_assert_eq(stats.resident_bytes, 0);
	fake_end(&fake);
}

Test(release, ranges)
{
	begin(FRAMES);
	cr_assert_eq(mm_release(fake.mm, gfn(FRAMES), 1, MM_RELEASE_BALLOON, 0), -ERANGE);
	cr_assert_eq(mm_release(fake.mm, gfn(1), FRAMES, MM_RELEASE_BALLOON, 0), -ERANGE);
	cr_assert_eq(mm_release(fake.mm, gfn(UINT64_MAX), 2, MM_RELEASE_BALLOON, 0), -ERANGE);
	cr_assert_eq(mm_balloon_return(fake.mm, gfn(FRAMES), 1), -ERANGE);
	cr_assert_eq(mm_balloon_return(fake.mm, gfn(1), FRAMES), -ERANGE);
	cr_assert_eq(mm_release(fake.mm, gfn(1), 0, MM_RELEASE_BALLOON, 0), 0);
	fake_end(&fake);
}

/* The host refuses: the guest's memory cannot be accounted for any more. */
Test(release, the_host_refuses)
{
	begin(FRAMES);
	fake_put(&fake, 7, CONTENT_TEXT, 1);
	fake.inject[FAKE_RELEASE].error = -EIO;
	fake.inject[FAKE_RELEASE].times = 1;
	fake.expect_failure = true;
	cr_assert_eq(mm_release(fake.mm, gfn(0), FRAMES, MM_RELEASE_BALLOON, 0), -EIO);
	cr_assert_eq(fake.failure_count, 1);
	cr_assert_eq(fake.failure.frame.v, 7);
	cr_assert_eq(mm_release(fake.mm, gfn(0), FRAMES, MM_RELEASE_BALLOON, 0), -EIO);
	fake_end(&fake);
}

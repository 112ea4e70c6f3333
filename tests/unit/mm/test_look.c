/*
 * Looking at frames: in each state the right state and content, and nothing is changed by it: no
 * record, no counter, no policy's note, no page.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mm/look.h"
#include "mm/mm_internal.h"
#include "tests/unit/mm/fake.h"
#include "policy/table.h"

#define FRAMES 1024

static struct fake fake;
static struct mm_config config;
static struct mm_look look;
static _Alignas(PAGE_SIZE) unsigned char page[PAGE_SIZE], expected[PAGE_SIZE];

static void prepare(void)
{
	swap_memory_reset();
	fake_init(&fake, FRAMES);
	config = fake_config(&fake);
	config.policy = mm_policy_find("fifo");
	config.swap_directory = "memory";
}

/* Everything that a look must leave alone. */
struct whole {
	struct mm_frame frames[FRAMES];
	struct mm_stats stats;
	unsigned char present[FRAMES], mapped[FRAMES];
	uint64_t filled, calls[FAKE_OPS];
};

static struct whole *whole(void)
{
	struct whole *w = calloc(1, sizeof(*w));

	memcpy(w->frames, fake.mm->frames, sizeof(w->frames));
	mm_stats_get(fake.mm, &w->stats);
	memcpy(w->present, fake.present, FRAMES);
	memcpy(w->mapped, fake.mapped, FRAMES);
	memcpy(w->calls, fake.calls, sizeof(w->calls));
	w->calls[FAKE_READ] = 0; /* the way it looks */
	return w;
}

static int look_at(uint32_t frame)
{
	struct whole *before = whole(), *after;
	int error = mm_look(fake.mm, gfn(frame), &look, page);

	after = whole();
	cr_assert_eq(memcmp(before, after, sizeof(*before)), 0, "looking changed something");
	free(before);
	free(after);
	return error;
}

/* In this state, with what was put there. */
static void expect(uint32_t frame, enum frame_state state, enum content kind)
{
	cr_assert_eq(look_at(frame), 0);
	cr_assert_eq(look.state, state, "%s, not %s", frame_state_name(look.state),
		     frame_state_name(state));
	content_make(expected, kind, frame, 1);
	cr_assert_eq(memcmp(page, expected, PAGE_SIZE), 0);
}

Test(look, untouched)
{
	prepare();
	fake_create(&fake, &config);
	memset(page, 1, PAGE_SIZE);
	expect(5, FRAME_UNTOUCHED, CONTENT_ZERO);
	cr_assert_eq(look.slot, MM_LOOK_NO_SLOT);
	cr_assert_eq(mm_look(fake.mm, gfn(FRAMES), &look, page), -ERANGE);
	cr_assert_eq(mm_look(fake.mm, gfn(UINT64_MAX), &look, NULL), -ERANGE);
	fake_end(&fake);
}

Test(look, resident_and_pinned)
{
	prepare();
	fake_create(&fake, &config);
	fake_put(&fake, 5, CONTENT_RANDOM, 1);
	expect(5, FRAME_MAPPED, CONTENT_RANDOM);
	cr_assert_eq(look.pins, 0);
	cr_assert_eq(mm_pin(fake.mm, gfn(5), 1), 0);
	expect(5, FRAME_MAPPED, CONTENT_RANDOM);
	cr_assert_eq(look.pins, 1);
	mm_unpin(fake.mm, gfn(5), 1);
	fake_end(&fake);
}

Test(look, watched)
{
	uint32_t watched = 0;

	prepare();
	config.policy = mm_policy_find("sfifo");
	config.budget_bytes = mm_least_budget(&config);
	fake_create(&fake, &config);
	for (uint32_t i = 0; i < FRAMES; i++)
		fake_put(&fake, i, CONTENT_TEXT, 1);
	for (uint32_t i = 0; i < FRAMES; i++)
		if (fake.mm->frames[i].state == FRAME_WATCHED) {
			expect(i, FRAME_WATCHED, CONTENT_TEXT);
			watched++;
		}
	cr_assert_gt(watched, 0);
	fake_end(&fake);
}

Test(look, released)
{
	prepare();
	fake_create(&fake, &config);
	cr_assert_eq(fake_put(&fake, 5, CONTENT_RANDOM, 1), 0);
	cr_assert_eq(mm_release(fake.mm, gfn(4), 2, MM_RELEASE_BALLOON, 0), 0);
	expect(4, FRAME_RELEASED, CONTENT_ZERO);
	expect(5, FRAME_RELEASED, CONTENT_ZERO);
	cr_assert(look.in_balloon);
	cr_assert_eq(mm_balloon_return(fake.mm, gfn(5), 1), 0);
	cr_assert_eq(look_at(5), 0);
	cr_assert(!look.in_balloon);
	/* Poison. */
	cr_assert_eq(mm_release(fake.mm, gfn(5), 1, MM_RELEASE_REPORTED, 0xaa), 0);
	cr_assert_eq(look_at(5), 0);
	cr_assert_eq(look.state, FRAME_RELEASED);
	cr_assert_eq(look.word, 0xaa);
	cr_assert_eq(*(uint64_t *)page, 0xaa);
	cr_assert_eq(((uint64_t *)page)[PAGE_SIZE / 8 - 1], 0xaa);
	fake_end(&fake);
}

static void stored(enum content kind, enum frame_state state)
{
	for (uint32_t i = 0; i < 5; i++)
		fake_put(&fake, i * 50, kind, 1);
	cr_assert_eq(mm_reclaim(fake.mm, 5), 5);
	for (uint32_t i = 0; i < 5; i++)
		expect(i * 50, state, kind);
}

Test(look, same_filled)
{
	prepare();
	fake_create(&fake, &config);
	stored(CONTENT_WORD, FRAME_SAME_FILLED);
	cr_assert_eq(memcmp(&look.word, page, sizeof(look.word)), 0);
	fake_end(&fake);
}

static void compressed(enum mm_compressor kind, const char *name)
{
	prepare();
	config.compressor = kind;
	fake_create(&fake, &config);
	stored(CONTENT_HALF, FRAME_COMPRESSED);
	cr_assert(look.length > 1024 && look.length < 3700, "%u", look.length);
	cr_assert_str_eq(look.codec, name);
	/* Without content too. */
	look.length = 0;
	cr_assert_eq(mm_look(fake.mm, gfn(50), &look, NULL), 0);
	cr_assert(look.length > 1024 && look.length < 3700, "%u", look.length);
	fake_end(&fake);
}

Test(look, compressed)
{
	compressed(MM_COMPRESSOR_LZ4, "lz4");
	compressed(MM_COMPRESSOR_ZSTD, "zstd");
}

Test(look, swapped)
{
	prepare();
	fake_create(&fake, &config);
	stored(CONTENT_RANDOM, FRAME_SWAPPED);
	cr_assert_neq(look.slot, MM_LOOK_NO_SLOT);
	cr_assert_eq(look.slot, fake.mm->frames[200].where);
	/* Back in memory, with the slot kept. */
	cr_assert_eq(fake_expect(&fake, 200, CONTENT_RANDOM, 1), 0);
	expect(200, FRAME_MAPPED, CONTENT_RANDOM);
	cr_assert_eq(look.slot, fake.mm->frames[200].where);
	fake_end(&fake);
}

/* --- between two states: looked at from inside the backing --- */

static struct {
	enum frame_state state, content;
	enum content kind;
	uint32_t frame;
	unsigned looks;
	bool inside;
} between;

static void look_between(void)
{
	if (between.inside)
		return; /* looking reads, too */
	between.inside = true;
	cr_assert_eq(mm_look(fake.mm, gfn(between.frame), &look, page), 0);
	cr_assert_eq(look.state, between.state, "%s", frame_state_name(look.state));
	cr_assert_eq(look.content, between.content, "%s", frame_state_name(look.content));
	content_make(expected, between.kind, between.frame, 1);
	cr_assert_eq(memcmp(page, expected, PAGE_SIZE), 0);
	between.looks++;
	between.inside = false;
}

static void on_page(struct fake *f, gfn_t frame)
{
	look_between();
}

static void on_release(struct fake *f, gfn_t first, uint32_t count)
{
	look_between();
}

static void on_transfer(void *context, bool write)
{
	if (!write)
		look_between();
}

Test(look, evicting)
{
	prepare();
	fake_create(&fake, &config);
	fake_put(&fake, 7, CONTENT_TEXT, 1);
	between.state = between.content = FRAME_EVICTING;
	between.kind = CONTENT_TEXT;
	between.frame = 7;
	fake.paged = on_page;
	cr_assert_eq(mm_reclaim(fake.mm, 1), 1);
	cr_assert_eq(between.looks, 1);
	fake_end(&fake);
}

static void releasing(enum content kind, enum frame_state content)
{
	prepare();
	fake_create(&fake, &config);
	fake_put(&fake, 7, kind, 1);
	between.state = FRAME_RELEASING;
	between.content = content;
	between.kind = kind;
	between.frame = 7;
	between.looks = 0;
	fake.releasing = on_release;
	cr_assert_eq(mm_reclaim(fake.mm, 1), 1);
	cr_assert_eq(between.looks, 1);
	fake_end(&fake);
}

Test(look, releasing)
{
	releasing(CONTENT_WORD, FRAME_SAME_FILLED);
	releasing(CONTENT_TEXT, FRAME_COMPRESSED);
	releasing(CONTENT_RANDOM, FRAME_SWAPPED);
}

Test(look, filling)
{
	prepare();
	fake_create(&fake, &config);
	fake_put(&fake, 7, CONTENT_RANDOM, 1);
	cr_assert_eq(mm_reclaim(fake.mm, 1), 1);
	between.state = FRAME_FILLING;
	between.content = FRAME_SWAPPED;
	between.kind = CONTENT_RANDOM;
	between.frame = 7;
	swap_memory.transferring = on_transfer;
	cr_assert_eq(fake_expect(&fake, 7, CONTENT_RANDOM, 1), 0);
	cr_assert_eq(between.looks, 1);
	fake_end(&fake);
}

/* The page comes in while its slot is read, changes, and its slot is written again. */
static void on_look(void *context, bool write)
{
	if (write || between.inside)
		return;
	between.inside = true;
	for (uint32_t i = 0; i < 5; i++)
		cr_assert_eq(fake_put(&fake, i * 50, CONTENT_RANDOM, 2), 0);
	cr_assert_eq(mm_reclaim(fake.mm, 5), 5);
	between.looks++;
}

Test(look, page_that_moves_away_meanwhile)
{
	prepare();
	config.swap_bytes = 5 * PAGE_SIZE; /* no other slots to go to */
	fake_create(&fake, &config);
	stored(CONTENT_RANDOM, FRAME_SWAPPED);
	swap_memory.transferring = on_look;
	cr_assert_eq(mm_look(fake.mm, gfn(100), &look, page), 0);
	cr_assert_eq(between.looks, 1);
	content_make(expected, CONTENT_RANDOM, 100, 2);
	cr_assert_eq(memcmp(page, expected, PAGE_SIZE), 0);
	fake_end(&fake);
}

/* --- pages that cannot be read: an error for the looking caller alone, not for the guest --- */

Test(look, damaged_in_the_pool)
{
	struct pool_object object;
	unsigned char data[POOL_OBJECT_MAX];
	struct mm_frame *f;

	prepare();
	fake_create(&fake, &config);
	stored(CONTENT_HALF, FRAME_COMPRESSED);
	f = &fake.mm->frames[50];
	pool_load(fake.mm->pool, f->where, &object, data);
	pool_free(fake.mm->pool, f->where);
	data[object.length / 2] ^= 16;
	cr_assert_eq(pool_store(fake.mm->pool, &object, data, &f->where), 0);
	cr_assert_eq(look_at(50), -EBADMSG);
	cr_assert_eq(look.state, FRAME_COMPRESSED);
	cr_assert_eq(fake.failure_count, 0);
	fake_end(&fake);
}

Test(look, damaged_in_the_swap)
{
	prepare();
	fake_create(&fake, &config);
	stored(CONTENT_RANDOM, FRAME_SWAPPED);
	swap_memory.bytes[fake.mm->frames[150].where * PAGE_SIZE + 7] ^= 1;
	cr_assert_eq(look_at(150), -EBADMSG);
	cr_assert_eq(look.state, FRAME_SWAPPED);
	expect(100, FRAME_SWAPPED, CONTENT_RANDOM);
	swap_memory.bytes[fake.mm->frames[150].where * PAGE_SIZE + 7] ^= 1;
	expect(150, FRAME_SWAPPED, CONTENT_RANDOM);
	cr_assert_eq(fake.failure_count, 0);
	fake_end(&fake);
}

Test(look, disk_that_cannot_be_read)
{
	prepare();
	fake_create(&fake, &config);
	stored(CONTENT_RANDOM, FRAME_SWAPPED);
	swap_memory.read = (struct swap_fault){ .error = -EIO, .times = 1 };
	cr_assert_eq(look_at(100), -EIO);
	expect(100, FRAME_SWAPPED, CONTENT_RANDOM);
	fake_end(&fake);
}

Test(look, backing_that_cannot_be_read)
{
	prepare();
	fake_create(&fake, &config);
	fake_put(&fake, 9, CONTENT_TEXT, 1);
	fake.inject[FAKE_READ].error = -EIO;
	fake.inject[FAKE_READ].times = 1;
	cr_assert_eq(look_at(9), -EIO);
	cr_assert_eq(look.state, FRAME_MAPPED);
	expect(9, FRAME_MAPPED, CONTENT_TEXT);
	fake_end(&fake);
}

/* At a fatal exit one still wants to see. */
Test(look, after_a_failure)
{
	prepare();
	fake.expect_failure = true;
	fake_create(&fake, &config);
	stored(CONTENT_RANDOM, FRAME_SWAPPED);
	swap_memory.read = (struct swap_fault){ .error = -EIO, .times = 1 };
	cr_assert_eq(fake_expect(&fake, 50, CONTENT_RANDOM, 1), -EIO);
	expect(100, FRAME_SWAPPED, CONTENT_RANDOM);
	fake_end(&fake);
}

Test(look, counts)
{
	uint64_t counts[FRAME_STATES] = { 0 };

	prepare();
	fake_create(&fake, &config);
	stored(CONTENT_RANDOM, FRAME_SWAPPED);
	fake_put(&fake, 3, CONTENT_TEXT, 1);
	cr_assert_eq(mm_look_count(fake.mm, gfn(0), FRAMES, counts), 0);
	cr_assert_eq(counts[FRAME_SWAPPED], 5);
	cr_assert_eq(counts[FRAME_MAPPED], 1);
	cr_assert_eq(counts[FRAME_UNTOUCHED], FRAMES - 6);
	cr_assert_eq(mm_look_count(fake.mm, gfn(3), 1, counts), 0);
	cr_assert_eq(counts[FRAME_MAPPED], 2, "added to what was there");
	cr_assert_eq(mm_look_count(fake.mm, gfn(1), FRAMES, counts), -ERANGE);
	cr_assert_eq(mm_look_count(fake.mm, gfn(1), UINT64_MAX, counts), -ERANGE);
	fake_end(&fake);
}

/*
 * The tiers whose pages are one 64-bit word over and over, which lies in the frame's own record:
 * pages that were never touched or were given up, and pages that the guest filled with one value.
 */
#include "mm/tiers.h"

static bool has_same(struct mm *mm, struct reclaim_work *work, struct victim *v)
{
	return codec_same_filled(work->page, &v->value);
}

static void keep_same(struct mm *mm, struct reclaim_work *work, struct victim *v,
		      const char *packed)
{
	struct mm_frame *f = mm_frame(mm, v->frame);

	mm->stats.evictions_same_filled++;
	victim_stored(mm, v, FRAME_SAME_FILLED, 0);
	/* The word takes the stamp's place. */
	f->where = (uint32_t)f->word;
	f->word = v->value;
}

/* A run of zeros needs no staging: it does not come here. */
static int load(struct mm *mm, struct fill_work *work, const struct fill_run *run, uint32_t *ready)
{
	for (uint32_t i = 0; i < run->count; i++)
		codec_fill_word(work->staging + i * PAGE_SIZE, mm_frame(mm, run->first + i)->word);
	*ready = run->count;
	return 0;
}

static void loaded(struct mm *mm, struct mm_frame *f)
{
	f->where = FRAME_NOWHERE;
}

static void drop(struct mm *mm, struct mm_frame *f)
{
}

static int look(struct mm *mm, uint32_t number, struct mm_look *look, void *page)
{
	look->word = mm_frame(mm, number)->word;
	lock_drop(&mm->lock);
	if (page != NULL)
		codec_fill_word(page, look->word);
	return 0;
}

static void nothing_stats(const struct mm *mm, struct mm_stats *stats)
{
	stats->released_frames = mm->count[FRAME_RELEASED];
}

static void same_stats(const struct mm *mm, struct mm_stats *stats)
{
	stats->same_filled_frames = mm->count[FRAME_SAME_FILLED];
}

/* There is no store beside the frames themselves. */
static int check(const struct mm *mm, const uint32_t content[FRAME_STATES], FILE *out)
{
	return 0;
}

const struct mm_tier_ops mm_tier_nothing = {
	.fault = MM_FAULT_ZERO_FILL,
	.load = load,
	.loaded = loaded,
	.drop = drop,
	.look = look,
	.stats = nothing_stats,
	.check = check,
};

const struct mm_tier_ops mm_tier_same = {
	.fault = MM_FAULT_POOL,
	.has = has_same,
	.keep = keep_same,
	.load = load,
	.loaded = loaded,
	.drop = drop,
	.look = look,
	.stats = same_stats,
	.check = check,
};

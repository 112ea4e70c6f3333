/* Counters out, and the identities of frame.h verified. */
#include "mm/tiers.h"

static uint64_t resident_frames(const struct mm *mm)
{
	return (uint64_t)mm->count[FRAME_MAPPED] + mm->count[FRAME_WATCHED] +
	       mm->count[FRAME_EVICTING] + mm->count[FRAME_RELEASING] + mm->count[FRAME_FILLING];
}

static uint64_t or_none(uint64_t budget)
{
	return budget != UINT64_MAX ? budget : 0;
}

void mm_stats_get(struct mm *mm, struct mm_stats *stats)
{
	lock_take(&mm->lock);
	*stats = mm->stats;
	stats->watch = mm->config.watch;
	stats->budget_bytes = or_none(mm->budget);
	stats->budget_wanted_bytes = or_none(mm->wanted);
	stats->budget_most_bytes = or_none(mm->budget_most);
	stats->budget_least_bytes = mm_least_budget(&mm->config);
	stats->held_bytes = mm->held;
	stats->peak_bytes = mm->peak;
	stats->resident_bytes = resident_frames(mm) * PAGE_SIZE;
	stats->watched_bytes = (uint64_t)mm->count[FRAME_WATCHED] * PAGE_SIZE;
	stats->tier_bytes = tiers_bytes(mm);
	for (int i = 0; i < MM_TIER_COUNT; i++)
		mm_tiers[i]->stats(mm, stats);
	stats->table_bytes = mm->tables;
	stats->balloon_frames = mm->balloon_frames;
	lock_drop(&mm->lock);
}

uint32_t mm_pressure_permille(const struct mm_stats *before, const struct mm_stats *after,
			      uint64_t interval_ns)
{
	uint64_t took = after->pressure_ns - before->pressure_ns;

	return interval_ns == 0 ? 0 : (uint32_t)((double)took * 1000 / (double)interval_ns);
}

const char *mm_fault_kind_name(enum mm_fault_kind kind)
{
	static const char *const names[MM_FAULT_KINDS] = { "zero_fill", "minor", "pool", "swap" };

	return names[kind];
}

struct census {
	uint32_t count[FRAME_STATES];
	uint32_t content[FRAME_STATES]; /* by frame_content() */
	uint32_t kept, pinned, seen, balloon;
	uint32_t uncharged; /* frames that were touched, in units that are not charged */
	uint32_t nowhere;   /* frames of holes that are something all the same */
};

static void add_frame(struct census *c, const struct mm_frame *f)
{
	enum frame_state content = frame_content(f);

	c->count[f->state]++;
	c->content[content]++;
	if (mm_tier_of(content) == NULL)
		c->kept += f->where != FRAME_NOWHERE;
	c->pinned += f->pins > 0;
	c->seen += (f->flags & FRAME_SEEN) != 0;
	c->balloon += (f->flags & FRAME_BALLOON) != 0;
}

/*
 * The frames up to the end of a chunk, or up to end; how many. Records that were never changed are
 * not looked at: a guest of 1 TiB has 4 GiB of them, which the host has no memory for yet.
 */
static uint32_t add_chunk(struct census *c, const struct mm *mm, uint32_t first, uint32_t end)
{
	uint64_t next = (first / FRAME_CHUNK + 1) * FRAME_CHUNK;
	uint32_t stop = next < end ? (uint32_t)next : end, seen = c->seen;

	if (mm->chunks[first / FRAME_CHUNK] == 0)
		c->count[FRAME_UNTOUCHED] += stop - first;
	else
		for (uint32_t i = first; i < stop; i++)
			add_frame(c, &mm->frames[i]);
	if (mm->units[first / MM_UNIT_FRAMES] == 0)
		c->uncharged += c->seen - seen;
	return stop - first;
}

static void add_hole(struct census *c, const struct mm *mm, uint32_t first, uint32_t end)
{
	for (uint32_t i = first; i < end; i++) {
		const struct mm_frame *f = &mm->frames[i];

		c->nowhere += f->state != FRAME_UNTOUCHED || f->flags != 0 || f->pins > 0;
	}
}

static void take_census(const struct mm *mm, struct census *c)
{
	uint32_t at = 0;

	*c = (struct census){ 0 };
	for (unsigned k = 0; k < mm->range_count; k++) {
		const struct mm_range *r = &mm->ranges[k];

		add_hole(c, mm, at, r->first);
		at = r->first;
		while (at < r->first + r->count)
			at += add_chunk(c, mm, at, r->first + r->count);
	}
	add_hole(c, mm, at, mm->frame_count);
}

int mm_differ(FILE *out, const char *what, uint64_t is, uint64_t should)
{
	if (is == should)
		return 0;
	if (out != NULL)
		fprintf(out, "mm: %s: %llu, should be %llu\n", what, (unsigned long long)is,
			(unsigned long long)should);
	return 1;
}

int mm_check(struct mm *mm, FILE *out)
{
	struct census c;
	int bad = 0;

	lock_take(&mm->lock);
	take_census(mm, &c);
	for (int s = 0; s < FRAME_STATES; s++)
		bad += mm_differ(out, frame_state_name((enum frame_state)s), mm->count[s],
				 c.count[s]);
	bad += mm_differ(out, "frames in a hole", c.nowhere, 0);
	bad += mm_differ(out, "touched frames in uncharged units", c.uncharged, 0);
	bad += mm_differ(out, "held bytes", mm->held,
			 resident_frames(mm) * PAGE_SIZE + tiers_bytes(mm) + mm->tables);
	bad += mm_differ(out, "held above peak", mm->held > mm->peak, 0);
	bad += mm_differ(out, "held above budget", mm->held > mm->budget, 0);
	bad += mm_differ(out, "peak above budget", mm->peak > mm->budget_most, 0);
	bad += mm_differ(out, "kept slots", mm->kept_slots, c.kept);
	bad += mm_differ(out, "pinned frames", mm->pinned, c.pinned);
	bad += mm_differ(out, "balloon frames", mm->balloon_frames, c.balloon);
	bad += mm_differ(out, "touched frames", mm->stats.touched_frames, c.seen);
	for (int i = 0; i < MM_TIER_COUNT; i++)
		bad += mm_tiers[i]->check(mm, c.content, out);
	lock_drop(&mm->lock);
	return bad;
}

/*
 * Releases the pages that the guest gives up: those in its balloon and those it reports free.
 *
 * A range is done in sweeps. One sweep:
 *   1. (lock)    from the first frame on: what is stored is freed, and RELEASED at once; what is
 *                pinned is overwritten; what is resident becomes RELEASING, and neighbours a run.
 *                It ends before a frame that is somebody else's, or has no room in the runs;
 *   2. (no lock) each run is unmapped and given back, with one call for each;
 *   3. (lock)    the runs' frames are RELEASED and their charge ends.
 * A sweep that finds somebody else's frame at its very start waits for it. Such are frames being
 * filled or given back, and the resident ones of an eviction's batch: to take those over would save
 * little, and the batch may be writing them out through the monitor's view, where the read of a
 * page just punched brings a new one into being that nobody has charged.
 */
#include <errno.h>

#include "base/check.h"
#include "base/clock.h"
#include "mm/tiers.h"

#define SWEEP_MAX 2048			  /* frames to a turn of the lock: some 100 us */
#define RUNS_MAX  64			  /* in one sweep */
#define QUIET_NS  (1000 * 1000 * 1000ull) /* between two lines about touches */

struct run {
	uint32_t first, count;
	uint32_t done; /* given back */
};

struct sweep {
	uint64_t word;
	struct run runs[RUNS_MAX];
	uint32_t run_count;
};

static bool is_elsewhere(const struct mm_frame *f)
{
	return f->state == FRAME_FILLING || f->state == FRAME_RELEASING ||
	       (frame_is_resident(f) && (f->flags & FRAME_BATCH));
}

/* Onto the last run, or a new one; false: there is no room for one. */
static bool add_to_runs(struct sweep *s, uint32_t number)
{
	struct run *last = s->run_count > 0 ? &s->runs[s->run_count - 1] : NULL;

	if (last != NULL && last->first + last->count == number) {
		last->count++;
		return true;
	}
	if (s->run_count == RUNS_MAX)
		return false;
	s->runs[s->run_count++] = (struct run){ number, 1, 0 };
	return true;
}

/* Step 1 for one frame; false: the sweep ends before it. */
static bool give_up(struct mm *mm, uint32_t number, struct sweep *s)
{
	struct mm_frame *f = mm_frame(mm, number);

	if (is_elsewhere(f))
		return false;
	if (f->pins > 0) {
		/* A kept slot does not match it any more. */
		codec_fill_word(mm->ops->page(mm->backing, gfn(number)), s->word);
		frame_drop_slot(mm, f);
		return true;
	}
	if (!frame_is_resident(f)) {
		mm_tier_of(f->state)->drop(mm, f);
		mm_set_state(mm, f, FRAME_RELEASED);
	} else {
		if (!add_to_runs(s, number))
			return false;
		frame_drop_slot(mm, f);
		f->then = FRAME_RELEASED;
		f->flags &= (uint8_t)~FRAME_OFFER;
		mm_set_state(mm, f, FRAME_RELEASING);
		mm->policy_ops->removed(mm->policy, number);
	}
	f->word = s->word;
	f->where = FRAME_NOWHERE;
	return true;
}

/* Step 2. *bad: the frame at which it failed. */
static int punch(struct mm *mm, struct sweep *s, uint32_t *bad)
{
	int error = 0;

	for (uint32_t i = 0; i < s->run_count && error == 0; i++) {
		struct run *r = &s->runs[i];
		uint32_t unmapped;

		error = frame_unmap(mm, r->first, r->count, &unmapped);
		*bad = r->first + unmapped;
		if (error != 0)
			continue;
		error = frame_release(mm, r->first, r->count, &r->done);
		*bad = r->first + r->done;
	}
	return error;
}

/* Step 3. Frames that could not be given back stay RELEASING: the machine has failed. */
static void commit(struct mm *mm, const struct sweep *s)
{
	for (uint32_t i = 0; i < s->run_count; i++) {
		const struct run *r = &s->runs[i];

		for (uint32_t k = 0; k < r->done; k++)
			mm_set_state(mm, mm_frame(mm, r->first + k), FRAME_RELEASED);
		mm_uncharge(mm, r->done * PAGE_SIZE);
		mm->stats.punched_frames += r->done;
		mm->stats.punched_runs += r->done > 0;
	}
	mm_wake(mm);
}

/* One sweep. How many frames from first on are done; 0: waited, try again. */
static uint32_t sweep(struct mm *mm, uint32_t first, uint32_t end, enum mm_release_kind kind,
		      uint64_t word, int *error)
{
	struct sweep s = { .word = word };
	uint32_t n = 0, bad = first;

	while (n < SWEEP_MAX && first + n < end && give_up(mm, first + n, &s)) {
		struct mm_frame *f = mm_frame(mm, first + n++);

		if (kind == MM_RELEASE_BALLOON && !(f->flags & FRAME_BALLOON)) {
			f->flags |= FRAME_BALLOON;
			mm->balloon_frames++;
		}
	}
	mm->stats.releases[kind] += n;
	if (n == 0)
		mm_wait(mm);
	lock_drop(&mm->lock);
	*error = punch(mm, &s, &bad);
	if (*error != 0)
		mm_fail(mm, bad, *error, "giving its memory back to the host failed");
	lock_take(&mm->lock);
	commit(mm, &s);
	tiers_trim(mm);
	return n;
}

int mm_release(struct mm *mm, gfn_t first, uint32_t count, enum mm_release_kind kind, uint64_t word)
{
	uint32_t at = (uint32_t)first.v, end = at + count;
	int error = 0;

	CHECK(kind < MM_RELEASE_KINDS);
	if (!mm_has(mm, first.v, count))
		return -ERANGE;
	lock_take(&mm->lock);
	while (at < end && error == 0) {
		if (mm->has_failed)
			error = -EIO;
		else
			at += sweep(mm, at, end, kind, word, &error);
	}
	mm_kick_reclaimer(mm);
	mm_unlock(mm);
	return error;
}

int mm_balloon_return(struct mm *mm, gfn_t first, uint32_t count)
{
	uint32_t at = (uint32_t)first.v, end = at + count;

	if (!mm_has(mm, first.v, count))
		return -ERANGE;
	while (at < end) {
		uint32_t stop = end - at < SWEEP_MAX ? end : at + SWEEP_MAX;

		lock_take(&mm->lock);
		for (; at < stop; at++) {
			struct mm_frame *f = mm_frame(mm, at);

			mm->balloon_frames -= (f->flags & FRAME_BALLOON) != 0;
			f->flags &= (uint8_t) ~(FRAME_BALLOON | FRAME_USED);
		}
		lock_drop(&mm->lock);
	}
	return 0;
}

void frame_balloon_touch(struct mm *mm, uint32_t number, enum frame_state was, int thread,
			 bool write)
{
	struct mm_frame *f = mm_frame(mm, number);
	uint64_t now;

	if ((f->flags & (FRAME_BALLOON | FRAME_USED)) != FRAME_BALLOON)
		return;
	f->flags |= FRAME_USED;
	mm->stats.balloon_touches++;
	now = clock_now_ns();
	if (now < mm->balloon_quiet_ns)
		return;
	mm->balloon_quiet_ns = now + QUIET_NS;
	mm->notes.touch = (struct mm_balloon_touch){
		.frame = gfn(number),
		.thread = thread,
		.write = write,
		.was = was,
		.pages = mm->stats.balloon_touches,
	};
}

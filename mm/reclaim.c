/*
 * Eviction, in batches. One batch:
 *   1. (lock)    the policy names frames; those free to go are marked EVICTING or WATCHED, all
 *                with BATCH, sorted by frame number so that neighbours make ranges;
 *   2. (no lock) the mapped ones are unmapped in ranges: from here on a touch is a fault, and the
 *                fault cancels the eviction. Where touches are found by scanning, only those to be
 *                watched are unmapped. Those to be evicted that were watched are scanned, and stay
 *                if they were touched; the others are sealed: from here on a write is a fault,
 *                which cancels, and a read does no harm;
 *   3. by handfuls: (no lock) ask the tiers (tiers.h) for each page: does one have its content
 *                already, or else, which takes it? (lock) commit what is still EVICTING;
 *   4. what a tier keeps by batches (the swap) goes there together;
 *   5. (no lock) the stored pages are given back in ranges; (lock) their charge ends;
 *   6. (lock)    the batch ends: frames that stayed are mapped again and offered to the policy.
 *
 * A page is examined in a private copy: an eviction that is being cancelled may change the page
 * under our eyes, and no codec promises to survive that.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "mm/tiers.h"

#define GAP_MAX		 16 /* stored frames between victims that one call goes over */
#define FRUITLESS_ROUNDS 4  /* over all that is resident, before a shortage is final */

static int by_frame(const void *a, const void *b)
{
	uint32_t x = ((const struct mm_policy_pick *)a)->frame;
	uint32_t y = ((const struct mm_policy_pick *)b)->frame;

	return x < y ? -1 : x > y;
}

/*
 * May one call go from the victim before to this one? Frames in between have no page, so that it
 * does nothing to them. One that gets its page meanwhile may be unmapped or sealed with the rest:
 * that costs the guest a fault.
 */
static bool joins(struct mm *mm, const struct reclaim_work *work, uint32_t number)
{
	uint32_t last;

	if (work->victim_count == 0)
		return false;
	last = work->victims[work->victim_count - 1].frame;
	if (number - last > GAP_MAX + 1 || mm_range_of(mm, last) != mm_range_of(mm, number))
		return false;
	for (uint32_t i = last + 1; i < number; i++)
		if (!frame_is_stored(mm_frame(mm, i)))
			return false;
	return true;
}

/* Step 1. How many frames the policy named. */
static uint32_t choose(struct mm *mm, struct reclaim_work *work, uint32_t want)
{
	size_t max = 4 * want < BATCH_MAX ? 4 * want : BATCH_MAX;
	size_t named = mm->policy_ops->pick(mm->policy, want < max ? want : max, work->picks, max);

	CHECK(named <= max);
	qsort(work->picks, named, sizeof(work->picks[0]), by_frame);
	work->victim_count = 0;
	for (size_t i = 0; i < named; i++) {
		uint32_t number = work->picks[i].frame;
		bool evict = work->picks[i].action == MM_POLICY_EVICT;
		struct mm_frame *f;
		struct victim *v;

		CHECK(number < mm->frame_count);
		f = mm_frame(mm, number);
		if (!frame_is_resident(f))
			continue;
		if (f->pins > 0 || (f->flags & FRAME_BATCH) ||
		    (f->state != FRAME_MAPPED && f->state != FRAME_WATCHED)) {
			f->flags |= FRAME_OFFER;
			continue;
		}
		if (!evict && f->state == FRAME_WATCHED)
			continue;
		v = &work->victims[work->victim_count];
		*v = (struct victim){ .frame = number,
				      .joins = joins(mm, work, number),
				      .slot = f->where,
				      .outcome = evict ? OUT_UNDECIDED : OUT_WATCH,
				      .mapped = f->state == FRAME_MAPPED };
		work->victim_count++;
		mm_set_state(mm, f, evict ? FRAME_EVICTING : FRAME_WATCHED);
		f->flags |= FRAME_BATCH;
	}
	return (uint32_t)named;
}

/* --- step 2 */

static bool is_mapped(const struct victim *v)
{
	return v->mapped;
}

static bool is_to_watch(const struct victim *v)
{
	return v->mapped && v->outcome == OUT_WATCH;
}

static bool was_watched(const struct victim *v)
{
	return !v->mapped;
}

static bool is_to_evict(const struct victim *v)
{
	return v->outcome == OUT_UNDECIDED;
}

/*
 * Does something to each range of victims of one kind: of neighbours, or over gaps, where nothing
 * is, of those near each other.
 */
static void on_victims(struct mm *mm, struct reclaim_work *work, bool over_gaps,
		       bool (*kind)(const struct victim *),
		       void (*act)(struct mm *mm, struct victim *v, uint32_t count))
{
	uint32_t i = 0;

	while (i < work->victim_count) {
		struct victim *v = &work->victims[i++];
		uint32_t n = 1;

		if (!kind(v))
			continue;
		while (i < work->victim_count && kind(&v[n]) &&
		       (over_gaps ? v[n].joins : v[n].frame == v[0].frame + n)) {
			n++;
			i++;
		}
		act(mm, v, n);
	}
}

/* From the first to the last of them. */
static uint32_t span(const struct victim *v, uint32_t count)
{
	return v[count - 1].frame - v[0].frame + 1;
}

/* Those behind the frames that were done stay as they are. */
static void break_off(struct victim *v, uint32_t count, uint32_t done)
{
	for (uint32_t k = 0; k < count; k++)
		if (v[k].frame - v[0].frame >= done)
			v[k].outcome = OUT_BROKEN;
}

static void unmap_range(struct mm *mm, struct victim *v, uint32_t count)
{
	uint32_t done;

	(void)frame_unmap(mm, v[0].frame, span(v, count), &done);
	break_off(v, count, done);
}

static void seal_range(struct mm *mm, struct victim *v, uint32_t count)
{
	uint32_t done;

	(void)frame_seal(mm, v[0].frame, span(v, count), &done);
	break_off(v, count, done);
}

/* When it fails, nothing is known of the guest's touches, and the policy's word stands. */
static void scan_range(struct mm *mm, struct victim *v, uint32_t count)
{
	bool mapped[BATCH_MAX * (GAP_MAX + 1)];

	if (mm->ops->scan(mm->backing, gfn(v[0].frame), span(v, count), mapped) != 0)
		return;
	for (uint32_t k = 0; k < count; k++)
		if (mapped[v[k].frame - v[0].frame])
			v[k].outcome = OUT_TOUCHED;
}

static void withdraw_victims(struct mm *mm, struct reclaim_work *work)
{
	LOCK_CHECK();
	if (mm->config.watch == MM_WATCH_NOTICE) {
		on_victims(mm, work, true, is_mapped, unmap_range);
		return;
	}
	on_victims(mm, work, true, is_to_watch, unmap_range);
	on_victims(mm, work, true, was_watched, scan_range);
	on_victims(mm, work, true, is_to_evict, seal_range);
}

/* Step 3, without the lock: which tier has or takes the page? */
static void examine(struct mm *mm, struct reclaim_work *work, struct victim *v, char *packed)
{
	if (mm->ops->read(mm->backing, gfn(v->frame), work->page) != 0) {
		v->outcome = OUT_KEEP;
		return;
	}
	v->outcome = OUT_TAKEN;
	for (int i = 0; i < MM_TIER_COUNT; i++) {
		v->tier = mm_tiers[i];
		if (v->tier->has != NULL && v->tier->has(mm, work, v))
			return;
	}
	for (int i = 0; i < MM_TIER_COUNT; i++) {
		v->tier = mm_tiers[i];
		if (v->tier->take != NULL && v->tier->take(mm, work, v, packed))
			return;
	}
	v->outcome = OUT_KEEP;
	work->unplaced = true;
}

void victim_stored(struct mm *mm, struct victim *v, enum frame_state then, uint32_t where)
{
	struct mm_frame *f = mm_frame(mm, v->frame);

	frame_drop_slot(mm, f);
	f->then = (uint8_t)then;
	f->where = where;
	f->word = ++mm->eviction_clock;
	mm_set_state(mm, f, FRAME_RELEASING);
	mm->policy_ops->removed(mm->policy, v->frame);
	v->outcome = OUT_STORED;
}

static bool is_stored(const struct victim *v)
{
	return v->outcome == OUT_STORED;
}

static void release_range(struct mm *mm, struct victim *v, uint32_t count)
{
	uint32_t done;
	int error = frame_release(mm, v[0].frame, count, &done);

	/* Any of the rest may be gone: the content of those frames is not known any more. */
	for (uint32_t k = done; k < count; k++)
		v[k].outcome = OUT_STUCK;
	if (error != 0)
		mm_fail(mm, v[done].frame, error, "giving its memory back to the host failed");
}

/* Step 5, for all victims stored so far. */
uint32_t victims_release(struct mm *mm, struct reclaim_work *work)
{
	uint32_t gone = 0;

	lock_drop(&mm->lock);
	/* A frame in a gap may have a page by now. */
	on_victims(mm, work, false, is_stored, release_range);
	lock_take(&mm->lock);
	for (uint32_t i = 0; i < work->victim_count; i++) {
		struct mm_frame *f = mm_frame(mm, work->victims[i].frame);

		if (work->victims[i].outcome != OUT_STORED)
			continue;
		mm_set_state(mm, f, f->then);
		mm_uncharge(mm, PAGE_SIZE);
		work->victims[i].outcome = OUT_RELEASED;
		gone++;
	}
	if (gone > 0)
		mm_wake(mm);
	return gone;
}

static void commit(struct mm *mm, struct reclaim_work *work, struct victim *v, const char *packed)
{
	if (v->outcome != OUT_TAKEN)
		return;
	if (mm_frame(mm, v->frame)->state != FRAME_EVICTING)
		v->outcome = OUT_CANCELLED;
	else
		v->tier->keep(mm, work, v, packed);
}

/* Steps 3 and 4. */
static void store_victims(struct mm *mm, struct reclaim_work *work)
{
	for (uint32_t i = 0; i < work->victim_count; i += PACK_MAX) {
		uint32_t left = work->victim_count - i, n = left < PACK_MAX ? left : PACK_MAX;
		bool live[PACK_MAX];

		for (uint32_t k = 0; k < n; k++)
			live[k] = work->victims[i + k].outcome == OUT_UNDECIDED &&
				  mm_frame(mm, work->victims[i + k].frame)->state == FRAME_EVICTING;
		lock_drop(&mm->lock);
		for (uint32_t k = 0; k < n; k++)
			if (live[k])
				examine(mm, work, &work->victims[i + k],
					work->packed + k * POOL_OBJECT_MAX);
		lock_take(&mm->lock);
		for (uint32_t k = 0; k < n; k++)
			commit(mm, work, &work->victims[i + k], work->packed + k * POOL_OBJECT_MAX);
	}
	for (int i = 0; i < MM_TIER_COUNT; i++)
		if (mm_tiers[i]->keep_batch != NULL)
			mm_tiers[i]->keep_batch(mm, work);
}

/* The victim stays in memory. */
static void keep_resident(struct mm *mm, struct victim *v)
{
	struct mm_frame *f = mm_frame(mm, v->frame);
	uint32_t done;

	if (v->outcome == OUT_TOUCHED) {
		mm_set_state(mm, f, FRAME_MAPPED);
		mm->policy_ops->touched(mm->policy, v->frame);
		mm->stats.touches_found++;
		return;
	}
	/* If this fails it costs the guest a fault: MAPPED is a permission. */
	(void)frame_map(mm, v->frame, 1, &done);
	mm_set_state(mm, f, FRAME_MAPPED);
	mm->policy_ops->inserted(mm->policy, v->frame);
	mm->stats.store_failures += v->outcome != OUT_WATCH;
}

/* Step 6. */
static void end_batch(struct mm *mm, struct reclaim_work *work)
{
	for (uint32_t i = 0; i < work->victim_count; i++) {
		struct victim *v = &work->victims[i];
		struct mm_frame *f = mm_frame(mm, v->frame);
		bool stays = f->state == FRAME_EVICTING ||
			     (v->outcome == OUT_BROKEN && f->state == FRAME_WATCHED);

		f->flags &= (uint8_t)~FRAME_BATCH;
		if (stays)
			keep_resident(mm, v);
		frame_offer(mm, v->frame);
	}
	work->victim_count = 0;
	mm_wake(mm);
}

uint32_t reclaim_batch(struct mm *mm, struct reclaim_work *work, uint32_t want, bool forced,
		       uint32_t *examined)
{
	work->gone = 0;
	work->unplaced = false;
	for (int i = 0; i < MM_TIER_COUNT; i++)
		if (mm_tiers[i]->begin != NULL)
			mm_tiers[i]->begin(mm, work, forced);
	*examined = choose(mm, work, want);
	if (work->victim_count > 0) {
		lock_drop(&mm->lock);
		withdraw_victims(mm, work);
		lock_take(&mm->lock);
		store_victims(mm, work);
		work->gone += victims_release(mm, work);
		end_batch(mm, work);
	}
	tiers_trim(mm);
	return work->gone;
}

static bool busy_elsewhere(const struct mm *mm, const struct reclaim_work *own)
{
	for (unsigned i = 0; i < WORK_MAX; i++)
		if (mm->reclaim_works[i] != NULL && mm->reclaim_works[i] != own &&
		    mm->reclaim_works[i]->victim_count > 0)
			return true;
	return false;
}

/* Count a batch's fruit; true when nothing is left to try. */
static bool exhausted(struct mm *mm, struct reclaim_effort *effort, uint32_t gone,
		      uint32_t examined)
{
	effort->gone = gone;
	if (gone > 0) {
		effort->examined = effort->rounds = 0;
		return false;
	}
	effort->examined += examined;
	if (examined > 0 && effort->examined <= vain_limit(mm))
		return false;
	effort->examined = 0;
	return ++effort->rounds >= FRUITLESS_ROUNDS;
}

int reclaim_direct(struct mm *mm, struct reclaim_effort *effort)
{
	struct reclaim_work *work = reclaim_work_take(mm, false);
	uint64_t began = clock_now_ns();
	uint32_t examined, gone;
	int error = 0;

	if (work == NULL) {
		mm_wait(mm);
		return 0;
	}
	mm->stats.direct_reclaims++;
	/* This round may fail for another reason than the earlier ones. */
	if (effort->examined == 0)
		effort->disk_full = false;
	work->disk_full = work->wrote = false;
	gone = reclaim_batch(mm, work, mm->sizes.direct_batch, effort->rounds > 0, &examined);
	gone += tiers_drain(mm, work, true);
	/* Pages short of a victim, as all may be pinned: then it is the tiers that must give. */
	if (gone == 0 && effort->rounds > 0)
		gone += tiers_give(mm, work);
	effort->disk_full |= work->disk_full;
	effort->wrote |= work->wrote;
	effort->took_ns += clock_now_ns() - began;
	if (exhausted(mm, effort, gone, examined)) {
		/* Another thread's batch may yet give something back. */
		if (busy_elsewhere(mm, work))
			mm_wait(mm);
		else
			error = -ENOMEM;
	}
	reclaim_work_put(mm, work);
	return error;
}

void reclaim_once_more(struct mm *mm, struct reclaim_effort *effort)
{
	*effort = (struct reclaim_effort){ .examined = vain_limit(mm),
					   .rounds = FRUITLESS_ROUNDS - 1 };
}

uint32_t mm_reclaim(struct mm *mm, uint32_t count)
{
	struct reclaim_effort effort = { 0 };
	struct reclaim_work *work;
	uint32_t total = 0;

	lock_take(&mm->lock);
	work = reclaim_work_take(mm, true);
	while (total < count && !mm->has_failed) {
		uint32_t want = count - total < mm->sizes.batch ? count - total : mm->sizes.batch;
		uint32_t examined;
		uint32_t gone = reclaim_batch(mm, work, want, effort.rounds > 0, &examined);

		total += gone;
		if (exhausted(mm, &effort, gone, examined))
			break;
	}
	reclaim_work_put(mm, work);
	mm_unlock(mm);
	return total;
}

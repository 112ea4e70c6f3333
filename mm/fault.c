/*
 * The fault service. Only the frame's state tells what happened; the kind of event that brought us
 * here does not matter, so a stale or doubled event is harmless.
 *
 * A resident frame is mapped (an eviction under way is cancelled). A stored one is filled:
 *   1. take a work and one page of budget, reclaiming directly if there is no headroom;
 *   2. look again (both may have dropped the lock), choose the window (stream.h) and mark its
 *      stored frames FILLING, charging each, as far as headroom goes;
 *   3. for each run of frames of one tier, outside the lock: get the content into the staging
 *      buffer, verified, and hand the whole run to the backing in one call;
 *   4. under the lock: commit what the backing took, put the rest back as it was.
 * Only the faulting frame must succeed. If it did not in the company of others, it is tried again
 * alone: their trouble may have stood in its way, and a failure always names the page that failed.
 */
#include <errno.h>

#include "base/clock.h"
#include "mm/fault.h"
#include "mm/tiers.h"

#define HUNT_SHARE 2 /* of a window: half of it is much */

/* A watched frame is the host kernel's to map, where touches are found by scanning. */
static enum fill_op op_of(const struct mm *mm, const struct mm_frame *f)
{
	if (frame_is_stored(f))
		return frame_is_word(f) && f->word == 0 ? FILL_ZERO : FILL_LOAD;
	if (f->state != FRAME_WATCHED || (f->flags & FRAME_BATCH))
		return FILL_NONE;
	return mm->config.watch == MM_WATCH_NOTICE ? FILL_MAP : FILL_NONE;
}

/* distance: evictions since its own. */
static void count_refault(struct mm *mm, uint32_t number, uint32_t distance)
{
	mm->stats.refaults++;
	mm->stats.refaults_near += distance <= mm->count[FRAME_MAPPED] + mm->count[FRAME_WATCHED];
	if (mm->policy_ops->refaulted != NULL)
		mm->policy_ops->refaulted(mm->policy, number, distance);
}

/* Give the policy what it is owed and the frame its place among the resident. */
static void commit_one(struct mm *mm, uint32_t number)
{
	struct mm_frame *f = mm_frame(mm, number);
	const struct mm_tier_ops *tier = mm_tier_of(f->then);
	uint32_t stamp = frame_stamp(f, f->then);

	tier->loaded(mm, f);
	if (!(f->flags & FRAME_SEEN)) {
		f->flags |= FRAME_SEEN;
		mm->stats.touched_frames++;
	}
	mm_set_state(mm, f, FRAME_MAPPED);
	if (tier != &mm_tier_nothing)
		count_refault(mm, number, mm->eviction_clock - stamp);
	mm->policy_ops->inserted(mm->policy, number);
}

static void revert_one(struct mm *mm, uint32_t number)
{
	struct mm_frame *f = mm_frame(mm, number);

	mm_set_state(mm, f, f->then);
	mm_uncharge(mm, PAGE_SIZE);
}

/* The backing's part; without the lock. *done: frames that are present and mapped now. */
static int hand_over(struct mm *mm, struct fill_work *work, const struct fill_run *run,
		     uint32_t ready, uint32_t *done)
{
	if (run->op == FILL_ZERO)
		return frame_zero(mm, run->first, ready, done);
	return frame_fill(mm, run->first, ready, work->staging, done);
}

/*
 * Map the frames of the run that are still watched, as far as it goes; the lock is held throughout.
 * A frame that cannot be mapped stays watched: a thread that needs it will fault again.
 */
static void map_watched(struct mm *mm, uint32_t first, uint32_t count)
{
	uint32_t end = first + count;

	while (first < end) {
		uint32_t n = 0, done;

		while (first + n < end && op_of(mm, mm_frame(mm, first + n)) == FILL_MAP)
			n++;
		if (n == 0) {
			first++;
			continue;
		}
		(void)frame_map(mm, first, n, &done);
		for (uint32_t i = 0; i < done; i++) {
			mm_set_state(mm, mm_frame(mm, first + i), FRAME_MAPPED);
			mm->policy_ops->touched(mm->policy, first + i);
		}
		first += n;
	}
}

static int fill_run(struct mm *mm, struct fill_work *work, const struct fill_run *run,
		    uint32_t *done, const char **doing)
{
	uint32_t ready = run->count;
	int error = 0, backing_error;

	*done = 0;
	if (run->op == FILL_MAP) {
		map_watched(mm, run->first, run->count);
		return 0;
	}
	if (run->op == FILL_LOAD) {
		*doing = run->tier->load_failed;
		error = run->tier->load(mm, work, run, &ready);
	}
	lock_drop(&mm->lock);
	backing_error = hand_over(mm, work, run, ready, done);
	lock_take(&mm->lock);
	if (backing_error != 0) {
		error = backing_error;
		*doing = error == -EEXIST ? "the host holds a page there that should be absent"
					  : "the host refused to fill it";
	}
	for (uint32_t i = 0; i < *done; i++)
		commit_one(mm, run->first + i);
	for (uint32_t i = *done; i < run->count; i++)
		revert_one(mm, run->first + i);
	mm_wake(mm);
	return error;
}

/* One more frame for the list: onto the last run if it adjoins and is of the same kind. */
static void add_to_runs(struct fill_work *work, uint32_t number, enum fill_op op,
			const struct mm_tier_ops *tier)
{
	struct fill_run *last = work->run_count > 0 ? &work->runs[work->run_count - 1] : NULL;

	bool alike = last != NULL && last->op == op && last->tier == tier;

	if (alike && last->first + last->count == number) {
		last->count++;
	} else if (alike && last->first == number + 1) {
		last->first--;
		last->count++;
	} else {
		work->runs[work->run_count++] = (struct fill_run){ number, 1, op, tier };
	}
}

/* It ends where the frame's piece of memory ends: there is nothing to be had in a hole. */
static void choose_window(struct mm *mm, uint32_t number, uint32_t max, uint32_t *first,
			  uint32_t *count)
{
	const struct mm_range *range = mm_range_of(mm, number);

	stream_window(&mm->streams, number, max, range->first, range->first + range->count, first,
		      count);
}

/*
 * Mark the window's frames, from the faulting one outward; its page is charged already. The first
 * run holds the faulting frame. How many frames are filled ahead.
 */
static void collect(struct mm *mm, struct fill_work *work, uint32_t number, uint32_t want,
		    const struct attempt *a)
{
	const struct mm_tier_ops *tier = mm_tier_of(mm_frame(mm, number)->state);
	uint32_t max = tier->slow ? mm->sizes.swap_window : mm->sizes.window;
	uint32_t first = number, count;
	int step;

	/* The sizes may have changed since the work was made. */
	if (max > work->window)
		max = work->window;
	if (a->alone)
		count = 1;
	else if (want > 1)
		count = want < max ? want : max;
	else
		choose_window(mm, number, max, &first, &count);
	step = first == number ? 1 : -1;
	work->run_count = 0;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t at = step > 0 ? number + i : number - i;
		struct mm_frame *f = mm_frame(mm, at);
		enum fill_op op = op_of(mm, f);

		tier = op == FILL_LOAD ? mm_tier_of(f->state) : NULL;
		/* A page that the guest promised not to touch is not worth bringing in ahead. */
		if (op == FILL_NONE || (at != number && (f->flags & FRAME_BALLOON)))
			continue;
		if (op != FILL_MAP) {
			if (at != number && !mm_charge_frame(mm, at, mm->sizes.limit))
				break;
			f->then = f->state;
			mm_set_state(mm, f, FRAME_FILLING);
		}
		add_to_runs(work, at, op, tier);
	}
}

/* Fill the collected runs. 0 when the faulting frame was filled. */
static int fill_runs(struct mm *mm, struct fill_work *work, uint32_t number, struct attempt *a)
{
	int result = 0;

	for (uint32_t r = 0; r < work->run_count; r++) {
		const struct fill_run *run = &work->runs[r];
		const char *doing = "mapping it failed";
		uint32_t done;
		int error = fill_run(mm, work, run, &done, &doing);

		if (r > 0 || number - run->first < done) {
			mm->stats.filled_ahead += done - (r == 0);
			continue;
		}
		mm->stats.filled_ahead += done;
		if (run->count == 1) {
			a->doing = doing;
			result = error;
		} else {
			a->alone = true;
			result = -EAGAIN;
		}
	}
	return result;
}

/* Only room on the disk would help: does the owner want to wait for it? Drops the lock. */
static bool wait_for_disk(struct mm *mm, struct attempt *a)
{
	uint64_t now = clock_now_ns();
	bool again;

	if (mm->full_since_ns == 0)
		mm->full_since_ns = now;
	now -= mm->full_since_ns;
	a->ends_waiting = true;
	mm_unlock(mm);
	again = mm->config.full(mm->failed_context, now);
	lock_take(&mm->lock);
	return again;
}

/*
 * There was room, after all. Each thread that has waited says so for itself: another one may have
 * said it before this one's waiting began.
 */
static void end_waiting(struct mm *mm, struct attempt *a)
{
	a->ends_waiting = false;
	mm_unlock(mm);
	mm->config.full_no_more(mm->failed_context);
	lock_take(&mm->lock);
}

static bool can_wait(const struct mm *mm, const struct attempt *a)
{
	return a->waits && mm->config.full != NULL;
}

/* The disk took no page, and whoever reclaims could wait for room on it, instead of looking for
 * pages that need no disk. As long as the disk takes pages it is no hunt. */
static bool is_hunt(const struct mm *mm, const struct reclaim_effort *effort,
		    const struct attempt *a)
{
	return effort->disk_full && !effort->wrote && can_wait(mm, a);
}

/*
 * On a full disk a page can still go that is one value, compresses, or whose slot is up to date.
 * When there are few of them each fault hunts for one, and a guest that waits for its faults for
 * most of the time is as good as hung, only that nobody is told: it needs room on the disk. True
 * when hunts, with this one that took so long, were much of a window's time.
 */
static bool hunts_are_much(struct mm *mm, uint64_t took)
{
	uint64_t now = clock_now_ns(), passed = now - mm->hunt_begin_ns, hunted;

	if (passed > 2 * mm->hunt_window_ns) {
		mm->hunt_begin_ns = now - took;
		mm->hunted_ns = 0;
		passed = took;
	}
	mm->hunted_ns += took;
	if (passed < mm->hunt_window_ns)
		return false;
	hunted = mm->hunted_ns;
	mm->hunt_begin_ns = now;
	mm->hunted_ns = 0;
	return hunted > passed / HUNT_SHARE;
}

/*
 * Until a page was written. One that goes without the disk is no sign of room on it, but the last
 * such one leaves memory enough.
 */
static bool still_starves(const struct mm *mm, const struct reclaim_effort *effort, int error)
{
	return mm->starves && !effort->wrote && (error == 0 || effort->disk_full);
}

/* No more room for a page. -ENOSPC: it is worth while to wait for the disk. */
static int no_room(struct mm *mm, const struct reclaim_effort *effort, struct attempt *a)
{
	a->doing = effort->disk_full
			   ? "the budget is used up, and the disk of the swap file is full"
		   : mm->swap != NULL && swap_slots_free(mm->swap) == 0
			   ? "the budget is used up, and the swap file is as large as it may be"
			   : "the budget is used up and nothing more can be given up";
	a->full = effort->disk_full && can_wait(mm, a);
	mm->starves |= a->full;
	return a->full ? -ENOSPC : -ENOMEM;
}

/* One page for the frame, charged; or no_room(). */
static int make_room(struct mm *mm, uint32_t number, struct attempt *a)
{
	struct reclaim_effort effort = { 0 };
	bool brief = mm->full_since_ns != 0;

	a->full = false;
	/* Everything was tried just now, in vain. */
	if (brief)
		reclaim_once_more(mm, &effort);
	while (mm->starves || !mm_charge_frame(mm, number, mm->sizes.limit)) {
		int error = reclaim_direct(mm, &effort);

		a->reclaimed = true;
		if (mm->has_failed)
			return -EIO;
		mm->starves = still_starves(mm, &effort, error) ||
			      (is_hunt(mm, &effort, a) && effort.took_ns > mm->hunt_window_ns);
		if (error == 0 && !(mm->starves && effort.disk_full))
			continue;
		if (!budget_relent(mm)) {
			if (!brief || effort.disk_full)
				return no_room(mm, &effort, a);
			brief = false;
		}
		effort = (struct reclaim_effort){ 0 };
	}
	if (is_hunt(mm, &effort, a) && hunts_are_much(mm, effort.took_ns) && !budget_relent(mm)) {
		mm_uncharge(mm, PAGE_SIZE);
		return no_room(mm, &effort, a);
	}
	a->ends_waiting |= mm->full_since_ns != 0;
	mm->full_since_ns = 0;
	return 0;
}

/* -EAGAIN: look at the frame again. */
static int fill(struct mm *mm, uint32_t number, uint32_t want, struct attempt *a)
{
	struct fill_work *work = fill_work_take(mm);
	struct mm_frame *f = mm_frame(mm, number);
	int error = make_room(mm, number, a);

	if (error == 0 && !frame_is_stored(f)) {
		mm_uncharge(mm, PAGE_SIZE);
		error = -EAGAIN;
	}
	if (error == 0) {
		a->kind = mm_tier_of(f->state)->fault;
		collect(mm, work, number, want, a);
		error = fill_runs(mm, work, number, a);
	}
	fill_work_put(mm, work);
	tiers_trim(mm);
	mm_kick_reclaimer(mm);
	return error;
}

/* The frame is resident: let the guest in, with the watched neighbours of a sequential walk. */
static int let_in(struct mm *mm, uint32_t number, struct attempt *a)
{
	struct mm_frame *f = mm_frame(mm, number);
	uint32_t done;
	int error;

	a->kind = MM_FAULT_MINOR;
	a->doing = "mapping it failed";
	if (op_of(mm, f) == FILL_MAP) {
		uint32_t first, count;

		choose_window(mm, number, mm->sizes.window, &first, &count);
		while (count > 1 && op_of(mm, mm_frame(mm, first == number ? first + count - 1
									   : first)) != FILL_MAP) {
			first += first != number;
			count--;
		}
		map_watched(mm, first, count);
		if (f->state == FRAME_MAPPED)
			return 0;
		/* A neighbour may have stood in its way: alone it is its own trouble. */
	}
	error = frame_map(mm, number, 1, &done);
	if (error != 0)
		return error;
	if (f->state == FRAME_EVICTING)
		mm->stats.evictions_cancelled++;
	if (f->state != FRAME_MAPPED) {
		mm_set_state(mm, f, FRAME_MAPPED);
		mm->policy_ops->touched(mm->policy, number);
	}
	return 0;
}

/* Like bring_in(), but may return before this thread has said that its wait for the disk is over.
 */
static int try_to_bring_in(struct mm *mm, uint32_t number, uint32_t want, struct attempt *a)
{
	int error = -EAGAIN;

	while (error == -EAGAIN) {
		const struct mm_frame *f = mm_frame(mm, number);

		if (mm->has_failed)
			return -EIO;
		if (f->state == FRAME_FILLING || f->state == FRAME_RELEASING)
			mm_wait(mm);
		else if (frame_is_resident(f))
			return let_in(mm, number, a);
		else
			error = fill(mm, number, want, a);
		/* Nothing is held meanwhile that others may need. */
		if (error == -ENOSPC && a->full && wait_for_disk(mm, a))
			error = -EAGAIN;
	}
	return error;
}

int bring_in(struct mm *mm, uint32_t number, uint32_t want, struct attempt *a)
{
	int error = try_to_bring_in(mm, number, want, a);

	if (error == 0 && a->ends_waiting)
		end_waiting(mm, a);
	return error;
}

int mm_fault(struct mm *mm, gfn_t frame, bool write)
{
	return mm_fault_of(mm, frame, write, 0);
}

int mm_fault_of(struct mm *mm, gfn_t frame, bool write, int thread)
{
	uint64_t began = clock_now_ns(), took;
	struct attempt a = { .doing = "serving its fault failed", .waits = true };
	enum frame_state was;
	struct mm_notes notes;
	bool dead;
	int error;

	if (!mm_has(mm, frame.v, 1))
		return -ERANGE;
	lock_take(&mm->lock);
	was = mm_frame(mm, (uint32_t)frame.v)->state;
	error = bring_in(mm, (uint32_t)frame.v, 1, &a);
	if (error == 0) {
		took = clock_now_ns() - began;
		mm->stats.faults[a.kind]++;
		mm->stats.stall_ns += took;
		if (a.kind == MM_FAULT_POOL || a.kind == MM_FAULT_SWAP || a.reclaimed)
			mm->stats.pressure_ns += took;
		hist_add(&mm->stats.latency_ns[a.kind], took);
		frame_balloon_touch(mm, (uint32_t)frame.v, was, thread, write);
	}
	dead = mm->has_failed;
	notes = notes_take(mm);
	lock_drop(&mm->lock);
	notes_tell_of_touch(mm, &notes);
	if (error == 0) {
		error = mm->ops->wake(mm->backing, frame, 1);
		a.doing = "waking who waits for it failed";
	}
	notes_say(&notes);
	if (error != 0 && !dead)
		mm_fail(mm, (uint32_t)frame.v, error, a.doing);
	return error;
}

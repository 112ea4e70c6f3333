/*
 * The swap file's row: pages that no other tier wants, and those that tier/write_back.c sends on
 * from the pool.
 *
 * Both go the same way: contiguous slots under the lock, one batched write outside it, and a commit
 * under it of the pages that are still as they were. A failed write changes nothing but a timer:
 * storing rests for a while that doubles with each failure in a row (a full disk may get room
 * again), and only a fault that would otherwise fail tries in between.
 */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "mm/tier/tier.h"

#define BACKOFF_LEAST_NS   (10 * 1000 * 1000ull)
#define BACKOFF_MOST_NS	   (2 * 1000 * 1000 * 1000ull)
#define QUIET_NS	   (10 * 1000 * 1000 * 1000ull) /* between two warnings */
#define SLOTS_PLENTY_SHARE 4	/* keep slots of resident frames while a quarter is free */
#define STEAL_LOOK	   4096 /* frames looked at for a kept slot in one go */
#define GROW_REST_NS	   (1000 * 1000 * 1000ull)

static int create(struct mm *mm, const struct mm_config *config)
{
	int error;

	if (config->swap_directory == NULL)
		return 0;
	error = swap_create(config->swap_directory, mm->sizes.slot_count, config->swap_io, &mm->key,
			    &mm->swap);
	if (error != 0)
		log_error("cannot make a swap file in %s: %s", config->swap_directory,
			  strerror(-error));
	return error;
}

static void destroy(struct mm *mm)
{
	swap_destroy(mm->swap);
}

bool swap_usable(const struct mm *mm, bool forced)
{
	if (mm->swap == NULL)
		return false;
	return forced || mm->swap_backoff_ns == 0 || clock_now_ns() >= mm->swap_retry_ns;
}

static void store_failed(struct mm *mm, int error)
{
	uint64_t next = mm->swap_backoff_ns * 2, now = clock_now_ns();

	if (now >= mm->swap_quiet_ns) {
		mm->notes.store_error = error;
		mm->swap_quiet_ns = now + QUIET_NS;
	}
	mm->swap_backoff_ns = next < BACKOFF_LEAST_NS  ? BACKOFF_LEAST_NS
			      : next > BACKOFF_MOST_NS ? BACKOFF_MOST_NS
						       : next;
	mm->swap_retry_ns = now + mm->swap_backoff_ns;
}

/* The one after it that exists; after the last, the first. */
static uint32_t next_frame(const struct mm *mm, uint32_t number)
{
	const struct mm_range *range = mm_range_of(mm, number);

	if (++number < range->first + range->count)
		return number;
	return range + 1 < mm->ranges + mm->range_count ? range[1].first : mm->ranges[0].first;
}

/* Free up to want kept slots of resident frames, which lose no content by it. */
static void steal_slots(struct mm *mm, uint32_t want)
{
	uint32_t look = mm->frame_count < STEAL_LOOK ? mm->frame_count : STEAL_LOOK;

	while (look-- > 0 && want > 0 && mm->kept_slots > 0) {
		struct mm_frame *f = mm_frame(mm, mm->steal_hand);

		mm->steal_hand = next_frame(mm, mm->steal_hand);
		if ((f->state != FRAME_MAPPED && f->state != FRAME_WATCHED) ||
		    (f->flags & FRAME_BATCH) || f->where == FRAME_NOWHERE)
			continue;
		frame_drop_slot(mm, f);
		want--;
	}
}

/* Slots for count pages into work->pages, as contiguous as can be. How many there were. */
uint32_t swap_assign_slots(struct mm *mm, struct reclaim_work *work, uint32_t count)
{
	uint32_t done = 0;
	bool stolen = false;

	if (swap_is_full(mm->swap) && clock_now_ns() >= mm->swap_grow_ns)
		swap_try_to_grow(mm->swap);
	while (done < count) {
		uint32_t got;
		uint32_t slot = swap_alloc(mm->swap, count - done, &got, mm_charge_table, mm);

		if (slot == SWAP_NO_SLOT) {
			if (stolen)
				break;
			steal_slots(mm, count - done);
			stolen = true;
			continue;
		}
		for (uint32_t i = 0; i < got; i++)
			work->pages[done + i].slot = slot + i;
		done += got;
	}
	mm->slots_in_flight += done;
	if (done < count) {
		/* Or there are slots, and no budget for their hashes. */
		store_failed(mm, swap_is_full(mm->swap)		  ? -ENOSPC
				 : swap_slots_free(mm->swap) == 0 ? NOTE_SWAP_LIMIT
								  : -ENOMEM);
		work->disk_full |= swap_is_full(mm->swap);
	}
	return done;
}

/*
 * A disk without room for new slots is no reason to rest while there are old ones to write to:
 * growing is what rests then.
 */
static void note_write(struct mm *mm, struct reclaim_work *work, uint32_t count, int error)
{
	uint64_t backoff = mm->swap_backoff_ns, now = clock_now_ns();
	bool was_full = swap_is_full(mm->swap), goes_on;

	goes_on = swap_wrote(mm->swap, work->pages, count);
	work->disk_full |= error == -ENOSPC || error == -EDQUOT;
	if (error == 0) {
		mm->swap_backoff_ns = 0;
		return;
	}
	store_failed(mm, error);
	if (!was_full && swap_is_full(mm->swap))
		mm->swap_grow_ns = now + GROW_REST_NS;
	if (goes_on) {
		mm->swap_backoff_ns = backoff;
		mm->swap_retry_ns = now;
	}
}

/* Write work->pages without the lock. The first error among them. */
int swap_write_pages(struct mm *mm, struct reclaim_work *work, uint32_t count)
{
	int error = 0;

	lock_drop(&mm->lock);
	swap_write(mm->swap, work->pages, count);
	lock_take(&mm->lock);
	for (uint32_t i = 0; i < count; i++) {
		work->wrote |= work->pages[i].error == 0;
		if (error == 0)
			error = work->pages[i].error;
	}
	mm->slots_in_flight -= count;
	if (count > 0)
		note_write(mm, work, count, error);
	return error;
}

static void begin(struct mm *mm, struct reclaim_work *work, bool forced)
{
	work->swap = swap_usable(mm, forced);
	if (work->swap && forced && swap_slots_spare(mm->swap) == 0)
		swap_try_to_grow(mm->swap);
}

/* Its page's hash, found once. Without the lock. */
static void hash_victim(struct mm *mm, struct victim *v, const void *page)
{
	if (!v->hashed)
		v->hash = hash_page(&mm->key, page);
	v->hashed = true;
}

/* A copy in a slot from before, which the page still equals. */
static bool has(struct mm *mm, struct reclaim_work *work, struct victim *v)
{
	if (v->slot == FRAME_NOWHERE)
		return false;
	hash_victim(mm, v, work->page);
	v->clean = swap_hash_equal(mm->swap, v->slot, v->hash);
	return v->clean;
}

static bool take(struct mm *mm, struct reclaim_work *work, struct victim *v, char *packed)
{
	if (work->swap)
		hash_victim(mm, v, work->page);
	return work->swap;
}

/* Stores a clean victim, whose kept slot has its content. The others are written later, in one
 * batch. */
static void keep(struct mm *mm, struct reclaim_work *work, struct victim *v, const char *packed)
{
	if (!v->clean)
		return;
	mm->stats.evictions_clean++;
	mm->kept_slots--; /* its kept slot is its content again */
	mm_frame(mm, v->frame)->where = FRAME_NOWHERE;
	victim_stored(mm, v, FRAME_SWAPPED, v->slot);
}

/* The victims for the swap, in order. */
static uint32_t gather(struct mm *mm, struct reclaim_work *work, uint32_t *indices)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < work->victim_count; i++) {
		struct victim *v = &work->victims[i];

		if (v->outcome != OUT_TAKEN || v->tier != &mm_tier_swap)
			continue;
		if (mm_frame(mm, v->frame)->state != FRAME_EVICTING) {
			v->outcome = OUT_CANCELLED;
			continue;
		}
		/* Its kept slot no longer matches (it would be clean): free it for this batch. */
		frame_drop_slot(mm, mm_frame(mm, v->frame));
		work->pages[count].memory = mm->ops->page(mm->backing, gfn(v->frame));
		indices[count++] = i;
	}
	return count;
}

/* Hashes for those that were meant for the pool; without the lock. */
static void hash_victims(struct mm *mm, struct reclaim_work *work, const uint32_t *indices,
			 uint32_t count)
{
	lock_drop(&mm->lock);
	for (uint32_t i = 0; i < count; i++)
		hash_victim(mm, &work->victims[indices[i]], work->pages[i].memory);
	lock_take(&mm->lock);
}

static void write_batch(struct mm *mm, struct reclaim_work *work)
{
	uint32_t indices[BATCH_MAX];
	uint32_t count = gather(mm, work, indices), assigned;

	if (count == 0)
		return;
	assigned = swap_assign_slots(mm, work, count);
	for (uint32_t i = assigned; i < count; i++)
		work->victims[indices[i]].outcome = OUT_KEEP;
	if (assigned == 0)
		return;
	hash_victims(mm, work, indices, assigned);
	swap_write_pages(mm, work, assigned);
	for (uint32_t i = 0; i < assigned; i++) {
		struct victim *v = &work->victims[indices[i]];
		uint32_t slot = work->pages[i].slot;

		if (work->pages[i].error != 0 || mm_frame(mm, v->frame)->state != FRAME_EVICTING) {
			swap_free(mm->swap, slot);
			v->outcome = work->pages[i].error != 0 ? OUT_KEEP : OUT_CANCELLED;
			continue;
		}
		swap_set_hash(mm->swap, slot, v->hash);
		mm->stats.evictions_swapped++;
		victim_stored(mm, v, FRAME_SWAPPED, slot);
	}
}

static void keep_batch(struct mm *mm, struct reclaim_work *work)
{
	write_batch(mm, work);
	work->disk_full |= work->unplaced && mm->swap != NULL && swap_is_full(mm->swap);
}

static int load(struct mm *mm, struct fill_work *work, const struct fill_run *run, uint32_t *ready)
{
	int error = 0;

	for (uint32_t i = 0; i < run->count; i++)
		work->pages[i] = (struct swap_page){ mm_frame(mm, run->first + i)->where,
						     work->staging + i * PAGE_SIZE, 0 };
	lock_drop(&mm->lock);
	swap_read(mm->swap, work->pages, run->count);
	for (*ready = 0; *ready < run->count && error == 0; ++*ready)
		error = work->pages[*ready].error;
	if (error != 0)
		--*ready;
	lock_take(&mm->lock);
	return error;
}

/* The slot stays, as a copy, while there are plenty. */
static void loaded(struct mm *mm, struct mm_frame *f)
{
	mm->kept_slots++;
	if (swap_slots_free(mm->swap) < mm->sizes.slot_count / SLOTS_PLENTY_SHARE)
		frame_drop_slot(mm, f);
}

static void drop(struct mm *mm, struct mm_frame *f)
{
	swap_free(mm->swap, f->where);
}

/*
 * The slot is not ours: while it is read its frame may be brought in, and the slot freed and
 * written again. So the frame is looked at again afterwards. The same state, slot and eviction
 * stamp mean the same object all along, and only then does a wrong hash mean damage.
 */
static int look(struct mm *mm, uint32_t number, struct mm_look *look, void *page)
{
	struct mm_frame before = *mm_frame(mm, number), now;
	bool intact, moved;
	int error;

	look->slot = before.where;
	lock_drop(&mm->lock);
	if (page == NULL)
		return 0;
	error = swap_read_unverified(mm->swap, before.where, page);
	lock_take(&mm->lock);
	now = *mm_frame(mm, number);
	moved = frame_content(&now) != FRAME_SWAPPED || now.where != before.where ||
		now.word != before.word;
	intact = error == 0 && !moved &&
		 swap_hash_equal(mm->swap, now.where, hash_page(&mm->key, page));
	lock_drop(&mm->lock);
	if (moved)
		return -EAGAIN;
	if (error != 0)
		return error;
	return intact ? 0 : -EBADMSG;
}

static void stats(const struct mm *mm, struct mm_stats *stats)
{
	stats->swap_bytes = mm->swap != NULL ? swap_slots_used(mm->swap) * PAGE_SIZE : 0;
	stats->swap_frames = mm->count[FRAME_SWAPPED];
}

static int check(const struct mm *mm, const uint32_t content[FRAME_STATES], FILE *out)
{
	if (mm->swap == NULL)
		return 0;
	return mm_differ(out, "swap slots", swap_slots_used(mm->swap),
			 (uint64_t)content[FRAME_SWAPPED] + mm->kept_slots + mm->slots_in_flight) +
	       swap_check(mm->swap, out);
}

const struct mm_tier_ops mm_tier_swap = {
	.fault = MM_FAULT_SWAP,
	.load_failed = "reading it back from the swap file failed",
	.slow = true,
	.create = create,
	.destroy = destroy,
	.begin = begin,
	.has = has,
	.take = take,
	.keep = keep,
	.keep_batch = keep_batch,
	.load = load,
	.loaded = loaded,
	.drop = drop,
	.look = look,
	.stats = stats,
	.check = check,
};

bool punch_some(struct mm *mm)
{
	uint32_t first, count;
	int error;

	if (mm->swap == NULL || !swap_punch_begin(mm->swap, &first, &count))
		return false;
	mm->slots_in_flight += count;
	lock_drop(&mm->lock);
	error = swap_punch(mm->swap, first, count);
	lock_take(&mm->lock);
	mm->slots_in_flight -= count;
	swap_punch_end(mm->swap, first, count, error);
	return true;
}

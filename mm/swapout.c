/*
 * Pages on their way to the swap file: victims that no other tier wants, and the pool's oldest
 * objects once the pool is over its share.
 *
 * Both go the same way: contiguous slots under the lock, one batched write outside it, commit
 * under it what is still as it was. A failed write changes nothing but a timer: storing rests for
 * a while that doubles with each failure in a row (a full disk may get room again), and only a
 * fault that would otherwise fail tries in between.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "mm/mm_internal.h"

#define BACKOFF_LEAST_NS (10 * 1000 * 1000ull)
#define BACKOFF_MOST_NS	 (2 * 1000 * 1000 * 1000ull)
#define QUIET_NS	 (10 * 1000 * 1000 * 1000ull) /* between two warnings */
#define STEAL_LOOK	 4096 /* frames looked at for a kept slot in one go */
#define COLD_TURNS	 2
#define WRITE_BACKS	 8 /* in one go */
#define GROW_REST_NS	 (1000 * 1000 * 1000ull)
#define CAP_SLACK_SHARE	 8 /* direct reclaim lets the pool run over its cap by so much */

bool swap_usable(struct mm *mm, bool forced)
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
static uint32_t assign_slots(struct mm *mm, struct reclaim_work *work, uint32_t count)
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
static int write_pages(struct mm *mm, struct reclaim_work *work, uint32_t count)
{
	int error = 0;

	pthread_mutex_unlock(&mm->lock);
	swap_write(mm->swap, work->pages, count);
	pthread_mutex_lock(&mm->lock);
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

/* The victims for the swap, in order. */
static uint32_t gather(struct mm *mm, struct reclaim_work *work, uint32_t *indices)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < work->victim_count; i++) {
		struct victim *v = &work->victims[i];

		if (v->outcome != OUT_SWAP)
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
	pthread_mutex_unlock(&mm->lock);
	for (uint32_t i = 0; i < count; i++) {
		struct victim *v = &work->victims[indices[i]];

		if (!v->hashed)
			v->hash = hash_page(&mm->key, work->pages[i].memory);
	}
	pthread_mutex_lock(&mm->lock);
}

void swap_out_victims(struct mm *mm, struct reclaim_work *work)
{
	uint32_t indices[BATCH_MAX];
	uint32_t count = gather(mm, work, indices), assigned;

	if (count == 0)
		return;
	assigned = assign_slots(mm, work, count);
	for (uint32_t i = assigned; i < count; i++)
		work->victims[indices[i]].outcome = OUT_KEEP;
	if (assigned == 0)
		return;
	hash_victims(mm, work, indices, assigned);
	write_pages(mm, work, assigned);
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
		victim_stored(mm, v, FRAME_SWAP, slot);
	}
}

bool write_back_due(struct mm *mm, bool lenient)
{
	uint64_t cap = mm->sizes.pool_cap;

	if (mm->swap == NULL || mm->has_failed)
		return false;
	if (lenient)
		cap += cap / CAP_SLACK_SHARE;
	return pool_bytes(mm->pool) > cap && swap_usable(mm, false);
}

/*
 * What has lain in the pool while everything in memory could have been replaced this often is
 * colder than any resident page, and its room is worth more to those. Without this, a walk that
 * only reads turns over its resident pages for ever (they are clean: their slots stand) under a
 * frozen pool.
 */
bool pool_is_cold(struct mm *mm, struct reclaim_work *work)
{
	uint64_t turn = (uint64_t)mm->count[FRAME_MAPPED] + mm->count[FRAME_WATCHED] +
			pool_objects(mm->pool);
	uint32_t cursor = 0, count, cold = 0;

	if (mm->swap == NULL || mm->has_failed || !swap_usable(mm, false))
		return false;
	count = pool_oldest(mm->pool, &cursor, false, work->owners, mm->sizes.write_back);
	for (uint32_t i = 0; i < count; i++) {
		const struct mm_frame *f = mm_frame(mm, work->owners[i]);

		cold += f->state == FRAME_POOL &&
			mm->eviction_clock - (uint32_t)f->word > COLD_TURNS * turn;
	}
	/* Old blocks take in young objects where room came free; they go along. */
	return cold > count / 2;
}

/* The frames whose objects go, marked BATCH, into work->owners. */
static uint32_t mark_oldest(struct mm *mm, struct reclaim_work *work, bool dense)
{
	uint32_t cursor = 0, count = 0, named;

	do {
		named = pool_oldest(mm->pool, &cursor, dense, work->owners, work->write_back);
		count = 0;
		for (uint32_t i = 0; i < named; i++) {
			struct mm_frame *f = mm_frame(mm, work->owners[i]);

			if (f->state != FRAME_POOL || (f->flags & FRAME_BATCH))
				continue;
			f->flags |= FRAME_BATCH;
			work->owners[count++] = work->owners[i];
		}
	} while (count == 0 && cursor != 0);
	return count;
}

/* Decompress the marked objects that are still there; drops the lock by turns. */
static uint32_t unpack_oldest(struct mm *mm, struct reclaim_work *work, uint32_t marked,
			      uint32_t *owners)
{
	uint32_t done = 0;

	for (uint32_t i = 0; i < marked;) {
		uint32_t n = 0;

		for (; i < marked && n < PACK_MAX; i++) {
			struct mm_frame *f = mm_frame(mm, work->owners[i]);

			if (f->state != FRAME_POOL)
				continue;
			pool_load(mm->pool, f->where, &work->objects[n],
				  work->packed + n * POOL_OBJECT_MAX);
			n++;
		}
		pthread_mutex_unlock(&mm->lock);
		for (uint32_t k = 0; k < n; k++) {
			const struct pool_object *object = &work->objects[k];
			const char *data = work->packed + k * POOL_OBJECT_MAX;
			char *page = work->staging + done * PAGE_SIZE;

			/* A damaged one is left where it is: whoever needs it will say so. */
			if (hash_object(&mm->key, data, object->length) != object->checksum ||
			    codec_decompress(&work->codec, data, object->length, page) != 0)
				continue;
			work->hashes[done] = hash_page(&mm->key, page);
			work->pages[done].memory = page;
			owners[done++] = object->owner;
		}
		pthread_mutex_lock(&mm->lock);
	}
	return done;
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

uint32_t write_back(struct mm *mm, struct reclaim_work *work, bool dense)
{
	uint32_t owners[SWAP_BATCH];
	uint32_t marked = mark_oldest(mm, work, dense), ready, assigned, moved = 0;

	qsort(work->owners, marked, sizeof(work->owners[0]), by_number);
	ready = unpack_oldest(mm, work, marked, owners);
	assigned = ready > 0 ? assign_slots(mm, work, ready) : 0;
	if (assigned > 0)
		write_pages(mm, work, assigned);
	for (uint32_t i = 0; i < assigned; i++) {
		struct mm_frame *f = mm_frame(mm, owners[i]);

		/* BATCH kept it from being evicted anew: if it is POOL, it is the same object. */
		if (work->pages[i].error != 0 || f->state != FRAME_POOL) {
			swap_free(mm->swap, work->pages[i].slot);
			continue;
		}
		pool_free(mm->pool, f->where);
		f->where = work->pages[i].slot;
		swap_set_hash(mm->swap, f->where, work->hashes[i]);
		mm_set_state(mm, f, FRAME_SWAP);
		moved++;
	}
	for (uint32_t i = 0; i < marked; i++) {
		mm_frame(mm, work->owners[i])->flags &= (uint8_t)~FRAME_BATCH;
		frame_offer(mm, work->owners[i]);
	}
	mm->stats.written_back += moved;
	mm_wake(mm);
	return moved;
}

uint32_t drain_pool(struct mm *mm, struct reclaim_work *work, bool lenient)
{
	uint32_t total = 0;

	for (int i = 0; i < WRITE_BACKS && write_back_due(mm, lenient); i++) {
		uint32_t moved = write_back(mm, work, true);

		if (moved == 0)
			break;
		total += moved;
	}
	return total;
}

bool punch_some(struct mm *mm)
{
	uint32_t first, count;
	int error;

	if (mm->swap == NULL || !swap_punch_begin(mm->swap, &first, &count))
		return false;
	mm->slots_in_flight += count;
	pthread_mutex_unlock(&mm->lock);
	error = swap_punch(mm->swap, first, count);
	pthread_mutex_lock(&mm->lock);
	mm->slots_in_flight -= count;
	swap_punch_end(mm->swap, first, count, error);
	return true;
}

/*
 * From the pool to the swap file: the pool's oldest objects, once it is over its share, or once
 * they are colder than all that is resident.
 */
#include <stdlib.h>

#include "mm/tier/tier.h"

#define COLD_TURNS	2
#define CAP_SLACK_SHARE 8 /* direct reclaim lets the pool run over its cap by so much */

bool pool_is_over(const struct mm *mm, bool lenient)
{
	uint64_t cap = mm->sizes.pool_cap;

	if (lenient)
		cap += cap / CAP_SLACK_SHARE;
	return pool_bytes(mm->pool) > cap && swap_usable(mm, false);
}

/*
 * Pages that have lain in the pool while everything in memory could have been replaced this often
 * are colder than any resident page, and their room is worth more to resident ones. Without this, a
 * walk that only reads turns over its resident pages for ever (they are clean: their slots stand)
 * under a frozen pool.
 */
bool pool_is_cold(struct mm *mm, struct reclaim_work *work)
{
	uint64_t turn = (uint64_t)mm->count[FRAME_MAPPED] + mm->count[FRAME_WATCHED] +
			pool_objects(mm->pool);
	uint32_t cursor = 0, count, cold = 0;

	if (!swap_usable(mm, false))
		return false;
	count = pool_oldest(mm->pool, &cursor, false, work->owners, mm->sizes.write_back);
	for (uint32_t i = 0; i < count; i++) {
		const struct mm_frame *f = mm_frame(mm, work->owners[i]);

		cold += f->state == FRAME_COMPRESSED &&
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

			if (f->state != FRAME_COMPRESSED || (f->flags & FRAME_BATCH))
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

			if (f->state != FRAME_COMPRESSED)
				continue;
			pool_load(mm->pool, f->where, &work->objects[n],
				  work->packed + n * POOL_OBJECT_MAX);
			n++;
		}
		lock_drop(&mm->lock);
		for (uint32_t k = 0; k < n; k++) {
			const struct pool_object *object = &work->objects[k];
			const char *data = work->packed + k * POOL_OBJECT_MAX;
			char *page = work->staging + done * PAGE_SIZE;

			/* A damaged one is left where it is: a fault that needs it will report
			 * it. */
			if (pool_unpack(mm, &work->codec, object, data, page) != 0)
				continue;
			work->hashes[done] = hash_page(&mm->key, page);
			work->pages[done].memory = page;
			owners[done++] = object->owner;
		}
		lock_take(&mm->lock);
	}
	return done;
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

uint32_t pool_give(struct mm *mm, struct reclaim_work *work, bool dense)
{
	uint32_t owners[SWAP_BATCH];
	uint32_t marked, ready, assigned, moved = 0;

	if (mm->swap == NULL)
		return 0;
	marked = mark_oldest(mm, work, dense);
	qsort(work->owners, marked, sizeof(work->owners[0]), by_number);
	ready = unpack_oldest(mm, work, marked, owners);
	assigned = ready > 0 ? swap_assign_slots(mm, work, ready) : 0;
	if (assigned > 0)
		swap_write_pages(mm, work, assigned);
	for (uint32_t i = 0; i < assigned; i++) {
		struct mm_frame *f = mm_frame(mm, owners[i]);

		/* BATCH kept it from being evicted anew: if it is COMPRESSED, it is the same
		 * object. */
		if (work->pages[i].error != 0 || f->state != FRAME_COMPRESSED) {
			swap_free(mm->swap, work->pages[i].slot);
			continue;
		}
		pool_free(mm->pool, f->where);
		f->where = work->pages[i].slot;
		swap_set_hash(mm->swap, f->where, work->hashes[i]);
		mm_set_state(mm, f, FRAME_SWAPPED);
		moved++;
	}
	for (uint32_t i = 0; i < marked; i++) {
		mm_frame(mm, work->owners[i])->flags &= (uint8_t)~FRAME_BATCH;
		frame_offer(mm, work->owners[i]);
	}
	tiers_trim(mm);
	mm->stats.written_back += moved;
	mm_wake(mm);
	return moved;
}

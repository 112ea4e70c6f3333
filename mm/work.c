/*
 * Works: the buffers and codec state a thread needs to fill or to reclaim. One of each is made at
 * the start (two for reclaim, where the background reclaimer may be at it while a fault reclaims
 * directly); another is made when it is needed and the budget has room.
 *
 * Staging memory is reserved for the largest sizes and charged for those that the budget in force
 * allows: when they change, a work that is not busy gives its tail back to the host, or may use
 * more of it.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "mm/mm_internal.h"

static void *page_buffer(uint64_t bytes)
{
	void *buffer = NULL;

	return posix_memalign(&buffer, PAGE_SIZE, bytes) == 0 ? buffer : NULL;
}

static void fill_work_free(struct fill_work *work)
{
	if (work == NULL)
		return;
	codec_finish(&work->codec);
	free(work->staging);
	free(work->packed);
	free(work);
}

static struct fill_work *fill_work_new(struct mm *mm)
{
	struct fill_work *work = calloc(1, sizeof(*work));

	if (work == NULL)
		return NULL;
	work->window = mm->sizes.swap_window;
	work->staging = page_buffer(SWAP_BATCH * PAGE_SIZE);
	work->packed = malloc(PACK_MAX * POOL_OBJECT_MAX);
	if (work->staging == NULL || work->packed == NULL ||
	    codec_init(&work->codec, mm->compressor) != 0) {
		fill_work_free(work);
		return NULL;
	}
	return work;
}

static void reclaim_work_free(struct reclaim_work *work)
{
	if (work == NULL)
		return;
	codec_finish(&work->codec);
	free(work->page);
	free(work->packed);
	free(work->staging);
	free(work);
}

static struct reclaim_work *reclaim_work_new(struct mm *mm)
{
	struct reclaim_work *work = calloc(1, sizeof(*work));

	if (work == NULL)
		return NULL;
	work->page = page_buffer(PAGE_SIZE);
	work->packed = malloc(PACK_MAX * POOL_OBJECT_MAX);
	work->write_back = mm->sizes.write_back;
	work->staging = page_buffer(SWAP_BATCH * PAGE_SIZE);
	if (work->page == NULL || work->packed == NULL || work->staging == NULL ||
	    codec_init(&work->codec, mm->compressor) != 0) {
		reclaim_work_free(work);
		return NULL;
	}
	return work;
}

/* One more of a kind, charged; false when it may not be or cannot be had. */
static bool grow(struct mm *mm, uint64_t bytes, uint64_t limit)
{
	if (!mm_charge(mm, bytes, limit))
		return false;
	mm->tables += bytes;
	return true;
}

static void shrink(struct mm *mm, uint64_t bytes)
{
	mm_uncharge(mm, bytes);
	mm->tables -= bytes;
}

static bool add_fill_work(struct mm *mm, unsigned i)
{
	if (!grow(mm, mm->sizes.fill_work_bytes, mm->sizes.limit))
		return false;
	mm->fill_works[i] = fill_work_new(mm);
	if (mm->fill_works[i] == NULL)
		shrink(mm, mm->sizes.fill_work_bytes);
	return mm->fill_works[i] != NULL;
}

static bool add_reclaim_work(struct mm *mm, unsigned i)
{
	if (!grow(mm, mm->sizes.reclaim_work_bytes, mm->sizes.limit))
		return false;
	mm->reclaim_works[i] = reclaim_work_new(mm);
	if (mm->reclaim_works[i] == NULL)
		shrink(mm, mm->sizes.reclaim_work_bytes);
	return mm->reclaim_works[i] != NULL;
}

/* So many pages of staging from now on; fewer than wanted if they may not be charged. */
static uint32_t fit(struct mm *mm, char *staging, uint32_t pages, uint32_t wanted)
{
	if (wanted > pages)
		return grow(mm, (wanted - pages) * PAGE_SIZE, mm->sizes.limit) ? wanted : pages;
	if (wanted < pages) {
		madvise(staging + wanted * PAGE_SIZE, (pages - wanted) * PAGE_SIZE, MADV_DONTNEED);
		shrink(mm, (pages - wanted) * PAGE_SIZE);
	}
	return wanted;
}

void works_fit(struct mm *mm)
{
	for (unsigned i = 0; i < WORK_MAX; i++) {
		struct fill_work *f = mm->fill_works[i];
		struct reclaim_work *r = mm->reclaim_works[i];

		if (f != NULL && !f->busy)
			f->window = fit(mm, f->staging, f->window, mm->sizes.swap_window);
		if (r != NULL && !r->busy)
			r->write_back = fit(mm, r->staging, r->write_back, mm->sizes.write_back);
	}
}

int works_init(struct mm *mm)
{
	unsigned reclaimers = works_at_start(&mm->config);

	if (!add_fill_work(mm, 0))
		return -ENOMEM;
	for (unsigned i = 0; i < reclaimers; i++)
		if (!add_reclaim_work(mm, i))
			return -ENOMEM;
	return 0;
}

void works_finish(struct mm *mm)
{
	for (unsigned i = 0; i < WORK_MAX; i++) {
		fill_work_free(mm->fill_works[i]);
		reclaim_work_free(mm->reclaim_works[i]);
	}
}

struct fill_work *fill_work_take(struct mm *mm)
{
	for (;;) {
		for (unsigned i = 0; i < WORK_MAX; i++) {
			if (mm->fill_works[i] == NULL && !add_fill_work(mm, i))
				continue;
			if (!mm->fill_works[i]->busy) {
				mm->fill_works[i]->busy = true;
				return mm->fill_works[i];
			}
		}
		mm_wait(mm);
	}
}

void fill_work_put(struct mm *mm, struct fill_work *work)
{
	work->busy = false;
	works_fit(mm);
	mm_wake(mm);
}

struct reclaim_work *reclaim_work_take(struct mm *mm, bool wait)
{
	for (;;) {
		for (unsigned i = 0; i < WORK_MAX; i++) {
			if (mm->reclaim_works[i] == NULL && !add_reclaim_work(mm, i))
				continue;
			if (!mm->reclaim_works[i]->busy) {
				mm->reclaim_works[i]->busy = true;
				return mm->reclaim_works[i];
			}
		}
		if (!wait)
			return NULL;
		mm_wait(mm);
	}
}

void reclaim_work_put(struct mm *mm, struct reclaim_work *work)
{
	work->busy = false;
	works_fit(mm);
	mm_wake(mm);
}

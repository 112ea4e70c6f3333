/* The compressed pool's row: objects in host memory, within the budget. */
#include <errno.h>

#include "base/units.h"
#include "mm/tier/tier.h"

#define HASH_RESERVE   KIB(32)
#define COMPACT_BLOCKS 2 /* a batch */

/*
 * With a swap to go to, an object this much smaller than a page is not worth its pool memory:
 * what it frees does not pay for keeping it.
 */
#define WORTH_POOL_BYTES (PAGE_SIZE * 3 / 4)

/*
 * The pool leaves a little of the reserve to the swap's hashes: a page of them is what lets 256
 * pages go to the swap, and without it a full pool would look like a full disk.
 */
static bool charge(void *context, uint64_t bytes)
{
	struct mm *mm = context;
	uint64_t left = mm->swap != NULL ? HASH_RESERVE : 0;

	return mm_charge(mm, bytes, mm->budget == UINT64_MAX ? UINT64_MAX : mm->budget - left);
}

static void uncharge(void *context, uint64_t bytes)
{
	mm_uncharge(context, bytes);
}

static void moved(void *context, uint32_t owner, uint32_t handle)
{
	((struct mm *)context)->frames[owner].where = handle;
}

static int create(struct mm *mm, const struct mm_config *config)
{
	struct pool_host host = { charge, uncharge, moved, mm };

	return pool_create(mm->sizes.pool_max, &host, &mm->pool);
}

static void destroy(struct mm *mm)
{
	pool_destroy(mm->pool);
}

static uint64_t bytes(const struct mm *mm)
{
	return pool_bytes(mm->pool);
}

static void begin(struct mm *mm, struct reclaim_work *work, bool forced)
{
	pool_compact(mm->pool, COMPACT_BLOCKS);
}

static bool take(struct mm *mm, struct reclaim_work *work, struct victim *v, char *packed)
{
	size_t limit = work->swap ? WORTH_POOL_BYTES : POOL_OBJECT_MAX, length;

	if (mm->compressor == MM_COMPRESSOR_NONE)
		return false;
	length = codec_compress(&work->codec, work->page, packed, limit);
	if (length == 0)
		return false;
	v->length = (uint16_t)length;
	v->value = hash_object(&mm->key, packed, length);
	return true;
}

/*
 * Into the pool. When that has no memory, the pages this batch has stored already are given back
 * first, which makes some (their objects stay); after that it is the swap's turn, if there is one.
 */
static void keep(struct mm *mm, struct reclaim_work *work, struct victim *v, const char *packed)
{
	struct pool_object object = { v->frame, v->length, v->value };
	struct mm_frame *f = mm_frame(mm, v->frame);
	uint32_t handle, gone;

	while (pool_store(mm->pool, &object, packed, &handle) != 0) {
		if (work->swap) {
			v->tier = &mm_tier_swap;
			return;
		}
		gone = victims_release(mm, work);
		work->gone += gone;
		if (f->state != FRAME_EVICTING) {
			v->outcome = OUT_CANCELLED;
			return;
		}
		if (gone == 0) {
			v->outcome = OUT_KEEP;
			return;
		}
	}
	mm->stats.evictions_compressed++;
	victim_stored(mm, v, FRAME_COMPRESSED, handle);
}

int pool_unpack(struct mm *mm, struct codec *codec, const struct pool_object *object,
		const char *data, void *page)
{
	if (hash_object(&mm->key, data, object->length) != object->checksum)
		return -EBADMSG;
	return codec_decompress(codec, data, object->length, page);
}

/* Objects out of the pool, a handful to a turn of the lock. *ready: how many came out well. */
static int load(struct mm *mm, struct fill_work *work, const struct fill_run *run, uint32_t *ready)
{
	int error = 0;

	*ready = 0;
	while (*ready < run->count && error == 0) {
		uint32_t n = run->count - *ready < PACK_MAX ? run->count - *ready : PACK_MAX;

		for (uint32_t i = 0; i < n; i++)
			pool_load(mm->pool, mm_frame(mm, run->first + *ready + i)->where,
				  &work->objects[i], work->packed + i * POOL_OBJECT_MAX);
		lock_drop(&mm->lock);
		for (uint32_t i = 0; i < n; i++) {
			const struct pool_object *object = &work->objects[i];

			error = object->owner != run->first + *ready
					? -EBADMSG
					: pool_unpack(mm, &work->codec, object,
						      work->packed + i * POOL_OBJECT_MAX,
						      work->staging + *ready * PAGE_SIZE);
			if (error != 0)
				break;
			++*ready;
		}
		lock_take(&mm->lock);
	}
	return error;
}

static void drop(struct mm *mm, struct mm_frame *f)
{
	pool_free(mm->pool, f->where);
}

static void loaded(struct mm *mm, struct mm_frame *f)
{
	drop(mm, f);
	f->where = FRAME_NOWHERE;
}

/* The lock is held, and dropped; the object is a copy by then. */
static int look(struct mm *mm, uint32_t number, struct mm_look *look, void *page)
{
	struct pool_object object;
	char data[POOL_OBJECT_MAX];

	pool_load(mm->pool, mm_frame(mm, number)->where, &object, data);
	lock_drop(&mm->lock);
	look->codec = codec_name(mm->compressor);
	look->length = object.length;
	if (page == NULL)
		return 0;
	if (object.owner != number || hash_object(&mm->key, data, object.length) != object.checksum)
		return -EBADMSG;
	return codec_decompress_once(mm->compressor, data, object.length, page);
}

static void trim(struct mm *mm)
{
	struct pool_trim t;

	while (pool_trim_begin(mm->pool, &t)) {
		lock_drop(&mm->lock);
		pool_trim_give(mm->pool, &t);
		lock_take(&mm->lock);
		pool_trim_end(mm->pool, &t);
	}
}

static void stats(const struct mm *mm, struct mm_stats *stats)
{
	stats->pool_bytes = pool_bytes(mm->pool);
	stats->pool_stored_bytes = pool_stored(mm->pool);
	stats->pool_frames = pool_objects(mm->pool);
}

static int check(const struct mm *mm, const uint32_t content[FRAME_STATES], FILE *out)
{
	return mm_differ(out, "pool objects", pool_objects(mm->pool), content[FRAME_COMPRESSED]) +
	       pool_check(mm->pool, out);
}

const struct mm_tier_ops mm_tier_pool = {
	.fault = MM_FAULT_POOL,
	.load_failed = "reading it back from the compressed pool failed",
	.create = create,
	.destroy = destroy,
	.bytes = bytes,
	.trim = trim,
	.is_over = pool_is_over,
	.is_cold = pool_is_cold,
	.give = pool_give,
	.begin = begin,
	.take = take,
	.keep = keep,
	.load = load,
	.loaded = loaded,
	.drop = drop,
	.look = look,
	.stats = stats,
	.check = check,
};

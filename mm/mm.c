/*
 * The manager's making and unmaking, its budget, its counters and its self-check.
 *
 * The budget covers resident frames, the pool's blocks and the manager's own tables (frame
 * records, the policy's array, the swap's bitmap and hashes, the staging memory of fills and
 * reclaim). Everything is charged before it is taken and uncharged after it was given back, so
 * `held` never understates and `peak` is the truth.
 *
 *   0                                     limit - high  limit - low   limit      budget
 *   |--- tables --- pool --- resident ------|-------------|-------------|----------|
 *                                        reclaimer     reclaimer    fills stop:   only reclaim
 *                                        stops         starts       direct        (pool blocks,
 *                                                                   reclaim       hashes)
 *
 * Reclaim needs memory to give memory back: an object is in the pool before its page is released.
 * That is what the reserve above the limit is for.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/units.h"
#include "mm/mm_internal.h"

#define RESERVE_LEAST KIB_BYTES(192)
#define RESERVE_MOST  KIB_BYTES(4096)
#define KIB_BYTES(n)  ((uint64_t)(n)*1024)
#define HASH_RESERVE  KIB_BYTES(32)
#define WORKING_PAGES 512 /* the least a guest may have resident, pinned pages among them */
/*
 * The pool's share of what the tables leave, where there is a swap to take the rest. Every page in
 * the pool costs half a resident page and saves a disk read. bench_mm over twice the budget, with
 * a disk that answers in 60 us: zipf walks cost 14.2, 16.8 and 20.6 us a touch at 25, 50 and 75%,
 * uniform ones 52 at each; a slower disk moves the best upwards. A third is between.
 */
#define POOL_CAP_PERCENT 33

static uint64_t clamp(uint64_t value, uint64_t least, uint64_t most)
{
	return value < least ? least : value > most ? most : value;
}

static void work_sizes(const struct mm_config *config, struct mm_sizes *s)
{
	uint64_t packed = PACK_MAX * POOL_OBJECT_MAX + codec_bytes(config->compressor);

	s->fill_work_bytes = sizeof(struct fill_work) + s->swap_window * PAGE_SIZE + packed;
	s->reclaim_work_bytes =
		sizeof(struct reclaim_work) + (1 + s->write_back) * PAGE_SIZE + packed;
}

void mm_sizes_for(const struct mm_config *config, uint64_t budget, struct mm_sizes *s)
{
	uint64_t guest = (uint64_t)config->frame_count * PAGE_SIZE;
	bool swaps = config->swap_directory != NULL;
	uint64_t spare;

	*s = (struct mm_sizes){ 0 };
	s->pool_max = budget != 0 && budget < guest ? budget : guest;
	if (swaps)
		s->slot_count = config->swap_bytes != 0
					? (uint32_t)clamp(config->swap_bytes / PAGE_SIZE, 1,
							  SWAP_NO_SLOT - 1)
					: config->frame_count;
	s->fixed_bytes = sizeof(struct mm) +
			 config->frame_count *
				 (sizeof(struct mm_frame) + (uint64_t)config->policy->frame_size) +
			 pool_table_bytes(s->pool_max) +
			 (swaps ? swap_table_bytes_least(s->slot_count) : 0);
	if (budget == 0)
		spare = guest / PAGE_SIZE;
	else
		spare = budget > s->fixed_bytes ? (budget - s->fixed_bytes) / PAGE_SIZE : 0;
	s->window = (uint32_t)clamp(spare / 32, 16, 128);
	s->swap_window = swaps ? (uint32_t)clamp(spare / 32, 16, SWAP_BATCH) : s->window;
	s->batch = (uint32_t)clamp(spare / 64, 16, BATCH_MAX);
	s->direct_batch = (uint32_t)clamp(s->batch / 2, 16, 32);
	s->write_back = swaps ? (uint32_t)clamp(spare / 128, 16, 64) : 0;
	s->low = clamp(spare / 64, 16, 1024) * PAGE_SIZE;
	s->high = 2 * s->low;
	work_sizes(config, s);
	if (budget == 0) {
		s->limit = s->pool_cap = UINT64_MAX;
		s->pin_max = config->frame_count;
		return;
	}
	s->limit = budget - clamp(budget / 64, RESERVE_LEAST, RESERVE_MOST);
	s->pool_cap = spare * PAGE_SIZE * POOL_CAP_PERCENT / 100;
	if (s->limit < budget && s->limit > s->fixed_bytes + s->high)
		s->pin_max = (uint32_t)((s->limit - s->fixed_bytes - s->high) / PAGE_SIZE / 4);
}

static unsigned works_at_start(const struct mm_config *config)
{
	return config->no_reclaimer ? 1 : 2;
}

uint64_t mm_least_budget(const struct mm_config *config)
{
	struct mm_sizes s;

	/* A budget that leaves nothing spare gets every size at its least. */
	mm_sizes_for(config, 1, &s);
	s.pool_max = (uint64_t)config->frame_count * PAGE_SIZE;
	return s.fixed_bytes + pool_table_bytes(s.pool_max) + s.fill_work_bytes +
	       works_at_start(config) * s.reclaim_work_bytes + RESERVE_LEAST + s.high +
	       WORKING_PAGES * PAGE_SIZE;
}

bool mm_charge(struct mm *mm, uint64_t bytes, uint64_t limit)
{
	if (bytes > limit || mm->held > limit - bytes)
		return false;
	mm->held += bytes;
	if (mm->held > mm->peak)
		mm->peak = mm->held;
	return true;
}

void mm_uncharge(struct mm *mm, uint64_t bytes)
{
	CHECK(mm->held >= bytes);
	mm->held -= bytes;
}

bool mm_charge_table(void *context, uint64_t bytes)
{
	struct mm *mm = context;

	if (!mm_charge(mm, bytes, mm->budget))
		return false;
	mm->tables += bytes;
	return true;
}

void mm_wait(struct mm *mm)
{
	mm->waiters++;
	pthread_cond_wait(&mm->changed, &mm->lock);
	mm->waiters--;
}

void mm_wake(struct mm *mm)
{
	if (mm->waiters > 0)
		pthread_cond_broadcast(&mm->changed);
}

void mm_kick_reclaimer(struct mm *mm)
{
	if (mm->reclaimer_idle && mm->held + mm->sizes.low > mm->sizes.limit) {
		mm->reclaimer_idle = false;
		pthread_cond_signal(&mm->shortage);
	}
}

void mm_fail(struct mm *mm, uint32_t frame, int error, const char *doing)
{
	struct mm_failure failure = { .frame = gfn(frame), .error = error < 0 ? -error : error };
	const char *why = failure.error == EBADMSG ? "the checksum is wrong, the data is damaged"
						   : strerror(failure.error);
	bool first;

	snprintf(failure.text, sizeof(failure.text), "guest page 0x%llx (address 0x%llx): %s: %s",
		 (unsigned long long)frame, (unsigned long long)gfn_to_gpa(failure.frame).v, doing,
		 why);
	pthread_mutex_lock(&mm->lock);
	first = !mm->has_failed;
	mm->has_failed = true;
	pthread_cond_broadcast(&mm->changed);
	pthread_mutex_unlock(&mm->lock);
	if (first && mm->failed != NULL)
		mm->failed(mm->failed_context, &failure);
}

/* What the policy may ask. */
static struct mm *host_mm(const struct mm_policy_host *host)
{
	return (struct mm *)((char *)(uintptr_t)host - offsetof(struct mm, host));
}

static bool host_is_resident(const struct mm_policy_host *host, uint32_t frame)
{
	uint8_t state = host_mm(host)->frames[frame].state;

	return state == FRAME_MAPPED || state == FRAME_WATCHED;
}

static bool host_is_watched(const struct mm_policy_host *host, uint32_t frame)
{
	return host_mm(host)->frames[frame].state == FRAME_WATCHED;
}

static uint32_t host_resident_count(const struct mm_policy_host *host)
{
	struct mm *mm = host_mm(host);

	return mm->count[FRAME_MAPPED] + mm->count[FRAME_WATCHED];
}

/* What the pool may ask. */
/*
 * The pool leaves a little of the reserve to the swap's hashes: a page of them is what lets 256 pages
 * go to the swap, and without it a full pool would look like a full disk.
 */
static bool pool_charge(void *context, uint64_t bytes)
{
	struct mm *mm = context;
	uint64_t left = mm->swap != NULL ? HASH_RESERVE : 0;

	return mm_charge(mm, bytes, mm->budget == UINT64_MAX ? UINT64_MAX : mm->budget - left);
}

static void pool_uncharge(void *context, uint64_t bytes)
{
	mm_uncharge(context, bytes);
}

static void pool_moved(void *context, uint32_t owner, uint32_t handle)
{
	((struct mm *)context)->frames[owner].where = handle;
}

static int create_policy(struct mm *mm, const struct mm_config *config)
{
	const struct mm_policy_ops *ops = config->policy;
	size_t size = ops->frame_size > 0 ? ops->frame_size : 1;
	char *options = NULL;
	int error;

	mm->policy_ops = ops;
	mm->host = (struct mm_policy_host){
		.frame_count = mm->frame_count,
		.is_resident = host_is_resident,
		.is_watched = host_is_watched,
		.resident_count = host_resident_count,
		.frames = calloc(mm->frame_count, size),
	};
	if (mm->host.frames == NULL)
		return -ENOMEM;
	if (config->policy_options != NULL) {
		options = strdup(config->policy_options);
		if (options == NULL)
			return -ENOMEM;
	}
	error = ops->init(&mm->host, options, &mm->policy);
	free(options);
	return error;
}

static int create_stores(struct mm *mm, const struct mm_config *config)
{
	struct pool_host host = { pool_charge, pool_uncharge, pool_moved, mm };
	int error = pool_create(mm->sizes.pool_max, &host, &mm->pool);

	if (error != 0 || config->swap_directory == NULL)
		return error;
	error = swap_create(config->swap_directory, mm->sizes.slot_count, config->swap_io,
			    &mm->swap);
	if (error != 0)
		log_error("cannot make a swap file in %s: %s", config->swap_directory,
			  strerror(-error));
	return error;
}

static void init_fields(struct mm *mm, const struct mm_config *config)
{
	pthread_condattr_t attr;

	pthread_mutex_init(&mm->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&mm->changed, &attr);
	pthread_cond_init(&mm->shortage, &attr);
	pthread_condattr_destroy(&attr);
	mm->frame_count = config->frame_count;
	mm->budget = config->budget_bytes != 0 ? config->budget_bytes : UINT64_MAX;
	mm_sizes_for(config, config->budget_bytes, &mm->sizes);
	mm->compressor = config->compressor;
	mm->ops = config->backing_ops;
	mm->backing = config->backing;
	mm->failed = config->failed;
	mm->failed_context = config->failed_context;
	mm->count[FRAME_UNTOUCHED] = mm->frame_count;
}

int mm_create(const struct mm_config *config, struct mm **out)
{
	struct mm *mm;
	int error = -ENOMEM;

	CHECK(config->policy->api == MM_POLICY_API);
	if (config->frame_count == 0 || config->frame_count >= FRAME_NOWHERE / 2)
		return -EINVAL;
	if (config->budget_bytes != 0 && config->budget_bytes < mm_least_budget(config))
		return -EINVAL;
	mm = calloc(1, sizeof(*mm));
	if (mm == NULL)
		return -ENOMEM;
	init_fields(mm, config);
	mm->frames = calloc(mm->frame_count, sizeof(*mm->frames));
	if (mm->frames == NULL)
		goto fail;
	CHECK(mm_charge_table(mm, mm->sizes.fixed_bytes));
	error = create_policy(mm, config);
	if (error != 0)
		goto fail;
	error = create_stores(mm, config);
	if (error != 0)
		goto fail;
	error = works_init(mm, works_at_start(config));
	if (error != 0)
		goto fail;
	if (!config->no_reclaimer && config->budget_bytes != 0) {
		error = -pthread_create(&mm->reclaimer, NULL, reclaimer_main, mm);
		if (error != 0)
			goto fail;
		mm->has_reclaimer = true;
	}
	*out = mm;
	return 0;

fail:
	mm_destroy(mm);
	return error;
}

void mm_destroy(struct mm *mm)
{
	if (mm == NULL)
		return;
	if (mm->has_reclaimer) {
		pthread_mutex_lock(&mm->lock);
		mm->stopping = true;
		pthread_cond_signal(&mm->shortage);
		pthread_cond_broadcast(&mm->changed);
		pthread_mutex_unlock(&mm->lock);
		pthread_join(mm->reclaimer, NULL);
	}
	works_finish(mm);
	if (mm->policy != NULL)
		mm->policy_ops->finish(mm->policy);
	swap_destroy(mm->swap);
	pool_destroy(mm->pool);
	free(mm->host.frames);
	free(mm->frames);
	pthread_cond_destroy(&mm->shortage);
	pthread_cond_destroy(&mm->changed);
	pthread_mutex_destroy(&mm->lock);
	free(mm);
}

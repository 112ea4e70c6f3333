/* Creates and destroys the manager, and answers its policy. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "mm/tiers.h"

#define HUNT_WINDOW_NS 4000000000ull

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
	bool punch = mm->swap != NULL && swap_punch_due(mm->swap);

	if (mm->reclaimer_idle && (punch || mm->held + mm->sizes.low > mm->sizes.limit)) {
		mm->reclaimer_idle = false;
		pthread_cond_signal(&mm->shortage);
	}
}

void mm_fail(struct mm *mm, uint32_t frame, int error, const char *doing)
{
	struct mm_failure failure = { .frame = gfn(frame), .error = error < 0 ? -error : error };
	const char *why = failure.error == EBADMSG ? "the checksum is wrong, the data is damaged"
						   : strerror(failure.error);

	snprintf(failure.text, sizeof(failure.text), "guest page 0x%llx (address 0x%llx): %s: %s",
		 (unsigned long long)frame, (unsigned long long)gfn_to_gpa(failure.frame).v, doing,
		 why);
	lock_take(&mm->lock);
	if (!mm->failing) {
		mm->failing = true;
		mm_unlock(mm);
		if (mm->failed != NULL)
			mm->failed(mm->failed_context, &failure);
		lock_take(&mm->lock);
		mm->has_failed = true;
		pthread_cond_broadcast(&mm->changed);
	}
	while (!mm->has_failed)
		mm_wait(mm);
	lock_drop(&mm->lock);
}

/* Answers to the policy. */
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

static void init_ranges(struct mm *mm, const struct mm_config *config)
{
	uint64_t end = 0;

	mm->range_count = config->range_count;
	memcpy(mm->ranges, config->ranges, sizeof(mm->ranges));
	if (mm->range_count == 0) {
		mm->range_count = 1;
		mm->ranges[0] = (struct mm_range){ 0, mm->frame_count };
	}
	CHECK(mm->range_count <= MM_RANGES_MAX);
	for (unsigned i = 0; i < mm->range_count; i++) {
		const struct mm_range *r = &mm->ranges[i];

		CHECK(r->count > 0 && r->first >= end);
		end = (uint64_t)r->first + r->count;
		mm->count[FRAME_UNTOUCHED] += r->count;
	}
	CHECK(end <= mm->frame_count);
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
	init_ranges(mm, config);
	/* The strings are the caller's. */
	mm->config = *config;
	mm->config.policy_options = NULL;
	mm->config.swap_directory = config->swap_directory != NULL ? "" : NULL;
	mm->budget = config->budget_bytes != 0 ? config->budget_bytes : UINT64_MAX;
	mm->wanted = mm->ceiling = mm->budget_most = mm->budget;
	mm->hunt_window_ns = HUNT_WINDOW_NS;
	mm_sizes_for(config, config->budget_bytes, &mm->sizes);
	mm->compressor = config->compressor;
	mm->steal_hand = mm->ranges[0].first;
	mm->ops = config->backing_ops;
	mm->backing = config->backing;
	mm->failed = config->failed;
	mm->failed_context = config->failed_context;
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
	mm->chunks = calloc(mm->frame_count / FRAME_CHUNK + 1, 1);
	mm->units = calloc(mm->frame_count / MM_UNIT_FRAMES + 1, 1);
	if (mm->frames == NULL || mm->chunks == NULL || mm->units == NULL)
		goto fail;
	CHECK(mm_charge_table(mm, mm->sizes.fixed_bytes));
	budget_charge_beside(mm);
	error = hash_key_make(&mm->key);
	if (error != 0) {
		log_error("the host gives no random bytes: %s", strerror(-error));
		goto fail;
	}
	error = create_policy(mm, config);
	if (error != 0)
		goto fail;
	error = tiers_create(mm, config);
	if (error != 0)
		goto fail;
	error = works_init(mm);
	if (error != 0)
		goto fail;
	if (!config->no_reclaimer) {
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
		lock_take(&mm->lock);
		mm->stopping = true;
		pthread_cond_signal(&mm->shortage);
		pthread_cond_broadcast(&mm->changed);
		lock_drop(&mm->lock);
		pthread_join(mm->reclaimer, NULL);
	}
	works_finish(mm);
	if (mm->policy != NULL)
		mm->policy_ops->finish(mm->policy);
	tiers_destroy(mm);
	free(mm->host.frames);
	free(mm->frames);
	free(mm->chunks);
	free(mm->units);
	pthread_cond_destroy(&mm->shortage);
	pthread_cond_destroy(&mm->changed);
	pthread_mutex_destroy(&mm->lock);
	free(mm);
}

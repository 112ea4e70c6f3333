/*
 * The background thread. It has two things to do, and neither waits for the other:
 *   reclaim      keep headroom between the watermarks, and let a falling budget fall;
 *   drain        send on what a tier in host memory has over its share.
 * When there is nothing of that, it gives what is free of the swap file back to the disk.
 * Either may be in vain: nothing that is resident can go, or nothing in the tiers. Then that one
 * rests, for a time that doubles, and the other goes on. A fault that is short of headroom kicks
 * the thread out of its sleep, unless it is reclaim that rests: all was looked at in vain just now,
 * and faults that must will try by themselves.
 */
#include <errno.h>

#include "base/clock.h"
#include "mm/tiers.h"

#define REST_LEAST_NS (10 * 1000 * 1000ull)
#define REST_MOST_NS  (1000 * 1000 * 1000ull)

/* After work in vain. */
struct rest {
	uint64_t length_ns, until_ns; /* on the clock; 0: none */
};

static void rest_longer(struct rest *rest)
{
	uint64_t next = rest->length_ns * 2;

	rest->length_ns = next < REST_LEAST_NS	? REST_LEAST_NS
			  : next > REST_MOST_NS ? REST_MOST_NS
						: next;
	rest->until_ns = clock_now_ns() + rest->length_ns;
}

static void rest_not(struct rest *rest)
{
	*rest = (struct rest){ 0 };
}

/* Until there is something to do that does not rest. */
static void sleep_until(struct mm *mm, struct rest *reclaim, uint64_t until_ns)
{
	struct timespec t = { (time_t)(until_ns / 1000000000u), (long)(until_ns % 1000000000u) };
	int error = 0;

	mm->reclaimer_idle = clock_now_ns() >= reclaim->until_ns;
	if (until_ns == UINT64_MAX)
		pthread_cond_wait(&mm->shortage, &mm->lock);
	else
		error = pthread_cond_timedwait(&mm->shortage, &mm->lock, &t);
	mm->reclaimer_idle = false;
	/* Called: something has changed (the budget, if it was not a fault). */
	if (error != ETIMEDOUT)
		reclaim->until_ns = 0;
}

static bool reclaim_due(const struct mm *mm)
{
	return !mm->has_failed &&
	       (mm->held + mm->sizes.high > mm->sizes.limit || budget_is_falling(mm));
}

static void reclaim_some(struct mm *mm, struct reclaim_work *work, struct rest *rest,
			 uint64_t *fruitless)
{
	uint64_t budget = mm->budget;
	uint32_t examined = 0, gone = 0;

	if (mm->held + mm->sizes.high > mm->sizes.limit) {
		gone = tiers_give_cold(mm, work);
		if (gone == 0)
			gone = reclaim_batch(mm, work, mm->sizes.batch, false, &examined);
	}
	budget_follow(mm, gone * PAGE_SIZE);
	/* Or others have made room meanwhile: nothing was left to do. */
	if (gone > 0 || mm->budget < budget || !reclaim_due(mm)) {
		*fruitless = 0;
		rest_not(rest);
		return;
	}
	*fruitless += examined;
	if (examined == 0 || *fruitless > vain_limit(mm)) {
		*fruitless = 0;
		rest_longer(rest);
	}
}

static void drain_some(struct mm *mm, struct reclaim_work *work, struct rest *rest)
{
	if (!tiers_are_over(mm, false) || tiers_drain(mm, work, false) > 0)
		rest_not(rest);
	else
		rest_longer(rest);
}

void *reclaimer_main(void *context)
{
	struct mm *mm = context;
	struct rest reclaim = { 0 }, drain = { 0 };
	uint64_t fruitless = 0;

	pthread_setname_np(pthread_self(), "bifold-reclaim");
	lock_take(&mm->lock);
	while (!mm->stopping) {
		uint64_t now = clock_now_ns(), until = UINT64_MAX;
		bool over = reclaim_due(mm);
		bool due = tiers_are_over(mm, false);
		struct reclaim_work *work;

		if (notes_pending(mm)) {
			mm_unlock(mm);
			lock_take(&mm->lock);
			continue;
		}
		/* A shortage that is over needs no rest; the next one is another. */
		if (!over)
			reclaim.until_ns = 0;
		if (over && reclaim.until_ns < until)
			until = reclaim.until_ns;
		if (due && drain.until_ns < until)
			until = drain.until_ns;
		if (until > now) {
			if (punch_some(mm))
				continue;
			fruitless = 0;
			sleep_until(mm, &reclaim, until);
			continue;
		}
		work = reclaim_work_take(mm, true);
		if (over && reclaim.until_ns <= now)
			reclaim_some(mm, work, &reclaim, &fruitless);
		if (due && drain.until_ns <= now)
			drain_some(mm, work, &drain);
		reclaim_work_put(mm, work);
	}
	lock_drop(&mm->lock);
	return NULL;
}

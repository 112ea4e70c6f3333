/*
 * CLOCK, as a queue with a second chance. The hand is the queue's head: a mapped frame there is
 * watched and goes round once more; a frame still watched when it comes up again was not touched
 * in a whole turn, and is evicted. A touch in between only maps the frame: its place stays.
 */
#include <errno.h>
#include <stdlib.h>

#include "policy/table.h"
#include "policy/queue.h"

struct mm_policy {
	const struct mm_policy_host *host;
	struct queue_link *links;
	struct queue queue;
};

static int clock_init(const struct mm_policy_host *host, const char *options,
		      struct mm_policy **policy)
{
	struct mm_policy *p;

	if (options != NULL && *options != '\0')
		return -EINVAL;
	p = calloc(1, sizeof(*p));
	if (p == NULL)
		return -ENOMEM;
	p->host = host;
	p->links = host->frames;
	queue_init(&p->queue, 0);
	*policy = p;
	return 0;
}

static void clock_finish(struct mm_policy *policy)
{
	free(policy);
}

static void clock_removed(struct mm_policy *policy, uint32_t frame)
{
	if (policy->links[frame].on)
		queue_remove(&policy->queue, policy->links, frame);
}

/* Also for touched(): a frame in the queue keeps its place, one called back goes to the tail. */
static void clock_inserted(struct mm_policy *policy, uint32_t frame)
{
	if (!policy->links[frame].on)
		queue_append(&policy->queue, policy->links, frame);
}

static size_t clock_pick(struct mm_policy *policy, size_t want, struct mm_policy_pick *picks,
			 size_t max)
{
	size_t count = 0, evictions = 0;
	uint32_t left = policy->queue.count; /* no frame twice in one call */

	while (evictions < want && count < max && left-- > 0) {
		uint32_t frame = queue_take(&policy->queue, policy->links);
		bool watched = policy->host->is_watched(policy->host, frame);

		picks[count++] = (struct mm_policy_pick){ frame, watched ? MM_POLICY_EVICT
									 : MM_POLICY_WATCH };
		if (watched)
			evictions++;
		else
			queue_append(&policy->queue, policy->links, frame);
	}
	return count;
}

const struct mm_policy_ops mm_policy_clock = {
	.api = MM_POLICY_API,
	.name = "clock",
	.summary = "second chance: evict the page not touched for a whole turn of the hand",
	.frame_size = sizeof(struct queue_link),
	.init = clock_init,
	.finish = clock_finish,
	.inserted = clock_inserted,
	.touched = clock_inserted,
	.removed = clock_removed,
	.pick = clock_pick,
};

/*
 * First in, first out: the baseline. Nothing is watched; the frame resident for longest goes.
 * A frame whose eviction was called off counts as new.
 */
#include <errno.h>
#include <stdlib.h>

#include "policy/table.h"
#include "policy/queue.h"

struct mm_policy {
	struct queue_link *links;
	struct queue queue;
};

static int fifo_init(const struct mm_policy_host *host, const char *options,
		     struct mm_policy **policy)
{
	struct mm_policy *p;

	if (options != NULL && *options != '\0')
		return -EINVAL;
	p = calloc(1, sizeof(*p));
	if (p == NULL)
		return -ENOMEM;
	p->links = host->frames;
	queue_init(&p->queue, 0);
	*policy = p;
	return 0;
}

static void fifo_finish(struct mm_policy *policy)
{
	free(policy);
}

static void fifo_removed(struct mm_policy *policy, uint32_t frame)
{
	if (policy->links[frame].on)
		queue_remove(&policy->queue, policy->links, frame);
}

static void fifo_inserted(struct mm_policy *policy, uint32_t frame)
{
	fifo_removed(policy, frame);
	queue_append(&policy->queue, policy->links, frame);
}

static size_t fifo_pick(struct mm_policy *policy, size_t want, struct mm_policy_pick *picks,
			size_t max)
{
	size_t count = 0;

	while (count < want && count < max && policy->queue.count > 0) {
		uint32_t frame = queue_take(&policy->queue, policy->links);

		picks[count++] = (struct mm_policy_pick){ frame, MM_POLICY_EVICT };
	}
	return count;
}

const struct mm_policy_ops mm_policy_fifo = {
	.api = MM_POLICY_API,
	.name = "fifo",
	.summary = "evict the page that has been resident for longest",
	.frame_size = sizeof(struct queue_link),
	.init = fifo_init,
	.finish = fifo_finish,
	.inserted = fifo_inserted,
	.touched = fifo_inserted,
	.removed = fifo_removed,
	.pick = fifo_pick,
};

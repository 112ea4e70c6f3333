/*
 * Segmented FIFO: a mapped queue and a watched queue (as VMS had it). New and touched frames join
 * the mapped queue's tail. Its oldest frames are watched, that is unmapped but kept; a watched
 * frame that is touched goes back to the mapped tail for the price of a minor fault, one that is
 * not leaves at the watched queue's head. Hot pages therefore never leave, a scan passes through
 * without a minor fault, and a frame on the mapped queue costs nothing at all.
 *
 * Option watched=NN: the watched queue's share of the resident frames, in percent. A larger share
 * judges better and costs more minor faults.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mm/policy_list.h"
#include "mm/queue.h"

#define WATCHED_PERCENT_DEFAULT 20
#define WATCHED_PERCENT_MAX	90

struct mm_policy {
	struct queue_link *links;
	struct queue mapped, watched;
	uint32_t watched_percent;
};

static int parse_options(const char *options, uint32_t *percent)
{
	static const char key[] = "watched=";
	unsigned long value;
	char *end;

	if (options == NULL || *options == '\0')
		return 0;
	if (strncmp(options, key, sizeof(key) - 1) != 0)
		return -EINVAL;
	options += sizeof(key) - 1;
	if (*options < '0' || *options > '9')
		return -EINVAL;
	value = strtoul(options, &end, 10);
	if (*end != '\0' || value < 1 || value > WATCHED_PERCENT_MAX)
		return -EINVAL;
	*percent = (uint32_t)value;
	return 0;
}

static int sfifo_init(const struct mm_policy_host *host, const char *options,
		      struct mm_policy **policy)
{
	struct mm_policy *p;
	uint32_t percent = WATCHED_PERCENT_DEFAULT;
	int error = parse_options(options, &percent);

	if (error != 0)
		return error;
	p = calloc(1, sizeof(*p));
	if (p == NULL)
		return -ENOMEM;
	p->links = host->frames;
	p->watched_percent = percent;
	queue_init(&p->mapped, 0);
	queue_init(&p->watched, 1);
	*policy = p;
	return 0;
}

static void sfifo_finish(struct mm_policy *policy)
{
	free(policy);
}

static void sfifo_removed(struct mm_policy *policy, uint32_t frame)
{
	if (queue_has(&policy->mapped, policy->links, frame))
		queue_remove(&policy->mapped, policy->links, frame);
	else if (queue_has(&policy->watched, policy->links, frame))
		queue_remove(&policy->watched, policy->links, frame);
}

static void sfifo_inserted(struct mm_policy *policy, uint32_t frame)
{
	sfifo_removed(policy, frame);
	queue_append(&policy->mapped, policy->links, frame);
}

static size_t sfifo_pick(struct mm_policy *policy, size_t want, struct mm_policy_pick *picks,
			 size_t max)
{
	uint64_t total = (uint64_t)policy->mapped.count + policy->watched.count;
	uint64_t target = total * policy->watched_percent / 100 + want;
	uint32_t ripe = policy->watched.count; /* watched before this call */
	size_t count = 0, evictions = 0;

	/* Frames just watched have had no chance to be touched: only the ripe ones go. */
	while (evictions < want && count < max && ripe > 0) {
		uint32_t frame = queue_take(&policy->watched, policy->links);

		picks[count++] = (struct mm_policy_pick){ frame, MM_POLICY_EVICT };
		evictions++;
		ripe--;
	}
	while (policy->watched.count < target && count < max && policy->mapped.count > 0) {
		uint32_t frame = queue_take(&policy->mapped, policy->links);

		picks[count++] = (struct mm_policy_pick){ frame, MM_POLICY_WATCH };
		queue_append(&policy->watched, policy->links, frame);
	}
	return count;
}

const struct mm_policy_ops mm_policy_sfifo = {
	.api = MM_POLICY_API,
	.name = "sfifo",
	.summary =
		"segmented FIFO: a mapped queue, then a watched one (watched=PERCENT, default 20)",
	.frame_size = sizeof(struct queue_link),
	.init = sfifo_init,
	.finish = sfifo_finish,
	.inserted = sfifo_inserted,
	.touched = sfifo_inserted,
	.removed = sfifo_removed,
	.pick = sfifo_pick,
};

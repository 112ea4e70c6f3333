/*
 * Segmented FIFO: a mapped queue and a watched queue (as VMS had it). New and touched frames join
 * the mapped queue's tail. Its oldest frames are watched, that is unmapped but kept; a watched
 * frame that is touched goes back to the mapped tail for the price of a minor fault, one that is
 * not leaves at the watched queue's head. Hot pages therefore never leave, a scan passes through
 * without a minor fault, and a frame on the mapped queue costs nothing at all.
 *
 * Frames are watched by stretches of neighbours, the oldest and those around it: they are unmapped,
 * and later given back, with few calls for many frames. (By bench_mm, misses of uniform and zipf
 * walks stay as they are.)
 *
 * A touch while watched also earns credit: so many times the frame passes the mapped head without
 * being watched again. A hot frame then costs a minor fault every few turns of the queue rather
 * than every turn; an eviction forgets the credit.
 *
 * Option watched=NN: the watched queue's share of the resident frames, in percent. A larger share
 * judges better and costs more minor faults. With a minor fault nearly as dear as a fill from the
 * pool (35 us against 40 here), bench_mm finds zipf walks flat between 5 and 20 percent and
 * uniform ones best with least; 10 gives a tenth fewer misses than FIFO for next to nothing.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "policy/table.h"
#include "policy/queue.h"

#define WATCHED_PERCENT_DEFAULT 10
#define WATCHED_PERCENT_MAX	90
#define STRETCH_MAX		64
#define STRETCH_SHARE		256  /* of the resident frames, one stretch */
#define SPARING			4    /* a short watched queue divides evictions by this */
#define REACH			4096 /* frames a pick may pass over for their credit */

struct mm_policy {
	uint32_t frame_count;
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
	p->frame_count = host->frame_count;
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

static void unqueue(struct mm_policy *policy, uint32_t frame)
{
	if (queue_has(&policy->mapped, policy->links, frame))
		queue_remove(&policy->mapped, policy->links, frame);
	else if (queue_has(&policy->watched, policy->links, frame))
		queue_remove(&policy->watched, policy->links, frame);
}

static void sfifo_removed(struct mm_policy *policy, uint32_t frame)
{
	unqueue(policy, frame);
	policy->links[frame].credit = 0;
}

static void sfifo_inserted(struct mm_policy *policy, uint32_t frame)
{
	unqueue(policy, frame);
	queue_append(&policy->mapped, policy->links, frame);
}

static void sfifo_touched(struct mm_policy *policy, uint32_t frame)
{
	policy->links[frame].credit = QUEUE_CREDIT_MAX;
	sfifo_inserted(policy, frame);
}

/*
 * How many frames are watched together, a power of two: no more than a small part of those that are
 * resident, or young frames would go with the old.
 */
static uint32_t stretch_of(const struct mm_policy *policy)
{
	uint32_t most = (policy->mapped.count + policy->watched.count) / STRETCH_SHARE;
	uint32_t frames = 1;

	while (frames < STRETCH_MAX && 2 * frames <= most)
		frames *= 2;
	return frames;
}

/* The mapped frame to watch next: the oldest without credit. QUEUE_NONE: none within the reach. */
static uint32_t next_to_watch(struct mm_policy *policy, uint32_t *reach)
{
	while (policy->mapped.count > 0) {
		uint32_t frame = queue_take(&policy->mapped, policy->links);

		if (policy->links[frame].credit == 0 || *reach == 0)
			return frame;
		policy->links[frame].credit--;
		--*reach;
		queue_append(&policy->mapped, policy->links, frame);
	}
	return QUEUE_NONE;
}

static struct mm_policy_pick watch(struct mm_policy *policy, uint32_t frame)
{
	queue_append(&policy->watched, policy->links, frame);
	return (struct mm_policy_pick){ frame, MM_POLICY_WATCH };
}

/*
 * The frame, which is on no queue, and those of its stretch that are mapped and have no credit.
 * Returns how many were named.
 */
static size_t watch_stretch(struct mm_policy *policy, uint32_t frame, struct mm_policy_pick *picks,
			    size_t max)
{
	uint32_t frames = stretch_of(policy), first = frame - frame % frames;
	size_t count = 0;

	picks[count++] = watch(policy, frame);
	for (uint32_t at = first; at < first + frames && count < max; at++) {
		if (at >= policy->frame_count || !queue_has(&policy->mapped, policy->links, at) ||
		    policy->links[at].credit > 0)
			continue;
		queue_remove(&policy->mapped, policy->links, at);
		picks[count++] = watch(policy, at);
	}
	return count;
}

static size_t sfifo_pick(struct mm_policy *policy, size_t want, struct mm_policy_pick *picks,
			 size_t max)
{
	uint64_t total = (uint64_t)policy->mapped.count + policy->watched.count;
	uint64_t target = total * policy->watched_percent / 100 + want;
	uint32_t ripe = policy->watched.count; /* watched before this call */
	uint32_t reach = REACH;
	size_t count = 0, evictions = 0;

	/* While the watched queue is short, evict sparingly, or it would never grow. */
	if (ripe + want < target)
		want = (want + SPARING - 1) / SPARING;
	/* Frames just watched have had no chance to be touched: only the ripe ones go. */
	while (evictions < want && count < max && ripe > 0) {
		uint32_t frame = queue_take(&policy->watched, policy->links);

		picks[count++] = (struct mm_policy_pick){ frame, MM_POLICY_EVICT };
		evictions++;
		ripe--;
	}
	while (policy->watched.count < target && count < max && policy->mapped.count > 0) {
		uint32_t frame = next_to_watch(policy, &reach);

		count += watch_stretch(policy, frame, picks + count, max - count);
	}
	return count;
}

const struct mm_policy_ops mm_policy_sfifo = {
	.api = MM_POLICY_API,
	.name = "sfifo",
	.summary =
		"segmented FIFO: a mapped queue, then a watched one (watched=PERCENT, default 10)",
	.frame_size = sizeof(struct queue_link),
	.init = sfifo_init,
	.finish = sfifo_finish,
	.inserted = sfifo_inserted,
	.touched = sfifo_touched,
	.removed = sfifo_removed,
	.pick = sfifo_pick,
};

/*
 * A policy built outside the tree, with nothing but the installed header.
 */
#include "policy/policy.h"

#include <errno.h>
#include <stdlib.h>

extern const struct mm_policy_ops mm_policy_lowest;

struct mm_policy {
	const struct mm_policy_host *host;
};

static int lowest_init(const struct mm_policy_host *host, const char *options,
		       struct mm_policy **policy)
{
	if (options != NULL)
		return -EINVAL;
	*policy = malloc(sizeof(**policy));
	if (*policy == NULL)
		return -ENOMEM;
	(*policy)->host = host;
	return 0;
}

static void lowest_finish(struct mm_policy *policy)
{
	free(policy);
}

static void lowest_ignore(struct mm_policy *policy, uint32_t frame)
{
	(void)policy;
	(void)frame;
}

static size_t lowest_pick(struct mm_policy *policy, size_t want, struct mm_policy_pick *picks,
			  size_t max)
{
	const struct mm_policy_host *host = policy->host;
	size_t count = 0;

	for (uint32_t i = 0; i < host->frame_count && count < want && count < max; i++)
		if (host->is_resident(host, i))
			picks[count++] = (struct mm_policy_pick){ i, MM_POLICY_EVICT };
	return count;
}

const struct mm_policy_ops mm_policy_lowest = {
	.api = MM_POLICY_API,
	.name = "lowest",
	.summary = "evict the page with the lowest address",
	.init = lowest_init,
	.finish = lowest_finish,
	.inserted = lowest_ignore,
	.touched = lowest_ignore,
	.removed = lowest_ignore,
	.pick = lowest_pick,
};

/*
 * Logarithmic histograms. A value below 2^HIST_SUB_BITS has a bucket of its own; above, the top
 * bit chooses a group and the HIST_SUB_BITS bits after it the bucket, so a bucket is at most an
 * eighth of its values wide and its middle is within 1/16 of each of them.
 */
#include "mm/hist.h"

#define SUB_COUNT (1u << HIST_SUB_BITS)

static unsigned bucket_of(uint64_t value)
{
	unsigned top;

	if (value < SUB_COUNT)
		return (unsigned)value;
	top = 63 - (unsigned)__builtin_clzll(value);
	return ((top - HIST_SUB_BITS + 1) << HIST_SUB_BITS) +
	       ((unsigned)(value >> (top - HIST_SUB_BITS)) & (SUB_COUNT - 1));
}

static uint64_t bucket_middle(unsigned bucket)
{
	unsigned shift;
	uint64_t low;

	if (bucket < 2 * SUB_COUNT)
		return bucket;
	shift = (bucket >> HIST_SUB_BITS) - 1;
	low = (uint64_t)(SUB_COUNT + (bucket & (SUB_COUNT - 1))) << shift;
	return low + ((uint64_t)1 << shift) / 2;
}

uint64_t hist_bucket_last(unsigned bucket)
{
	unsigned shift;

	if (bucket < 2 * SUB_COUNT)
		return bucket;
	shift = (bucket >> HIST_SUB_BITS) - 1;
	/* Of the last bucket the sum wraps to 0: its end is UINT64_MAX. */
	return ((uint64_t)(SUB_COUNT + (bucket & (SUB_COUNT - 1)) + 1) << shift) - 1;
}

void hist_add(struct hist *hist, uint64_t value)
{
	hist->count++;
	hist->sum += value;
	if (value > hist->max)
		hist->max = value;
	hist->bucket[bucket_of(value)]++;
}

uint64_t hist_permille(const struct hist *hist, unsigned permille)
{
	uint64_t need, seen = 0;

	if (hist->count == 0)
		return 0;
	if (permille >= 1000)
		return hist->max;
	/* In two parts: count * permille may not fit. */
	need = hist->count / 1000 * permille + (hist->count % 1000 * permille + 999) / 1000;
	if (need == 0)
		need = 1;
	for (unsigned i = 0; i < HIST_BUCKETS; i++) {
		seen += hist->bucket[i];
		if (seen >= need) {
			uint64_t middle = bucket_middle(i);

			return middle < hist->max ? middle : hist->max;
		}
	}
	return hist->max;
}

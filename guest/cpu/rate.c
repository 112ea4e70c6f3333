/* Measuring a counter against a clock. */
#include "guest/cpu/rate.h"
#include "guest/lib/types.h"

#define WANTED	  3  /* measurements, of which the median is taken */
#define TRIES	  20 /* a host that holds up all of them gets the best */
#define NS_PER_MS 1000000

/* One window: its rate, and by how many ns its ends are unsure. */
static uint64_t measure(const struct rate_source *source, uint64_t *rate)
{
	uint64_t before, start, now, count, end;

	before = source->now(source->context);
	source->start(source->context);
	start = source->now(source->context);
	do
		now = source->now(source->context);
	while (now - start < source->window_ns);
	count = source->count(source->context);
	end = source->now(source->context);
	*rate = MAX(count * NS_PER_MS / (((end - before) + (now - start)) / 2), 1);
	if (now - start > 2 * source->window_ns)
		return UINT64_MAX;
	return start - before + end - now;
}

static void sort(uint64_t *rate, unsigned count)
{
	for (unsigned i = 1; i < count; i++) {
		for (unsigned j = i; j > 0 && rate[j - 1] > rate[j]; j--) {
			uint64_t larger = rate[j - 1];

			rate[j - 1] = rate[j];
			rate[j] = larger;
		}
	}
}

uint64_t rate_measure(const struct rate_source *source)
{
	uint64_t good[WANTED], rate, best = 1, best_unsure = UINT64_MAX;
	unsigned count = 0;

	for (unsigned i = 0; i < TRIES && count < WANTED; i++) {
		uint64_t unsure = measure(source, &rate);

		if (i == 0 || unsure < best_unsure) {
			best = rate;
			best_unsure = unsure;
		}
		if (unsure <= source->unsure_most_ns)
			good[count++] = rate;
	}
	if (count < WANTED)
		return best;
	sort(good, count);
	return good[count / 2];
}

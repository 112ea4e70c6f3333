/*
 * Measures how fast a counter counts, by a clock. The host may hold the measuring CPU up between
 * any two steps, for as long as it likes: so the clock is read on both sides of each step that
 * matters, a measurement that was held up there is not used, and the result is the median of the
 * others.
 */
#ifndef GUEST_CPU_RATE_H
#define GUEST_CPU_RATE_H

#include <stdint.h>

struct rate_source {
	uint64_t (*now)(void *context); /* ns */
	void (*start)(void *context);	/* sets the counter to 0 */
	uint64_t (*count)(void *context);
	void *context;
	uint64_t window_ns;	 /* how long to count */
	uint64_t unsure_most_ns; /* of a measurement's two ends together */
};

/* Counts in 1 ms, 1 at least. */
uint64_t rate_measure(const struct rate_source *source);

#endif

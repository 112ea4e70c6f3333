/*
 * Histograms of durations: logarithmic buckets, eight to each power of two, so a percentile is
 * right to within 7%. Plain memory, no lock: the owner's.
 */
#ifndef MM_HIST_H
#define MM_HIST_H

#include <stdint.h>

#define HIST_SUB_BITS 3
#define HIST_BUCKETS  ((64 - HIST_SUB_BITS + 1) << HIST_SUB_BITS)

struct hist {
	uint64_t count;
	uint64_t sum;
	uint64_t max;
	uint64_t bucket[HIST_BUCKETS];
};

void hist_add(struct hist *hist, uint64_t value);

/* The largest value that goes into this bucket: 0..HIST_BUCKETS - 1. Every power of two begins one.
 */
uint64_t hist_bucket_last(unsigned bucket);

/* The smallest value that at least permille / 1000 of all values do not exceed; 0 when empty. */
uint64_t hist_permille(const struct hist *hist, unsigned permille);

#endif

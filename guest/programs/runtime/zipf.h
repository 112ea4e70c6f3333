/* Zipf-distributed ranks, by rejection from the inverted integral of the density. */
#ifndef GUEST_PROGRAMS_RUNTIME_ZIPF_H
#define GUEST_PROGRAMS_RUNTIME_ZIPF_H

#include <stdint.h>

struct zipf {
	double exponent, low, high, shortcut;
	uint64_t count;
};

/* Ranks 0 .. count - 1; rank r is drawn as 1 / (r + 1)^exponent. exponent > 0, not 1. */
void zipf_init(struct zipf *zipf, uint64_t count, double exponent);

/* *random is the state of the generator, moved on. */
uint64_t zipf_next(const struct zipf *zipf, uint64_t *random);

#endif

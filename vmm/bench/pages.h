/*
 * The host's huge pages: counts the free ones, and sets more aside for the time of a bench.
 */
#ifndef VMM_BENCH_PAGES_H
#define VMM_BENCH_PAGES_H

#include <stddef.h>
#include <stdint.h>

#include "vmm/bench/result.h"

/* Pages added to the host's pools, to be given back. */
struct bench_pages {
	uint64_t added[BENCH_PAGES];
};

/*
 * Sees to it that `count` pages of the size are free; where they are not, adds to the pool if
 * `reserve`. 0, or -ENOMEM with the reason (and what to do) put into `reason`. Pages of 4 KiB are
 * always there.
 */
int bench_pages_need(struct bench_pages *pages, enum bench_page size, uint64_t count, bool reserve,
		     char *reason, size_t reason_size);

/* Gives back the pages that were added. */
void bench_pages_release(struct bench_pages *pages);

#endif

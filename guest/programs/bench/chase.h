/*
 * The loops that `bifold bench translation` times. They know no kernel and no library: one object,
 * compiled once, is in the program that runs in the guest and on the host, and in the unit tests.
 *
 * A chase visits nodes by their pointers, so that an access cannot begin before the one before it
 * has ended: its time is a latency. Each node has a cache line to itself. Two layouts hold the cost
 * of the caches apart from that of translation:
 *
 *   spread  a node in each page of 4 KiB; which line of the page, changes from page to page such
 *           that the nodes fill the sets of all caches evenly, and none more than its share
 *   packed  as many nodes, line by line: the same bytes of cache, a 64th of the pages
 *
 * The difference between spread and packed is the cost of translation.
 */
#ifndef GUEST_PROGRAMS_BENCH_CHASE_H
#define GUEST_PROGRAMS_BENCH_CHASE_H

#include <stdbool.h>
#include <stdint.h>

#define CHASE_PAGE 4096ul
#define CHASE_LINE 64ul

/* The steps of one run are a multiple of this. */
#define CHASE_UNROLL 16u

enum chase_layout { CHASE_SPREAD, CHASE_PACKED };

struct chase {
	char *memory;	/* aligned to CHASE_PAGE; zeros, or what an earlier chase left there */
	uint64_t count; /* nodes; a multiple of CHASE_UNROLL, at most 2^32 */
	enum chase_layout layout;
};

/* Bytes from the start of the memory to node `index`. */
uint64_t chase_offset(enum chase_layout layout, uint64_t index);

/* Bytes of memory that the nodes need. */
uint64_t chase_bytes(const struct chase *chase);

/* Writes the nodes, linked in a random order of the seed's. `order` has room for count numbers.
 * Memory is touched upward first. */
void chase_build(const struct chase *chase, uint32_t *order, uint64_t seed);

/* Whether a walk from the first node visits each node once, finds in each what was put there, and
 * comes back. */
bool chase_check(const struct chase *chase);

/* Takes `steps` steps; where that leads. */
const void *chase_run(const void *from, uint64_t steps);

/* Loads from all spread nodes in their order of address, none waiting for another. The sum is
 * chase_stride_sum(). */
uint64_t chase_stride(const struct chase *chase);
uint64_t chase_stride_sum(const struct chase *chase);

/* Loads a word that no chase writes from each line of `bytes`: the sum is 0. */
uint64_t chase_scan(const char *memory, uint64_t bytes);

/* Writes `value` into each spread node; whether all have it. */
void chase_touch(const struct chase *chase, uint64_t value);
bool chase_touched(const struct chase *chase, uint64_t value);

/* The processor's own clock. */
static inline uint64_t chase_ticks(void)
{
	uint32_t low, high;

	/* Earlier instructions have ended, and later ones have not begun. */
	__asm__ volatile("lfence\n\trdtsc\n\tlfence" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
}

#endif

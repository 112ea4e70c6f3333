/* guest/programs/bench/chase.h: the very object that the guest's program is linked with. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "guest/programs/bench/chase.h"

#define COUNT_MOST 4096ul

static struct chase make(enum chase_layout layout, uint64_t count)
{
	static uint32_t order[COUNT_MOST];
	struct chase chase = { .count = count, .layout = layout };

	cr_assert(count <= COUNT_MOST);
	chase.memory =
		mmap(NULL, chase_bytes(&chase) < CHASE_PAGE ? CHASE_PAGE : chase_bytes(&chase),
		     PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	cr_assert(chase.memory != MAP_FAILED);
	chase_build(&chase, order, 1);
	return chase;
}

Test(chase, visits_every_node_and_comes_back)
{
	for (uint64_t count = CHASE_UNROLL; count <= COUNT_MOST; count *= 2) {
		for (int layout = CHASE_SPREAD; layout <= CHASE_PACKED; layout++) {
			struct chase chase = make((enum chase_layout)layout, count);
			const void *start = chase.memory;

			cr_assert(chase_check(&chase), "%lu nodes, layout %d", count, layout);
			cr_assert_eq(chase_run(start, count), start);
			cr_assert_neq(chase_run(start, CHASE_UNROLL),
				      count == CHASE_UNROLL ? NULL : start);
			munmap(chase.memory, chase_bytes(&chase));
		}
	}
}

/* A chase that leaves nodes out, or leads astray, must not pass. */
Test(chase, check_finds_what_is_wrong)
{
	struct chase chase = make(CHASE_SPREAD, 64);
	const void **first = (const void **)chase.memory, *right = *first, **second;
	uint64_t *tag = (uint64_t *)(chase.memory + chase_offset(CHASE_SPREAD, 40)) + 1;

	*first = chase.memory;
	cr_expect(!chase_check(&chase), "a ring of one node passes");
	memcpy(&second, &right, sizeof(second));
	*first = *second;
	cr_expect(!chase_check(&chase), "a node left out passes");
	*first = chase.memory + 8;
	cr_expect(!chase_check(&chase), "a pointer beside the nodes passes");
	*first = chase.memory + 64 * CHASE_PAGE;
	cr_expect(!chase_check(&chase), "a pointer out of the memory passes");
	*first = right;
	cr_expect(chase_check(&chase));
	*tag ^= 1;
	cr_expect(!chase_check(&chase), "a changed word passes");
}

static unsigned most_in_a_set(uint64_t pages, unsigned set_bits)
{
	unsigned *used = calloc(1ul << set_bits, sizeof(*used)), most = 0;

	for (uint64_t i = 0; i < pages; i++) {
		uint64_t set = chase_offset(CHASE_SPREAD, i) / CHASE_LINE & ((1ul << set_bits) - 1);

		used[set]++;
		most = used[set] > most ? used[set] : most;
	}
	free(used);
	return most;
}

/* No set of a cache of 64 to 32768 sets has more than its share of lines, rounded up. */
Test(chase, lines_spread_over_the_sets)
{
	for (unsigned set_bits = 6; set_bits <= 15; set_bits++) {
		for (uint64_t pages = 64; pages <= 1ul << 18; pages *= 2) {
			uint64_t share = (pages + (1ul << set_bits) - 1) >> set_bits;

			cr_expect(most_in_a_set(pages, set_bits) <= share,
				  "%lu pages, 2^%u sets: %u", pages, set_bits,
				  most_in_a_set(pages, set_bits));
		}
	}
}

/* Neighbours in the order are not neighbours in memory more often than chance has it. */
Test(chase, order_is_random)
{
	struct chase chase = make(CHASE_PACKED, COUNT_MOST);
	unsigned near = 0;

	for (uint64_t i = 0; i < chase.count; i++) {
		const char *node = chase.memory + i * CHASE_LINE, *next;

		memcpy(&next, node, sizeof(next));
		near += labs(next - node) <= (long)(4 * CHASE_LINE);
	}
	cr_expect(near < 30, "%u of %lu steps lead to a neighbour", near, COUNT_MOST);
}

Test(chase, other_loops)
{
	struct chase chase = make(CHASE_SPREAD, 256);

	cr_expect_eq(chase_stride(&chase), chase_stride_sum(&chase));
	cr_expect_eq(chase_scan(chase.memory, chase_bytes(&chase)), 0);
	chase_touch(&chase, 7);
	cr_expect(chase_touched(&chase, 7));
	cr_expect(!chase_touched(&chase, 8));
	cr_expect(chase_check(&chase), "the other loops change a chase");
	*(uint64_t *)(chase.memory + chase_offset(CHASE_SPREAD, 255) + 24) = 1;
	cr_expect_eq(chase_scan(chase.memory, chase_bytes(&chase)), 1, "the scan misses a line");
}

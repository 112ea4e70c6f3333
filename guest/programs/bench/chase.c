/* The loops that are timed. */
#include "guest/programs/bench/chase.h"

struct node {
	const struct node *next;
	uint64_t tag;	  /* of its index */
	uint64_t touched; /* by chase_touch() */
	uint64_t zero;	  /* for chase_scan() */
};

static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ull;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

/*
 * A cache's set is a run of address bits above the line's, part of them from the page's number. For
 * every power of two of pages up to 2^22, the pairs (low bits of the number, line) are used equally
 * often: the line is a Latin square's, four to a page so that 64 neighbours use all lines of a
 * page, turned by one more for each higher digit of the number.
 */
static uint64_t line_of_page(uint64_t page)
{
	return (4 * page + (page >> 4) + (page >> 10) + (page >> 16)) % (CHASE_PAGE / CHASE_LINE);
}

uint64_t chase_offset(enum chase_layout layout, uint64_t index)
{
	return layout == CHASE_PACKED ? index * CHASE_LINE
				      : index * CHASE_PAGE + line_of_page(index) * CHASE_LINE;
}

uint64_t chase_bytes(const struct chase *chase)
{
	return chase->count * (chase->layout == CHASE_PACKED ? CHASE_LINE : CHASE_PAGE);
}

static struct node *node_at(const struct chase *chase, uint64_t index)
{
	return (struct node *)(chase->memory + chase_offset(chase->layout, index));
}

void chase_build(const struct chase *chase, uint32_t *order, uint64_t seed)
{
	for (uint64_t i = 0; i < chase->count; i++) {
		struct node *node = node_at(chase, i);

		node->tag = mix(i);
		node->zero = 0;
		order[i] = (uint32_t)i;
	}
	/* One that is shuffled evenly, and closed to a ring. */
	for (uint64_t i = chase->count - 1; i > 0; i--) {
		uint64_t other = (mix(seed + i) >> 32) * (i + 1) >> 32;
		uint32_t index = order[i];

		order[i] = order[other];
		order[other] = index;
	}
	for (uint64_t i = 0; i < chase->count; i++)
		node_at(chase, order[i])->next =
			node_at(chase, order[i + 1 < chase->count ? i + 1 : 0]);
}

/* The index of the node at this address; count: there is none. */
static uint64_t index_of(const struct chase *chase, const struct node *node)
{
	uint64_t offset = (uint64_t)node - (uint64_t)chase->memory;
	uint64_t index = offset / (chase->layout == CHASE_PACKED ? CHASE_LINE : CHASE_PAGE);

	return index < chase->count && chase_offset(chase->layout, index) == offset ? index
										    : chase->count;
}

bool chase_check(const struct chase *chase)
{
	const struct node *start = node_at(chase, 0), *node = start;

	/* Back at the start after count steps and not before: so no other was met twice either. */
	for (uint64_t step = 0; step < chase->count; step++) {
		uint64_t index = index_of(chase, node);

		if (index == chase->count || node->tag != mix(index) || (step > 0 && node == start))
			return false;
		node = node->next;
	}
	return node == start;
}

const void *chase_run(const void *from, uint64_t steps)
{
	const struct node *node = from;

	for (; steps >= CHASE_UNROLL; steps -= CHASE_UNROLL) {
		node = node->next->next->next->next;
		node = node->next->next->next->next;
		node = node->next->next->next->next;
		node = node->next->next->next->next;
	}
	return node;
}

uint64_t chase_stride(const struct chase *chase)
{
	uint64_t sum = 0;

	for (uint64_t i = 0; i < chase->count; i++)
		sum += node_at(chase, i)->tag;
	return sum;
}

uint64_t chase_stride_sum(const struct chase *chase)
{
	uint64_t sum = 0;

	for (uint64_t i = 0; i < chase->count; i++)
		sum += mix(i);
	return sum;
}

uint64_t chase_scan(const char *memory, uint64_t bytes)
{
	uint64_t sum = 0;

	for (uint64_t at = 0; at < bytes; at += CHASE_LINE)
		sum += ((const volatile struct node *)(memory + at))->zero;
	return sum;
}

void chase_touch(const struct chase *chase, uint64_t value)
{
	for (uint64_t i = 0; i < chase->count; i++)
		((volatile struct node *)node_at(chase, i))->touched = value;
}

bool chase_touched(const struct chase *chase, uint64_t value)
{
	for (uint64_t i = 0; i < chase->count; i++) {
		if (node_at(chase, i)->touched != value)
			return false;
	}
	return true;
}

/* The tables of the tiers. */
#include "mm/tiers.h"

const struct mm_tier_ops *const mm_tiers[MM_TIER_COUNT] = {
	&mm_tier_nothing,
	&mm_tier_same,
	&mm_tier_pool,
	&mm_tier_swap,
};

static const struct {
	const char *name;
	const struct mm_tier_ops *tier; /* NULL: the page is resident */
} states[FRAME_STATES] = {
	[FRAME_UNTOUCHED] = { "untouched", &mm_tier_nothing },
	[FRAME_MAPPED] = { "mapped", NULL },
	[FRAME_WATCHED] = { "watched", NULL },
	[FRAME_EVICTING] = { "evicting", NULL },
	[FRAME_RELEASING] = { "releasing", NULL },
	[FRAME_FILLING] = { "filling", NULL },
	[FRAME_SAME_FILLED] = { "same_filled", &mm_tier_same },
	[FRAME_COMPRESSED] = { "compressed", &mm_tier_pool },
	[FRAME_SWAPPED] = { "swapped", &mm_tier_swap },
	[FRAME_RELEASED] = { "released", &mm_tier_nothing },
};

const struct mm_tier_ops *mm_tier_of(enum frame_state state)
{
	return states[state].tier;
}

const char *frame_state_name(enum frame_state state)
{
	return states[state].name;
}

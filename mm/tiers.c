/* The tables of the tiers. */
#include "mm/tiers.h"

const struct mm_tier_ops *const mm_tiers[MM_TIER_COUNT] = {
	&mm_tier_nothing,
	&mm_tier_same,
	&mm_tier_pool,
	&mm_tier_swap,
};

static const struct mm_tier_ops *const by_state[FRAME_STATES] = {
	[FRAME_UNTOUCHED] = &mm_tier_nothing, [FRAME_RELEASED] = &mm_tier_nothing,
	[FRAME_SAME] = &mm_tier_same,	      [FRAME_POOL] = &mm_tier_pool,
	[FRAME_SWAP] = &mm_tier_swap,
};

const struct mm_tier_ops *mm_tier_of(enum frame_state state)
{
	return by_state[state];
}

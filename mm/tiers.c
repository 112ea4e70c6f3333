/* The tables of the tiers, and what is asked of all of them. */
#include "mm/tiers.h"

#define GIVES_MAX 8 /* in one go */

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

int tiers_create(struct mm *mm, const struct mm_config *config)
{
	int error = 0;

	for (int i = 0; i < MM_TIER_COUNT && error == 0; i++)
		if (mm_tiers[i]->create != NULL)
			error = mm_tiers[i]->create(mm, config);
	return error;
}

void tiers_destroy(struct mm *mm)
{
	for (int i = MM_TIER_COUNT; i-- > 0;)
		if (mm_tiers[i]->destroy != NULL)
			mm_tiers[i]->destroy(mm);
}

uint64_t tiers_bytes(const struct mm *mm)
{
	uint64_t bytes = 0;

	for (int i = 0; i < MM_TIER_COUNT; i++)
		if (mm_tiers[i]->bytes != NULL)
			bytes += mm_tiers[i]->bytes(mm);
	return bytes;
}

void tiers_trim(struct mm *mm)
{
	for (int i = 0; i < MM_TIER_COUNT; i++)
		if (mm_tiers[i]->trim != NULL)
			mm_tiers[i]->trim(mm);
}

static bool is_over(const struct mm *mm, const struct mm_tier_ops *tier, bool lenient)
{
	return tier->is_over != NULL && !mm->has_failed && tier->is_over(mm, lenient);
}

bool tiers_are_over(const struct mm *mm, bool lenient)
{
	for (int i = 0; i < MM_TIER_COUNT; i++)
		if (is_over(mm, mm_tiers[i], lenient))
			return true;
	return false;
}

uint32_t tiers_drain(struct mm *mm, struct reclaim_work *work, bool lenient)
{
	uint32_t total = 0, went;

	for (int i = 0; i < MM_TIER_COUNT; i++) {
		went = 1;
		for (int k = 0; k < GIVES_MAX && went > 0 && is_over(mm, mm_tiers[i], lenient); k++)
			total += went = mm_tiers[i]->give(mm, work, true);
	}
	return total;
}

uint32_t tiers_give_cold(struct mm *mm, struct reclaim_work *work)
{
	uint32_t went = 0;

	for (int i = 0; i < MM_TIER_COUNT && went == 0 && !mm->has_failed; i++)
		if (mm_tiers[i]->is_cold != NULL && mm_tiers[i]->is_cold(mm, work))
			went = mm_tiers[i]->give(mm, work, false);
	return went;
}

uint32_t tiers_give(struct mm *mm, struct reclaim_work *work)
{
	uint32_t went = 0;

	for (int i = 0; i < MM_TIER_COUNT; i++)
		if (mm_tiers[i]->give != NULL)
			went += mm_tiers[i]->give(mm, work, true);
	return went;
}

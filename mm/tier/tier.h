/* Shared by the rows of mm/tier/. With the lock held, unless said otherwise. */
#ifndef MM_TIER_TIER_H
#define MM_TIER_TIER_H

#include "mm/tiers.h"

/* swap.c. Is there a swap, and not resting after a failure? forced: resting or not. */
bool swap_usable(const struct mm *mm, bool forced);
/* Slots for count pages into work->pages, as contiguous as can be. How many there were. */
uint32_t swap_assign_slots(struct mm *mm, struct reclaim_work *work, uint32_t count);
/* Writes work->pages, and drops the lock meanwhile. The first error among them. */
int swap_write_pages(struct mm *mm, struct reclaim_work *work, uint32_t count);

/* pool.c: a copy of an object to a page, verified. Without the lock. 0 or -EBADMSG. */
int pool_unpack(struct mm *mm, struct codec *codec, const struct pool_object *object,
		const char *data, void *page);

/* write_back.c: hooks of the pool's row. */
bool pool_is_over(const struct mm *mm, bool lenient);
bool pool_is_cold(struct mm *mm, struct reclaim_work *work);
uint32_t pool_give(struct mm *mm, struct reclaim_work *work, bool dense);

#endif

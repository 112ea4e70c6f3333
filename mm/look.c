/*
 * A frame seen from outside. The content of a resident page is copied under the lock. Any other
 * page is described by its tier, which does slow work (decompressing, reading the swap file) on a
 * copy, without the lock.
 */
#include <errno.h>

#include "base/check.h"
#include "mm/tiers.h"

#define LOOKS_MAX	1000 /* how often a page may move away under our eyes */
#define COUNT_AT_A_TIME 4096

/* One attempt. The lock is held, and dropped. */
static int look_once(struct mm *mm, uint32_t number, struct mm_look *look, void *page)
{
	struct mm_frame *f = mm_frame(mm, number);
	enum frame_state content = frame_content(f);
	const struct mm_tier_ops *tier = mm_tier_of(content);
	int error = 0;

	*look = (struct mm_look){
		.state = f->state,
		.content = content,
		.slot = MM_LOOK_NO_SLOT,
		.pins = f->pins,
		.in_balloon = (f->flags & FRAME_BALLOON) != 0,
	};
	if (tier != NULL)
		return tier->look(mm, number, look, page);
	look->slot = f->where; /* FRAME_NOWHERE is NO_SLOT */
	/* The lock keeps a resident page where it is; a copy of it takes a microsecond. */
	if (page != NULL)
		error = mm->ops->read(mm->backing, gfn(number), page);
	lock_drop(&mm->lock);
	return error;
}

int mm_look(struct mm *mm, gfn_t frame, struct mm_look *look, void *page)
{
	int error = -EAGAIN;

	if (!mm_has(mm, frame.v, 1))
		return -ERANGE;
	CHECK((uintptr_t)page % PAGE_SIZE == 0);
	for (unsigned i = 0; i < LOOKS_MAX && error == -EAGAIN; i++) {
		lock_take(&mm->lock);
		error = look_once(mm, (uint32_t)frame.v, look, page);
	}
	return error;
}

int mm_look_count(struct mm *mm, gfn_t first, uint64_t count, uint64_t counts[static FRAME_STATES])
{
	uint64_t at = first.v;

	if (!mm_has(mm, first.v, count))
		return -ERANGE;
	/* In pieces: a fault must not wait for a count of all of memory. */
	for (uint64_t end = at + count; at < end;) {
		uint64_t stop = end - at < COUNT_AT_A_TIME ? end : at + COUNT_AT_A_TIME;

		lock_take(&mm->lock);
		for (; at < stop; at++)
			counts[mm->frames[at].state]++;
		lock_drop(&mm->lock);
	}
	return 0;
}

/* What several files do to a frame. */
#include <errno.h>
#include <sched.h>

#include "mm/mm_internal.h"

#define BACKING_TRIES 1000

void frame_drop_slot(struct mm *mm, struct mm_frame *f)
{
	if (f->where == FRAME_NOWHERE)
		return;
	swap_free(mm->swap, f->where);
	mm->kept_slots--;
	f->where = FRAME_NOWHERE;
}

void frame_drop_stored(struct mm *mm, struct mm_frame *f)
{
	if (f->state == FRAME_POOL)
		pool_free(mm->pool, f->where);
	else if (f->state == FRAME_SWAP)
		swap_free(mm->swap, f->where);
}

int mm_backing_again(int error, unsigned *tries)
{
	if (error != -EAGAIN && error != -EINTR && error != -EBUSY)
		return 0;
	if (++*tries > BACKING_TRIES)
		return 0;
	sched_yield();
	return 1;
}

/* One call of the backing on a range, repeated while its error is a passing one. */
static int on_range(struct mm *mm, int (*call)(void *backing, gfn_t first, uint32_t count),
		    uint32_t first, uint32_t count)
{
	unsigned tries = 0;
	int error;

	do
		error = call(mm->backing, gfn(first), count);
	while (error != 0 && mm_backing_again(error, &tries));
	return error;
}

int frame_map(struct mm *mm, uint32_t first, uint32_t count)
{
	return on_range(mm, mm->ops->map, first, count);
}

int frame_unmap(struct mm *mm, uint32_t first, uint32_t count)
{
	return on_range(mm, mm->ops->unmap, first, count);
}

int frame_release(struct mm *mm, uint32_t first, uint32_t count)
{
	return on_range(mm, mm->ops->release, first, count);
}

void frame_offer(struct mm *mm, uint32_t number)
{
	struct mm_frame *f = mm_frame(mm, number);

	if (!(f->flags & FRAME_OFFER) || (f->flags & FRAME_BATCH) || f->pins > 0)
		return;
	f->flags &= (uint8_t)~FRAME_OFFER;
	if (f->state == FRAME_MAPPED || f->state == FRAME_WATCHED)
		mm->policy_ops->touched(mm->policy, number);
}

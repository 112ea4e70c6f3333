/* Operations on a frame that several files need. */
#include <errno.h>
#include <sched.h>

#include "base/check.h"
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

static bool worth_another_try(int error, unsigned *tries)
{
	if (error != -EAGAIN && error != -EINTR && error != -EBUSY)
		return false;
	if (++*tries > BACKING_TRIES)
		return false;
	sched_yield();
	return true;
}

enum call {
	CALL_ZERO,
	CALL_FILL,
	CALL_MAP,
	CALL_UNMAP,
	CALL_SEAL,
	CALL_RELEASE,
};

static int call_once(struct mm *mm, enum call call, gfn_t first, uint32_t count, const char *source,
		     uint32_t *done)
{
	switch (call) {
	case CALL_ZERO:
		return mm->ops->zero(mm->backing, first, count, done);
	case CALL_FILL:
		return mm->ops->fill(mm->backing, first, count, source, done);
	case CALL_MAP:
		return mm->ops->map(mm->backing, first, count, done);
	case CALL_UNMAP:
		return mm->ops->unmap(mm->backing, first, count, done);
	case CALL_SEAL:
		return mm->ops->seal(mm->backing, first, count, done);
	case CALL_RELEASE:
		return mm->ops->release(mm->backing, first, count, done);
	}
	return -EINVAL;
}

/*
 * One call of the backing on a range, taken up where it stopped while its error is a passing one.
 * 0 when all is done.
 */
static int on_range(struct mm *mm, enum call call, uint32_t first, uint32_t count,
		    const char *source, uint32_t *done)
{
	unsigned tries = 0;
	int error = 0;

	if (call != CALL_MAP)
		LOCK_CHECK();
	for (*done = 0; *done < count;) {
		uint32_t part = 0;

		error = call_once(mm, call, gfn(first + *done), count - *done,
				  source != NULL ? source + *done * PAGE_SIZE : NULL, &part);
		if (error == 0)
			part = count - *done;
		CHECK(part <= count - *done);
		*done += part;
		if (part > 0)
			tries = 0;
		if (error != 0 && !worth_another_try(error, &tries))
			break;
	}
	return *done == count ? 0 : error;
}

int frame_zero(struct mm *mm, uint32_t first, uint32_t count, uint32_t *done)
{
	return on_range(mm, CALL_ZERO, first, count, NULL, done);
}

int frame_fill(struct mm *mm, uint32_t first, uint32_t count, const char *source, uint32_t *done)
{
	return on_range(mm, CALL_FILL, first, count, source, done);
}

int frame_map(struct mm *mm, uint32_t first, uint32_t count, uint32_t *done)
{
	return on_range(mm, CALL_MAP, first, count, NULL, done);
}

int frame_unmap(struct mm *mm, uint32_t first, uint32_t count, uint32_t *done)
{
	return on_range(mm, CALL_UNMAP, first, count, NULL, done);
}

int frame_seal(struct mm *mm, uint32_t first, uint32_t count, uint32_t *done)
{
	return on_range(mm, CALL_SEAL, first, count, NULL, done);
}

int frame_release(struct mm *mm, uint32_t first, uint32_t count, uint32_t *done)
{
	return on_range(mm, CALL_RELEASE, first, count, NULL, done);
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

/* Pins. */
#include <errno.h>

#include "base/check.h"
#include "mm/fault.h"

#define PINS_MAX 255

static void unpin_range(struct mm *mm, uint32_t first, uint32_t count)
{
	for (uint32_t i = first; i < first + count; i++) {
		struct mm_frame *f = mm_frame(mm, i);

		CHECK(f->pins > 0);
		if (--f->pins == 0) {
			mm->pinned--;
			frame_offer(mm, i);
		}
	}
	mm_wake(mm);
}

/* Pin one frame; left: how many the caller still wants, this one included. */
static int pin_one(struct mm *mm, uint32_t number, uint32_t left, struct attempt *a)
{
	struct mm_frame *f = mm_frame(mm, number);
	enum frame_state was = f->state;

	while (f->state != FRAME_MAPPED) {
		int error = bring_in(mm, number, left, a);

		if (error != 0)
			return error;
	}
	if (f->pins == PINS_MAX)
		return -EBUSY;
	if (f->pins == 0) {
		if (mm->pinned >= mm->sizes.pin_max)
			return -EBUSY;
		mm->pinned++;
	}
	f->pins++;
	frame_balloon_touch(mm, number, was, 0, true);
	return 0;
}

int mm_pin(struct mm *mm, gfn_t first, uint32_t count)
{
	struct attempt a = { .doing = NULL };
	uint32_t done = 0;
	int error = 0;
	bool dead;

	if (!mm_has(mm, first.v, count))
		return -ERANGE;
	lock_take(&mm->lock);
	while (done < count && error == 0) {
		if (mm->has_failed)
			error = -EIO;
		else
			error = pin_one(mm, (uint32_t)first.v + done, count - done, &a);
		done += error == 0;
	}
	dead = mm->has_failed;
	if (error != 0)
		unpin_range(mm, (uint32_t)first.v, done);
	mm_unlock(mm);
	/* No room for a pin is the caller's to bear; lost content is everybody's. */
	if (error != 0 && error != -ENOMEM && error != -EBUSY && !dead)
		mm_fail(mm, (uint32_t)first.v + done, error, a.doing);
	return error;
}

void mm_unpin(struct mm *mm, gfn_t first, uint32_t count)
{
	CHECK(mm_has(mm, first.v, count));
	lock_take(&mm->lock);
	unpin_range(mm, (uint32_t)first.v, count);
	lock_drop(&mm->lock);
}

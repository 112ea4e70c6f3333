/* Pins, and dropping content. */
#include <errno.h>
#include <string.h>

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

	while (f->state != FRAME_MAPPED) {
		int error = bring_in(mm, number, left, a);

		if (error != 0)
			return error;
	}
	if (f->pins == PINS_MAX)
		return -EBUSY;
	if (f->pins == 0) {
		if (mm->pinned >= mm->sizes.pin_max) {
			a->doing = NULL;
			return -ENOMEM;
		}
		mm->pinned++;
	}
	f->pins++;
	return 0;
}

int mm_pin(struct mm *mm, gfn_t first, uint32_t count)
{
	struct attempt a = { .doing = NULL };
	uint32_t done = 0;
	int error = 0;
	bool dead;

	if (first.v >= mm->frame_count || count > mm->frame_count - first.v)
		return -ERANGE;
	pthread_mutex_lock(&mm->lock);
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
	pthread_mutex_unlock(&mm->lock);
	/* No room for a pin is the caller's to bear; lost content is everybody's. */
	if (error != 0 && error != -ENOMEM && error != -EBUSY && !dead)
		mm_fail(mm, (uint32_t)first.v + done, error, a.doing);
	return error;
}

void mm_unpin(struct mm *mm, gfn_t first, uint32_t count)
{
	CHECK(first.v < mm->frame_count && count <= mm->frame_count - first.v);
	pthread_mutex_lock(&mm->lock);
	unpin_range(mm, (uint32_t)first.v, count);
	pthread_mutex_unlock(&mm->lock);
}

/* Resident frames from first on that can be dropped at once; marks them RELEASING. */
static uint32_t mark_discard(struct mm *mm, uint32_t first, uint32_t end)
{
	uint32_t n = 0;

	while (first + n < end) {
		struct mm_frame *f = mm_frame(mm, first + n);

		if ((f->state != FRAME_MAPPED && f->state != FRAME_WATCHED) || f->pins > 0 ||
		    (f->flags & FRAME_BATCH))
			break;
		frame_drop_slot(mm, f);
		f->then = FRAME_UNTOUCHED;
		f->flags &= (uint8_t)~FRAME_OFFER;
		mm_set_state(mm, f, FRAME_RELEASING);
		mm->policy_ops->removed(mm->policy, first + n);
		n++;
	}
	return n;
}

static int release_discarded(struct mm *mm, uint32_t first, uint32_t count)
{
	int error;

	pthread_mutex_unlock(&mm->lock);
	error = frame_unmap(mm, first, count);
	if (error == 0)
		error = frame_release(mm, first, count);
	if (error != 0)
		mm_fail(mm, first, error, "giving its memory back to the host failed");
	pthread_mutex_lock(&mm->lock);
	for (uint32_t i = first; i < first + count; i++)
		mm_set_state(mm, mm_frame(mm, i), FRAME_UNTOUCHED);
	mm_uncharge(mm, count * PAGE_SIZE);
	mm_wake(mm);
	return error;
}

/* One step of a discard: how many frames from first on are done; 0: waited, try again. */
static uint32_t discard_some(struct mm *mm, uint32_t first, uint32_t end, int *error)
{
	struct mm_frame *f = mm_frame(mm, first);
	uint32_t n = mark_discard(mm, first, end);

	if (n > 0) {
		*error = release_discarded(mm, first, n);
		return n;
	}
	if ((f->flags & FRAME_BATCH) || f->state == FRAME_FILLING || f->state == FRAME_RELEASING) {
		mm_wait(mm);
		return 0;
	}
	if (frame_is_resident(f)) {
		/* Pinned: it stays, emptied. A kept slot does not match it any more. */
		memset(mm->ops->page(mm->backing, gfn(first)), 0, PAGE_SIZE);
		frame_drop_slot(mm, f);
		return 1;
	}
	frame_drop_stored(mm, f);
	mm_set_state(mm, f, FRAME_UNTOUCHED);
	return 1;
}

int mm_discard(struct mm *mm, gfn_t first, uint32_t count)
{
	uint32_t at = (uint32_t)first.v, end = at + count;
	int error = 0;

	if (first.v >= mm->frame_count || count > mm->frame_count - first.v)
		return -ERANGE;
	pthread_mutex_lock(&mm->lock);
	while (at < end && error == 0) {
		if (mm->has_failed)
			error = -EIO;
		else
			at += discard_some(mm, at, end, &error);
	}
	pthread_mutex_unlock(&mm->lock);
	return error;
}

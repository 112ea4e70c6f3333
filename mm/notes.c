/*
 * The manager's messages to the user. They are noted under the lock and logged without it: a log
 * line may go to a pipe that nobody reads, and the whole machine would wait behind it.
 */
#include <string.h>

#include "base/log.h"
#include "base/units.h"
#include "mm/mm_internal.h"

bool notes_pending(const struct mm *mm)
{
	return mm->notes.store_error != 0 || mm->notes.relented || mm->notes.touch.pages != 0;
}

struct mm_notes notes_take(struct mm *mm)
{
	struct mm_notes notes = mm->notes;

	mm->notes = (struct mm_notes){ 0 };
	return notes;
}

void notes_say(const struct mm_notes *notes)
{
	char held[UNITS_TEXT_SIZE], wanted[UNITS_TEXT_SIZE];

	if (notes->store_error == NOTE_SWAP_LIMIT)
		log_warn("the swap file is as large as it may be (--swap-size); the pages stay in "
			 "memory");
	else if (notes->store_error != 0)
		log_warn("writing to the swap file failed: %s; the pages stay in memory",
			 strerror(-notes->store_error));
	if (notes->relented)
		log_warn(
			"the guest holds %s and nothing of it can be given up; a budget of %s must "
			"wait",
			units_format_size(notes->held, held),
			units_format_size(notes->wanted, wanted));
}

void notes_tell_of_touch(struct mm *mm, const struct mm_notes *notes)
{
	if (notes->touch.pages != 0 && mm->config.balloon_touched != NULL)
		mm->config.balloon_touched(mm->failed_context, &notes->touch);
}

void mm_unlock(struct mm *mm)
{
	struct mm_notes notes = notes_take(mm);

	lock_drop(&mm->lock);
	notes_tell_of_touch(mm, &notes);
	notes_say(&notes);
}

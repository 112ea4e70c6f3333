/* System calls on memory that is mapped: advice, locking, residency, write-back. */
#include "guest/call/call.h"
#include "guest/lib/errno.h"
#include "guest/lib/linux.h"
#include "guest/memory/cache.h"
#include "guest/memory/fault.h"
#include "guest/memory/mapping.h"
#include "guest/memory/user.h"
#include "guest/process/process.h"

enum advice {
	ADVICE_NORMAL = 0,
	ADVICE_WILL_NEED = 3,
	ADVICE_DONT_NEED = 4,
	ADVICE_FREE = 8,
	ADVICE_REMOVE = 9,
	ADVICE_DONT_FORK = 10,
	ADVICE_DO_FORK = 11,
	ADVICE_HUGE = 14,
	ADVICE_NO_HUGE = 15,
	ADVICE_WIPE_ON_FORK = 18,
	ADVICE_KEEP_ON_FORK = 19,
	ADVICE_COLD = 20,
	ADVICE_PAGE_OUT = 21,
	ADVICE_POPULATE_READ = 22,
	ADVICE_POPULATE_WRITE = 23,
	ADVICE_LAST = 25,
};

#define SYNC_ASYNC	1
#define SYNC_INVALIDATE 2
#define SYNC_NOW	4
#define MINCORE_PART	256

/* Areas of the range get and lose flags, by splits where they must. */
static int change_flags(struct space *space, uint64_t start, uint64_t end, uint32_t set,
			uint32_t clear)
{
	int error = space_split(space, start, end);

	if (error)
		return error;
	for (unsigned i = space_index(space, start);
	     i < space->area_count && space->area[i]->start < end; i++)
		space->area[i]->flags = (space->area[i]->flags & ~clear) | set;
	space_join(space, start, end);
	space_forget(space);
	return 0;
}

/* Whether the advice, which takes pages away, may be followed in all of the range. */
static bool may_discard(const struct space *space, uint64_t start, uint64_t end, bool anonymous)
{
	for (unsigned i = space_index(space, start);
	     i < space->area_count && space->area[i]->start < end; i++) {
		const struct area *area = space->area[i];

		if ((area->flags & AREA_LOCKED) || (anonymous && area->content))
			return false;
	}
	return !call_cuts_huge(space, start, end);
}

static int64_t populate(struct space *space, uint64_t start, uint64_t end, bool write)
{
	for (unsigned i = space_index(space, start);
	     i < space->area_count && space->area[i]->start < end; i++) {
		if (!(space->area[i]->flags & (write ? AREA_WRITE : AREA_READ)))
			return -EINVAL;
	}
	return fault_populate_for(space, start, end, write ? AREA_WRITE : AREA_READ);
}

static int64_t advise(struct space *space, uint64_t start, uint64_t end, enum advice advice)
{
	switch (advice) {
	case ADVICE_DONT_NEED:
	case ADVICE_FREE:
		if (!may_discard(space, start, end, advice == ADVICE_FREE))
			return -EINVAL;
		table_unmap(space, start, end);
		return 0;
	case ADVICE_REMOVE:
		return -EINVAL;
	case ADVICE_DONT_FORK:
		return change_flags(space, start, end, AREA_NO_FORK, 0);
	case ADVICE_DO_FORK:
		return change_flags(space, start, end, 0, AREA_NO_FORK);
	case ADVICE_HUGE:
		return change_flags(space, start, end, AREA_HUGE, AREA_NO_HUGE);
	case ADVICE_NO_HUGE:
		return change_flags(space, start, end, AREA_NO_HUGE, AREA_HUGE);
	case ADVICE_WIPE_ON_FORK:
		return may_discard(space, start, end, true)
			       ? change_flags(space, start, end, AREA_WIPE_FORK, 0)
			       : -EINVAL;
	case ADVICE_KEEP_ON_FORK:
		return change_flags(space, start, end, 0, AREA_WIPE_FORK);
	case ADVICE_POPULATE_READ:
	case ADVICE_POPULATE_WRITE:
		return populate(space, start, end, advice == ADVICE_POPULATE_WRITE);
	default:
		return 0;
	}
}

int64_t call_madvise(reg_t address, reg_t length, reg_t advice)
{
	struct space *space = current_space();
	uint64_t end;

	if ((uint32_t)advice > ADVICE_LAST || (address & (PAGE_SIZE - 1)))
		return -EINVAL;
	if (length == 0)
		return 0;
	if (!call_page_range(address, length, &end))
		return -EINVAL;
	if (!space_is_covered(space, address, end))
		return -ENOMEM;
	return advise(space, address, end, (uint32_t)advice);
}

int64_t call_msync(reg_t address, reg_t length, reg_t flags)
{
	struct space *space = current_space();
	uint64_t end;

	if ((flags & ~(reg_t)(SYNC_ASYNC | SYNC_INVALIDATE | SYNC_NOW)) ||
	    (address & (PAGE_SIZE - 1)) || ((flags & SYNC_ASYNC) && (flags & SYNC_NOW)))
		return -EINVAL;
	if (!call_page_range(address, length, &end))
		return -ENOMEM;
	for (unsigned i = space_index(space, address);
	     i < space->area_count && space->area[i]->start < end; i++) {
		if ((flags & SYNC_INVALIDATE) && (space->area[i]->flags & AREA_LOCKED))
			return -EBUSY;
	}
	if (flags & (SYNC_NOW | SYNC_ASYNC))
		mapping_write_back(space, address, end);
	return space_is_covered(space, address, end) ? 0 : -ENOMEM;
}

/* Whether the page at va is in memory: mapped here, or the file's in the page cache. */
static bool in_memory(struct space *space, uint64_t va)
{
	uint64_t size, *pte = table_find(space->root, va, &size);
	const struct area *area = space_find(space, va);

	if (pte && pte_used(*pte))
		return pte_holds(*pte);
	return area->content && area_page(area, va) << PAGE_SHIFT < area->content->size &&
	       cache_peek(area->content, area_page(area, va));
}

int64_t call_mincore(reg_t address, reg_t length, reg_t vector)
{
	struct space *space = current_space();
	uint8_t part[MINCORE_PART];
	uint64_t end;

	if (address & (PAGE_SIZE - 1))
		return -EINVAL;
	if (!call_page_range(address, length, &end) || !space_is_covered(space, address, end))
		return -ENOMEM;
	while (address < end) {
		unsigned count = 0;

		for (; count < MINCORE_PART && address < end; address += PAGE_SIZE)
			part[count++] = in_memory(space, address);
		if (user_write(vector, part, count))
			return -EFAULT;
		vector += count;
	}
	return 0;
}

static int64_t set_locked(reg_t address, reg_t length, bool locked)
{
	struct space *space = current_space();
	uint64_t start = ROUND_DOWN(address, PAGE_SIZE), end;
	int error;

	if (!call_page_range(start, length + (address - start), &end))
		return length > USER_END ? -ENOMEM : -EINVAL;
	if (!space_is_covered(space, start, end))
		return -ENOMEM;
	error = change_flags(space, start, end, locked ? AREA_LOCKED : 0, locked ? 0 : AREA_LOCKED);
	return error || !locked ? error : fault_populate(space, start, end);
}

int64_t call_mlock(reg_t address, reg_t length)
{
	return set_locked(address, length, true);
}

int64_t call_munlock(reg_t address, reg_t length)
{
	return set_locked(address, length, false);
}

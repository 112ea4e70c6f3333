/* System calls on the address space. Lengths are the program's word: every sum is checked. */
#include "guest/call/call.h"
#include "guest/call/linux.h"
#include "guest/cpu/asm.h"
#include "guest/file/file.h"
#include "guest/lib/errno.h"
#include "guest/memory/fault.h"
#include "guest/memory/user.h"
#include "guest/process/process.h"

#define ADVICE_NORMAL	0
#define ADVICE_DONTNEED 4
#define ADVICE_FREE	8
#define ADVICE_REMOVE	9
#define ADVICE_HWPOISON 100
#define ADVICE_LAST	25
#define MSYNC_FLAGS	7
#define PROT_FLAGS	(PROT_READ | PROT_WRITE | PROT_EXEC)
#define PROT_GROWS	0x03000000

static uint32_t area_flags(uint32_t protection)
{
	/* Whatever the processor can write or execute it can read. */
	return (protection & PROT_FLAGS ? AREA_READ : 0) |
	       (protection & PROT_WRITE ? AREA_WRITE : 0) |
	       (protection & PROT_EXEC ? AREA_EXEC : 0);
}

/* [address, address + length) in whole pages of the program's half; false when it is not. */
static bool page_range(reg_t address, reg_t length, uint64_t *end)
{
	if ((address & (PAGE_SIZE - 1)) || length > USER_END)
		return false;
	length = ROUND_UP(length, PAGE_SIZE);
	*end = address + length;
	return user_range(address, length);
}

int64_t call_brk(reg_t end)
{
	struct space *space = current_space();
	uint64_t old_end = ROUND_UP(space->brk, PAGE_SIZE), new_end;
	struct area area = { .flags = AREA_READ | AREA_WRITE | AREA_HEAP };
	unsigned index;

	if (end < space->brk_start || end > USER_END)
		return space->brk;
	new_end = ROUND_UP(end, PAGE_SIZE);
	if (new_end < old_end) {
		if (space_remove(space, new_end, old_end))
			return space->brk;
	} else if (new_end > old_end) {
		if (!space_is_free(space, old_end, new_end + PAGE_SIZE))
			return space->brk;
		index = space_index(space, old_end);
		area.start = old_end;
		area.end = new_end;
		if (index > 0 && space->area[index - 1]->end == old_end &&
		    (space->area[index - 1]->flags & AREA_HEAP) &&
		    (space->area[index - 1]->flags & AREA_ACCESS) == (AREA_READ | AREA_WRITE))
			space->area[index - 1]->end = new_end;
		else if (space_add(space, &area))
			return space->brk;
	}
	space->brk = end;
	return end;
}

/* What the mapping is of: sets node and flags of the area; 0 or -errno. */
static int64_t map_source(struct area *area, uint32_t protection, uint32_t flags, int fd,
			  uint64_t offset)
{
	struct file *file;

	if (flags & MAP_ANONYMOUS)
		return 0;
	file = file_of(fd);
	if (!file)
		return -EBADF;
	if ((file->flags & OPEN_ACCESS) == OPEN_WRITE)
		return -EACCES;
	if (file->ops->anonymous_map)
		return 0;
	if (file->ops != &regular_ops)
		return -ENODEV;
	if ((area->flags & AREA_SHARED) && (protection & PROT_WRITE))
		return -EACCES;
	area->node = file->node;
	area->offset = offset;
	area->limit = UINT64_MAX;
	return 0;
}

/* Where the mapping goes; makes the place free. */
static int64_t map_place(struct space *space, reg_t address, uint64_t length, uint32_t flags,
			 uint64_t *start)
{
	uint64_t align = length >= LEAF_SIZE ? LEAF_SIZE : PAGE_SIZE;

	if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) {
		if ((address & (PAGE_SIZE - 1)))
			return -EINVAL;
		if (!user_range(address, length))
			return -ENOMEM;
		if (address < MMAP_MIN)
			return -EPERM;
		*start = address;
		if (space_is_free(space, address, address + length))
			return 0;
		if (flags & MAP_FIXED_NOREPLACE)
			return -EEXIST;
		return space_remove(space, address, address + length);
	}
	address = ROUND_DOWN(address, PAGE_SIZE);
	if (address >= MMAP_MIN && user_range(address, length) &&
	    space_is_free(space, address, address + length)) {
		*start = address;
		return 0;
	}
	*start = space_hole(space, length, align, 0);
	if (!*start)
		*start = space_hole(space, length, PAGE_SIZE, 0);
	return *start ? 0 : -ENOMEM;
}

int64_t call_mmap(reg_t address, reg_t length, reg_t protection, reg_t flags, reg_t fd,
		  reg_t offset)
{
	struct space *space = current_space();
	struct area area = { .flags = area_flags(protection) };
	unsigned type = flags & MAP_TYPE;
	int64_t error;

	if (length == 0 || (offset & (PAGE_SIZE - 1)))
		return -EINVAL;
	if (type != MAP_SHARED && type != MAP_PRIVATE && type != MAP_SHARED_VALIDATE)
		return -EINVAL;
	if (length > USER_END)
		return -ENOMEM;
	length = ROUND_UP(length, PAGE_SIZE);
	if (!(flags & MAP_ANONYMOUS) && offset + length < offset)
		return -EOVERFLOW;
	area.flags |= type == MAP_PRIVATE ? 0 : AREA_SHARED;
	area.flags |= flags & MAP_GROWSDOWN ? AREA_GROWSDOWN : 0;
	error = map_source(&area, protection, flags, fd, offset);
	if (!error)
		error = map_place(space, address, length, flags, &area.start);
	if (error)
		return error;
	area.end = area.start + length;
	error = space_add(space, &area);
	return error ? error : (int64_t)area.start;
}

int64_t call_munmap(reg_t address, reg_t length)
{
	uint64_t end;

	if (length == 0 || !page_range(address, length, &end))
		return -EINVAL;
	return space_remove(current_space(), address, end);
}

int64_t call_mprotect(reg_t address, reg_t length, reg_t protection)
{
	struct space *space = current_space();
	uint32_t flags = area_flags(protection);
	uint64_t end;
	int error;

	if ((address & (PAGE_SIZE - 1)) || (protection & ~(reg_t)(PROT_FLAGS | PROT_GROWS)))
		return -EINVAL;
	if (length == 0)
		return 0;
	if (!page_range(address, length, &end) || !space_is_covered(space, address, end))
		return -ENOMEM;
	for (unsigned i = space_index(space, address);
	     i < space->area_count && space->area[i]->start < end; i++) {
		const struct area *area = space->area[i];

		if (area->node && (area->flags & AREA_SHARED) && (flags & AREA_WRITE))
			return -EACCES;
	}
	error = space_split(space, address, end);
	if (error)
		return error;
	for (unsigned i = space_index(space, address);
	     i < space->area_count && space->area[i]->start < end; i++)
		space->area[i]->flags = (space->area[i]->flags & ~AREA_ACCESS) | flags;
	table_protect(space, address, end, flags & AREA_READ, area_bits(flags));
	space_join(space, address, end);
	space_forget(space);
	return 0;
}

/* Moves one area, which is exactly [from, from + old_length), to a place of `length` bytes. */
static int64_t move_area(struct space *space, struct area *old, uint64_t old_length,
			 uint64_t length, uint64_t to)
{
	struct area area = *old;
	uint64_t from = old->start;
	int error;

	area.flags &= ~(AREA_HEAP | AREA_STACK);
	area.start = to;
	area.end = to + length;
	error = space_add(space, &area);
	if (error)
		return error;
	error = table_move(space, from, to, MIN(old_length, length));
	if (error) {
		space_remove(space, to, to + length);
		return error;
	}
	space_forget(space);
	error = space_remove(space, from, from + old_length);
	return error ? error : (int64_t)to;
}

static int64_t remap_place(struct space *space, reg_t address, uint64_t length, reg_t flags,
			   reg_t to, uint64_t *place)
{
	if (!(flags & MREMAP_MAYMOVE))
		return -ENOMEM;
	if (flags & MREMAP_FIXED) {
		*place = to;
		return space_remove(space, to, to + length);
	}
	/* The same offset within a leaf table, so that whole tables move. */
	*place = space_hole(space, length, LEAF_SIZE, address & (LEAF_SIZE - 1));
	return *place ? 0 : -ENOMEM;
}

int64_t call_mremap(reg_t address, reg_t old_length, reg_t length, reg_t flags, reg_t to)
{
	struct space *space = current_space();
	struct area *area;
	uint64_t old_end, end, place;
	int64_t error;

	if ((flags & ~(reg_t)(MREMAP_MAYMOVE | MREMAP_FIXED)) || length == 0 || old_length == 0 ||
	    ((flags & MREMAP_FIXED) && !(flags & MREMAP_MAYMOVE)))
		return -EINVAL;
	if (!page_range(address, old_length, &old_end) || length > USER_END)
		return -EINVAL;
	old_length = old_end - address;
	length = ROUND_UP(length, PAGE_SIZE);
	if ((flags & MREMAP_FIXED) && (!page_range(to, length, &end) || to < MMAP_MIN ||
				       (to < old_end && address < to + length)))
		return -EINVAL;
	area = space_find(space, address);
	if (!area || area->end < old_end)
		return -EFAULT;
	if (!(flags & MREMAP_FIXED) && length <= old_length) {
		error = length < old_length ? space_remove(space, address + length, old_end) : 0;
		return error ? error : (int64_t)address;
	}
	if (!(flags & MREMAP_FIXED) && area->end == old_end && user_range(address, length) &&
	    space_is_free(space, old_end, address + length)) {
		area->end = address + length;
		return address;
	}
	error = remap_place(space, address, length, flags, to, &place);
	if (!error)
		error = space_split(space, address, old_end);
	if (error)
		return error;
	return move_area(space, space_find(space, address), old_length, length, place);
}

int64_t call_madvise(reg_t address, reg_t length, reg_t advice)
{
	struct space *space = current_space();
	uint64_t end;

	if ((uint32_t)advice > ADVICE_LAST || (address & (PAGE_SIZE - 1)))
		return -EINVAL;
	if (length == 0)
		return 0;
	if (!page_range(address, length, &end))
		return -EINVAL;
	if (!space_is_covered(space, address, end))
		return -ENOMEM;
	if ((uint32_t)advice == ADVICE_REMOVE)
		return -EINVAL;
	if ((uint32_t)advice == ADVICE_DONTNEED || (uint32_t)advice == ADVICE_FREE) {
		table_unmap(space, address, end);
		space_forget(space);
	}
	return 0;
}

/* Nothing that can be mapped shared can be written: there is nothing to write back. */
int64_t call_msync(reg_t address, reg_t length, reg_t flags)
{
	uint64_t end;

	if ((flags & ~(reg_t)MSYNC_FLAGS) || !page_range(address, length, &end))
		return -EINVAL;
	return space_is_covered(current_space(), address, end) ? 0 : -ENOMEM;
}

int64_t call_mincore(reg_t address, reg_t length, reg_t vector)
{
	struct space *space = current_space();
	uint64_t end;

	if (!page_range(address, length, &end))
		return -EINVAL;
	if (!space_is_covered(space, address, end))
		return -ENOMEM;
	for (; address < end; address += PAGE_SIZE, vector++) {
		uint64_t *leaf = table_leaf(space->root, address);
		uint8_t present = leaf && pte_holds(leaf[leaf_index(address)]);

		if (user_write(vector, &present, 1))
			return -EFAULT;
	}
	return 0;
}

/* Quire itself never takes a page away. */
int64_t call_mlock(reg_t address, reg_t length)
{
	uint64_t end;

	if (!page_range(ROUND_DOWN(address, PAGE_SIZE), length, &end))
		return -EINVAL;
	return space_is_covered(current_space(), ROUND_DOWN(address, PAGE_SIZE), end) ? 0 : -ENOMEM;
}

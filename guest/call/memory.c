/* System calls on the address space and its mappings. Lengths are the program's word: every sum is
 * checked. */
#include "guest/call/call.h"
#include "guest/cpu/cpu.h"
#include "guest/file/file.h"
#include "guest/lib/errno.h"
#include "guest/lib/linux.h"
#include "guest/memory/cache.h"
#include "guest/memory/commit.h"
#include "guest/memory/fault.h"
#include "guest/memory/user.h"
#include "guest/process/process.h"

#define PROT_FLAGS (PROT_READ | PROT_WRITE | PROT_EXEC)
#define PROT_GROWS 0x03000000

static uint32_t area_flags(uint32_t protection)
{
	uint32_t more = protection & (PROT_WRITE | PROT_EXEC);

	/* Whatever the processor can write or execute it can read. */
	return (more && !(protection & PROT_READ) ? AREA_NOT_ASKED : 0) |
	       (protection & PROT_FLAGS ? AREA_READ : 0) |
	       (protection & PROT_WRITE ? AREA_WRITE : 0) |
	       (protection & PROT_EXEC ? AREA_EXEC : 0);
}

bool call_page_range(reg_t address, reg_t length, uint64_t *end)
{
	if ((address & (PAGE_SIZE - 1)) || length > USER_END)
		return false;
	length = ROUND_UP(length, PAGE_SIZE);
	*end = address + length;
	return user_range(address, length);
}

static int heap_grow(struct space *space, uint64_t old_end, uint64_t new_end)
{
	struct area area = { .start = old_end,
			     .end = new_end,
			     .flags = AREA_READ | AREA_WRITE | AREA_HEAP | AREA_ACCOUNT };
	unsigned index = space_index(space, old_end);
	struct area *below = index > 0 ? space->area[index - 1] : NULL;

	if (!space_is_free(space, old_end, new_end + PAGE_SIZE) ||
	    new_end - space->brk_start > current_process()->limit[RLIMIT_DATA].current ||
	    space_may_map(space, area.flags, (new_end - old_end) >> PAGE_SHIFT))
		return -ENOMEM;
	if (below && below->end == old_end && (below->flags & ~AREA_LOCKED) == area.flags) {
		space_extend(space, below, new_end);
		return 0;
	}
	return space_add(space, &area);
}

int64_t call_brk(reg_t end)
{
	struct space *space = current_space();
	uint64_t old_end = ROUND_UP(space->brk, PAGE_SIZE), new_end;

	if (end < space->brk_start || end > USER_END)
		return space->brk;
	new_end = ROUND_UP(end, PAGE_SIZE);
	if (new_end < old_end && space_remove(space, new_end, old_end))
		return space->brk;
	if (new_end > old_end && heap_grow(space, old_end, new_end))
		return space->brk;
	space->brk = end;
	return end;
}

/* Memory of nobody's file that is to be shared is a file's all the same: one without a name. */
static int64_t anonymous_source(struct area *area, uint32_t flags, uint64_t length)
{
	bool counts = !(flags & MAP_NORESERVE) || overcommit_mode == OVERCOMMIT_NEVER;
	struct node *node;

	if (!(area->flags & AREA_SHARED))
		return 0;
	if (counts && !commit_allows(length >> PAGE_SHIFT))
		return -ENOMEM;
	node = node_create_unnamed(length);
	area->limit = UINT64_MAX;
	area->flags |= AREA_MAY_WRITE;
	if (!node)
		return -ENOMEM;
	area->content = &node->content;
	if (counts)
		cache_promise(area->content, length >> PAGE_SHIFT);
	return 0;
}

/* Finds what to map: sets content (with a reference) and flags of the area; 0 or -errno. */
static int64_t map_source(struct area *area, uint32_t flags, int fd, uint64_t offset,
			  uint64_t length)
{
	struct file *file;
	bool may_write;

	if (flags & MAP_ANONYMOUS)
		return anonymous_source(area, flags, length);
	file = file_of(fd);
	if (!file || (file->flags & OPEN_PATH))
		return -EBADF;
	if (flags & MAP_HUGETLB)
		return -EINVAL;
	may_write = (file->flags & OPEN_ACCESS) != OPEN_READ;
	if ((file->flags & OPEN_ACCESS) == OPEN_WRITE ||
	    ((area->flags & AREA_SHARED) && (area->flags & AREA_WRITE) && !may_write))
		return -EACCES;
	if (file->ops->anonymous_map)
		return anonymous_source(area, flags, length);
	if (file->ops != &regular_ops)
		return -ENODEV;
	area->content = &node_get(file->node)->content;
	area->offset = offset;
	area->limit = UINT64_MAX;
	if ((area->flags & AREA_SHARED) && may_write)
		area->flags |= AREA_MAY_WRITE;
	return 0;
}

bool call_cuts_huge(const struct space *space, uint64_t start, uint64_t end)
{
	for (unsigned i = space_index(space, start);
	     i < space->area_count && space->area[i]->start < end; i++) {
		const struct area *area = space->area[i];
		uint64_t size = area->flags & AREA_GIGA ? GIGA_SIZE : LEAF_SIZE;

		if ((area->flags & AREA_HUGETLB) &&
		    ((MAX(start, area->start) | MIN(end, area->end)) & (size - 1)))
			return true;
	}
	return false;
}

/* Where the mapping goes; makes the place free. */
static int64_t map_place(struct space *space, reg_t address, uint64_t length, uint32_t flags,
			 uint64_t size, uint64_t *start)
{
	uint64_t align = length >= LEAF_SIZE ? MAX(size, LEAF_SIZE) : PAGE_SIZE;

	if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) {
		if ((address & (size - 1)))
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
		if (call_cuts_huge(space, address, address + length))
			return -EINVAL;
		return space_remove(space, address, address + length);
	}
	address = ROUND_UP(address, size);
	if (address >= MMAP_MIN && user_range(address, length) &&
	    space_is_free(space, address, address + length)) {
		*start = address;
		return 0;
	}
	*start = space_hole(space, length, align, 0);
	if (!*start && align > size)
		*start = space_hole(space, length, size, 0);
	return *start ? 0 : -ENOMEM;
}

/* The size of page that MAP_HUGETLB asks for, 0 when there is no such. */
static uint64_t huge_page_size(uint32_t flags)
{
	unsigned shift = flags >> MAP_HUGE_SHIFT & 63;

	if (shift == 0 || shift == LEAF_SHIFT)
		return LEAF_SIZE;
	return shift == GIGA_SHIFT && cpu_features.gigabyte_pages ? GIGA_SIZE : 0;
}

static uint32_t map_flags(uint32_t protection, uint32_t flags)
{
	uint32_t result = area_flags(protection);

	if ((flags & MAP_TYPE) != MAP_PRIVATE)
		result |= AREA_SHARED;
	else if ((flags & MAP_NORESERVE) && overcommit_mode != OVERCOMMIT_NEVER)
		result |= AREA_NO_COUNT;
	else if ((protection & PROT_WRITE) && !(flags & MAP_HUGETLB))
		result |= AREA_ACCOUNT;
	if (flags & MAP_GROWSDOWN)
		result |= AREA_GROWSDOWN;
	if (flags & MAP_HUGETLB)
		result |= AREA_HUGETLB | (huge_page_size(flags) == GIGA_SIZE ? AREA_GIGA : 0);
	if (flags & MAP_LOCKED)
		result |= AREA_LOCKED;
	return result;
}

/* Pages of [start, end) that are mapped with all of these flags: what a MAP_FIXED takes the place
 * of. */
static uint64_t mapped_pages(const struct space *space, uint64_t start, uint64_t end,
			     uint32_t flags)
{
	uint64_t bytes = 0;

	for (unsigned i = space_index(space, start);
	     i < space->area_count && space->area[i]->start < end; i++) {
		if ((space->area[i]->flags & flags) == flags)
			bytes += MIN(end, space->area[i]->end) - MAX(start, space->area[i]->start);
	}
	return bytes >> PAGE_SHIFT;
}

static int64_t map(struct space *space, struct area *area, reg_t address, uint64_t length,
		   uint32_t flags)
{
	uint64_t size = flags & MAP_HUGETLB ? huge_page_size(flags) : PAGE_SIZE;
	uint64_t pages = length >> PAGE_SHIFT, replaced = 0, given_back = 0;
	int64_t error;

	if ((flags & MAP_FIXED) && user_range(address, length)) {
		replaced = mapped_pages(space, address, address + length, 0);
		given_back = mapped_pages(space, address, address + length, AREA_ACCOUNT);
	}
	error = space_may_map(space, area->flags & ~AREA_ACCOUNT, pages - replaced);
	if ((area->flags & AREA_ACCOUNT) && !commit_allows(pages - given_back))
		error = -ENOMEM;
	if (!error)
		error = map_place(space, address, length, flags, size, &area->start);
	if (error)
		return error;
	area->end = area->start + length;
	error = space_add(space, area);
	if (!error && (flags & (MAP_POPULATE | MAP_LOCKED)))
		fault_populate(space, area->start, area->end);
	return error ? error : (int64_t)area->start;
}

int64_t call_mmap(reg_t address, reg_t length, reg_t protection, reg_t flags, reg_t fd,
		  reg_t offset)
{
	struct area area = { .flags = map_flags(protection, flags) };
	unsigned type = flags & MAP_TYPE;
	int64_t result;

	if (length == 0 || (offset & (PAGE_SIZE - 1)))
		return -EINVAL;
	if (type != MAP_SHARED && type != MAP_PRIVATE && type != MAP_SHARED_VALIDATE)
		return -EINVAL;
	if ((flags & MAP_HUGETLB) && !huge_page_size(flags))
		return -EINVAL;
	if (length > USER_END)
		return -ENOMEM;
	length = ROUND_UP(length, flags & MAP_HUGETLB ? huge_page_size(flags) : PAGE_SIZE);
	if (!(flags & MAP_ANONYMOUS) && offset + length < offset)
		return -EOVERFLOW;
	result = map_source(&area, flags, fd, offset, length);
	if (!result)
		result = map(current_space(), &area, address, length, flags);
	if (area.content)
		node_put(node_of(area.content));
	return result;
}

int64_t call_munmap(reg_t address, reg_t length)
{
	struct space *space = current_space();
	uint64_t end;

	if (length == 0 || !call_page_range(address, length, &end) ||
	    call_cuts_huge(space, address, end))
		return -EINVAL;
	return space_remove(space, address, end);
}

/* The flags an area has once its access is `access`. */
static uint32_t with_access(const struct area *area, uint32_t access)
{
	uint32_t flags = (area->flags & ~(AREA_ACCESS | AREA_NOT_ASKED)) | access;

	if ((access & AREA_WRITE) && !(flags & (AREA_SHARED | AREA_NO_COUNT | AREA_HUGETLB)))
		flags |= AREA_ACCOUNT;
	return flags;
}

/* Whether every area of the range may get the access: 0 or -errno. */
static int64_t check_protect(const struct space *space, uint64_t start, uint64_t end,
			     uint32_t access)
{
	uint64_t pages = 0;

	for (unsigned i = space_index(space, start);
	     i < space->area_count && space->area[i]->start < end; i++) {
		const struct area *area = space->area[i];

		if ((access & AREA_WRITE) && (area->flags & AREA_SHARED) &&
		    !(area->flags & AREA_MAY_WRITE))
			return -EACCES;
		if ((with_access(area, access) ^ area->flags) & AREA_ACCOUNT)
			pages += (MIN(end, area->end) - MAX(start, area->start)) >> PAGE_SHIFT;
	}
	return commit_allows(pages) ? 0 : -ENOMEM;
}

int64_t call_mprotect(reg_t address, reg_t length, reg_t protection)
{
	struct space *space = current_space();
	uint32_t access = area_flags(protection);
	uint64_t end;
	int64_t error;

	if ((address & (PAGE_SIZE - 1)) || (protection & ~(reg_t)(PROT_FLAGS | PROT_GROWS)))
		return -EINVAL;
	if (length == 0)
		return 0;
	if (!call_page_range(address, length, &end) || !space_is_covered(space, address, end))
		return -ENOMEM;
	if (call_cuts_huge(space, address, end))
		return -EINVAL;
	error = check_protect(space, address, end, access);
	if (!error)
		error = space_split(space, address, end);
	if (error)
		return error;
	for (unsigned i = space_index(space, address);
	     i < space->area_count && space->area[i]->start < end; i++)
		space_set_flags(space, space->area[i], with_access(space->area[i], access));
	table_protect(space, address, end, access & AREA_READ, area_bits(access));
	space_join(space, address, end);
	space_forget(space);
	return 0;
}

/* Moves one area, which is exactly [from, from + old_length), to a place of `length` bytes. */
static int64_t move_area(struct space *space, struct area *old, uint64_t old_length,
			 uint64_t length, uint64_t to, bool keep)
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
	if (!keep)
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
		if (call_cuts_huge(space, to, to + length))
			return -EINVAL;
		return space_remove(space, to, to + length);
	}
	/* The same offset within a leaf table, so that whole tables move. */
	*place = space_hole(space, length, LEAF_SIZE, address & (LEAF_SIZE - 1));
	return *place ? 0 : -ENOMEM;
}

static bool remap_is_bad(reg_t address, reg_t old_length, reg_t length, reg_t flags)
{
	reg_t known = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP;

	return (flags & ~known) || length == 0 || old_length == 0 ||
	       ((flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) && !(flags & MREMAP_MAYMOVE)) ||
	       ((flags & MREMAP_DONTUNMAP) && length != old_length) ||
	       (address & (PAGE_SIZE - 1)) || length > USER_END;
}

/* Shrinks or grows the area in place; false when it has to move. */
static bool remap_in_place(struct space *space, struct area *area, uint64_t address,
			   uint64_t old_end, uint64_t length, int64_t *result)
{
	*result = address;
	if (length <= old_end - address) {
		int error = space_remove(space, address + length, old_end);

		if (error)
			*result = error;
		return true;
	}
	if (area->end != old_end || !user_range(address, length) ||
	    !space_is_free(space, old_end, address + length))
		return false;
	space_extend(space, area, address + length);
	return true;
}

int64_t call_mremap(reg_t address, reg_t old_length, reg_t length, reg_t flags, reg_t to)
{
	struct space *space = current_space();
	struct area *area;
	uint64_t old_end, end, place, more;
	int64_t error;

	if (remap_is_bad(address, old_length, length, flags) ||
	    !call_page_range(address, old_length, &old_end))
		return -EINVAL;
	old_length = old_end - address;
	length = ROUND_UP(length, PAGE_SIZE);
	if ((flags & MREMAP_FIXED) && (!call_page_range(to, length, &end) || to < MMAP_MIN ||
				       (to < old_end && address < to + length)))
		return -EINVAL;
	area = space_find(space, address);
	if (!area || area->end < old_end)
		return -EFAULT;
	if ((area->flags & AREA_GIGA) ||
	    ((area->flags & AREA_HUGETLB) &&
	     ((address | old_end | length | (flags & MREMAP_FIXED ? to : 0)) & (LEAF_SIZE - 1))))
		return -EINVAL;
	more = flags & MREMAP_DONTUNMAP ? length : length > old_length ? length - old_length : 0;
	if (more && space_may_map(space, area->flags, more >> PAGE_SHIFT))
		return -ENOMEM;
	if (!(flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) &&
	    remap_in_place(space, area, address, old_end, length, &error))
		return error;
	error = remap_place(space, address, length, flags, to, &place);
	if (!error)
		error = space_split(space, address, old_end);
	if (error)
		return error;
	return move_area(space, space_find(space, address), old_length, length, place,
			 flags & MREMAP_DONTUNMAP);
}

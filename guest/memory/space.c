/* Address spaces: the sorted array of areas. space.h has the rules. */
#include "guest/memory/space.h"
#include "guest/lib/asm.h"
#include "guest/lib/errno.h"
#include "guest/lib/random.h"
#include "guest/lib/string.h"
#include "guest/memory/cache.h"
#include "guest/memory/commit.h"
#include "guest/memory/hooks.h"
#include "guest/memory/slab.h"

#define AREA_CAPACITY_FIRST 32
#define STACK_GAP_MIN	    (128ull << 20) /* between the stack's top and mappings */
#define STACK_BITS	    22		   /* pages: 16 GiB */
#define MMAP_BITS	    18		   /* leaf tables: 512 GiB */

static uint64_t number_last;
struct space *space_list;
unsigned spaces_doomed;
bool space_randomise = true;
static struct slab_cache space_cache = SLAB_CACHE("space", struct space);
static struct slab_cache area_cache = SLAB_CACHE("area", struct area);

struct space *space_create(void)
{
	struct space *space = slab_alloc_zero(&space_cache);

	if (!space)
		return NULL;
	space->area = memory_alloc(AREA_CAPACITY_FIRST * sizeof(*space->area));
	space->root = table_create_root();
	if (!space->area || !space->root) {
		memory_free(space->area);
		if (space->root)
			table_destroy_root(space->root);
		slab_free(&space_cache, space);
		return NULL;
	}
	space->area_capacity = AREA_CAPACITY_FIRST;
	space->root_physical = page_physical(page_of_address(space->root));
	space->refs = 1;
	space->number = ++number_last;
	space->tlb_generation = 1;
	space->leaf_number = LEAF_NONE;
	space->stack_limit = 8 << 20;
	space->mmap_top = SPACE_MMAP_TOP;
	space->stack_top = STACK_TOP;
	space->next = space_list;
	if (space_list)
		space_list->prev = space;
	space_list = space;
	return space;
}

uint64_t space_random(const struct space *space, unsigned bits)
{
	return space->random ? random_next() & ((1ull << bits) - 1) : 0;
}

void space_place(struct space *space, bool random)
{
	uint64_t gap = MAX(space->stack_limit, STACK_GAP_MIN) + STACK_GUARD;

	space->random = random && space_randomise;
	space->stack_top = STACK_TOP - space_random(space, STACK_BITS) * PAGE_SIZE;
	space->mmap_top = MIN(SPACE_MMAP_TOP, ROUND_DOWN(space->stack_top - gap, LEAF_SIZE)) -
			  space_random(space, MMAP_BITS) * LEAF_SIZE;
}

static int64_t area_pages(const struct area *area)
{
	return (area->end - area->start) >> PAGE_SHIFT;
}

static bool is_data(uint32_t flags)
{
	return (flags & (AREA_WRITE | AREA_SHARED | AREA_GROWSDOWN)) == AREA_WRITE;
}

int space_may_map(const struct space *space, uint32_t flags, uint64_t pages)
{
	if (!memory_hooks.may_have(space->pages + pages,
				   is_data(flags) ? space->data_pages + pages : 0))
		return -ENOMEM;
	return (flags & AREA_ACCOUNT) && !commit_allows(pages) ? -ENOMEM : 0;
}

void space_account(struct space *space, uint32_t flags, int64_t pages)
{
	space->pages += pages;
	space->pages_peak = MAX(space->pages_peak, space->pages);
	if (is_data(flags))
		space->data_pages += pages;
	if (flags & AREA_ACCOUNT) {
		space->committed += pages;
		committed_pages += pages;
	}
}

/* An area and its place among the mappings of its file. */
static struct area *area_create(struct space *space, const struct area *model)
{
	struct area *area = slab_alloc(&area_cache);

	if (!area)
		return NULL;
	*area = *model;
	area->space = space;
	if (area->content) {
		memory_hooks.hold(area->content);
		area->next_mapping = area->content->mappings;
		area->mapping_link = &area->content->mappings;
		if (area->next_mapping)
			area->next_mapping->mapping_link = &area->next_mapping;
		area->content->mappings = area;
	}
	return area;
}

static void area_destroy(struct area *area)
{
	if (area->content) {
		*area->mapping_link = area->next_mapping;
		if (area->next_mapping)
			area->next_mapping->mapping_link = area->mapping_link;
		memory_hooks.drop(area->content);
	}
	slab_free(&area_cache, area);
}

void space_put(struct space *space)
{
	if (--space->refs > 0)
		return;
	spaces_doomed -= space->doomed;
	for (unsigned i = 0; i < space->area_count; i++) {
		table_unmap(space, space->area[i]->start, space->area[i]->end);
		space_account(space, space->area[i]->flags, -area_pages(space->area[i]));
		area_destroy(space->area[i]);
	}
	table_destroy_root(space->root);
	if (space->next)
		space->next->prev = space->prev;
	*(space->prev ? &space->prev->next : &space_list) = space->next;
	memory_free(space->area);
	slab_free(&space_cache, space);
}

unsigned space_index(const struct space *space, uint64_t va)
{
	unsigned low = 0, high = space->area_count;

	while (low < high) {
		unsigned middle = (low + high) / 2;

		if (space->area[middle]->end <= va)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct area *space_find(struct space *space, uint64_t va)
{
	struct area *area = space->last;
	unsigned index;

	if (likely(area && va - area->start < area->end - area->start))
		return area;
	index = space_index(space, va);
	if (index == space->area_count || space->area[index]->start > va)
		return NULL;
	space->last = space->area[index];
	return space->last;
}

static int make_room(struct space *space)
{
	struct area **grown;

	if (space->area_count < space->area_capacity)
		return 0;
	if (space->area_count >= SPACE_AREA_MAX)
		return -ENOMEM;
	grown = memory_alloc(2ull * space->area_capacity * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	memcpy(grown, space->area, space->area_count * sizeof(*grown));
	memory_free(space->area);
	space->area = grown;
	space->area_capacity *= 2;
	return 0;
}

static int insert(struct space *space, unsigned index, const struct area *model)
{
	struct area *area;
	int error = make_room(space);

	if (error)
		return error;
	area = area_create(space, model);
	if (!area)
		return -ENOMEM;
	memmove(space->area + index + 1, space->area + index,
		(space->area_count - index) * sizeof(*space->area));
	space->area[index] = area;
	space->area_count++;
	space->last = NULL;
	return 0;
}

static void delete (struct space *space, unsigned index, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		area_destroy(space->area[index + i]);
	space->area_count -= count;
	memmove(space->area + index, space->area + index + count,
		(space->area_count - index) * sizeof(*space->area));
	space->last = NULL;
}

static bool continues(const struct area *low, const struct area *high)
{
	return low->end == high->start && low->flags == high->flags &&
	       low->content == high->content && low->limit == high->limit &&
	       (!low->content || low->offset + (low->end - low->start) == high->offset) &&
	       !(low->flags & (AREA_GROWSDOWN | AREA_HEAP));
}

int space_add(struct space *space, const struct area *model)
{
	struct area area = *model;
	unsigned index = space_index(space, area.start);
	struct area *low = index > 0 ? space->area[index - 1] : NULL;
	struct area *high = index < space->area_count ? space->area[index] : NULL;

	area.window = area.content ? FILE_WINDOW_FIRST : 0;
	area.next_fault = area.start;
	space_account(space, area.flags, area_pages(&area));
	if (low && continues(low, &area)) {
		low->end = area.end;
		return 0;
	}
	if (high && continues(&area, high)) {
		high->start = area.start;
		high->offset = area.offset;
		return 0;
	}
	if (!insert(space, index, &area))
		return 0;
	space_account(space, area.flags, -area_pages(&area));
	return -ENOMEM;
}

int space_copy_area(struct space *space, const struct area *area)
{
	int error = insert(space, space->area_count, area);

	if (!error)
		space_account(space, area->flags, area_pages(area));
	return error;
}

void space_extend(struct space *space, struct area *area, uint64_t end)
{
	space_account(space, area->flags, (end - area->end) >> PAGE_SHIFT);
	area->end = end;
}

void space_set_flags(struct space *space, struct area *area, uint32_t flags)
{
	space_account(space, area->flags, -area_pages(area));
	space_account(space, flags, area_pages(area));
	area->flags = flags;
}

static int split_at(struct space *space, uint64_t at)
{
	unsigned index = space_index(space, at);
	struct area *area, high;
	int error;

	if (index == space->area_count || space->area[index]->start >= at)
		return 0;
	area = space->area[index];
	high = *area;
	high.start = at;
	high.offset += at - area->start;
	error = insert(space, index + 1, &high);
	if (!error)
		area->end = at;
	return error;
}

int space_split(struct space *space, uint64_t start, uint64_t end)
{
	int error = split_at(space, start);

	return error ? error : split_at(space, end);
}

void space_join(struct space *space, uint64_t start, uint64_t end)
{
	unsigned index = space_index(space, start);

	if (index > 0)
		index--;
	while (index + 1 < space->area_count && space->area[index + 1]->start <= end) {
		struct area *low = space->area[index], *high = space->area[index + 1];

		if (continues(low, high)) {
			low->end = high->end;
			delete (space, index + 1, 1);
		} else {
			index++;
		}
	}
}

int space_remove(struct space *space, uint64_t start, uint64_t end)
{
	unsigned first, last;
	int error = space_split(space, start, end);

	if (error)
		return error;
	first = space_index(space, start);
	for (last = first; last < space->area_count && space->area[last]->start < end; last++) {
		const struct area *area = space->area[last];

		table_unmap(space, area->start, area->end);
		space_account(space, area->flags, -area_pages(area));
	}
	delete (space, first, last - first);
	space_forget(space);
	return 0;
}

/* Where an area's hold on the space begins: a growing stack keeps a guard below. */
static uint64_t hold_start(const struct area *area)
{
	uint64_t guard = area->flags & AREA_GROWSDOWN ? STACK_GUARD : 0;

	return area->start > guard ? area->start - guard : 0;
}

uint64_t space_hole(const struct space *space, uint64_t size, uint64_t align, uint64_t phase)
{
	uint64_t top = space->mmap_top;
	unsigned index = space_index(space, top - 1);

	if (index < space->area_count)
		top = MIN(top, hold_start(space->area[index]));
	for (;;) {
		uint64_t bottom = index > 0 ? MAX(space->area[index - 1]->end, MMAP_MIN) : MMAP_MIN;
		uint64_t start;

		if (top >= size && top - size >= bottom) {
			start = top - size;
			start -= (start - phase) & (align - 1);
			if (start >= bottom && start < top)
				return start;
		}
		if (index == 0)
			return 0;
		index--;
		top = hold_start(space->area[index]);
	}
}

bool space_is_free(const struct space *space, uint64_t start, uint64_t end)
{
	unsigned index = space_index(space, start);

	return index == space->area_count || space->area[index]->start >= end;
}

bool space_is_covered(const struct space *space, uint64_t start, uint64_t end)
{
	unsigned index = space_index(space, start);

	for (; start < end; index++) {
		if (index == space->area_count || space->area[index]->start > start)
			return false;
		start = space->area[index]->end;
	}
	return true;
}

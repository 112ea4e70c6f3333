/*
 * Slabs: a page holds objects of one size. Free objects are chained by number through their first
 * two bytes; objects never handed out are not on the chain but counted (`carved`), so that a new
 * slab costs nothing and touches nothing.
 *
 * The page's record: order = cache, count = first free object + 1, objects = in use | carved << 16,
 * next / prev = the cache's list of slabs with room.
 */
#include "guest/memory/slab.h"
#include "guest/lib/string.h"
#include "guest/memory/page.h"

#define SIZE_SHIFT_MIN 4
#define SIZE_SHIFT_MAX 11
#define CARVED_SHIFT   16
#define IN_USE_MASK    0xffff

struct cache {
	uint32_t partial; /* first slab with room, or 0 */
};

static struct cache caches[SIZE_SHIFT_MAX - SIZE_SHIFT_MIN + 1];

static unsigned cache_of(size_t size)
{
	unsigned shift = SIZE_SHIFT_MIN;

	while (((size_t)1 << shift) < size)
		shift++;
	return shift - SIZE_SHIFT_MIN;
}

static unsigned capacity(unsigned cache)
{
	return PAGE_SIZE >> (cache + SIZE_SHIFT_MIN);
}

static void partial_add(unsigned cache, struct page *slab)
{
	uint32_t first = caches[cache].partial;

	slab->next = first;
	slab->prev = 0;
	if (first)
		page_of_frame(first)->prev = page_frame(slab);
	caches[cache].partial = page_frame(slab);
}

static void partial_remove(unsigned cache, struct page *slab)
{
	if (slab->next)
		page_of_frame(slab->next)->prev = slab->prev;
	if (slab->prev)
		page_of_frame(slab->prev)->next = slab->next;
	else
		caches[cache].partial = slab->next;
}

static struct page *slab_create(unsigned cache)
{
	struct page *slab = page_alloc(0, PAGE_ANY);

	if (!slab)
		return NULL;
	slab->flags = PAGE_SLAB;
	slab->order = cache;
	slab->count = 0;
	slab->objects = 0;
	partial_add(cache, slab);
	return slab;
}

static void *slab_take(unsigned cache, struct page *slab)
{
	uint8_t *base = page_address(slab);
	unsigned number;

	if (slab->count) {
		number = slab->count - 1;
		slab->count = *(uint16_t *)(base + ((size_t)number << (cache + SIZE_SHIFT_MIN)));
	} else {
		number = slab->objects >> CARVED_SHIFT;
		slab->objects += 1 << CARVED_SHIFT;
	}
	slab->objects++;
	if ((slab->objects & IN_USE_MASK) == capacity(cache))
		partial_remove(cache, slab);
	return base + ((size_t)number << (cache + SIZE_SHIFT_MIN));
}

static void *pages_alloc(size_t size)
{
	unsigned order = 0;
	struct page *page;

	while (((size_t)PAGE_SIZE << order) < size) {
		if (++order > PAGE_ORDER_MAX)
			return NULL;
	}
	page = page_alloc(order, PAGE_ANY);
	if (!page)
		return NULL;
	page->order = order;
	return page_address(page);
}

void *memory_alloc(size_t size)
{
	struct page *slab;
	unsigned cache;

	if (size > SLAB_ALLOC_MAX)
		return pages_alloc(size);
	cache = cache_of(size);
	slab = caches[cache].partial ? page_of_frame(caches[cache].partial) : slab_create(cache);
	return slab ? slab_take(cache, slab) : NULL;
}

void *memory_alloc_zero(size_t size)
{
	void *object = memory_alloc(size);

	if (object)
		memset(object, 0, size);
	return object;
}

void memory_free(void *object)
{
	struct page *slab;
	unsigned cache, number;

	if (!object)
		return;
	slab = page_of_address(object);
	if (!(slab->flags & PAGE_SLAB)) {
		page_free(slab, slab->order, false);
		return;
	}
	cache = slab->order;
	number = ((uint64_t)object & (PAGE_SIZE - 1)) >> (cache + SIZE_SHIFT_MIN);
	if ((slab->objects & IN_USE_MASK) == capacity(cache))
		partial_add(cache, slab);
	*(uint16_t *)object = slab->count;
	slab->count = number + 1;
	slab->objects--;
	if (!(slab->objects & IN_USE_MASK)) {
		partial_remove(cache, slab);
		slab->flags = 0;
		page_free(slab, 0, false);
	}
}

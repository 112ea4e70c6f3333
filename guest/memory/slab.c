/*
 * Slabs: a block of pages holds objects of one size (Bonwick, "The Slab Allocator", USENIX 1994,
 * without constructors). Free objects are chained by number through their first two bytes; objects
 * never handed out are not on the chain but counted (`carved`), so that a new slab costs nothing
 * and touches nothing.
 *
 * The record of a slab's first page: order = cache, count = first free object + 1, objects = in use
 * | carved << 16, next / prev = the cache's list of slabs with room. A cache keeps at most one slab
 * that holds nothing, and only when it has no other with room.
 */
#include "guest/memory/slab.h"
#include "guest/lib/string.h"
#include "guest/lib/text.h"
#include "guest/memory/page.h"

#define CARVED_SHIFT 16
#define IN_USE_MASK  0xffff

/* One page each, for memory_free() has nothing but the address. */
#define SIZE_CACHE(index, object_size)                                                             \
	[index] = { .name = "size-" #object_size,                                                  \
		    .size = (object_size),                                                         \
		    .stride = (object_size),                                                       \
		    .capacity = PAGE_SIZE / (object_size),                                         \
		    .number = (index) + 1 }
static struct slab_cache sizes[] = {
	SIZE_CACHE(0, 16),  SIZE_CACHE(1, 32),	SIZE_CACHE(2, 64),   SIZE_CACHE(3, 128),
	SIZE_CACHE(4, 256), SIZE_CACHE(5, 512), SIZE_CACHE(6, 1024), SIZE_CACHE(7, 2048),
};

static unsigned number_last = ARRAY_SIZE(sizes);
static struct slab_cache *caches; /* all that were used, the last first */

static void partial_add(struct slab_cache *cache, struct page *slab)
{
	uint32_t first = cache->partial;

	slab->next = first;
	slab->prev = 0;
	if (first)
		page_of_frame(first)->prev = page_frame(slab);
	cache->partial = page_frame(slab);
}

static void partial_remove(struct slab_cache *cache, struct page *slab)
{
	if (slab->next)
		page_of_frame(slab->next)->prev = slab->prev;
	if (slab->prev)
		page_of_frame(slab->prev)->next = slab->next;
	else
		cache->partial = slab->next;
}

static struct page *slab_create(struct slab_cache *cache)
{
	struct page *slab = page_alloc(cache->order, PAGE_ANY);

	if (!slab)
		return NULL;
	if (!cache->listed) {
		cache->number = cache->number ? cache->number : ++number_last;
		cache->listed = true;
		cache->next = caches;
		caches = cache;
	}
	slab->flags = PAGE_SLAB;
	slab->order = cache->number;
	slab->count = 0;
	slab->objects = 0;
	cache->slabs++;
	partial_add(cache, slab);
	return slab;
}

static void slab_destroy(struct slab_cache *cache, struct page *slab)
{
	partial_remove(cache, slab);
	cache->slabs--;
	page_free(slab, cache->order, false);
}

void *slab_alloc(struct slab_cache *cache)
{
	struct page *slab = cache->partial ? page_of_frame(cache->partial) : slab_create(cache);
	unsigned number;
	uint8_t *object;

	if (unlikely(!slab))
		return NULL;
	object = page_address(slab);
	if (slab->count) {
		number = slab->count - 1;
		object += number * cache->stride;
		slab->count = *(uint16_t *)object;
	} else {
		number = slab->objects >> CARVED_SHIFT;
		object += number * cache->stride;
		slab->objects += 1 << CARVED_SHIFT;
	}
	slab->objects++;
	cache->in_use++;
	cache->count++;
	cache->asked += cache->size;
	if ((slab->objects & IN_USE_MASK) == cache->capacity)
		partial_remove(cache, slab);
	return object;
}

void *slab_alloc_zero(struct slab_cache *cache)
{
	void *object = slab_alloc(cache);

	if (object)
		memset(object, 0, cache->size);
	return object;
}

/* The slab that holds nothing, which is the first with room: it has no other beside it. */
static uint64_t destroy_empty(struct slab_cache *cache)
{
	struct page *slab = page_of_frame(cache->partial);

	if (!cache->partial || (slab->objects & IN_USE_MASK))
		return 0;
	slab_destroy(cache, slab);
	return 1ull << cache->order;
}

static void give_back(struct slab_cache *cache, struct page *slab, uint8_t *object)
{
	uint32_t offset = object - (uint8_t *)page_address(slab), in_use;

	CHECK(slab->order == cache->number && offset % cache->stride == 0);
	in_use = slab->objects & IN_USE_MASK;
	if (in_use == cache->capacity) {
		destroy_empty(cache);
		partial_add(cache, slab);
	}
	*(uint16_t *)object = slab->count;
	slab->count = offset / cache->stride + 1;
	slab->objects--;
	cache->in_use--;
	if (in_use == 1 && (slab->next || slab->prev))
		slab_destroy(cache, slab);
}

void slab_free(struct slab_cache *cache, void *object)
{
	struct page *slab;

	if (!object)
		return;
	slab = page_of_address((void *)ROUND_DOWN((uint64_t)object, PAGE_SIZE << cache->order));
	CHECK(slab->flags & PAGE_SLAB);
	give_back(cache, slab, object);
}

uint64_t slab_trim(void)
{
	uint64_t freed = 0;

	for (struct slab_cache *cache = caches; cache; cache = cache->next)
		freed += destroy_empty(cache);
	return freed;
}

static struct slab_cache *cache_of(size_t size)
{
	struct slab_cache *cache = sizes;

	while (cache->size < size)
		cache++;
	return cache;
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
	struct slab_cache *cache;
	void *object;

	if (size > SLAB_ALLOC_MAX)
		return pages_alloc(size);
	cache = cache_of(size);
	object = slab_alloc(cache);
	if (object)
		cache->asked -= cache->size - size;
	return object;
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

	if (!object)
		return;
	slab = page_of_address(object);
	if (slab->flags & PAGE_SLAB) {
		CHECK(slab->order <= ARRAY_SIZE(sizes));
		give_back(&sizes[slab->order - 1], slab, object);
	} else {
		page_free(slab, slab->order, false);
	}
}

void slabinfo_text(struct text *text)
{
	text_add(text,
		 "slabinfo - version: 2.1\n# name            <active_objs> <num_objs> <objsize> "
		 "<objperslab> <pagesperslab> : tunables <limit> <batchcount> <sharedfactor> : "
		 "slabdata <active_slabs> <num_slabs> <sharedavail> : bytes <asked> <given>\n");
	for (const struct slab_cache *cache = caches; cache; cache = cache->next)
		text_add(text,
			 "%-17s %6u %6u %6u %4u %4u : tunables    0    0    0 : slabdata %6u %6u   "
			 "   0 : bytes %lu %lu\n",
			 cache->name, cache->in_use, cache->slabs * cache->capacity, cache->stride,
			 cache->capacity, 1u << cache->order, cache->slabs, cache->slabs,
			 cache->asked, cache->count * cache->stride);
}

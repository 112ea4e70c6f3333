/*
 * Kernel objects: caches of equal objects carved from pages, and memory_alloc() on caches of powers
 * of two.
 *
 * A cache is a static struct of the code that owns the objects:
 *
 *     static struct slab_cache area_cache = SLAB_CACHE("area", struct area);
 *     struct area *area = slab_alloc(&area_cache);
 */
#ifndef GUEST_MEMORY_SLAB_H
#define GUEST_MEMORY_SLAB_H

#include "guest/lib/layout.h"
#include "guest/lib/types.h"

struct text;

struct slab_cache {
	const char *name;
	uint32_t size, stride; /* bytes of an object as its owner sees it, and as it is given */
	uint32_t order;	       /* a slab is 2^order pages */
	uint32_t capacity;     /* objects of a slab */
	uint32_t number;       /* of the cache; 0: never used yet */
	bool listed;
	uint32_t partial; /* first slab with room, or 0 */
	uint32_t in_use, slabs;
	uint64_t count, asked; /* allocations so far, and their bytes */
	struct slab_cache *next;
};

/* Objects are aligned to 16 bytes. A slab holds eight or more of them, but for large ones. */
#define SLAB_STRIDE(size) ROUND_UP(size, 16)
#define SLAB_ORDER(size)                                                                           \
	(SLAB_STRIDE(size) <= PAGE_SIZE / 8 ? 0 : SLAB_STRIDE(size) <= PAGE_SIZE / 4 ? 1 : 2)
#define SLAB_CACHE_SIZED(cache_name, object_size)                                                  \
	{                                                                                          \
		.name = (cache_name), .size = (object_size), .stride = SLAB_STRIDE(object_size),   \
		.order = SLAB_ORDER(object_size),                                                  \
		.capacity = (PAGE_SIZE << SLAB_ORDER(object_size)) / SLAB_STRIDE(object_size)      \
	}
#define SLAB_CACHE(cache_name, type) SLAB_CACHE_SIZED(cache_name, sizeof(type))

/* An object, or NULL when memory is out. The content is whatever was there. */
void *slab_alloc(struct slab_cache *cache);
void *slab_alloc_zero(struct slab_cache *cache);

/* Takes NULL. An object of another cache is a panic. */
void slab_free(struct slab_cache *cache, void *object);

/* Gives the slabs that hold nothing back. Returns the pages. */
uint64_t slab_trim(void);

/* Up to SLAB_ALLOC_MAX bytes from a cache, beyond that whole pages. NULL when memory is out. The
 * content is whatever was there. */
#define SLAB_ALLOC_MAX 2048
void *memory_alloc(size_t size);
void *memory_alloc_zero(size_t size);

/* Takes NULL. */
void memory_free(void *object);

/* /proc/slabinfo in Linux's form. Two columns more: the bytes that all allocations so far asked
 * for, and those they were given. */
void slabinfo_text(struct text *text);

#endif

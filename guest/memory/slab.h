/*
 * Kernel objects: caches of equal objects carved from pages, and memory_alloc() on caches of
 * powers of two.
 */
#ifndef GUEST_MEMORY_SLAB_H
#define GUEST_MEMORY_SLAB_H

#include "guest/lib/types.h"

/* Up to SLAB_ALLOC_MAX bytes from a cache, beyond that whole pages. NULL when memory is out. The
 * content is whatever was there. */
#define SLAB_ALLOC_MAX 2048
void *memory_alloc(size_t size);
void *memory_alloc_zero(size_t size);

/* Takes NULL. */
void memory_free(void *object);

#endif

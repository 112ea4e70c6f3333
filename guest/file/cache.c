/* STUB of this branch: enough of a page cache for faults to be tested. */
#include "guest/file/cache.h"
#include "guest/file/file.h"
#include "guest/lib/string.h"
#include "guest/memory/page.h"
#include "guest/memory/slab.h"
#include "guest/memory/space.h"

struct node *node_get(struct node *node)
{
	node->refs++;
	return node;
}

void node_put(struct node *node)
{
	uint64_t pages = ROUND_UP(node->size, PAGE_SIZE) >> PAGE_SHIFT;

	if (--node->refs > 0 || node->name)
		return;
	for (uint64_t i = 0; node->cache && i < pages; i++) {
		if (node->cache[i])
			page_put(node->cache[i]);
	}
	memory_free(node->cache);
	memory_free(node);
}

void node_modified(struct node *node)
{
}

static uint64_t archive_frame(const struct node *node, uint64_t index)
{
	uint64_t data = (uint64_t)node->data - DIRECT_BASE;

	if (!node->data || (data & (PAGE_SIZE - 1)) || (index + 1) * PAGE_SIZE > node->size)
		return 0;
	return (data >> PAGE_SHIFT) + index;
}

bool cache_is_archive(const struct node *node, uint64_t index, uint64_t frame)
{
	return frame == archive_frame(node, index);
}

uint64_t cache_peek(const struct node *node, uint64_t index)
{
	if (node->cache && node->cache[index])
		return node->cache[index];
	return archive_frame(node, index);
}

uint64_t cache_frame(struct node *node, uint64_t index, bool write, bool *major)
{
	uint64_t pages = ROUND_UP(node->size, PAGE_SIZE) >> PAGE_SHIFT;
	uint64_t frame = write ? 0 : cache_peek(node, index);
	struct page *page;

	*major = false;
	if (frame || (node->cache && node->cache[index]))
		return frame ? frame : node->cache[index];
	if (!node->cache)
		node->cache = memory_alloc_zero(pages * sizeof(*node->cache));
	page = node->cache ? page_alloc(0, PAGE_ZERO) : NULL;
	if (!page)
		return 0;
	if (node->data) {
		memcpy(page_address(page), node->data + index * PAGE_SIZE,
		       MIN(PAGE_SIZE, node->size - index * PAGE_SIZE));
		*major = true;
		space_unmap_file(node, index, index + 1, false);
	}
	node->cache[index] = page_frame(page);
	return page_frame(page);
}

struct node *cache_unnamed(uint64_t size)
{
	struct node *node = memory_alloc_zero(sizeof(*node));

	if (!node)
		return NULL;
	node->mode = MODE_REGULAR | 0600;
	node->ops = &regular_ops;
	node->size = size;
	node->refs = 1;
	return node;
}

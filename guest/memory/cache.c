/* The page cache. cache.h describes it. */
#include "guest/memory/cache.h"
#include "guest/cpu/clock.h"
#include "guest/lib/count.h"
#include "guest/lib/errno.h"
#include "guest/lib/layout.h"
#include "guest/lib/string.h"
#include "guest/memory/commit.h"
#include "guest/memory/mapping.h"
#include "guest/memory/page.h"
#include "guest/memory/slab.h"
#include "guest/memory/space.h"
#include "guest/memory/trim.h"
#include "guest/memory/user.h"

#define FRAMES_FIRST 16
#define TO_THE_END   (UINT64_MAX >> PAGE_SHIFT)

uint64_t cache_pages;

static uint64_t frame_in_cache(const struct content *content, uint64_t index)
{
	return index < content->frame_count ? content->frames[index] : 0;
}

static uint64_t archive_frame(const struct content *content, uint64_t index)
{
	uint64_t data = (uint64_t)content->data - DIRECT_BASE;

	if ((data & (PAGE_SIZE - 1)) || (index + 1) << PAGE_SHIFT > content->archived)
		return 0;
	return (data >> PAGE_SHIFT) + index;
}

bool cache_is_archive(const struct content *content, uint64_t index, uint64_t frame)
{
	return frame == archive_frame(content, index) && !frame_in_cache(content, index);
}

uint64_t cache_peek(const struct content *content, uint64_t index)
{
	uint64_t frame = frame_in_cache(content, index);

	return frame ? frame : archive_frame(content, index);
}

static bool make_room(struct content *content, uint64_t index)
{
	uint64_t count = MAX(content->frame_count, FRAMES_FIRST);
	uint32_t *grown;

	if (index < content->frame_count)
		return true;
	while (count <= index)
		count *= 2;
	grown = memory_alloc_zero(count * sizeof(*grown));
	if (!grown)
		return false;
	memcpy(grown, content->frames, content->frame_count * sizeof(*grown));
	memory_free(content->frames);
	content->frames = grown;
	content->frame_count = count;
	return true;
}

/* The archive's bytes in the page; 0 when there are none. */
static uint64_t archived_bytes(const struct content *content, uint64_t index)
{
	uint64_t start = index << PAGE_SHIFT;

	return start < content->archived ? MIN(content->archived - start, PAGE_SIZE) : 0;
}

uint64_t cache_frame(struct content *content, uint64_t index, bool write, bool *major)
{
	uint64_t frame = write ? frame_in_cache(content, index) : cache_peek(content, index);
	uint64_t bytes = archived_bytes(content, index);
	struct page *page;
	bool fresh;
	uint8_t *to;

	*major = false;
	if (frame)
		return frame;
	if (!make_room(content, index))
		return 0;
	page = page_alloc_user(0, &fresh);
	if (!page && memory_trim() > 0)
		page = page_alloc_user(0, &fresh);
	if (!page)
		return 0;
	to = page_address(page);
	memcpy(to, content->data + (index << PAGE_SHIFT), bytes);
	if (!fresh)
		memset(to + bytes, 0, PAGE_SIZE - bytes);
	if (bytes) {
		*major = true;
		space_unmap_file(content, index, index + 1, false);
	}
	page->flags = 0;
	page->slot = 0;
	cache_pages++;
	content->frames[index] = page_frame(page);
	return page_frame(page);
}

void cache_modified(struct content *content)
{
	content->mtime = clock_now() + clock_wall_offset();
}

void cache_promise(struct content *content, uint64_t pages)
{
	content->promised += pages;
	committed_pages += pages;
}

/* Part of a page to the program: a hole is not made real for it. */
static int read_part(struct content *content, uint64_t at, uint64_t to, uint64_t length)
{
	uint64_t index = at >> PAGE_SHIFT, within = at & (PAGE_SIZE - 1);
	uint64_t frame = cache_peek(content, index), bytes = archived_bytes(content, index);
	int error;

	if (frame)
		return user_write(to, (uint8_t *)direct(frame << PAGE_SHIFT) + within, length);
	bytes = bytes > within ? MIN(bytes - within, length) : 0;
	error = user_write(to, content->data + at, bytes);
	return error ? error : user_clear(to + bytes, length - bytes);
}

int64_t cache_read(struct content *content, const struct io_vector *vector, unsigned count,
		   uint64_t *offset)
{
	int64_t total = 0;

	for (; count > 0; vector++, count--) {
		for (uint64_t done = 0, part; done < vector->length && *offset < content->size;
		     done += part) {
			part = MIN(vector->length - done, PAGE_SIZE - (*offset & (PAGE_SIZE - 1)));
			part = MIN(part, content->size - *offset);
			if (read_part(content, *offset, vector->base + done, part))
				return total ? total : -EFAULT;
			*offset += part;
			total += part;
		}
	}
	return total;
}

static int write_part(struct content *content, uint64_t at, uint64_t from, uint64_t length)
{
	bool major;
	uint64_t frame = cache_frame(content, at >> PAGE_SHIFT, true, &major);
	struct page *page = page_of_frame(frame);

	if (!frame)
		return -ENOSPC;
	if (user_read((uint8_t *)page_address(page) + (at & (PAGE_SIZE - 1)), from, length))
		return -EFAULT;
	if (!(page->flags & PAGE_DIRTY))
		vm_count.nr_dirtied++;
	page->flags |= PAGE_DIRTY;
	return 0;
}

int64_t cache_write(struct content *content, const struct io_vector *vector, unsigned count,
		    uint64_t limit, uint64_t *offset)
{
	int64_t total = 0;
	int error;

	limit = MIN(limit, FILE_SIZE_MAX);
	for (; count > 0; vector++, count--) {
		for (uint64_t done = 0, part; done < vector->length; done += part) {
			part = MIN(vector->length - done, PAGE_SIZE - (*offset & (PAGE_SIZE - 1)));
			part = MIN(part, limit - MIN(limit, *offset));
			error = part > 0 ? write_part(content, *offset, vector->base + done, part)
					 : -EFBIG;
			if (error)
				return total ? total : error;
			*offset += part;
			total += part;
			content->size = MAX(content->size, *offset);
		}
	}
	if (total)
		cache_modified(content);
	return total;
}

static void free_frames(struct content *content, uint64_t first, uint64_t last)
{
	for (uint64_t i = first; i < MIN(last, content->frame_count); i++) {
		if (!content->frames[i])
			continue;
		page_of_frame(content->frames[i])->flags = 0;
		page_put(content->frames[i]);
		content->frames[i] = 0;
		cache_pages--;
	}
}

/* Zeros from `at` to its page's end, where a frame of the cache is there. */
static void clear_tail(struct content *content, uint64_t at)
{
	uint64_t within = at & (PAGE_SIZE - 1), frame = frame_in_cache(content, at >> PAGE_SHIFT);

	if (within && frame)
		memset((uint8_t *)direct(frame << PAGE_SHIFT) + within, 0, PAGE_SIZE - within);
}

int cache_truncate(struct content *content, uint64_t size)
{
	uint64_t keep = ROUND_UP(size, PAGE_SIZE) >> PAGE_SHIFT;

	if (size > FILE_SIZE_MAX)
		return -EFBIG;
	if (size < content->size) {
		content->size = size;
		space_unmap_file(content, keep, TO_THE_END, true);
		/* The archive's own page has bytes behind the new end: it is not mapped any more.
		 */
		if (size & (PAGE_SIZE - 1))
			space_unmap_file(content, keep - 1, keep, false);
		content->archived = MIN(content->archived, size);
		free_frames(content, keep, content->frame_count);
		clear_tail(content, size);
	}
	content->size = size;
	cache_modified(content);
	return 0;
}

int cache_punch(struct content *content, uint64_t start, uint64_t end)
{
	bool major;

	/* A page whose part goes, or that the archive has, must be the cache's own. */
	for (uint64_t at = ROUND_DOWN(start, PAGE_SIZE); at < MIN(end, content->size);
	     at += PAGE_SIZE) {
		uint64_t from = MAX(start, at), to = MIN(end, at + PAGE_SIZE), frame;

		if (to - from == PAGE_SIZE && !archived_bytes(content, at >> PAGE_SHIFT)) {
			space_unmap_file(content, at >> PAGE_SHIFT, (at >> PAGE_SHIFT) + 1, false);
			free_frames(content, at >> PAGE_SHIFT, (at >> PAGE_SHIFT) + 1);
			continue;
		}
		frame = cache_frame(content, at >> PAGE_SHIFT, true, &major);
		if (!frame)
			return -ENOSPC;
		memset((uint8_t *)direct(frame << PAGE_SHIFT) + (from - at), 0, to - from);
	}
	cache_modified(content);
	return 0;
}

void cache_finish(struct content *content)
{
	free_frames(content, 0, content->frame_count);
	memory_free(content->frames);
	content->frames = NULL;
	content->frame_count = 0;
	committed_pages -= content->promised;
	content->promised = 0;
}

uint64_t cache_write_back(struct content *content)
{
	uint64_t written = 0;

	for (uint64_t i = 0; i < content->frame_count; i++) {
		struct page *page = page_of_frame(content->frames[i]);

		if (!content->frames[i] || !(page->flags & PAGE_DIRTY))
			continue;
		page->flags &= ~PAGE_DIRTY;
		mapping_clean_page(content, i);
		written++;
	}
	vm_count.nr_written += written;
	return written;
}

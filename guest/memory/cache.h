/*
 * The content of files, which is in the page cache: `frames` has the frame of each page. (BSD has
 * the term VM object for it, Linux address_space.) A page that is not there is a hole, or still
 * as the archive had it: then its frame is the archive's own memory, where the archive is aligned,
 * and read-only. A write copies it up.
 *
 * A cache frame's page record counts the holders beyond the cache itself: page-table entries.
 */
#ifndef GUEST_MEMORY_CACHE_H
#define GUEST_MEMORY_CACHE_H

#include "guest/lib/types.h"

struct area;
struct io_vector;

struct content {
	const uint8_t *data; /* the bytes of a file, or a link's target, as the archive has them */
	uint64_t archived; /* so many of a file's first bytes are the archive's where not cached */
	uint64_t size;
	uint32_t *frames; /* by page */
	uint64_t frame_count;
	uint64_t promised;     /* pages of it in committed_pages (commit.h) */
	struct area *mappings; /* areas that map it (space.h) */
	uint64_t mtime;	       /* ns since 1970 */
};

/* Frame number of page `index` of the file. write=false: may be the archive's own frame (never
 * freed, PTE_FILE) or a cache frame; write=true: always a cache frame that belongs to the file
 * (copied up from the archive, or a fresh zero page for a hole). 0: out of memory. *major: its
 * content had to be read (copied). */
uint64_t cache_frame(struct content *content, uint64_t index, bool write, bool *major);

/* The frame where page `index` is already, as cache_frame(write=false) would say; 0 when that would
 * have to read or make it. */
uint64_t cache_peek(const struct content *content, uint64_t index);

/* Whether the frame is the archive's: nobody counts those. */
bool cache_is_archive(const struct content *content, uint64_t index, uint64_t frame);

/* It changed now. */
void cache_modified(struct content *content);

/* Counts `pages` as promised, until the file goes. */
void cache_promise(struct content *content, uint64_t pages);

/* As the ops of an open file: bytes or -errno; *offset moves. A write makes the file longer, but
 * not beyond `limit`, where it is cut short. */
int64_t cache_read(struct content *content, const struct io_vector *vector, unsigned count,
		   uint64_t *offset);
int64_t cache_write(struct content *content, const struct io_vector *vector, unsigned count,
		    uint64_t limit, uint64_t *offset);

/* Sets the size. Pages beyond it go, from mappings too. 0 or -EFBIG. */
int cache_truncate(struct content *content, uint64_t size);

/* Empties [start, end) of the file without changing its size. */
int cache_punch(struct content *content, uint64_t start, uint64_t end);

/* Frees all pages of a file that nobody has open or mapped, and what is promised of it. */
void cache_finish(struct content *content);

/* Marks what was written as clean: in RAM it is where it belongs already. Returns the pages. */
uint64_t cache_write_back(struct content *content);

/* Frames that hold files. */
extern uint64_t cache_pages;

#define FILE_SIZE_MAX (1ull << 40)

#endif

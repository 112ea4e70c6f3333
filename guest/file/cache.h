/* STUB of this branch: the page cache as faults see it. */
#ifndef GUEST_FILE_CACHE_H
#define GUEST_FILE_CACHE_H

#include "guest/file/node.h"

struct node *node_get(struct node *node);
void node_put(struct node *node);
void node_modified(struct node *node);

/* Frame number of page `index` of the file. write=false: may be the archive's own frame (never
 * freed, PTE_FILE) or a cache frame; write=true: always a cache frame that belongs to the file
 * (copied up from the archive, or a fresh zero page for a hole). 0: out of memory. *major: its
 * content had to be read (copied). */
uint64_t cache_frame(struct node *node, uint64_t index, bool write, bool *major);

/* The frame where page `index` is already, as cache_frame(write=false) would say; 0 when that would
 * have to read or make it. */
uint64_t cache_peek(const struct node *node, uint64_t index);

/* Whether the frame is the archive's: nobody counts those. */
bool cache_is_archive(const struct node *node, uint64_t index, uint64_t frame);

/* A RAM file of no name, `size` bytes, all hole; the caller has its one reference. NULL: memory is
 * out. */
struct node *cache_unnamed(uint64_t size);

#endif

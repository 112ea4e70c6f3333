/*
 * An address space: its areas (what may be where) and its page tables (what is where now).
 *
 * Areas are an array of pointers sorted by address and never overlap. The area of the last lookup
 * is remembered, for faults come in runs.
 */
#ifndef GUEST_MEMORY_SPACE_H
#define GUEST_MEMORY_SPACE_H

#include "guest/memory/table.h"

struct node;

#define AREA_READ      0x01
#define AREA_WRITE     0x02
#define AREA_EXEC      0x04
#define AREA_ACCESS    0x07
#define AREA_SHARED    0x10
#define AREA_GROWSDOWN 0x20
#define AREA_STACK     0x40 /* the process's own: grows to the stack limit */
#define AREA_HEAP      0x80 /* brk's */

struct area {
	uint64_t start, end;
	uint32_t flags;
	uint32_t window;     /* pages the last anonymous fault mapped beyond its own */
	uint64_t next_fault; /* where the next fault is if the program goes on upward */
	struct node *node;   /* the file mapped, or NULL */
	uint64_t offset;     /* in the file, of start */
	uint64_t limit;	     /* offset where the file's bytes end and zeros begin, for this area */
};

struct space {
	uint64_t *root;
	uint64_t root_physical;
	struct area **area;
	uint32_t area_count, area_capacity;
	uint32_t refs;
	struct area *last;    /* of the last lookup, or NULL */
	uint64_t leaf_number; /* va >> LEAF_SHIFT of `leaf`, or LEAF_NONE */
	uint64_t *leaf;	      /* table of the last fault */
	uint64_t brk_start, brk;
	uint64_t stack_limit;
	uint64_t minor_faults;
	uint32_t cpus;		 /* that have it loaded (tlb.c) */
	uint64_t number;	 /* never used again */
	uint64_t tlb_generation; /* of the last flush, with PCID */
};

#define LEAF_NONE      UINT64_MAX
#define SPACE_AREA_MAX 65530 /* as Linux's vm.max_map_count */
#define SPACE_MMAP_TOP 0x7fffe0000000
#define STACK_TOP      0x7ffffffff000
#define STACK_GUARD    (256 * PAGE_SIZE)
#define MMAP_MIN       0x10000

/* NULL when memory is out. The creator holds the one reference. */
struct space *space_create(void);
void space_put(struct space *space);

/* A copy for a child. NULL when memory is out. */
struct space *space_fork(struct space *space);

/* The area that holds va, or NULL. */
struct area *space_find(struct space *space, uint64_t va);

/* The index of the first area that ends above va; area_count when there is none. */
unsigned space_index(const struct space *space, uint64_t va);

/* Adds an area where nothing is: start, end, flags, and of a file node, offset and limit. It merges
 * with a neighbour that it continues. 0, -ENOMEM. */
int space_add(struct space *space, const struct area *model);

/* Removes areas and pages of [start, end). 0 or -ENOMEM (a split needs memory). */
int space_remove(struct space *space, uint64_t start, uint64_t end);

/* Cuts areas at `start` and at `end`, so that every area is inside or outside. 0 or -ENOMEM. */
int space_split(struct space *space, uint64_t start, uint64_t end);

/* Makes one area of neighbours that are alike, in and beside [start, end): the undoing of splits. */
void space_join(struct space *space, uint64_t start, uint64_t end);

/* The highest hole of `size` bytes below SPACE_MMAP_TOP whose start is congruent to `phase` modulo
 * `align`; 0 when there is none. */
uint64_t space_hole(const struct space *space, uint64_t size, uint64_t align, uint64_t phase);

bool space_is_free(const struct space *space, uint64_t start, uint64_t end);

/* Whether all of [start, end) is mapped. */
bool space_is_covered(const struct space *space, uint64_t start, uint64_t end);

/* Forgets remembered lookups; after any change of areas or tables. */
static inline void space_forget(struct space *space)
{
	space->last = NULL;
	space->leaf_number = LEAF_NONE;
}

/* Page-table bits for an area's access. */
static inline uint64_t area_bits(uint32_t flags)
{
	return (flags & AREA_WRITE ? PTE_W : 0) | (flags & AREA_EXEC ? 0 : PTE_NX);
}

#endif

/*
 * An address space: its areas, which say what may be mapped, and its page tables, which say what is
 * mapped now.
 *
 * Areas are an array of pointers sorted by address and never overlap. The area of the last lookup
 * is remembered, for faults come in runs. An area that maps a file holds a reference of its file,
 * and is on its content's list of mappings, so that a page that changes is found wherever it is
 * mapped.
 */
#ifndef GUEST_MEMORY_SPACE_H
#define GUEST_MEMORY_SPACE_H

#include "guest/cpu/cpu.h"
#include "guest/memory/table.h"

struct content;

#define AREA_READ      0x01
#define AREA_WRITE     0x02
#define AREA_EXEC      0x04
#define AREA_ACCESS    0x07
#define AREA_SHARED    0x10
#define AREA_GROWSDOWN 0x20
#define AREA_STACK     0x40  /* the process's own: grows to the stack limit */
#define AREA_HEAP      0x80  /* brk's */
#define AREA_HUGE      0x100 /* MADV_HUGEPAGE: aligned 2 MiB become huge pages */
#define AREA_HUGETLB   0x200 /* MAP_HUGETLB: the same, and never cut at other places */
#define AREA_GIGA      0x400 /* of such: pages of 1 GiB */
#define AREA_NO_HUGE   0x800
#define AREA_NO_FORK   0x1000  /* MADV_DONTFORK: a child does not get it */
#define AREA_WIPE_FORK 0x2000  /* MADV_WIPEONFORK: a child gets it empty */
#define AREA_MAY_WRITE 0x4000  /* a shared file that was opened for writing */
#define AREA_ACCOUNT   0x8000  /* counted in committed_pages */
#define AREA_NO_COUNT  0x10000 /* MAP_NORESERVE: not to be counted */
#define AREA_NOT_ASKED 0x40000 /* readable only because the processor knows no other way */
#define AREA_LOCKED    0x20000 /* mlock: stays in memory */

struct area {
	uint64_t start, end;
	uint32_t flags;
	uint32_t window;     /* pages the last fault of a run mapped beyond its own */
	uint64_t next_fault; /* where the next fault is if the program goes on upward */
	struct space *space;
	struct content *content;   /* of the file mapped, or NULL */
	uint64_t offset;	   /* in the file, of start */
	uint64_t limit;		   /* offset where the file's bytes end and zeros begin, here */
	struct area *next_mapping; /* of the content */
	struct area **mapping_link;
};

/* The kinds of page that an entry of the page tables may hold, for the counts of what is in
 * memory. */
enum resident_kind {
	RESIDENT_ANONYMOUS,
	RESIDENT_FILE,
	RESIDENT_SHARED, /* of the page cache: RAM files, shared anonymous memory */
	RESIDENT_SWAPPED,
	RESIDENT_KINDS,
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
	uint64_t first_stack; /* the stack pointer at the program's start */
	uint64_t arguments, arguments_end, environment_end; /* strings on the stack */
	uint64_t stack_limit;
	uint64_t mmap_top, stack_top;	   /* mappings and the stack end there */
	bool random;			   /* these and the rest are placed at random */
	uint64_t resident[RESIDENT_KINDS]; /* pages */
	uint64_t pages, data_pages; /* of all areas; of private writable ones but the stack */
	uint64_t pages_peak, resident_peak; /* resident_peak is brought up to date when pages go */
	uint64_t committed;		    /* pages of areas with AREA_ACCOUNT */
	bool doomed;			    /* its memory was taken: it gets no more */
	unsigned transfers; /* of devices from or to its pages, which it keeps until they end */
	struct space *next, *prev; /* all spaces */
	uint32_t cpus;		   /* that have it loaded (flush.c) */
	uint64_t number;	   /* never used again */
	uint64_t tlb_generation;   /* of the last flush, with PCID */
};

extern struct space *space_list;
extern unsigned spaces_doomed; /* that are not gone yet */

/* Programs are placed at random; norandmaps on the command line says no. */
extern bool space_randomise;

#define FILE_WINDOW_FIRST 16 /* pages that a file's first fault maps around itself */

#define LEAF_NONE      UINT64_MAX
#define SPACE_AREA_MAX 65530 /* as Linux's vm.max_map_count */
#define SPACE_MMAP_TOP 0x7fffe0000000
#define STACK_TOP      0x7ffffffff000
#define STACK_GUARD    (256 * PAGE_SIZE)
#define MMAP_MIN       0x10000

/* NULL when memory is out. The creator holds the one reference. */
struct space *space_create(void);
void space_put(struct space *space);

/* Chooses the places of things in the space, at random if allowed. Mappings, and programs that can
 * lie anywhere, move by whole leaf tables, so that they stay aligned. */
void space_place(struct space *space, bool random);

/* A number of so many random bits; 0 in a space that is not placed at random. */
uint64_t space_random(const struct space *space, unsigned bits);

/* The space that this CPU runs: the current process's, or NULL. */
static inline struct space *current_space(void)
{
	return this_cpu_field(space);
}

static inline struct space *space_get(struct space *space)
{
	space->refs++;
	return space;
}

/* A copy for a child: private memory is shared until one of the two writes, shared memory stays
 * shared (fork.c). NULL when memory is out. */
struct space *space_fork(struct space *space);

/* Takes the private memory of a space whose process is being killed, and gives it no more: faults
 * in it fail from now on. Returns the pages freed. */
uint64_t space_release_memory(struct space *space);

/* Unmaps page [first, last) of the file from every space that maps it as the file's own (private
 * copies stay, unless even_private: truncation). */
void space_unmap_file(struct content *content, uint64_t first, uint64_t last, bool even_private);

/* The area that holds va, or NULL. */
struct area *space_find(struct space *space, uint64_t va);

/* The index of the first area that ends above va; area_count when there is none. */
unsigned space_index(const struct space *space, uint64_t va);

/* Adds an area where nothing is: start, end, flags, and of a file node, offset and limit. It merges
 * with a neighbour that it continues. 0, -ENOMEM. */
int space_add(struct space *space, const struct area *model);

/* Adds, above all others there are, a child's copy of a parent's area. 0, -ENOMEM. */
int space_copy_area(struct space *space, const struct area *area);

/* Whether `pages` more of areas with these flags are within the process's limits and the limit of
 * promises: 0 or -ENOMEM. space_account() counts them, and uncounts them with a minus. */
int space_may_map(const struct space *space, uint32_t flags, uint64_t pages);
void space_account(struct space *space, uint32_t flags, int64_t pages);

/* Moves an area's end up where nothing is; gives an area other flags. Both count. */
void space_extend(struct space *space, struct area *area, uint64_t end);
void space_set_flags(struct space *space, struct area *area, uint32_t flags);

/* Removes areas and pages of [start, end). 0 or -ENOMEM (a split needs memory). */
int space_remove(struct space *space, uint64_t start, uint64_t end);

/* Cuts areas at `start` and at `end`, so that every area is inside or outside. 0 or -ENOMEM. */
int space_split(struct space *space, uint64_t start, uint64_t end);

/* Makes one area of neighbours that are alike, in and beside [start, end): the undoing of splits.
 */
void space_join(struct space *space, uint64_t start, uint64_t end);

/* The highest hole of `size` bytes below mmap_top whose start is congruent to `phase` modulo
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

/* The page of the file that is at va. */
static inline uint64_t area_page(const struct area *area, uint64_t va)
{
	return (area->offset + (va - area->start)) >> PAGE_SHIFT;
}

/* Pages in memory. */
static inline uint64_t space_resident(const struct space *space)
{
	return space->resident[RESIDENT_ANONYMOUS] + space->resident[RESIDENT_FILE] +
	       space->resident[RESIDENT_SHARED];
}

/* The most there ever were. */
static inline uint64_t space_resident_max(const struct space *space)
{
	return MAX(space->resident_peak, space_resident(space));
}

/* Page-table bits for an area's access. */
static inline uint64_t area_bits(uint32_t flags)
{
	return (flags & AREA_WRITE ? PTE_W : 0) | (flags & AREA_EXEC ? 0 : PTE_NX);
}

#endif

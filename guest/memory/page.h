/*
 * Physical memory: one record a page, and a buddy allocator of blocks of 2^order pages (Knowlton,
 * "A Fast Storage Allocator", CACM 1965).
 *
 * Memory never handed out reads as zero (guest/abi.h). A block is FRESH while that holds of all of
 * it, and a fresh block is never written by the allocator: lists run through the records, not the
 * pages. Free lists are kept apart by freshness and blocks merge only within one kind, so that the
 * return of one used page does not make a fresh block of 4 MiB need clearing.
 *
 * Memory nobody has asked for yet is on no list: it lies between a region's `next` and `end`, and
 * becomes blocks when the lists run dry. So booting costs the same whatever the memory's size, and
 * the records of such memory are still zero, which means "not free, not in use".
 *
 * When fresh memory is out, large used blocks are given to the monitor and come back fresh
 * (QUIRE_OP_RELEASE): one request is cheaper than clearing one page where ring 0 is emulated. So do
 * blocks that were in the balloon, or reported as free (device/balloon.h). So "fresh" means that
 * the host has no memory for it; on a plain PC, where nobody promises zeros, only that.
 *
 * A bit a page says whether it is handed out. Giving back a page that is not is a panic.
 */
#ifndef GUEST_MEMORY_PAGE_H
#define GUEST_MEMORY_PAGE_H

#include "guest/lib/layout.h"
#include "guest/lib/types.h"

#define PAGE_ORDER_MAX 18 /* 1 GiB */
#define PAGE_ORDERS    (PAGE_ORDER_MAX + 1)

/* Flags of a page record. */
#define PAGE_FREE    0x01 /* head of a free block of 2^order pages */
#define PAGE_FRESH   0x02 /* of such a head: the block reads as zero */
#define PAGE_SLAB    0x04 /* slab.c owns it */
#define PAGE_TABLE   0x08 /* a leaf page table: see struct page */
#define PAGE_REPLACE 0x10 /* of a program's page: replacement may take it; and of which set */
#define PAGE_WINDOW  0x20
#define PAGE_NEW     0x80 /* the LRU approximation has not looked at it yet */
#define PAGE_DIRTY   0x40 /* of the page cache: written since the last write-back */
#define PAGE_YOUNG   0x40 /* with PAGE_REPLACE: accessed, though its bit was taken (workingset.c) */

/* The use of a page decides what its fields mean. Frame number 0 stands for none. */
struct page {
	uint32_t next, prev; /* frame numbers: free list, slab's list, list of reservations */
	union {
		uint32_t refs;	  /* user page: owners beyond the first */
		uint32_t reserve; /* leaf table: first frame of its reservation, or 0 */
		uint32_t objects; /* slab: objects in use, carved << 16 */
	};
	uint8_t order; /* free head: the block's order. slab: the cache's number */
	uint8_t flags;
	uint16_t count; /* leaf table: entries in use. slab: first free object + 1 */
	uint32_t slot;	/* user page: its copy in the swap that still stands, or 0 */
	uint32_t stamp; /* user page: replacement's own */
	uint64_t where; /* user page: a hint to its entry. leaf table: which 2 MiB of which space */
};
_Static_assert(sizeof(struct page) == 32, "a power of two, for the index is a shift");

/* The content that the caller needs. */
enum page_need {
	PAGE_ANY,  /* content does not matter */
	PAGE_ZERO, /* must read as zero */
};

extern struct page *page_records;

/* Takes the memory map's usable ranges less those that `keep` lists as in use. reads_zero: the
 * contract above holds; without it everything counts as used. Then page_early() gives single pages
 * of the first GiB, for good and with any content, to map the rest of memory with: the records may
 * lie there. page_start() places them, in the lowest free memory that holds them all. */
struct page_range {
	uint64_t start, end; /* physical, bytes */
};
void page_init(const struct page_range *usable, unsigned usable_count,
	       const struct page_range *keep, unsigned keep_count, bool reads_zero);
void *page_early(void);
void page_start(void);

/* A block for the kernel, or NULL when there is none, even after memory_trim(). One of several
 * pages may be made by moving a program's pages (compact.h). */
struct page *page_alloc(unsigned order, enum page_need need);

/* The same for a process: leaves PAGE_RESERVE pages for the kernel. *fresh says whether it reads as
 * zero; nothing is cleared. */
#define PAGE_RESERVE 128
struct page *page_alloc_user(unsigned order, bool *fresh);

/* While it is set, half of that reserve is for processes, too. */
extern bool page_reserve_open;

/* Gives back 2^order pages, or any run of frames. One that is not handed out is a panic. */
void page_free(struct page *page, unsigned order, bool fresh);
void page_free_run(uint64_t frame, uint64_t count, bool fresh);

/* Pages free, and pages there were to hand out at the start. Read them only. */
extern uint64_t page_free_total, page_total;

/* Pages free, including those that the monitor is being told of just now. */
uint64_t page_free_count(void);

/* For the balloon: the largest free block of at most 2^most pages, preferably one that the host has
 * memory for. NULL: less than `leave` would stay free. */
struct page *page_take_spare(unsigned most, uint64_t leave, unsigned *order);

/*
 * Free page reporting. From now on `wanted` is called whenever there is a new free block of 2^order
 * pages or more that the host has memory for; it takes nothing. page_report_take() takes the
 * largest such block off the lists, while `leave` pages stay on them; it counts as free all the
 * same. When the monitor has taken its memory, page_report_done() puts all that were taken back, as
 * fresh; told=false: as they were.
 */
#define PAGE_REPORT_MAX 32
void page_report_from(unsigned order, void (*wanted)(void));
bool page_report_take(uint64_t leave, uint64_t *frame, uint64_t *count);
void page_report_done(bool told);

/* Whether the frame is of memory and handed out. */
bool page_is_used(uint64_t frame);

/* One beyond the highest frame. */
extern uint64_t page_frame_end;

/* For compaction. Whether a free block of the order or larger is listed; the bits of the 64 frames
 * around `frame`, set for those handed out; the order of the free block that a frame lies in, or
 * -1: it lies in none. */
bool page_has_block(unsigned order);
uint64_t page_used_bits(uint64_t frame);
int page_free_order(uint64_t frame);

/* Hands out this very frame, out of its free block. False: it is not in one. */
bool page_take_frame(uint64_t frame);

/* Makes one block of the 2^order frames from `frame`, if all are free but not of one kind: they
 * count as used from now on. */
void page_join(uint64_t frame, unsigned order);

/* How many free blocks of each order there are, untouched memory counted as it would merge. */
struct page_blocks {
	uint64_t used[PAGE_ORDERS], fresh[PAGE_ORDERS];
};
void page_count_blocks(struct page_blocks *blocks);

static inline uint64_t page_frame(const struct page *page)
{
	return page - page_records;
}

static inline struct page *page_of_frame(uint64_t frame)
{
	return page_records + frame;
}

static inline uint64_t page_physical(const struct page *page)
{
	return page_frame(page) << PAGE_SHIFT;
}

static inline void *page_address(const struct page *page)
{
	return direct(page_physical(page));
}

/* Of an address in the direct map. */
static inline struct page *page_of_address(const void *address)
{
	return page_records + (((uint64_t)address - DIRECT_BASE) >> PAGE_SHIFT);
}

void page_clear(void *page);

/* One owner more or less of a page that may have several. */
static inline void page_get(uint64_t frame)
{
	page_of_frame(frame)->refs++;
}

static inline void page_put(uint64_t frame)
{
	struct page *page = page_of_frame(frame);

	if (page->refs)
		page->refs--;
	else
		page_free(page, 0, false);
}

#endif

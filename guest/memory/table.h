/*
 * A process's page tables: four levels, 4 KiB leaves, and the reservations that keep neighbours in
 * virtual memory neighbours in physical memory.
 *
 * A leaf table covers 2 MiB. With the first anonymous page in it, the table reserves an aligned run
 * of 512 frames, and page n of the 2 MiB gets frame n of the run. So the monitor, which sees only
 * physical addresses, sees a program's sequential access as sequential. A frame of the run that is
 * not mapped still belongs to the table; when memory runs short, reservations_break() gives all of
 * these back.
 *
 * A leaf entry is one of
 *   0              nothing; its frame in a fresh reservation has never been used
 *   PTE_STALE      nothing; its reserved frame has been used and must be cleared
 *   PTE_P | ...    a mapped frame: the archive's (PTE_FILE) or an owned one
 *   PTE_KEPT | ... an owned or archive frame that the process may not touch now (PROT_NONE)
 */
#ifndef GUEST_MEMORY_TABLE_H
#define GUEST_MEMORY_TABLE_H

#include "guest/memory/page.h"

struct space;

#define PTE_P	  0x001ull
#define PTE_W	  0x002ull
#define PTE_U	  0x004ull
#define PTE_PCD	  0x010ull
#define PTE_A	  0x020ull
#define PTE_D	  0x040ull
#define PTE_PS	  0x080ull
#define PTE_G	  0x100ull
#define PTE_FILE  0x200ull
#define PTE_KEPT  0x400ull
#define PTE_STALE 0x800ull
#define PTE_NX	  0x8000000000000000ull
#define PTE_FRAME 0x000ffffffffff000ull

#define TABLE_ENTRIES 512
#define LEAF_SHIFT    21
#define LEAF_SIZE     (1ull << LEAF_SHIFT)

static inline unsigned leaf_index(uint64_t va)
{
	return va >> PAGE_SHIFT & (TABLE_ENTRIES - 1);
}

/* Whether the entry holds a frame. */
static inline bool pte_holds(uint64_t pte)
{
	return pte & (PTE_P | PTE_KEPT);
}

/* The kernel's half is the same in every root. NULL when memory is out. */
uint64_t *table_create_root(void);

/* Frees the root and the tables between; the leaves must be gone (table_unmap). */
void table_destroy_root(uint64_t *root);

/* The leaf table that covers va, or NULL. table_make_leaf() adds what is missing on the way. */
uint64_t *table_leaf(uint64_t *root, uint64_t va);
uint64_t *table_make_leaf(uint64_t *root, uint64_t va);

/* The frame for an anonymous page at leaf[index], reserved or single; *fresh: reads as zero.
 * 0 when memory is out. The entry itself stays as it is. */
uint64_t table_frame(uint64_t *leaf, unsigned index, bool *fresh);

/* Empties one entry and frees what it holds. */
void table_drop(uint64_t *leaf, unsigned index);

/* Empties [start, end), frees what it held and the leaf tables that end up empty. */
void table_unmap(struct space *space, uint64_t start, uint64_t end);

/* Gives the entries of [start, end) the access `bits` (PTE_W and PTE_NX; 0 in `allowed` takes all
 * access away). Archive frames stay read-only. */
void table_protect(struct space *space, uint64_t start, uint64_t end, bool allowed, uint64_t bits);

/* Moves the entries of [from, from + size) to `to`. -ENOMEM leaves all at `from`. */
int table_move(struct space *space, uint64_t from, uint64_t to, uint64_t size);

/* Frees the frames that are reserved and not mapped. Returns how many. */
uint64_t reservations_break(void);

/* Maps a page into the kernel's own region at VMAP_BASE. False when memory is out. */
bool vmap_set(uint64_t va, uint64_t pte);

#endif

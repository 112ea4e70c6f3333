/*
 * A process's page tables: four levels, 4 KiB leaves or 2 MiB and 1 GiB pages in their place
 * (huge.h), and the reservations that keep neighbours in virtual memory neighbours in physical
 * memory (reserve.h).
 *
 * A leaf entry is one of
 *   0              nothing; its frame in a fresh reservation has never been used
 *   PTE_P | ...    a mapped frame: a file's (PTE_FILE) or anonymous
 *   PTE_KEPT | ... such a frame, but the process may not touch it now (PROT_NONE)
 *   PTE_SWAP | ... an anonymous page that is in the swap; the slot stands in the frame's bits
 * each perhaps with PTE_STALE or PTE_LENT, which describe the reservation's frame for this entry,
 * not the page that the entry holds (reserve.h).
 *
 * An anonymous frame may be held by several entries, after forks, all of them read-only: the page's
 * `refs` counts the owners beyond the first. A file's frame is the archive's, which nobody counts,
 * or the page cache's (PTE_COUNTED): the cache is the first owner, each entry one more.
 *
 * A page table that holds nothing is freed, and is all zero by then: free tables are kept so, and
 * making one clears nothing.
 */
#ifndef GUEST_MEMORY_TABLE_H
#define GUEST_MEMORY_TABLE_H

#include "guest/memory/page.h"

struct space;

#define PTE_P	    0x001ull
#define PTE_W	    0x002ull
#define PTE_U	    0x004ull
#define PTE_PCD	    0x010ull
#define PTE_A	    0x020ull
#define PTE_D	    0x040ull
#define PTE_PS	    0x080ull
#define PTE_G	    0x100ull
#define PTE_SWAP    0x100ull /* PTE_G's bit, which a program's entries never have */
#define PTE_FILE    0x200ull
#define PTE_KEPT    0x400ull
#define PTE_STALE   0x800ull
#define PTE_COUNTED (1ull << 52)
#define PTE_LENT    (1ull << 53)
#define PTE_NX	    0x8000000000000000ull
#define PTE_FRAME   0x000ffffffffff000ull

/* A mapped anonymous page, but for PTE_W and PTE_NX. */
#define PTE_ANONYMOUS (PTE_P | PTE_U | PTE_A | PTE_D)

/* The bits that stay when an entry loses its page. */
#define PTE_SLOT (PTE_STALE | PTE_LENT)

#define TABLE_ENTRIES 512
#define LEAF_SHIFT    21
#define LEAF_SIZE     (1ull << LEAF_SHIFT)
#define GIGA_SHIFT    30
#define GIGA_SIZE     (1ull << GIGA_SHIFT)

static inline unsigned leaf_index(uint64_t va)
{
	return va >> PAGE_SHIFT & (TABLE_ENTRIES - 1);
}

/* Whether the entry holds a frame; whether it holds anything. */
static inline bool pte_holds(uint64_t pte)
{
	return pte & (PTE_P | PTE_KEPT);
}

static inline bool pte_used(uint64_t pte)
{
	return pte & (PTE_P | PTE_KEPT | PTE_SWAP);
}

/* An anonymous frame, in memory. */
static inline bool pte_anonymous(uint64_t pte)
{
	return pte_holds(pte) && !(pte & PTE_FILE);
}

static inline uint64_t pte_frame(uint64_t pte)
{
	return (pte & PTE_FRAME) >> PAGE_SHIFT;
}

static inline struct page *pte_page(uint64_t pte)
{
	return page_of_frame(pte_frame(pte));
}

/* The table an entry points to, or NULL when it points to none. */
static inline uint64_t *pte_table(uint64_t entry)
{
	return (entry & (PTE_P | PTE_PS)) == PTE_P ? direct(entry & PTE_FRAME) : NULL;
}

/* The kernel's half is the same in every root. NULL when memory is out. */
uint64_t *table_create_root(void);

/* Frees the root; the program's half must be empty (table_unmap). */
void table_destroy_root(uint64_t *root);

/* A table of zeros that nothing points to, or NULL; and back, all zero again. */
uint64_t *table_create(void);
void table_free(uint64_t *table);

/* Gives the free tables that are kept to the allocator. Returns the pages. */
uint64_t table_trim(void);

/* The leaf table that covers va, or NULL. table_make_leaf() adds missing tables on the way; where a
 * huge page is, or for a doomed space, it returns NULL. */
uint64_t *table_leaf(uint64_t *root, uint64_t va);
uint64_t *table_make_leaf(struct space *space, uint64_t va);

/* The entry of the table above (page directory, or its pointer table with size GIGA_SIZE) where va
 * is or would be mapped by a huge page of `size`; tables on the way are made. NULL: memory is out,
 * or a larger page is there. */
uint64_t *table_make_entry(struct space *space, uint64_t va, uint64_t size);

/* Readies a zero table as the leaf of va. */
void table_init_leaf(uint64_t *leaf, struct space *space, uint64_t va);

/* The space that a leaf table belongs to, and the first address it covers. */
struct space *table_space(const uint64_t *leaf);
uint64_t table_address(const uint64_t *leaf);

/* The last entry on the way to va that is there: of a leaf, or a huge page's; *size is what it
 * maps. NULL: no leaf. */
uint64_t *table_find(uint64_t *root, uint64_t va, uint64_t *size);

/* The end of the range from va that one leaf, one huge page or the hole in its place covers, at
 * most `end`. *entry points to that leaf or is that page's; NULL for a hole. */
uint64_t table_step(uint64_t *root, uint64_t va, uint64_t end, uint64_t **entry);

/* For each leaf or huge page of [start, end) that exists: its part [va, next) and its entry. */
#define FOR_EACH_LEAF(root, va, next, start, end, entry)                                           \
	for (uint64_t va = (start), next, *entry;                                                  \
	     va < (end) && (next = table_step(root, va, end, &entry), 1); va = next)               \
		if (entry)

/* Empties such an entry, and frees the tables above that hold nothing now. */
void table_clear_entry(struct space *space, uint64_t va, uint64_t *entry);

/* Empties one entry of a leaf and gives back what it holds. */
void table_drop(struct space *space, uint64_t *leaf, unsigned index);

/* Puts `value` into an entry of a leaf that holds nothing. */
void table_set(struct space *space, uint64_t *leaf, unsigned index, uint64_t value);

/* Empties [start, end), gives back what it held, frees the tables that end up empty. Entries that
 * hold a private page stay when files_only. */
void table_unmap(struct space *space, uint64_t start, uint64_t end);
void table_unmap_files(struct space *space, uint64_t start, uint64_t end);

/* Gives the entries of [start, end) the access `bits` (PTE_W and PTE_NX; 0 in `allowed` takes all
 * access away). A page that has other owners, or whose writing must be noticed, stays read-only. */
void table_protect(struct space *space, uint64_t start, uint64_t end, bool allowed, uint64_t bits);

/* Moves the entries of [from, from + size) to `to`. -ENOMEM leaves all at `from`. */
int table_move(struct space *space, uint64_t from, uint64_t to, uint64_t size);

/* Maps a page into the kernel's own region at VMAP_BASE. False when memory is out. */
bool vmap_set(uint64_t va, uint64_t pte);

/* Maps a device's registers there, not cached, for good. NULL when memory is out, or the room of
 * 1 GiB below the kernel's stacks. */
volatile void *vmap_registers(uint64_t physical, uint64_t length);

#endif

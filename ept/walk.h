/*
 * The first fold: a walk of the guest's own page tables, as the processor would walk them, from the
 * monitor's side. Tables are looked at (ept_look()), so a walk changes nothing; each entry is
 * read once, and a walk has as many steps as there are levels, whatever the tables hold.
 *
 * Long mode's four levels are followed. With paging off an address is its own translation. Five
 * levels, and 32-bit and PAE tables, are refused.
 */
#ifndef EPT_WALK_H
#define EPT_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"

struct ept_space;

#define EPT_WALK_LEVELS 4
#define EPT_TABLE_SIZE	512 /* entries */

/* Bits of an entry. */
#define EPT_PRESENT    (1ull << 0)
#define EPT_WRITE      (1ull << 1)
#define EPT_USER       (1ull << 2)
#define EPT_ACCESSED   (1ull << 5)
#define EPT_DIRTY      (1ull << 6)
#define EPT_LARGE      (1ull << 7) /* PS, in a PDPT or a PD */
#define EPT_GLOBAL     (1ull << 8)
#define EPT_NO_EXECUTE (1ull << 63)
#define EPT_ADDRESS    0x000ffffffffff000ull
#define EPT_KEY_SHIFT  59

/* The part of a processor's state that decides how to walk. */
struct ept_paging {
	uint64_t cr0, cr3, cr4, efer;
	uint64_t rflags; /* AC lifts SMAP */
	uint32_t pkru;
	unsigned address_bits;	/* MAXPHYADDR; 0: 52 */
	bool no_gigabyte_pages; /* PS is reserved in a PDPT */
};

enum ept_walk_end {
	EPT_WALK_PAGE,		/* reached a page */
	EPT_WALK_NOT_PRESENT,	/* P is clear in the last step's entry */
	EPT_WALK_RESERVED,	/* the last step's entry has reserved bits set */
	EPT_WALK_NO_TABLE,	/* the last step's table is not in RAM */
	EPT_WALK_UNREADABLE,	/* it is, and cannot be read: error */
	EPT_WALK_NON_CANONICAL, /* bits 63..47 of the address differ: no step is taken */
	EPT_WALK_FIVE_LEVELS,	/* CR4.LA57 */
	EPT_WALK_NOT_LONG,	/* 32-bit or PAE tables */
};

struct ept_walk_step {
	int level;	   /* 4: PML4, 3: PDPT, 2: PD, 1: PT */
	unsigned index;	   /* of the entry in its table */
	gpa_t entry_at;	   /* where the entry lies */
	uint64_t entry;	   /* raw; 0 if it could not be read */
	uint64_t reserved; /* the bits set in it that are reserved */
	int same_as;	   /* this table is also that of a level above (a table in itself); 0: no */
};

struct ept_walk {
	struct ept_walk_step step[EPT_WALK_LEVELS];
	int step_count;
	enum ept_walk_end end;
	int error;	    /* NO_TABLE: -EFAULT. UNREADABLE: -errno */
	bool paging_off;    /* PAGE: without any step */
	gpa_t address;	    /* PAGE: the translation */
	uint64_t page_size; /* PAGE: 4 KiB, 2 MiB, 1 GiB */
};

/* Reads guest-physical memory: 0, -EFAULT where there is no RAM, or -errno. */
typedef int ept_walk_read(void *context, gpa_t address, void *buffer, size_t length);

void ept_walk(struct ept_space *space, const struct ept_paging *paging, gva_t address,
	      struct ept_walk *walk);
void ept_walk_with(ept_walk_read *read, void *context, const struct ept_paging *paging,
		   gva_t address, struct ept_walk *walk);

/* Whether the walk ends before its first step, and then how. */
bool ept_walk_ends_at_once(const struct ept_paging *paging, gva_t address, struct ept_walk *walk);

/* An ept_walk_read of a struct ept_space, by ept_look(). */
int ept_walk_look(void *space, gpa_t address, void *buffer, size_t length);

/* The reserved bits that are set in a present entry of this level. */
uint64_t ept_walk_reserved(const struct ept_paging *paging, int level, uint64_t entry);

/* Is an entry of this level a page's? */
static inline bool ept_walk_is_leaf(int level, uint64_t entry)
{
	return level == 1 || (level <= 3 && (entry & EPT_LARGE));
}

static inline uint64_t ept_walk_size(int level)
{
	return 1ull << (PAGE_SHIFT + 9 * (level - 1));
}

static inline bool ept_walk_is_canonical(gva_t address)
{
	return (uint64_t)((int64_t)(address.v << 16) >> 16) == address.v;
}

/* "PML4", ... */
const char *ept_walk_level_name(int level);

/* How an address may be used. */
enum ept_access {
	EPT_ACCESS_READ,
	EPT_ACCESS_WRITE,
	EPT_ACCESS_EXECUTE,
	EPT_ACCESS_KINDS,
};

struct ept_verdict {
	bool allowed;
	int level;	 /* where it stops; 0: a control register's rule */
	const char *bit; /* "W", "U", "NX", "key", "SMEP", "SMAP"; NULL if allowed */
};

/* May the page that the walk reached be used so? */
void ept_walk_judge(const struct ept_walk *walk, const struct ept_paging *paging, bool user,
		    enum ept_access access, struct ept_verdict *verdict);

/*
 * Memory references of a two-dimensional walk: each of the guest's entries, and the page at last,
 * is found by a walk of the second layer. levels: how many tables each still has to be read.
 */
static inline unsigned ept_walk_references(unsigned guest_levels, unsigned second_levels)
{
	return (guest_levels + 1) * (second_levels + 1) - 1;
}

#endif

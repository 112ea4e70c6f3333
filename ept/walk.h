/*
 * The first fold: a walk of the guest's own four- or five-level page tables, as the processor would
 * walk them, from the monitor's side.
 */
#ifndef EPT_WALK_H
#define EPT_WALK_H

#include "ept/space.h"

#define EPT_WALK_LEVELS 5

struct ept_walk_step {
	int level;	/* 5: PML5, 4: PML4, 3: PDPT, 2: PD, 1: PT */
	gpa_t entry_at; /* where the entry lies */
	uint64_t entry;
};

struct ept_walk {
	struct ept_walk_step step[EPT_WALK_LEVELS];
	int step_count;
	bool present;	    /* the walk reached a page */
	gpa_t address;	    /* the translation, if present */
	uint64_t page_size; /* 4 KiB, 2 MiB, 1 GiB */
	int error;	    /* -errno of reading a table, 0 otherwise */
};

/* cr3, cr4, paging (CR0.PG) and efer say how to walk. Tables are read through ept_read(). */
void ept_walk(struct ept_space *space, uint64_t cr0, uint64_t cr3, uint64_t cr4, uint64_t efer,
	      gva_t address, struct ept_walk *walk);

#endif

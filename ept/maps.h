/*
 * A whole address space of the guest's: every page that its tables map, in the order of addresses.
 * Tables are looked at, never touched. The guest runs on meanwhile, so the pages told may not all
 * be of one moment.
 */
#ifndef EPT_MAPS_H
#define EPT_MAPS_H

#include "ept/walk.h"

/*
 * Tables may share tables, and four pages can so map all of 256 TiB: the walk ends after so many.
 * They are enough for 128 GiB in pages of 4 KiB.
 */
#define EPT_MAPS_TABLES_MAX 65536u

struct ept_maps_page {
	gva_t address;
	gpa_t physical;
	uint64_t size;	 /* 4 KiB, 2 MiB, 1 GiB */
	uint64_t rights; /* of all levels together: EPT_WRITE, EPT_USER, EPT_NO_EXECUTE */
};

struct ept_maps_summary {
	enum ept_walk_end end; /* PAGE; or why there was nothing to walk */
	uint64_t tables;       /* read */
	uint64_t in_itself;    /* entries that lead back to a table above: not followed */
	uint64_t reserved;     /* entries with reserved bits: not followed */
	uint64_t no_table;     /* entries that lead where there is no memory */
	uint64_t unreadable;   /* tables that could not be read back */
	bool cut;	       /* by EPT_MAPS_TABLES_MAX, or by the visitor */
};

/* Told of each page; false ends the walk. */
typedef bool ept_maps_visit(void *context, const struct ept_maps_page *page);

void ept_maps(ept_walk_read *read, void *read_context, const struct ept_paging *paging,
	      ept_maps_visit *visit, void *visit_context, struct ept_maps_summary *summary);

#endif

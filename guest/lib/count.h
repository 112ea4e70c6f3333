/* Event counters, which /proc/vmstat shows, by Linux's names where Linux has them. Each room counts
 * its own events. Add one by adding a line to the list. */
#ifndef GUEST_LIB_COUNT_H
#define GUEST_LIB_COUNT_H

#include "guest/lib/types.h"

/* clang-format off */
#define VM_COUNTERS(X) \
	X(pgfault) \
	X(pgmajfault) \
	X(pswpin) \
	X(pswpout) \
	X(swap_clean_drops) \
	X(pgscan) \
	X(pgsteal) \
	X(oom_kill) \
	X(workingset_refault_anon) \
	X(workingset_thrash) \
	X(workingset_scans) \
	X(refault_distance_last) \
	X(refault_distance_average) \
	X(nr_dirtied) \
	X(nr_written) \
	X(buddy_split) \
	X(buddy_merge) \
	X(buddy_release) \
	X(buddy_report) \
	X(balloon_inflate) \
	X(balloon_deflate) \
	X(compact_stall) \
	X(compact_success) \
	X(compact_fail) \
	X(compact_migrate_scanned) \
	X(compact_free_scanned) \
	X(pgmigrate_success) \
	X(pgmigrate_fail) \
	X(thp_fault_alloc) \
	X(thp_fault_fallback) \
	X(thp_split_page) \
	X(nr_tlb_remote_flush) \
	X(nr_tlb_remote_flush_received) \
	X(nr_tlb_local_flush_all) \
	X(nr_tlb_local_flush_one) \
	X(nr_tlb_switch_kept) \
	X(nr_tlb_switch_flush) \
	X(vector_first_use)
/* clang-format on */

#define VM_COUNTER_FIELD(name) uint64_t name;
struct vm_count {
	VM_COUNTERS(VM_COUNTER_FIELD)
};

extern struct vm_count vm_count;

#endif

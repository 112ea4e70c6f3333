/*
 * Estimates how much memory is in use: Denning's working set, the pages touched within the last
 * while ("The Working Set Model for Program Behavior", CACM 1968).
 *
 * Every /proc/sys/vm/workingset_window ms (0, as at the start: never) the accessed bits of all
 * entries are counted and taken; a scan finds the pages touched since the one before. /proc/vmstat
 * has their number as workingset_estimate_pages, and workingset_scans. Where a range is watched
 * (/proc/sys/vm/window, replace.h), only that is scanned. A page that several spaces touch counts
 * for each. Replacement loses nothing: a page whose bit was taken is PAGE_YOUNG until it looks.
 */
#ifndef GUEST_MEMORY_WORKINGSET_H
#define GUEST_MEMORY_WORKINGSET_H

#include "guest/lib/types.h"

struct text;

extern uint64_t workingset_estimate; /* pages */

int workingset_window_store(const char *words);
void workingset_window_text(struct text *text);

#endif

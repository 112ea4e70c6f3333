/* The files of /proc that describe an address space, in Linux's words. */
#ifndef GUEST_PROC_MAPS_H
#define GUEST_PROC_MAPS_H

#include "guest/memory/space.h"

struct text;

/* /proc/PID/maps: a line an area. smaps: also the part of it that is in memory. smaps_rollup: the
 * sum. */
void space_maps_text(struct space *space, struct text *text);
void space_smaps_text(struct space *space, struct text *text);
void space_smaps_rollup_text(struct space *space, struct text *text);

/* An entry of /proc/PID/pagemap, for the page at va: the frame in bits 0 to 54, or the slot of the
 * swap in bits 5 to 54, and the PAGEMAP_ bits. As on Linux, but that dirtiness since some moment is
 * not told. */
#define PAGEMAP_EXCLUSIVE (1ull << 56)
#define PAGEMAP_FILE	  (1ull << 61) /* a file's, or shared */
#define PAGEMAP_SWAPPED	  (1ull << 62)
#define PAGEMAP_PRESENT	  (1ull << 63)
uint64_t space_pagemap_entry(const struct space *space, uint64_t va);

/* /proc/PID/statm: pages mapped, in memory, shared, of text, 0, of data and stack, 0. */
void space_statm_text(const struct space *space, struct text *text);

/* The lines of /proc/PID/status on memory, VmPeak to VmSwap. */
void space_status_text(struct space *space, struct text *text);

#endif

/* What /proc says of an address space, in Linux's words. */
#ifndef GUEST_MEMORY_MAPS_H
#define GUEST_MEMORY_MAPS_H

#include "guest/memory/space.h"

struct text;

/* /proc/PID/maps: a line an area. smaps: with what is in memory of it. smaps_rollup: the sum. */
void space_maps_text(struct space *space, struct text *text);
void space_smaps_text(struct space *space, struct text *text);
void space_smaps_rollup_text(struct space *space, struct text *text);

/* /proc/PID/statm: pages mapped, in memory, shared, of text, 0, of data and stack, 0. */
void space_statm_text(const struct space *space, struct text *text);

/* The lines of /proc/PID/status on memory, VmPeak to VmSwap. */
void space_status_text(struct space *space, struct text *text);

#endif

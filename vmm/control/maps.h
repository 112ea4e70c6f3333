/*
 * A guest's address space as ranges in JSON, each with the rights and the size of its pages and the
 * states of their frames.
 */
#ifndef VMM_CONTROL_MAPS_H
#define VMM_CONTROL_MAPS_H

#include <jansson.h>

#include "ept/walk.h"

struct machine;

#define MAPS_RANGES_MAX 16384u
#define MAPS_FRAMES_MAX (1ull << 26) /* so many frames are counted, at a nanosecond or so each */

/* Reads paging's tables while the guest runs. A new reference, or NULL without memory. */
json_t *maps_to_json(struct machine *machine, unsigned vcpu, const struct ept_paging *paging);

#endif

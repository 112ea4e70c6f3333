/* The devices of a running guest as members of 'bifold stat'. Each is a new reference. */
#ifndef VMM_MACHINE_DEVICES_JSON_H
#define VMM_MACHINE_DEVICES_JSON_H

#include <jansson.h>

#include "vmm/machine/devices.h"

/* The state of the balloon; null: there is none. */
json_t *devices_balloon_to_json(const struct devices *devices);

/* An array: of each disk, how many requests it has done, and how many bytes they were. */
json_t *devices_disks_to_json(const struct devices *devices);

/* Adds the members of all kinds to stat (devices.c). */
void devices_add_to_json(const struct devices *devices, json_t *stat);

#endif

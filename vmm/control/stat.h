/*
 * The state of a running guest, as one JSON object.
 *
 * Its members are those of the report (vmm/machine/report.h), and:
 *   version, pid       the monitor's
 *   guest.name, guest.kernel
 *   state              "running", "paused", "stopping"
 *   stop               null, or {kind, status}: status is the monitor's exit status
 *   frames             pages by where their content is; the sum is total
 *   latency_ns.*       also p90, p999, count, sum, and buckets: [[at most, count], ...], those that
 *                      are not empty
 *   balloon            null, or how much it holds, is to hold, and what the guest tells; auto: why
 *                      --auto-balloon has it so, or null
 *   disks              of each, how many requests it has done, and how many bytes they were
 */
#ifndef VMM_CONTROL_STAT_H
#define VMM_CONTROL_STAT_H

#include <jansson.h>

struct machine;

/* A new reference. The vCPUs are not disturbed. */
json_t *stat_to_json(struct machine *machine);

#endif

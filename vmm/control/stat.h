/*
 * How a running guest is: one JSON object, made by the monitor, and what 'bifold stat' makes of it.
 *
 * Its members are those of the report (vmm/report.h), and:
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
#include <stdio.h>

struct devices;
struct machine;

/* A new reference. The vCPUs are not disturbed. */
json_t *stat_to_json(struct machine *machine);

/* Of it, the members of the devices. */
void stat_add_devices(json_t *stat, const struct devices *devices);

/* What is told of the balloon; null: there is none. */
json_t *stat_balloon_to_json(const struct devices *devices);

/* For people. stat came over a socket and may be anything. */
void stat_print(const json_t *stat, FILE *file);

/* One line of it: how it is, and what runs there. */
void stat_format_head(const json_t *stat, char *text, size_t size);

/*
 * In Prometheus's text format, version 0.0.4. Every sample has the label socket, by which those of
 * several guests can be told apart.
 */
void stat_print_prometheus(const json_t *stat, const char *socket, FILE *file);

#endif

/*
 * Reports on a run, for scripts (JSON) and for people (a status line; common/report_table.h has
 * the table). The JSON is also most of the answer that 'bifold stat' gets from a running guest.
 */
#ifndef VMM_MACHINE_REPORT_H
#define VMM_MACHINE_REPORT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "mm/mm.h"
#include "vmm/machine/kvm_stats.h"

struct report {
	uint64_t memory_bytes;
	bool managed;
	struct mm_stats stats; /* zeros when unmanaged */
	const char *policy;
	const char *compressor;
	const char *second_layer; /* host_second_layer() */
	unsigned cpu_count;
	uint64_t kvm[KVM_STAT_COUNT]; /* at the end of the run */
	uint64_t wall_ns;
	uint64_t start_to_user_ns;     /* 0: no user instruction ran */
	uint64_t start_to_user_cpu_ns; /* the monitor's own CPU time by then */
	uint64_t monitor_bytes; /* the monitor's own memory: resident, less guest memory and pool */
};

struct machine;

/* The state of the machine now; once its vCPUs have stopped, at its end. */
void report_fill(struct report *report, struct machine *machine);

/* A new reference. */
json_t *report_to_json(const struct report *report);

/* To the open file. 0 or -errno. */
int report_write(const json_t *report, FILE *file);

/* One line for a terminal's status, at most size - 1 bytes. */
void report_format_status(const struct report *report, char *text, size_t size);

/* The monitor's resident memory, shared memory aside; 0 if the host does not say. */
uint64_t report_own_bytes(void);

#endif

/*
 * The processor's own counts of the cost of translation, read with perf_event_open, for another
 * process and all its threads. Many hosts, virtual ones above all, do not let anybody read them.
 */
#ifndef VMM_BENCH_COUNTERS_H
#define VMM_BENCH_COUNTERS_H

#include <stdbool.h>
#include <sys/types.h>

#include "vmm/bench/result.h"

struct bench_counters {
	int fd[BENCH_COUNTERS]; /* -1: not to be had */
};

/* Opens the counters that there are, for a process that has not started its work. Whether there are
 * any. */
bool bench_counters_open(struct bench_counters *counters, pid_t pid);
void bench_counters_close(struct bench_counters *counters);

/* The counts so far; 0 where nothing is counted. */
void bench_counters_read(const struct bench_counters *counters, uint64_t value[BENCH_COUNTERS]);

#endif

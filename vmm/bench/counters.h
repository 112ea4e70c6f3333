/*
 * The processor's own counts of what translation costs, by perf_event_open, of another process and
 * all its threads. Many hosts do not let them be read, virtual ones above all.
 */
#ifndef VMM_BENCH_COUNTERS_H
#define VMM_BENCH_COUNTERS_H

#include <stdbool.h>
#include <sys/types.h>

#include "vmm/bench/result.h"

struct bench_counters {
	int fd[BENCH_COUNTERS]; /* -1: not to be had */
};

/* Opens what there is for a process that has not started its work. Whether there is any. */
bool bench_counters_open(struct bench_counters *counters, pid_t pid);
void bench_counters_close(struct bench_counters *counters);

/* The counts so far; 0 where nothing is counted. */
void bench_counters_read(const struct bench_counters *counters, uint64_t value[BENCH_COUNTERS]);

#endif

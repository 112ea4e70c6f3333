/* The results of bench translation, for people and for programs. */
#ifndef VMM_BENCH_OUTPUT_H
#define VMM_BENCH_OUTPUT_H

#include <stdio.h>

#include "vmm/bench/sweep.h"

/* A cell that was measured, of the pages that took part; NULL otherwise. */
const struct bench_cell *bench_measured(const struct bench_sweep *sweep, enum bench_page guest,
					unsigned host);

/* The largest working set that all measured cells have; -1: none. */
int bench_largest_size(const struct bench_sweep *sweep);

/* A sentence on the second layer: its kind, and what its figures do not show. */
const char *bench_layer_text(const struct bench_sweep *sweep);

/* Why counters are missing beside the figures; NULL: they are there. */
const char *bench_counters_text(const struct bench_sweep *sweep);

void bench_print_table(const struct bench_sweep *sweep, FILE *file);

/* A line a measured set or event, with its name in the first column. */
void bench_write_csv(const struct bench_sweep *sweep, FILE *file);

/* 0 or -errno. */
int bench_write_json(const struct bench_sweep *sweep, FILE *file);

/* plot.c: writes the plots as SVG, with their data, into the directory, which is made if need
 * be. 0 or -errno, with a line logged. */
int bench_plot(const struct bench_sweep *sweep, const char *directory);

#endif

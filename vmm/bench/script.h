/*
 * The gnuplot script of bench translation's pictures, each for a paper's column (85 mm) and, with
 * "-page" in its name, for the width of a page (180 mm):
 *
 *   chase.svg        cost of an access against the working set: a panel for each page of the
 *                    guest, a curve for what it lies on, and the middle half of the rounds as a
 *                    band. Both axes are logarithmic.
 *   translation.svg  the same less the packed chase: what translation costs. Its y axis is linear
 *                    about 0 and logarithmic beyond: where nothing is to be seen the difference
 *                    is noise, of either sign.
 *   matrix.svg       the pairs as a heat map, at the largest working set
 */
#ifndef VMM_BENCH_SCRIPT_H
#define VMM_BENCH_SCRIPT_H

#include "vmm/bench/output.h"

/* The data, in the directory that the script runs in. */
#define BENCH_SCRIPT_CURVES "translation.dat"
#define BENCH_SCRIPT_MATRIX "matrix.dat"

/* Of the rounds of a set, ns; NAN where there is none. */
struct bench_range {
	double median, low, high; /* low, high: a quarter of the rounds lies beyond each */
};

void bench_script_ranges(const struct bench_cell *cell, unsigned size, struct bench_range *chase,
			 struct bench_range *translation);

/* size: of the matrix. */
void bench_script_write(const struct bench_sweep *sweep, unsigned size, FILE *file);

#endif

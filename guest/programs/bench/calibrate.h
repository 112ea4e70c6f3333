/*
 * Measures how long a tick of the processor's counter takes, by a clock. The program may be stopped
 * between reading the one and the other, for as long as a scheduler likes, and one such sample was
 * a figure four times too small. So: the two are read as a bracket, of which the narrowest of
 * several counts; windows are repeated and compared; and where they do not agree there is no
 * answer.
 *
 * Like guest/programs/bench/chase.h it knows no kernel and no library.
 */
#ifndef GUEST_PROGRAMS_BENCH_CALIBRATE_H
#define GUEST_PROGRAMS_BENCH_CALIBRATE_H

#include <stdbool.h>
#include <stdint.h>

struct calibrate_clock {
	uint64_t (*now)(void *context); /* ns */
	uint64_t (*ticks)(void *context);
	void *context;
};

/* Two calibrations agree when they differ by less: a thousandth is 1. */
#define CALIBRATE_PERMILLE 5

/* Femtoseconds of a tick; 0: what was measured does not agree with itself. */
uint64_t calibrate(const struct calibrate_clock *clock);

bool calibrate_agree(uint64_t a, uint64_t b);

#endif

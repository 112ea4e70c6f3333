/*
 * Shared by the files of the program `translation`: times in ticks, and the events around
 * translation.
 */
#ifndef GUEST_PROGRAMS_BENCH_TRANSLATION_H
#define GUEST_PROGRAMS_BENCH_TRANSLATION_H

#include <stdint.h>

/* Picoseconds of so many ticks of chase_ticks(). */
uint64_t picoseconds(uint64_t ticks);

/* Measures each event `count` times (at most EVENTS_MOST) and prints a line for each. */
#define EVENTS_MOST 4096
void events_run(unsigned count);

#endif

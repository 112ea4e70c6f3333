/*
 * The load of the machine: load averages as Linux has them, and CPU time.
 *
 * Every 5 s the threads that run or could run are counted, and three averages that forget over 1, 5
 * and 15 minutes take that in. There is no tick: the first switch after the time counts them, or a
 * reader of the averages does.
 */
#ifndef GUEST_PROCESS_LOAD_H
#define GUEST_PROCESS_LOAD_H

#include "guest/lib/types.h"

#define LOAD_COUNT 3
#define LOAD_SHIFT 11 /* fraction bits of an average */

extern uint64_t load_next; /* TSC of the next count */

/* Counts, once the TSC is `now` >= load_next. from_idle: the CPU did nothing until now, when it
 * takes a thread that is counted as ready. */
void load_count(uint64_t now, bool from_idle);

/* The averages as they are now. */
const uint64_t *load_averages(void);

struct text;
void cpuinfo_text(struct text *text);
void loadavg_text(struct text *text);
void stat_text(struct text *text);
void uptime_text(struct text *text);

#endif

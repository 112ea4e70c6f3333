/* The files of /proc that describe the memory as a whole. */
#ifndef GUEST_PROC_MEMINFO_H
#define GUEST_PROC_MEMINFO_H

struct text;

/* /proc/vmstat: gauges, then the counters (lib/count.h). */
void vmstat_text(struct text *text);

/* /proc/meminfo. */
void meminfo_text(struct text *text);

#endif

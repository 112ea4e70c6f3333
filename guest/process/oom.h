/*
 * The OOM killer: when nothing else gives memory, the process that holds most of it goes. By
 * Linux's measure: resident and swapped pages, and oom_score_adj thousandths of all memory on top.
 *
 * Pages that it holds alone come back at once; the rest - page tables, the stack, its share of
 * pages that others have as well - when it is gone. Until then nobody else is killed
 * (spaces_doomed, space.h): a program's fault is tried again after the next turn, and the kernel's
 * own access to a program's memory, which cannot wait, may have half of the reserve
 * (fault_resolve_now()).
 */
#ifndef GUEST_PROCESS_OOM_H
#define GUEST_PROCESS_OOM_H

#include "guest/lib/types.h"

struct process;

/* Kills a process, logs which and why, and takes its memory at once. False when there is none to
 * kill. */
bool oom_kill(void);

#define OOM_ADJUST_NEVER (-1000)
#define OOM_ADJUST_MAX	 1000

/* In pages, negative where oom_score_adj takes off more than there is; OOM_NEVER: not this one. */
#define OOM_NEVER INT64_MIN
int64_t oom_badness(const struct process *process);

/* The same as /proc/PID/oom_score has it: 0 for never, 666 for a process that holds nothing, and
 * 1333 for all of memory. */
int64_t oom_score(const struct process *process);

#endif

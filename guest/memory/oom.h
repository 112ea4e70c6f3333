/*
 * The OOM killer: when nothing else gives memory, the process that holds most of it goes. By
 * Linux's measure: resident and swapped pages, and oom_score_adj thousandths of all memory on top.
 */
#ifndef GUEST_MEMORY_OOM_H
#define GUEST_MEMORY_OOM_H

#include "guest/lib/types.h"

struct process;

/* Kills one, says whom and why, and takes its memory at once. False when there is nobody. */
bool oom_kill(void);

/* In pages; negative or 0: never. */
int64_t oom_badness(const struct process *process);

#endif

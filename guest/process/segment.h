/*
 * Segments of a process's own (its LDT): base and limit that the processor enforces in
 * compatibility mode. 64-bit code knows neither.
 */
#ifndef GUEST_PROCESS_SEGMENT_H
#define GUEST_PROCESS_SEGMENT_H

#include "guest/lib/types.h"

struct process;

#define SEGMENT_COUNT 32

/* Entry `number` of the current process. limit: the last byte's offset, in pages with `pages`.
 * writable: else read-only. Data segments only. 0, -EINVAL or -ENOMEM. */
int segment_set(unsigned number, uint32_t base, uint32_t limit, bool pages, bool writable);

/* Makes the table the CPU's; NULL: none. The 32-bit code segment comes and goes with it: a process
 * without segments of its own has no business in compatibility mode. */
void segment_load(const uint64_t *ldt);

/* A copy of the current process's for a child. 0 or -ENOMEM. */
int segment_copy(struct process *child);
void segment_free(struct process *process);

#endif

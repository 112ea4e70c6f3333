/*
 * Memory pressure, in the form of Linux's /proc/pressure/memory: the share of time in which
 * somebody (some) or everybody (full) waited for memory. In quire a stall is served by the kernel
 * under its one lock: nobody else gets on in the kernel, so a stall of one is counted as one of all
 * when no other CPU runs a program.
 */
#ifndef GUEST_MEMORY_PRESSURE_H
#define GUEST_MEMORY_PRESSURE_H

#include "guest/lib/types.h"

struct text;

/* Somebody waited `ns` for memory, up to now. */
void pressure_stalled(uint64_t ns);

void pressure_text(struct text *text);

#endif

/* The reach of this processor's TLBs, as CPUID says; for the marks in a plot. */
#ifndef VMM_BENCH_TLB_H
#define VMM_BENCH_TLB_H

#include "vmm/bench/result.h"

#define BENCH_TLB_LEVELS 2

/* Entries for data on pages of a size, first and second level; 0: not said. */
void bench_tlb_entries(unsigned entries[BENCH_PAGES][BENCH_TLB_LEVELS]);

#endif

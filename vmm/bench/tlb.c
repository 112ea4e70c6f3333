#include "vmm/bench/tlb.h"

#include <cpuid.h>
#include <string.h>

static void read_amd(unsigned entries[BENCH_PAGES][BENCH_TLB_LEVELS])
{
	unsigned eax, ebx, ecx, edx;

	if (__get_cpuid(0x80000005, &eax, &ebx, &ecx, &edx)) {
		entries[BENCH_4K][0] = ebx >> 16 & 0xff;
		entries[BENCH_2M][0] = eax >> 16 & 0xff;
	}
	if (__get_cpuid(0x80000006, &eax, &ebx, &ecx, &edx)) {
		entries[BENCH_4K][1] = ebx >> 16 & 0xfff;
		entries[BENCH_2M][1] = eax >> 16 & 0xfff;
	}
	if (__get_cpuid(0x80000019, &eax, &ebx, &ecx, &edx)) {
		entries[BENCH_1G][0] = eax >> 16 & 0xfff;
		entries[BENCH_1G][1] = ebx >> 16 & 0xfff;
	}
}

/* Leaf 18: a subleaf for each TLB, with its level, kind, page sizes, ways and sets. */
static void read_intel(unsigned entries[BENCH_PAGES][BENCH_TLB_LEVELS])
{
	unsigned eax, ebx, ecx, edx, last = 0;

	for (unsigned i = 0; i <= last; i++) {
		unsigned kind, level;

		if (!__get_cpuid_count(0x18, i, &eax, &ebx, &ecx, &edx))
			return;
		if (i == 0)
			last = eax;
		kind = edx & 0x1f; /* 1: data, 3: both, 4: loads */
		level = edx >> 5 & 7;
		if ((kind != 1 && kind != 3 && kind != 4) || level < 1 || level > BENCH_TLB_LEVELS)
			continue;
		for (int page = 0; page < BENCH_PAGES; page++) {
			static const unsigned bit[BENCH_PAGES] = { 1, 2, 8 };
			unsigned count = (ebx >> 16) * ecx;

			if ((ebx & bit[page]) && count > entries[page][level - 1])
				entries[page][level - 1] = count;
		}
	}
}

void bench_tlb_entries(unsigned entries[BENCH_PAGES][BENCH_TLB_LEVELS])
{
	unsigned eax, ebx, ecx, edx;

	memset(entries, 0, BENCH_PAGES * sizeof(entries[0]));
	if (!__get_cpuid(0, &eax, &ebx, &ecx, &edx))
		return;
	if (ebx == signature_AMD_ebx)
		read_amd(entries);
	else if (ebx == signature_INTEL_ebx)
		read_intel(entries);
}

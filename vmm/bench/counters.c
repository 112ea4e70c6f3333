#include "vmm/bench/counters.h"

#include <cpuid.h>
#include <linux/perf_event.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* DTLB_LOAD_MISSES.WALK_ACTIVE (event 08, mask 10, threshold 1): cycles in which a walk is under
 * way, on Intel's processors from Skylake to Tiger Lake. Others number it differently. */
#define WALK_ACTIVE 0x1001008

static bool has_walk_active(void)
{
	static const unsigned char models[] = { 0x4e, 0x5e, 0x55, 0x8e, 0x9e, 0x66,
						0x6a, 0x6c, 0x7d, 0x7e, 0x8c, 0x8d };
	unsigned eax, ebx, ecx, edx, model;

	if (!__get_cpuid(0, &eax, &ebx, &ecx, &edx) || ebx != signature_INTEL_ebx ||
	    !__get_cpuid(1, &eax, &ebx, &ecx, &edx) || (eax >> 8 & 15) != 6)
		return false;
	model = (eax >> 12 & 0xf0) | (eax >> 4 & 15);
	return memchr(models, (int)model, sizeof(models)) != NULL;
}

static int open_counter(pid_t pid, uint32_t type, uint64_t config)
{
	struct perf_event_attr attributes = {
		.size = sizeof(attributes),
		.type = type,
		.config = config,
		.inherit = 1,
		.exclude_hv = 1,
	};

	return (int)syscall(SYS_perf_event_open, &attributes, pid, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

bool bench_counters_open(struct bench_counters *counters, pid_t pid)
{
	counters->fd[BENCH_TLB_MISSES] =
		open_counter(pid, PERF_TYPE_HW_CACHE,
			     PERF_COUNT_HW_CACHE_DTLB | PERF_COUNT_HW_CACHE_OP_READ << 8 |
				     PERF_COUNT_HW_CACHE_RESULT_MISS << 16);
	counters->fd[BENCH_WALK_CYCLES] =
		has_walk_active() ? open_counter(pid, PERF_TYPE_RAW, WALK_ACTIVE) : -1;
	return counters->fd[BENCH_TLB_MISSES] >= 0 || counters->fd[BENCH_WALK_CYCLES] >= 0;
}

void bench_counters_close(struct bench_counters *counters)
{
	for (int i = 0; i < BENCH_COUNTERS; i++) {
		if (counters->fd[i] >= 0)
			close(counters->fd[i]);
		counters->fd[i] = -1;
	}
}

void bench_counters_read(const struct bench_counters *counters, uint64_t value[BENCH_COUNTERS])
{
	for (int i = 0; i < BENCH_COUNTERS; i++) {
		if (counters->fd[i] < 0 ||
		    read(counters->fd[i], &value[i], sizeof(value[i])) != sizeof(value[i]))
			value[i] = 0;
	}
}

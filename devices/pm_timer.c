#include "devices/pm_timer.h"

#include <stddef.h>

#include "base/clock.h"

static int read_count(void *device, uint64_t offset, unsigned size, uint64_t *value)
{
	uint64_t count = (uint64_t)((__uint128_t)clock_now_ns() * PM_TIMER_HZ / 1000000000u);

	*value = (uint32_t)count >> offset * 8;
	return 0;
}

static int ignore(void *device, uint64_t offset, unsigned size, uint64_t value)
{
	return 0;
}

const struct bus_ops pm_timer_ops = {
	.name = "power management timer",
	.write = ignore,
	.read = read_count,
};

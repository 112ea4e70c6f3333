#include <errno.h>

#include "base/log.h"
#include "vmm/bench_output.h"

int bench_plot(const struct bench_sweep *sweep, const char *directory)
{
	log_error("--plot: not yet");
	return -ENOSYS;
}

/*
 * bench translation: all runs, in turn, and their results.
 */
#ifndef VMM_BENCH_SWEEP_H
#define VMM_BENCH_SWEEP_H

#include <signal.h>

#include "vmm/bench/options.h"
#include "vmm/bench/result.h"

struct bench_sweep {
	const struct bench_options *options;
	const char *second_layer;
	char processor[64], kernel[72], date[16]; /* of this host; when it began, 2026-11-30 */
	bool host_is_guest; /* this host has a hypervisor under it: so has the baseline */
	bool counters;	    /* the processor's counts can be read */
	/* By guest page and host page; BENCH_NATIVE: the ordinary process. */
	struct bench_cell cell[BENCH_PAGES][BENCH_PAGES + 1];
	double seconds;
	/* Processors' time meanwhile, in processors: what other processes had, and what the host's
	 * own hypervisor took. */
	double others, stolen;
	double disturbed; /* share of the rounds that were left out, for the processor was slow */
};

/*
 * Runs the sweep, with its progress on standard error. 0, also when cells are absent; -EINTR:
 * interrupted; -EBADMSG: content was wrong somewhere. Nothing runs and no page is set aside any
 * more when it returns. bench_sweep_finish() is due in every case.
 */
int bench_sweep_run(struct bench_sweep *sweep, const struct bench_options *options,
		    const volatile sig_atomic_t *interrupted);
void bench_sweep_finish(struct bench_sweep *sweep);

#endif

/* The options of 'bifold bench translation'. */
#ifndef VMM_BENCH_OPTIONS_H
#define VMM_BENCH_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/bench/result.h"
#include "vmm/common/file.h"

struct bench_options {
	bool guest[BENCH_PAGES], host[BENCH_PAGES]; /* page sizes that take part */
	bool loop[BENCH_LOOPS];
	uint64_t least, most; /* working set, bytes: powers of two */
	unsigned rounds, passes;
	unsigned accesses;	      /* the least of a round */
	unsigned events;	      /* of each kind; 0: none */
	unsigned timeout_seconds;     /* of each run */
	bool reserve;		      /* set huge pages aside where they are missing */
	struct file_output json, csv; /* "-": in the table's place */
	const char *plot;	      /* a directory, or NULL */
};

/*
 * 0: go on; 1: help was printed, exit 0; -EINVAL: a line says what is wrong.
 * argv[0] is "translation".
 */
int bench_options_parse(struct bench_options *options, int argc, char **argv);

/* Closes those that were not written. */
void bench_options_finish(struct bench_options *options);

#endif

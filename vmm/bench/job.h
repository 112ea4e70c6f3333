/*
 * One run of guest/programs/bench/translation.c, in a guest or as an ordinary process: the same
 * file, on the same CPU, in a child process of its own, whose lines go into a cell.
 */
#ifndef VMM_BENCH_JOB_H
#define VMM_BENCH_JOB_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/bench/result.h"

#define BENCH_PROGRAM "translation"

struct bench_job {
	bool guest;
	uint64_t memory_bytes;	  /* the guest's, a multiple of host_page_bytes */
	uint64_t host_page_bytes; /* of what backs the guest */
	const char *append;	  /* words for the guest's kernel, or NULL */
	const char *const
		*arguments; /* the program's, after argv[0]; NULL-terminated; plain words */
	int cpu;	    /* where it runs */
	unsigned timeout_seconds;
	const volatile sig_atomic_t *interrupted; /* set by a signal: end soon */
	/* Hears every line, or NULL. */
	void (*heard)(void *context, const char *line);
	void *context;
};

/*
 * Runs it to its end. 0; -EINTR: interrupted; -ETIMEDOUT; -EBADMSG: wrong content; -EPROTO: a line
 * nobody knows; -EIO: it failed, and has said why. In every case nothing of it is left.
 */
int bench_job_run(const struct bench_job *job, struct bench_cell *cell);

/* guest.c: the child's part. Makes the machine, passes the program's lines on to fd, adds
 * KVM's counts of mappings. Returns the child's exit status. */
int bench_guest_run(const struct bench_job *job, int fd);

#endif

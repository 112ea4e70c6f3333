/* The options of 'bifold run'. */
#ifndef VMM_OPTIONS_H
#define VMM_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mm/mm.h"
#include "vmm/machine/devices.h"

/* How the manager hears of touches: see --watch. */
enum watch {
	WATCH_AUTO, /* scan where the host can */
	WATCH_SCAN,
	WATCH_NOTICE,
};

/* By enum mm_compressor, as in --compressor NAME. */
#define COMPRESSOR_COUNT 3
extern const char *const compressor_names[COMPRESSOR_COUNT];

struct run_file {
	const char *host;
	char *guest; /* absolute; owned */
};

struct run_options {
	uint64_t memory_bytes;
	uint64_t budget_bytes; /* 0: no limit */
	unsigned cpu_count;
	const char *append;	    /* words for the guest's kernel, or NULL */
	const char *swap_directory; /* NULL: none */
	uint64_t swap_bytes;	    /* 0: as much as the guest's memory */
	enum watch watch;
	bool stop_when_full; /* the disk of the swap file */
	enum mm_compressor compressor;
	const struct mm_policy_ops *policy;
	char *policy_options;	   /* or NULL; points into policy_text */
	char *policy_text;	   /* owned */
	const char *report_path;   /* or NULL */
	const char *control_path;  /* or NULL */
	unsigned timeout_seconds;  /* 0: none */
	const char *kernel_path;   /* NULL: the quire inside the binary */
	const char *initrd_path;   /* or NULL */
	bool stock;		   /* a kernel and no PROGRAM: MACHINE_STOCK */
	bool force;		   /* run a stock kernel where that is known not to work */
	bool unmanaged;		   /* the host kernel manages guest memory: for comparisons */
	bool nested;		   /* unmanaged only: VMX and SVM are the guest's to use */
	struct devices_disk *disk; /* owned */
	size_t disk_count;
	bool no_balloon, no_reporting, auto_balloon;
	struct run_file *file;
	size_t file_count;
	char **arguments; /* PROGRAM and its arguments; NULL-terminated; empty: the demo */
};

/*
 * 0: go on; 1: help was printed, exit 0; -EINVAL: a line says what is wrong.
 * argv[0] is "run".
 */
int run_options_parse(struct run_options *options, int argc, char **argv);
void run_options_finish(struct run_options *options);

#endif

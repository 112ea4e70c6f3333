/*
 * The files that 'bifold run' starts a guest from: the kernel, its command line, and the files or
 * the initrd.
 */
#ifndef VMM_RUN_GUEST_H
#define VMM_RUN_GUEST_H

#include "vmm/options.h"

struct archive;
struct machine;

struct run_guest {
	struct run_options *options; /* the caller's */
	bool demo;
	char *program; /* owned; absolute path on the host and in the guest */
	char *command_line;
	char *packed_arguments; /* a file's content; packed_size 0: the command line has them */
	size_t packed_size;
	struct archive *root;
	const void *kernel;
	size_t kernel_size;
	int initrd_fd;
	uint64_t initrd_size;
};

/* Finds the guest that the options mean; for the demo, settles what they leave open. 0, or an exit
 * status with a line logged. */
int run_guest_init(struct run_guest *guest, struct run_options *options);

/* Opens and gathers its files. 0 or -errno, with a line logged. */
int run_guest_open(struct run_guest *guest);

/* Into the machine's memory. 0 or -errno, with a line logged. */
int run_guest_load(struct run_guest *guest, struct machine *machine);

/* For people; valid as long as the guest is. */
const char *run_guest_name(const struct run_guest *guest);

/* Also after a failed init. */
void run_guest_finish(struct run_guest *guest);

#endif

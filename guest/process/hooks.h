/* What processes ask of the rooms above them. hooks.c at the top says who answers. */
#ifndef GUEST_PROCESS_HOOKS_H
#define GUEST_PROCESS_HOOKS_H

#include "guest/lib/types.h"

struct process;

struct process_hooks {
	/* A child gets what the current process has of files: what is open, or with `share` the
	 * very table of that, its directory and its program. 0, or -ENOMEM, and it has none. */
	int (*copy_files)(struct process *child, bool share);

	/* The process ends: what it has open is closed, where it has anything. */
	void (*close_files)(struct process *process);

	/* Its record goes, and with it its directory in /proc; its directory and its program are
	 * released. */
	void (*forget)(struct process *process);
	void (*release_files)(struct process *process);

	/* Devices, as bits, have interrupted this CPU (EVENT_DEVICE). */
	void (*interrupts)(uint32_t devices);
};
extern const struct process_hooks process_hooks;

#endif

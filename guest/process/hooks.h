/* The calls that process/ makes to the rooms above it. boot/hooks.c has their functions. */
#ifndef GUEST_PROCESS_HOOKS_H
#define GUEST_PROCESS_HOOKS_H

#include "guest/lib/types.h"

struct process;

struct process_hooks {
	/* Gives a child the current process's open files (a copy of the table, or with `share` the
	 * table itself), its directory and its program. 0, or -ENOMEM and the child has none. */
	int (*copy_files)(struct process *child, bool share);

	/* Closes all files of a process that ends, or never began and may have none. */
	void (*close_files)(struct process *process);

	/* Removes the directory in /proc of a process whose record goes. */
	void (*forget)(struct process *process);

	/* Drops such a process's hold on its directory and its program. */
	void (*release_files)(struct process *process);

	/* Handles the interrupts of devices that this CPU got (EVENT_DEVICE), a bit each. */
	void (*interrupts)(uint32_t devices);
};
extern const struct process_hooks process_hooks;

#endif

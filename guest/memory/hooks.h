/* The calls that memory/ makes to the rooms above it. boot/hooks.c has their functions. */
#ifndef GUEST_MEMORY_HOOKS_H
#define GUEST_MEMORY_HOOKS_H

#include "guest/lib/types.h"

struct content;

struct memory_hooks {
	/* An area maps the content: its file stays until the area drops it. */
	void (*hold)(struct content *content);
	void (*drop)(struct content *content);

	/* Whether the current process's limits allow it so many pages, and so many of data. */
	bool (*may_have)(uint64_t pages, uint64_t data_pages);

	/* Gives the kernel stacks of threads that ended to the allocator. Returns the pages. */
	uint64_t (*trim_stacks)(void);

	/* Takes so many pages back from the balloon, if they are there. Returns how many. */
	uint64_t (*shrink_balloon)(uint64_t pages);

	/* Kills a process and frees its memory (process/oom.h). False: there is none to kill. */
	bool (*kill)(void);

	/* Kills the current process, as there is no memory for its page at va. */
	void (*out_of_memory)(uint64_t va);
};
extern const struct memory_hooks memory_hooks;

#endif

/* What memory asks of the rooms above it. hooks.c at the top says who answers. */
#ifndef GUEST_MEMORY_HOOKS_H
#define GUEST_MEMORY_HOOKS_H

#include "guest/lib/types.h"

struct content;

struct memory_hooks {
	/* An area maps the file's content: the file stays until the area drops it. */
	void (*hold)(struct content *content);
	void (*drop)(struct content *content);

	/* Whether the current process's limits allow it so many pages, and so many of data. */
	bool (*may_have)(uint64_t pages, uint64_t data_pages);

	/* Memory is short. The stacks of dead threads are given to the allocator, or pages of the
	 * balloon: how many pages that was. A process is killed (oom.h in process/): whether one
	 * was.
	 */
	uint64_t (*trim_stacks)(void);
	uint64_t (*shrink_balloon)(uint64_t pages);
	bool (*kill)(void);

	/* There is none for the current process at this address, which kills it. */
	void (*out_of_memory)(uint64_t va);
};
extern const struct memory_hooks memory_hooks;

#endif

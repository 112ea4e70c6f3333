/* What memory asks of the rooms above it. hooks.c at the top says who answers. */
#ifndef GUEST_MEMORY_HOOKS_H
#define GUEST_MEMORY_HOOKS_H

#include "guest/lib/types.h"

struct content;

struct memory_hooks {
	/* An area maps the file's content: the file stays until the area drops it. */
	void (*hold)(struct content *content);
	void (*drop)(struct content *content);
};
extern const struct memory_hooks memory_hooks;

#endif

/*
 * The rooms are layers: each calls those below it. Where one needs something of a room above, its
 * hooks.h says what, and here is who does it: these are all the calls upward that there are, but
 * for those of entry.S (cpu/trap.h).
 */
#include "guest/file/node.h"
#include "guest/memory/hooks.h"

const struct memory_hooks memory_hooks = {
	.hold = node_hold,
	.drop = node_drop,
};

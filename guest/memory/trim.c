/* Gives back memory that is only kept. trim.h lists it. */
#include "guest/memory/trim.h"
#include "guest/lib/errno.h"
#include "guest/memory/hooks.h"
#include "guest/memory/reserve.h"
#include "guest/memory/slab.h"
#include "guest/memory/table.h"

uint64_t memory_trim(void)
{
	uint64_t freed = reservations_break();

	freed += memory_hooks.trim_stacks();
	freed += table_trim();
	return freed + slab_trim();
}

int drop_caches_store(const char *words)
{
	if (*words < '1' || *words > '3' || words[1])
		return -EINVAL;
	memory_trim();
	return 0;
}

/* The table of policies. A new one is a file, a line in policy_list.h and a line here. */
#include <string.h>

#include "mm/mm.h"
#include "mm/policy_list.h"

const struct mm_policy_ops *const mm_policies[] = {
	&mm_policy_sfifo, /* the default is first */
	&mm_policy_clock,
	&mm_policy_fifo,
	NULL,
};

const struct mm_policy_ops *mm_policy_find(const char *name)
{
	for (size_t i = 0; mm_policies[i] != NULL; i++)
		if (strcmp(mm_policies[i]->name, name) == 0)
			return mm_policies[i];
	return NULL;
}

#include "policy/table.h"
#include <string.h>

#define ADDRESS(name) &mm_policy_##name,

const struct mm_policy_ops *const mm_policies[] = { MM_POLICY_ROWS(ADDRESS) NULL };

const struct mm_policy_ops *mm_policy_find(const char *name)
{
	for (size_t i = 0; mm_policies[i] != NULL; i++)
		if (strcmp(mm_policies[i]->name, name) == 0)
			return mm_policies[i];
	return NULL;
}

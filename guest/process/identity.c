/* Users and groups of processes. */
#include "guest/process/identity.h"
#include "guest/process/process.h"

static const struct identity nobody_yet; /* the kernel, while it boots */

const struct identity *identity_own(void)
{
	const struct thread *thread = current();

	return thread && thread->process ? &thread->process->identity : &nobody_yet;
}

bool identity_is_root(void)
{
	return identity_own()->user[ID_EFFECTIVE] == 0;
}

bool identity_in_group(uint32_t group, unsigned kind)
{
	const struct identity *own = identity_own();

	if (own->group[kind] == group)
		return true;
	for (unsigned i = 0; i < own->group_count; i++) {
		if (own->groups[i] == group)
			return true;
	}
	return false;
}

bool identity_may_schedule(const struct process *process)
{
	uint32_t effective = identity_own()->user[ID_EFFECTIVE];

	return identity_is_root() || effective == process->identity.user[ID_EFFECTIVE] ||
	       effective == process->identity.user[ID_REAL];
}

bool identity_may_signal(const struct process *process)
{
	const uint32_t *from = identity_own()->user, *to = process->identity.user;

	return identity_is_root() || from[ID_EFFECTIVE] == to[ID_REAL] ||
	       from[ID_EFFECTIVE] == to[ID_SAVED] || from[ID_REAL] == to[ID_REAL] ||
	       from[ID_REAL] == to[ID_SAVED];
}

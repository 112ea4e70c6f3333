/* Users, groups, and what they may. */
#include "guest/process/identity.h"
#include "guest/file/node.h"
#include "guest/process/process.h"

#define MODE_STICKY 01000

static const struct identity nobody_yet; /* the kernel, while it boots */

static const struct identity *own(void)
{
	const struct thread *thread = current();

	return thread && thread->process ? &thread->process->identity : &nobody_yet;
}

static bool in_group(const struct identity *who, uint32_t wanted, uint32_t group)
{
	if (wanted == group)
		return true;
	for (unsigned i = 0; i < who->group_count; i++) {
		if (who->groups[i] == group)
			return true;
	}
	return false;
}

/* A process's files in /proc are its user's. */
static uint32_t owner_of(const struct node *node)
{
	const struct process *process = node->pid ? process_find(node->pid) : NULL;

	return process ? process->identity.user[ID_EFFECTIVE] : node->uid;
}

static bool may(const struct node *node, unsigned want, unsigned kind)
{
	const struct identity *who = own();
	uint32_t mode = node->mode;

	if (who->user[kind] == 0)
		return !(want & MAY_EXECUTE) || (mode & MODE_TYPE) == MODE_DIRECTORY ||
		       (mode & 0111);
	if (owner_of(node) == who->user[kind])
		mode >>= 6;
	else if (in_group(who, who->group[kind], node->gid))
		mode >>= 3;
	return (mode & want) == want;
}

bool identity_may(const struct node *node, unsigned want)
{
	return may(node, want, ID_EFFECTIVE);
}

bool identity_may_real(const struct node *node, unsigned want)
{
	return may(node, want, ID_REAL);
}

bool identity_is_root(void)
{
	return own()->user[ID_EFFECTIVE] == 0;
}

bool identity_owns(const struct node *node)
{
	return identity_is_root() || owner_of(node) == own()->user[ID_EFFECTIVE];
}

bool identity_in_group(uint32_t group)
{
	return in_group(own(), own()->group[ID_EFFECTIVE], group);
}

bool identity_may_remove(const struct node *node)
{
	const struct node *directory = node->parent;

	return identity_may(directory, MAY_WRITE | MAY_EXECUTE) &&
	       (!(directory->mode & MODE_STICKY) || identity_owns(node) ||
		identity_owns(directory));
}

void identity_give(struct node *node)
{
	node->uid = own()->user[ID_EFFECTIVE];
	node->gid = own()->group[ID_EFFECTIVE];
}

bool identity_may_schedule(const struct process *process)
{
	uint32_t effective = own()->user[ID_EFFECTIVE];

	return identity_is_root() || effective == process->identity.user[ID_EFFECTIVE] ||
	       effective == process->identity.user[ID_REAL];
}

bool identity_may_signal(const struct process *process)
{
	const uint32_t *from = own()->user, *to = process->identity.user;

	return identity_is_root() || from[ID_EFFECTIVE] == to[ID_REAL] ||
	       from[ID_EFFECTIVE] == to[ID_SAVED] || from[ID_REAL] == to[ID_REAL] ||
	       from[ID_REAL] == to[ID_SAVED];
}

/* Nodes have an owner, a group and a mode, as on Linux. */
#include "guest/file/permission.h"
#include "guest/file/node.h"
#include "guest/process/identity.h"
#include "guest/process/process.h"

#define MODE_STICKY 01000

/* A process's files in /proc are its user's. */
static uint32_t owner_of(const struct node *node)
{
	const struct process *process = node->pid ? process_find(node->pid) : NULL;

	return process ? process->identity.user[ID_EFFECTIVE] : node->uid;
}

static bool allows(const struct node *node, unsigned want, unsigned kind)
{
	uint32_t mode = node->mode, user = identity_own()->user[kind];

	if (user == 0)
		return !(want & MAY_EXECUTE) || (mode & MODE_TYPE) == MODE_DIRECTORY ||
		       (mode & 0111);
	if (owner_of(node) == user)
		mode >>= 6;
	else if (identity_in_group(node->gid, kind))
		mode >>= 3;
	return (mode & want) == want;
}

bool permission_allows(const struct node *node, unsigned want)
{
	return allows(node, want, ID_EFFECTIVE);
}

bool permission_allows_real(const struct node *node, unsigned want)
{
	return allows(node, want, ID_REAL);
}

bool permission_owns(const struct node *node)
{
	return identity_is_root() || owner_of(node) == identity_own()->user[ID_EFFECTIVE];
}

bool permission_to_remove(const struct node *node)
{
	const struct node *directory = node->parent;

	return permission_allows(directory, MAY_WRITE | MAY_EXECUTE) &&
	       (!(directory->mode & MODE_STICKY) || permission_owns(node) ||
		permission_owns(directory));
}

void permission_give(struct node *node)
{
	node->uid = identity_own()->user[ID_EFFECTIVE];
	node->gid = identity_own()->group[ID_EFFECTIVE];
}

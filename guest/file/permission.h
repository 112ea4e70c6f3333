/* The current process's permissions for a node. While the kernel boots, everything is allowed. */
#ifndef GUEST_FILE_PERMISSION_H
#define GUEST_FILE_PERMISSION_H

#include "guest/lib/types.h"

struct node;

#define MAY_EXECUTE 1 /* or search a directory */
#define MAY_WRITE   2
#define MAY_READ    4

/* Whether it may do all of these. real: asked for the real user, as access(2) does. */
bool permission_allows(const struct node *node, unsigned want);
bool permission_allows_real(const struct node *node, unsigned want);

/* Whether it owns the node, or is user 0. */
bool permission_owns(const struct node *node);

/* Whether a name in the directory may go: it may write there, and where the directory is sticky
 * owns one of both. */
bool permission_to_remove(const struct node *node);

/* A new node is the current process's. */
void permission_give(struct node *node);

#endif

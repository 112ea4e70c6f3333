/*
 * Who a process is, and what it may: user and group numbers as on Linux, without capabilities. User
 * 0 may everything, and programs that set a user by their mode are none here.
 */
#ifndef GUEST_PROCESS_IDENTITY_H
#define GUEST_PROCESS_IDENTITY_H

#include "guest/lib/types.h"

struct node;
struct process;

#define GROUPS_MAX 32

enum { ID_REAL, ID_EFFECTIVE, ID_SAVED, ID_COUNT };

struct identity {
	uint32_t user[ID_COUNT], group[ID_COUNT];
	uint32_t groups[GROUPS_MAX]; /* more that it is in */
	unsigned group_count;
};

#define MAY_EXECUTE 1 /* or search a directory */
#define MAY_WRITE   2
#define MAY_READ    4

/* Whether the current process may do all of these with the node. real: asked for the real user, as
 * access(2) does. While the kernel boots all is allowed. */
bool identity_may(const struct node *node, unsigned want);
bool identity_may_real(const struct node *node, unsigned want);

/* Whether it owns the node, or is user 0; whether it is user 0; whether it is in the group. */
bool identity_owns(const struct node *node);
bool identity_is_root(void);
bool identity_in_group(uint32_t group);

/* Whether a name in the directory may go: it may write there, and where the directory is sticky
 * owns one of both. */
bool identity_may_remove(const struct node *node);

/* A new node is the current process's. */
void identity_give(struct node *node);

/* Whether it may send signals to the other. */
bool identity_may_signal(const struct process *process);

/* Or say where its threads run. */
bool identity_may_schedule(const struct process *process);

#endif

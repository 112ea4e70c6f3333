/*
 * The identity of a process, and what it may do to other processes: user and group numbers as on
 * Linux, without capabilities. User 0 may do everything, and set-user-ID bits have no effect.
 * file/permission.h has the permissions for files.
 */
#ifndef GUEST_PROCESS_IDENTITY_H
#define GUEST_PROCESS_IDENTITY_H

#include "guest/lib/types.h"

struct process;

#define GROUPS_MAX 32

enum { ID_REAL, ID_EFFECTIVE, ID_SAVED, ID_COUNT };

struct identity {
	uint32_t user[ID_COUNT], group[ID_COUNT];
	uint32_t groups[GROUPS_MAX]; /* more that it is in */
	unsigned group_count;
};

/* The current process's; the kernel's own, of user 0, while it boots. */
const struct identity *identity_own(void);

/* Whether the current process is user 0; whether it is in the group, with its real or effective one
 * (ID_REAL, ID_EFFECTIVE) or a further one. */
bool identity_is_root(void);
bool identity_in_group(uint32_t group, unsigned kind);

/* Whether the current process may send signals to the other. */
bool identity_may_signal(const struct process *process);

/* Or say where its threads run. */
bool identity_may_schedule(const struct process *process);

#endif

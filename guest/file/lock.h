/*
 * Locks on files, as Linux has them: record locks of a process (POSIX), record locks of an open
 * file (OFD), and flock's of an open file, which know nothing of the others.
 *
 * A node has the list of its locks, sorted by where they begin. Locks of one owner and kind do not
 * overlap, and neighbours of one type are one lock. Waiting processes are on another list, each
 * with the owner that it waits for: so a circle of processes that wait for each other is found.
 */
#ifndef GUEST_FILE_LOCK_H
#define GUEST_FILE_LOCK_H

#include "guest/file/file.h"

#define LOCK_END INT64_MAX /* the last byte of all */

enum lock_kind { LOCK_PROCESS, LOCK_OPEN_FILE, LOCK_WHOLE };
enum lock_type { LOCK_READ, LOCK_WRITE, LOCK_NONE };

struct file_lock {
	struct file_lock *next;
	enum lock_kind kind;
	enum lock_type type;
	const void *owner;  /* LOCK_PROCESS: the file table; else the file */
	int pid;	    /* of the process that set it; LOCK_OPEN_FILE: -1 */
	int64_t start, end; /* bytes, both within */
};

/* Sets the lock that `wanted` describes, for its owner, on the node; LOCK_NONE takes that range
 * away. wait: until it can be had. The caller holds the node. 0, -EAGAIN, -EDEADLK, -EINTR or
 * -ENOLCK (out of memory: not when a lock is taken away, but for a piece of one's middle). */
int lock_set(struct node *node, const struct file_lock *wanted, bool wait);

/* The first lock that is in the way of `wanted`, or NULL. */
const struct file_lock *lock_find(const struct node *node, const struct file_lock *wanted);

/* The owner is gone, or has closed the file: its locks on the node go. */
void lock_forget(struct node *node, const void *owner);

#endif

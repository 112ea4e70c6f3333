/* Locks on files. */
#include "guest/file/lock.h"
#include "guest/lib/errno.h"
#include "guest/memory/slab.h"
#include "guest/process/thread.h"

/* A thread that waits: on its own stack. Its blocker is NULL from when it is woken until it has
 * looked again: the old one may be gone, or no longer in the way. */
struct waiter {
	struct waiter *next;
	const struct node *node;
	const void *owner, *blocker;
};

static struct slab_cache lock_cache = SLAB_CACHE("file_lock", struct file_lock);
static struct waiter *waiters;

static bool is_same(const struct file_lock *a, const struct file_lock *b)
{
	return a->kind == b->kind && a->owner == b->owner;
}

static bool conflicts(const struct file_lock *lock, const struct file_lock *wanted)
{
	return !is_same(lock, wanted) &&
	       (lock->kind == LOCK_WHOLE) == (wanted->kind == LOCK_WHOLE) &&
	       (lock->type == LOCK_WRITE || wanted->type == LOCK_WRITE) &&
	       lock->start <= wanted->end && wanted->start <= lock->end;
}

const struct file_lock *lock_find(const struct node *node, const struct file_lock *wanted)
{
	const struct file_lock *lock = node->locks;

	while (lock && !conflicts(lock, wanted))
		lock = lock->next;
	return lock;
}

static void insert(struct node *node, struct file_lock *lock)
{
	struct file_lock **link = &node->locks;

	while (*link && (*link)->start < lock->start)
		link = &(*link)->next;
	lock->next = *link;
	*link = lock;
}

/* Takes the range out of the owner's locks. A lock that it lies within leaves its right part in
 * `rest`. */
static void cut(struct node *node, const struct file_lock *range, struct file_lock *rest)
{
	struct file_lock **link = &node->locks, *lock;

	while ((lock = *link) != NULL) {
		if (!is_same(lock, range) || lock->end < range->start || lock->start > range->end) {
			link = &lock->next;
		} else if (lock->start < range->start && lock->end > range->end) {
			*rest = *lock;
			rest->start = range->end + 1;
			lock->end = range->start - 1;
			insert(node, rest);
			return;
		} else if (lock->start < range->start) {
			lock->end = range->start - 1;
			link = &lock->next;
		} else {
			*link = lock->next;
			if (lock->end > range->end) {
				lock->start = range->end + 1;
				insert(node, lock);
				continue;
			}
			slab_free(&lock_cache, lock);
		}
	}
}

/* Puts the lock into the list, with the neighbours that are one with it. */
static void insert_joined(struct node *node, struct file_lock *lock)
{
	struct file_lock **link = &node->locks, *other;

	while ((other = *link) != NULL) {
		if (is_same(other, lock) && other->type == lock->type &&
		    (other->end == lock->start - 1 || lock->end == other->start - 1)) {
			lock->start = MIN(lock->start, other->start);
			lock->end = MAX(lock->end, other->end);
			*link = other->next;
			slab_free(&lock_cache, other);
		} else {
			link = &other->next;
		}
	}
	insert(node, lock);
}

/* Wakes all that wait for a lock on the node, so that they try again. */
static void wake_waiters(const struct node *node)
{
	for (struct waiter *waiter = waiters; waiter; waiter = waiter->next) {
		if (waiter->node == node)
			waiter->blocker = NULL;
	}
	thread_wake(&node->locks);
}

/* Whether one of the owner's locks goes on at both sides of the range. */
static bool is_within_one(const struct node *node, const struct file_lock *range)
{
	const struct file_lock *lock = node->locks;

	while (lock &&
	       !(is_same(lock, range) && lock->start < range->start && lock->end > range->end))
		lock = lock->next;
	return lock;
}

/* Nothing is in the way. `lock` is a new record, which it takes, unless the type is LOCK_NONE. What
 * needs no record cannot fail. */
static int change(struct node *node, const struct file_lock *wanted, struct file_lock *lock)
{
	struct file_lock *rest = NULL;

	if (is_within_one(node, wanted)) {
		rest = slab_alloc(&lock_cache);
		if (!rest)
			return -ENOLCK;
	}
	cut(node, wanted, rest);
	if (wanted->type != LOCK_NONE) {
		*lock = *wanted;
		insert_joined(node, lock);
	}
	wake_waiters(node);
	return 0;
}

/* Whether `owner` would wait for itself, if it waited for the blocker. */
static bool is_circle(const void *owner, const void *blocker)
{
	const struct waiter *waiter;
	unsigned steps = THREAD_MAX;

	while (blocker != owner && steps-- > 0) {
		for (waiter = waiters; waiter; waiter = waiter->next) {
			if (waiter->owner == blocker && waiter->blocker)
				break;
		}
		if (!waiter)
			return false;
		blocker = waiter->blocker;
	}
	return blocker == owner;
}

static bool wait_behind(struct node *node, const struct file_lock *wanted, const void *blocker)
{
	struct waiter waiter = { waiters, node, wanted->owner, blocker }, **link = &waiters;
	bool undisturbed;

	waiters = &waiter;
	undisturbed = thread_wait(&node->locks, WAIT_FOREVER);
	while (*link != &waiter)
		link = &(*link)->next;
	*link = waiter.next;
	return undisturbed;
}

static int set(struct node *node, const struct file_lock *wanted, bool wait, struct file_lock *lock)
{
	const struct file_lock *blocker;

	/* flock gives what it has before it asks for another kind. */
	if (wanted->kind == LOCK_WHOLE && wanted->type != LOCK_NONE && node->locks) {
		struct file_lock none = *wanted;

		none.type = LOCK_NONE;
		change(node, &none, NULL);
	}
	while (wanted->type != LOCK_NONE && (blocker = lock_find(node, wanted)) != NULL) {
		if (!wait)
			return -EAGAIN;
		if (wanted->kind == LOCK_PROCESS && is_circle(wanted->owner, blocker->owner))
			return -EDEADLK;
		if (!wait_behind(node, wanted, blocker->owner))
			return -EINTR;
	}
	return change(node, wanted, lock);
}

int lock_set(struct node *node, const struct file_lock *wanted, bool wait)
{
	struct file_lock *lock = NULL;
	int error;

	if (wanted->type != LOCK_NONE) {
		lock = slab_alloc(&lock_cache);
		if (!lock)
			return -ENOLCK;
	}
	error = set(node, wanted, wait, lock);
	if (error)
		slab_free(&lock_cache, lock);
	return error;
}

void lock_forget(struct node *node, const void *owner)
{
	struct file_lock **link = &node->locks, *lock;
	bool any = false;

	while ((lock = *link) != NULL) {
		if (lock->owner != owner) {
			link = &lock->next;
			continue;
		}
		*link = lock->next;
		slab_free(&lock_cache, lock);
		any = true;
	}
	if (any)
		wake_waiters(node);
}

/* Futexes. Waiters are on one list, on their own kernel stacks. */
#include "guest/process/futex.h"
#include "guest/lib/errno.h"
#include "guest/memory/user.h"
#include "guest/process/process.h"

struct key {
	const void *object; /* the content of a file, or the space */
	uint64_t offset;
};

struct waiter {
	struct waiter *next, *prev;
	struct key key;
	uint32_t bits;
	bool woken;
};

static struct waiter waiters = { .next = &waiters, .prev = &waiters };

/* As on Linux: a page that is the program's alone and that it cannot write never changes. */
static bool may_change(const struct area *area)
{
	bool others = (area->flags & AREA_SHARED) || area->content;

	return area->flags & (others ? AREA_READ : AREA_WRITE);
}

/* A private one is known by its address, whether anything is there or not. */
static int key_of(uint64_t address, bool private, struct key *key)
{
	struct space *space = current_space();
	struct area *area;

	if (address % 4)
		return -EINVAL;
	if (!user_range(address, 4))
		return -EFAULT;
	area = private ? NULL : space_find(space, address);
	if (!private && (!area || !may_change(area)))
		return -EFAULT;
	if (area && (area->flags & AREA_SHARED) && area->content)
		*key = (struct key){ area->content, area->offset + (address - area->start) };
	else
		*key = (struct key){ space, address };
	return 0;
}

static bool equal(const struct key *a, const struct key *b)
{
	return a->object == b->object && a->offset == b->offset;
}

static void unlink(struct waiter *waiter)
{
	waiter->prev->next = waiter->next;
	waiter->next->prev = waiter->prev;
}

int64_t futex_wait(uint64_t address, bool private, uint32_t value, uint32_t bits, uint64_t deadline)
{
	struct waiter waiter = { .bits = bits };
	int error = key_of(address, private, &waiter.key);
	bool undisturbed;
	uint32_t now;

	if (error)
		return error;
	if (bits == 0)
		return -EINVAL;
	if (user_read(&now, address, 4))
		return -EFAULT;
	if (now != value)
		return -EAGAIN;
	waiter.prev = waiters.prev;
	waiter.next = &waiters;
	waiters.prev->next = &waiter;
	waiters.prev = &waiter;
	undisturbed = thread_wait(&waiter, deadline);
	if (waiter.woken)
		return 0;
	unlink(&waiter);
	return undisturbed ? -ETIMEDOUT : -EINTR;
}

static void wake(struct waiter *waiter)
{
	unlink(waiter);
	waiter->woken = true;
	thread_wake(waiter);
}

static uint32_t wake_key(const struct key *key, uint32_t count, uint32_t bits)
{
	struct waiter *next;
	uint32_t woken = 0;

	for (struct waiter *waiter = waiters.next; waiter != &waiters && woken < count;
	     waiter = next) {
		next = waiter->next;
		if (!equal(&waiter->key, key) || !(waiter->bits & bits))
			continue;
		wake(waiter);
		woken++;
	}
	return woken;
}

int64_t futex_wake(uint64_t address, bool private, uint32_t count, uint32_t bits)
{
	struct key key;
	int error = key_of(address, private, &key);

	if (error)
		return error;
	return bits ? (int64_t)wake_key(&key, count, bits) : -EINVAL;
}

void futex_wake_address(uint64_t address)
{
	futex_wake(address, false, 1, UINT32_MAX);
}

int64_t futex_requeue(uint64_t address, bool private, uint32_t wake_count, uint32_t move,
		      uint64_t to, const uint32_t *compare)
{
	struct key from_key, to_key;
	uint32_t now, moved = 0, woken;
	int error = (int32_t)wake_count < 0 || (int32_t)move < 0
			    ? -EINVAL
			    : key_of(address, private, &from_key);

	if (!error)
		error = key_of(to, private, &to_key);
	if (error)
		return error;
	if (compare && user_read(&now, address, 4))
		return -EFAULT;
	if (compare && now != *compare)
		return -EAGAIN;
	woken = wake_key(&from_key, wake_count, UINT32_MAX);
	for (struct waiter *waiter = waiters.next; waiter != &waiters && moved < move;
	     waiter = waiter->next) {
		if (!equal(&waiter->key, &from_key))
			continue;
		waiter->key = to_key;
		moved++;
	}
	return (int64_t)woken + moved;
}

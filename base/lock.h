/*
 * Short locks: mutexes that are held for microseconds, so that nobody may wait or make a system
 * call with one held. Each thread counts those that it holds, and LOCK_CHECK() stands where
 * somebody waits, computes for long or calls the host. It costs a load of the thread's own memory,
 * and stays on in release builds.
 *
 * Waiting on a condition of the lock itself is allowed, as that drops the lock, and so is waking
 * others.
 */
#ifndef BASE_LOCK_H
#define BASE_LOCK_H

#include <pthread.h>

#include "base/check.h"

extern _Thread_local unsigned lock_held;

static inline void lock_take(pthread_mutex_t *mutex)
{
	pthread_mutex_lock(mutex);
	lock_held++;
}

static inline void lock_drop(pthread_mutex_t *mutex)
{
	lock_held--;
	pthread_mutex_unlock(mutex);
}

/* This thread holds no short lock. */
#define LOCK_CHECK() CHECK(lock_held == 0)

#endif

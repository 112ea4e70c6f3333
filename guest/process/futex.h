/*
 * Futexes: waiting for a word of memory to change (futex(2)). A waiter is known by the word's
 * place: file and offset where the word is in a shared mapping and the call is not a private one,
 * else address space and address, so that it stays the same when the page moves.
 */
#ifndef GUEST_PROCESS_FUTEX_H
#define GUEST_PROCESS_FUTEX_H

#include "guest/lib/types.h"

/* Each as the call of its name; deadline in ns of clock_now(). 0 or a count, or -errno. */
int64_t futex_wait(uint64_t address, bool private, uint32_t value, uint32_t bits,
		   uint64_t deadline);
int64_t futex_wake(uint64_t address, bool private, uint32_t count, uint32_t bits);

/* Wakes `wake` of address, and lets `move` more wait for `to`. compare: only while the word there
 * is *compare, else -EAGAIN. */
int64_t futex_requeue(uint64_t address, bool private, uint32_t wake, uint32_t move, uint64_t to,
		      const uint32_t *compare);

/* A thread's end: wakes one of the current space. */
void futex_wake_address(uint64_t address);

#endif

/* Bringing a frame in, for faults and for pins. */
#ifndef MM_FAULT_H
#define MM_FAULT_H

#include "mm/mm_internal.h"

struct attempt {
	enum mm_fault_kind kind; /* out: how it was served */
	bool reclaimed;		 /* out: room had to be made first */
	const char *doing;	 /* out, on failure: what failed, for the user */
	bool alone;		 /* a neighbour failed: bring in this frame only */
	bool waits;		 /* in: for room on a full disk, if the owner wants to */
	bool full;		 /* out, on -ENOSPC: the disk had no room */
	bool ends_waiting;	 /* it has waited, or found room while others wait */
};

/*
 * Make the frame resident and mapped; the lock is held, dropped and retaken. want: frames from
 * number on that the caller will need too (1: let the stream decide). When it returns 0 the frame
 * was mapped, though it may have been evicted again before the lock came back. -EIO after a
 * failure, -ENOMEM, or what failed.
 */
int bring_in(struct mm *mm, uint32_t number, uint32_t want, struct attempt *attempt);

#endif

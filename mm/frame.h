/*
 * The frame record: all that mm knows of one page of the guest, in 16 bytes.
 *
 *            fault: charge           zeros / value / pool / swap brought in
 *   UNTOUCHED ---------> FILLING -------------------------------------> MAPPED <---------------.
 *   RELEASED ---------->    |  ^ brought in ahead by a neighbour's fault   |                    |
 *   STORED ------------>    '--' failed: back to the state it came from    | policy: watch      |
 *      ^   ^                                                               v      touch         |
 *      |   |                                                            WATCHED ----------------|
 *      |   |                                                               |                    |
 *      |   |  page given back                 stored                       v policy: evict      |
 *      |   '----------------- RELEASING <------------------------------ EVICTING ---------------'
 *      |                          ^                                           touch, or storing
 *      |                          | the guest gives it up                     failed
 *      |                          '---------------- MAPPED, WATCHED
 *      '--- UNTOUCHED, STORED -> RELEASED: the guest gives up what is not resident
 *
 * STORED is SAME_FILLED, COMPRESSED or SWAPPED: which, the tiers say (tiers.h).
 *
 * The guest gives pages up through its balloon or by reporting them free (release.c). It may touch
 * one all the same. BALLOON says that the guest holds it in its balloon, whatever the state.
 *
 * The threads that may move a frame:
 *   MAPPED, WATCHED       anyone who holds the lock, unless BATCH is set or pins > 0 (then only
 *                         WATCHED -> MAPPED)
 *   EVICTING              a fault may cancel (-> MAPPED); else the batch's owner, under the lock
 *   RELEASING, FILLING    only the thread that set it; all others wait on mm->changed
 *   all others            anyone who holds the lock
 *
 * A batch's owner marks frames under the lock (EVICTING or WATCHED, with BATCH), works outside it,
 * and commits under it only those still EVICTING. BATCH stays until the owner lets go of the whole
 * batch, also on a frame whose eviction was cancelled: so a frame seen EVICTING at the commit has
 * been EVICTING all along, and its page unmapped and unchanged. Likewise a COMPRESSED frame marked
 * BATCH by write-back may be filled or given up meanwhile, but not evicted again: if it is
 * COMPRESSED at the commit, it is the same object.
 *
 * MAPPED is a permission, not a promise: a cancelled frame may be unmapped by the tail of its
 * batch's range. That costs the guest one more fault. WATCHED (without BATCH), EVICTING once its
 * unmap returned, and RELEASING are surely not reachable by the guest.
 *
 * Where touches are found by scanning (MM_WATCH_SCAN, backing.h) WATCHED says that the frame was
 * unmapped, and the guest may have mapped it again: that shows when the policy wants it evicted. A
 * frame that is EVICTING, once its seal returned, or RELEASING from there is surely not written by
 * the guest; it may be read.
 *
 * Counting identities (mm_check), with count[s] the frames in state s:
 *   sum of count[]   == frames that exist; those of holes are UNTOUCHED and nothing else
 *   resident         == count[MAPPED] + count[WATCHED] + count[EVICTING] + count[RELEASING] +
 *                       count[FILLING]
 *   held             == resident * PAGE_SIZE + tiers_bytes() + table_bytes
 *   held             <= budget in force, <= peak <= the most that was ever in force
 *   objects of pool  == frames whose content is COMPRESSED (frame_content())
 *   slots of swap    == frames whose content is SWAPPED, + resident ones with a kept slot, + slots
 *                       in flight
 */
#ifndef MM_FRAME_H
#define MM_FRAME_H

#include <stdbool.h>
#include <stdint.h>

#include "mm/frame_state.h"

#define FRAME_NOWHERE UINT32_MAX

enum frame_flag {
	FRAME_BATCH = 1,   /* in somebody's batch: not to be picked */
	FRAME_OFFER = 2,   /* the policy named it in vain: offer it again when it is free */
	FRAME_SEEN = 4,	   /* touched at some time */
	FRAME_BALLOON = 8, /* the guest's balloon holds it */
	FRAME_USED = 16,   /* and the guest used it since it went in */
};

struct mm_frame {
	/* SAME_FILLED, RELEASED: the content. COMPRESSED, SWAPPED: when evicted, in evictions. */
	uint64_t word;
	/* COMPRESSED: handle. SWAPPED: slot. SAME_FILLED: when evicted. Resident: a kept slot. */
	uint32_t where;
	uint8_t state; /* enum frame_state */
	uint8_t then;  /* FILLING: came from; RELEASING: goes to */
	uint8_t pins;
	uint8_t flags;
};
_Static_assert(sizeof(struct mm_frame) == 16, "frame record");

static inline bool frame_is_resident(const struct mm_frame *f)
{
	return f->state >= FRAME_MAPPED && f->state <= FRAME_FILLING;
}

/* Its content, if it has any, is elsewhere: it can be brought in. */
static inline bool frame_is_stored(const struct mm_frame *f)
{
	return f->state == FRAME_UNTOUCHED || f->state >= FRAME_SAME_FILLED;
}

/* The state that says where its content is: that between two states is the stored one. */
static inline enum frame_state frame_content(const struct mm_frame *f)
{
	return f->state == FRAME_FILLING || f->state == FRAME_RELEASING ? f->then : f->state;
}

/* Stored, and no more than its word. */
static inline bool frame_is_word(const struct mm_frame *f)
{
	return f->state == FRAME_UNTOUCHED || f->state == FRAME_SAME_FILLED ||
	       f->state == FRAME_RELEASED;
}

/* When it was evicted, in evictions, with its content in this stored state. */
static inline uint32_t frame_stamp(const struct mm_frame *f, enum frame_state content)
{
	return content == FRAME_SAME_FILLED ? f->where : (uint32_t)f->word;
}

#endif

/*
 * Looking at a frame without touching it: where its content is, and a copy of it, read from there.
 * Nothing becomes resident, nothing is charged, counted or told to the policy, and a failure to
 * read is the looker's alone: the guest may never need that page.
 */
#ifndef MM_LOOK_H
#define MM_LOOK_H

#include "base/addr.h"
#include "mm/frame_state.h"
#include "mm/mm.h"

#define MM_LOOK_NO_SLOT UINT32_MAX

struct mm_look {
	enum frame_state state;
	/*
	 * Where the content comes from: the state itself, but for RELEASING and FILLING, which are
	 * between two; their content is the stored one (SAME_FILLED, COMPRESSED, SWAPPED,
	 * UNTOUCHED, RELEASED).
	 */
	enum frame_state content;
	uint64_t word;	   /* SAME_FILLED, RELEASED: the page is this over and over */
	uint32_t length;   /* COMPRESSED: to so many bytes */
	const char *codec; /* COMPRESSED: "lz4", "zstd" */
	uint32_t slot;	   /* SWAPPED; resident: a slot with an older copy; else NO_SLOT */
	unsigned pins;	   /* the monitor keeps it in memory so many times */
	bool in_balloon;   /* the guest's balloon holds it, whatever the state */
};

/*
 * *look, and at page, unless NULL, the content: PAGE_SIZE bytes, page-aligned. -ERANGE for a frame
 * outside the guest. When the content cannot be read *look is good all the same: -EBADMSG (wrong
 * checksum), -ENOMEM, or the errno of reading. Also works after a failure of mm's. A read of the
 * swap file is done without the lock.
 */
int mm_look(struct mm *mm, gfn_t frame, struct mm_look *look, void *page);

/* Adds to count[] in which states the count frames from first on are. -ERANGE. */
int mm_look_count(struct mm *mm, gfn_t first, uint64_t count, uint64_t counts[static FRAME_STATES]);

#endif

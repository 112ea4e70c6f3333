/* The states of a frame. Who may move a frame from which to which is in frame.h. */
#ifndef MM_FRAME_STATE_H
#define MM_FRAME_STATE_H

enum frame_state {
	FRAME_UNTOUCHED,   /* no content: reads as zeros */
	FRAME_MAPPED,	   /* resident, the guest may reach it */
	FRAME_WATCHED,	   /* resident, unmapped: a touch costs a minor fault */
	FRAME_EVICTING,	   /* resident, unmapped, being stored */
	FRAME_RELEASING,   /* stored (or given up), its page is being given back to the host */
	FRAME_FILLING,	   /* being brought in */
	FRAME_SAME_FILLED, /* one 64-bit word over and over, kept in its record */
	FRAME_COMPRESSED,  /* in the pool */
	FRAME_SWAPPED,	   /* in the swap file */
	FRAME_RELEASED,	   /* given up by the guest: reads as one 64-bit word, mostly zero */
	FRAME_STATES,
};

/* "untouched", "same_filled", ...: docs/glossary.md */
const char *frame_state_name(enum frame_state state);

#endif

/*
 * Decides which frames to bring in with a fault: a few streams, each the memory of one sequential
 * walk.
 *
 * A fault just beyond a stream's last window continues it and doubles its window; a fault inside
 * the last window (the window was cut short for want of memory) continues it at the same size; any
 * other fault brings one frame and starts a stream in place of the one idle for longest. Walks go
 * up or down. Plain memory, no lock: the owner's.
 */
#ifndef MM_STREAM_H
#define MM_STREAM_H

#include <stdint.h>

#define STREAM_COUNT 16

struct stream {
	int64_t last;	 /* the frame of the last fault */
	int64_t next;	 /* the first frame beyond its window */
	uint32_t window; /* frames; 0: unused */
	int32_t step;	 /* +1, -1; 0: only one fault seen */
	uint64_t used;	 /* when, in faults */
};

struct stream_table {
	struct stream stream[STREAM_COUNT];
	uint64_t clock;
};

/*
 * The window for a fault on frame: *first and *count, at most max frames, frame at one end of it,
 * within [low, high).
 */
void stream_window(struct stream_table *table, uint32_t frame, uint32_t max, uint32_t low,
		   uint32_t high, uint32_t *first, uint32_t *count);

#endif

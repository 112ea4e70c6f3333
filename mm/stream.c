#include "mm/stream.h"

#define WINDOW_SECOND 8 /* frames at the second fault of a walk: a chance meeting costs little */

/* Does frame continue the stream? In which direction, and was the last window used up? */
static int continues(const struct stream *s, int64_t frame, int *step)
{
	int64_t slack = s->window; /* frames that happened to be resident already */

	for (*step = 1; *step >= -1; *step -= 2) {
		int64_t ahead = (frame - s->last) * *step;
		int64_t next = s->step == 0 ? 1 : (s->next - s->last) * *step;

		if (s->step != 0 && s->step != *step)
			continue;
		if (ahead >= 1 && ahead <= next + slack)
			return ahead >= next ? 2 : 1;
	}
	return 0;
}

static struct stream *find(struct stream_table *table, int64_t frame, int *step, int *how)
{
	struct stream *oldest = &table->stream[0];

	for (int i = 0; i < STREAM_COUNT; i++) {
		struct stream *s = &table->stream[i];

		if (s->window > 0) {
			*how = continues(s, frame, step);
			if (*how != 0)
				return s;
		}
		if (s->used < oldest->used)
			oldest = s;
	}
	*how = 0;
	return oldest;
}

void stream_window(struct stream_table *table, uint32_t frame, uint32_t max, uint32_t low,
		   uint32_t high, uint32_t *first, uint32_t *count)
{
	int step, how;
	struct stream *s = find(table, frame, &step, &how);
	uint32_t window = 1, room;

	if (how == 2)
		window = s->window * 2 > WINDOW_SECOND ? s->window * 2 : WINDOW_SECOND;
	else if (how == 1)
		window = s->window;
	if (window > max)
		window = max;
	if (how == 0)
		step = 1;
	room = step > 0 ? high - frame : frame + 1 - low;
	*count = window < room ? window : room;
	*first = step > 0 ? frame : frame + 1 - *count;
	*s = (struct stream){
		.last = frame,
		.next = (int64_t)frame + step * (int64_t)*count,
		.window = window,
		.step = how == 0 ? 0 : step,
		.used = ++table->clock,
	};
}

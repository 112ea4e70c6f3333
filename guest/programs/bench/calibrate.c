#include "guest/programs/bench/calibrate.h"

#define WINDOWS	   7
#define AGREEING   5 /* of the windows, with the middle one */
#define WINDOW_NS  3000000
#define BRACKETS   16
#define TRIES_MOST 5

struct mark {
	uint64_t ns, ticks;
};

/* A reading of both at the same time, as nearly as that goes. */
static struct mark take_mark(const struct calibrate_clock *clock)
{
	struct mark mark = { 0, 0 };
	uint64_t best = UINT64_MAX;

	for (int i = 0; i < BRACKETS; i++) {
		uint64_t before = clock->ticks(clock->context);
		uint64_t ns = clock->now(clock->context);
		uint64_t width = clock->ticks(clock->context) - before;

		if (width >= best)
			continue;
		best = width;
		mark = (struct mark){ ns, before + width / 2 };
	}
	return mark;
}

static uint64_t take_window(const struct calibrate_clock *clock)
{
	struct mark start = take_mark(clock), end;

	while (clock->now(clock->context) - start.ns < WINDOW_NS)
		;
	end = take_mark(clock);
	if (end.ticks <= start.ticks || end.ns <= start.ns)
		return 0;
	return (uint64_t)((double)(end.ns - start.ns) * 1e6 / (double)(end.ticks - start.ticks));
}

static void sort(uint64_t *values, int count)
{
	for (int i = 1; i < count; i++) {
		uint64_t value = values[i];
		int at = i;

		for (; at > 0 && values[at - 1] > value; at--)
			values[at] = values[at - 1];
		values[at] = value;
	}
}

bool calibrate_agree(uint64_t a, uint64_t b)
{
	uint64_t less = a < b ? a : b, more = a < b ? b : a;

	return less > 0 && (more - less) * 1000 < less * CALIBRATE_PERMILLE;
}

/* The middle one, if enough others agree with it; or 0. */
static uint64_t take_windows(const struct calibrate_clock *clock)
{
	uint64_t window[WINDOWS];
	int agreeing = 0;

	for (int i = 0; i < WINDOWS; i++)
		window[i] = take_window(clock);
	sort(window, WINDOWS);
	for (int i = 0; i < WINDOWS; i++)
		agreeing += calibrate_agree(window[i], window[WINDOWS / 2]);
	return agreeing >= AGREEING ? window[WINDOWS / 2] : 0;
}

/* Twice in a row the same: a stall of seconds can hold all windows of one try. */
uint64_t calibrate(const struct calibrate_clock *clock)
{
	uint64_t before = take_windows(clock);

	for (int i = 0; i < TRIES_MOST; i++) {
		uint64_t after = take_windows(clock);

		if (calibrate_agree(before, after))
			return after;
		before = after;
	}
	return 0;
}

/*
 * The screen of 'bifold top': rows from the top, and the last line of the screen. Text that does
 * not fit is cut off, down to a screen of one cell; a terminal without colours shows the same
 * characters.
 */
#include "vmm/ask/top_screen.h"

#include <curses.h>
#include <stdarg.h>
#include <string.h>

#include "base/status.h"
#include "base/units.h"
#include "vmm/common/json.h"
#include "vmm/ask/stat.h"
#include "vmm/common/words.h"

#define LABEL_WIDTH 24
#define ROW_MAX	    512 /* bytes */

/* Colours by what they stand for; 0 is the terminal's own. */
enum paint {
	PAINT_NONE,
	PAINT_GOOD,
	PAINT_NEAR,
	PAINT_FAR,
	PAINT_LOST,
	PAINT_TITLE,
};

void top_screen_colours(void)
{
	static const short colours[] = {
		[PAINT_GOOD] = COLOR_GREEN, [PAINT_NEAR] = COLOR_YELLOW, [PAINT_FAR] = COLOR_CYAN,
		[PAINT_LOST] = COLOR_RED,   [PAINT_TITLE] = COLOR_BLUE,
	};

	if (!has_colors() || start_color() != OK)
		return;
	use_default_colors();
	for (short i = PAINT_GOOD; i <= PAINT_TITLE; i++)
		init_pair(i, colours[i], -1);
}

static int paint_attributes(enum paint paint)
{
	return has_colors() ? COLOR_PAIR(paint) : A_NORMAL;
}

/* Text at a place, as many of its fields as fit; what is no plain character becomes '?'. Returns
 * the column behind it. */
__attribute__((format(printf, 3, 4))) static int put(int row, int column, const char *format, ...)
{
	char text[ROW_MAX];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	for (char *at = text; *at != '\0'; at++)
		if (*at < ' ' || *at > '~')
			*at = '?';
	if (row < LINES && column < COLS)
		mvaddnstr(row, column, text, (int)status_cut(text, (size_t)(COLS - column)));
	return column + (int)strlen(text);
}

/* "[####....]" from column to the end of the line. */
static void put_bar(int row, int column, double share, enum paint paint)
{
	int width = COLS - column - 2;
	int filled = (int)((share < 0 ? 0 : share > 1 ? 1 : share) * width + 0.5);

	if (row >= LINES || width < 4)
		return;
	mvaddch(row, column, '[');
	attron(paint_attributes(paint));
	for (int i = 0; i < filled; i++)
		addch('#');
	attroff(paint_attributes(paint));
	for (int i = filled; i < width; i++)
		addch('.');
	addch(']');
}

static double share_of(uint64_t part, uint64_t whole)
{
	return whole > 0 ? (double)part / (double)whole : 0;
}

static int draw_memory(const struct top_model *m, int row)
{
	uint64_t held = json_count(m->now, "held_bytes"),
		 budget = json_count(m->now, "budget_bytes");
	uint64_t whole = budget != 0 ? budget : json_count(m->now, "guest.memory_bytes");
	char text[5][UNITS_TEXT_SIZE];
	double share = share_of(held, whole);

	put(row, 0, "held      %s of %s", units_format_size(held, text[0]),
	    budget != 0 ? units_format_size(budget, text[1]) : "no limit");
	put_bar(row++, 41, share, share > 0.95 ? PAINT_NEAR : PAINT_GOOD);
	put(row++, 2, "resident %s   pool %s   tables %s   swap %s   peak %s",
	    units_format_size(json_count(m->now, "resident_bytes"), text[0]),
	    units_format_size(json_count(m->now, "pool_bytes"), text[1]),
	    units_format_size(json_count(m->now, "table_bytes"), text[2]),
	    units_format_size(json_count(m->now, "swap_bytes"), text[3]),
	    units_format_size(json_count(m->now, "peak_host_bytes"), text[4]));
	return row;
}

static int draw_frames(const struct top_model *m, int row)
{
	static const enum paint paints[WORDS_OF_FRAMES] = {
		PAINT_GOOD, PAINT_NEAR, PAINT_FAR, PAINT_FAR, PAINT_LOST, PAINT_NONE, PAINT_NONE,
	};
	const json_t *frames = json_object_get(m->now, "frames");
	uint64_t total = json_count(frames, "total");

	put(row++, 0, "%llu pages", (unsigned long long)total);
	for (size_t i = 0; i < WORDS_OF_FRAMES; i++) {
		uint64_t count = json_count(frames, words_of_frames[i].name);

		put(row, 2, "%-12s %11llu %5.1f %%", words_of_frames[i].text,
		    (unsigned long long)count, 100 * share_of(count, total));
		put_bar(row++, 41, share_of(count, total), paints[i]);
	}
	return row;
}

static void put_latency(const struct top_model *m, int row, int column, const char *kind,
			unsigned permille)
{
	uint64_t ns = top_permille(m, kind, permille);
	char text[UNITS_TEXT_SIZE];

	put(row, column, "%10s", ns == UINT64_MAX ? WORD_NOTHING : units_format_ns(ns, text));
}

static int draw_faults(const struct top_model *m, int row)
{
	put(row++, 0, "%-12s %12s %10s %10s %10s %12s", "faults", "a second", "p50", "p99", "p99.9",
	    "in all");
	for (size_t i = 0; i < WORDS_OF_FAULTS; i++) {
		const struct word *kind = &words_of_faults[i];
		char path[32];

		snprintf(path, sizeof(path), "faults.%s", kind->name);
		put(row, 2, "%-12s %10.0f", kind->text, top_rate(m, path));
		put_latency(m, row, 26, kind->name, 500);
		put_latency(m, row, 37, kind->name, 990);
		put_latency(m, row, 48, kind->name, 999);
		put(row++, 59, "%12llu", (unsigned long long)json_count(m->now, path));
	}
	return row;
}

static int draw_rates(const struct top_model *m, int row)
{
	double seconds = top_seconds(m);
	double stalled = seconds > 0 ? top_rate(m, "stall_ns") / 1e9 : 0;

	put(row++, 0, "refaults  %.0f a second   filled ahead %.0f   evicted %.0f   cancelled %.0f",
	    top_rate(m, "refaults"), top_rate(m, "filled_ahead"),
	    top_rate(m, "evictions.compressed") + top_rate(m, "evictions.swapped") +
		    top_rate(m, "evictions.same_filled") + top_rate(m, "evictions.clean"),
	    top_rate(m, "evictions.cancelled"));
	put(row, 0, "stalled   %.1f %% of the time in faults", 100 * stalled);
	put_bar(row++, 41, stalled, stalled > 0.5 ? PAINT_LOST : PAINT_NEAR);
	return row;
}

static int draw_balloon(const struct top_model *m, int row)
{
	const json_t *balloon = json_object_get(m->now, "balloon");
	uint64_t actual = json_count(balloon, "actual_bytes");
	char has[UNITS_TEXT_SIZE], target[UNITS_TEXT_SIZE];

	if (!json_is_object(balloon)) {
		put(row++, 0, "balloon   none");
		return row;
	}
	put(row, 0, "balloon   %s of %s%s", units_format_size(actual, has),
	    units_format_size(json_count(balloon, "target_bytes"), target),
	    json_truth(balloon, "ready") ? "" : ", no driver");
	put_bar(row++, 41, share_of(actual, json_count(m->now, "guest.memory_bytes")), PAINT_FAR);
	return row;
}

static void draw_foot(const char *message)
{
	int row = LINES - 1;

	attron(A_REVERSE);
	move(row, 0);
	clrtoeol();
	put(row, 0, "%s",
	    *message != '\0' ? message : "q quit   p pause, resume   -/+ budget   [/] balloon");
	attroff(A_REVERSE);
}

void top_screen_draw(const struct top_model *m, const char *path, const char *message)
{
	char head[ROW_MAX];
	int row = 0;

	erase();
	stat_format_head(m->now, head, sizeof(head));
	attron(paint_attributes(PAINT_TITLE) | A_BOLD);
	put(row, 0, "%s   %s", head, path);
	attroff(paint_attributes(PAINT_TITLE) | A_BOLD);
	row = draw_memory(m, row + 2);
	row = draw_frames(m, row + 1);
	row = draw_faults(m, row + 1);
	row = draw_rates(m, row + 1);
	draw_balloon(m, row);
	draw_foot(message);
	refresh();
}

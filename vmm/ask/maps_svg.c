/*
 * An address space as a picture: a bar for each range, as long as the range is large, on a
 * logarithmic scale, for a guest's ranges differ by six orders of magnitude; and divided by the
 * states of its frames. It is made for a column of a paper (85 mm): no text is smaller than 6
 * points there.
 *
 * The colours are those of Okabe and Ito, which colour-blind eyes tell apart; states between two
 * others are hatched.
 */
#include "vmm/ask/maps.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "vmm/common/json.h"
#include "vmm/common/words.h"

#define TITLE_MOST  40 /* bytes of the program's name */
#define BARS_MAX    1024
#define WIDTH	    480
#define ROW	    17
#define FROM_X	    126
#define MAY_X	    134
#define BAR_X	    250
#define BAR_WIDTH   180 /* the largest range */
#define LEGEND_Y    62
#define LEGEND_ROW  16
#define LEGEND_STEP 115
#define SCALE_TEXTS 4
#define SHIFT_LEAST 12 /* the scale begins with a page: one unit of its length */

static const struct {
	const char *name, *colour;
	char hatch; /* '/' or '\\' or 0 */
} states[] = {
	{ "mapped", "#0072b2", 0 },	 { "watched", "#56b4e9", 0 },
	{ "evicting", "#56b4e9", '/' },	 { "filling", "#0072b2", '\\' },
	{ "releasing", "#009e73", '/' }, { "compressed", "#e69f00", 0 },
	{ "same_filled", "#f0e442", 0 }, { "swapped", "#a04000", 0 },
	{ "untouched", "#ffffff", 0 },	 { "released", "#009e73", 0 },
	{ "unmanaged", "#999999", 0 },	 { "outside", "#000000", '\\' },
};
#define STATES (sizeof(states) / sizeof(states[0]))

static uint64_t number(const json_t *object, const char *name)
{
	json_int_t value = json_number(object, name);

	return value > 0 ? (uint64_t)value : 0;
}

/* Text that came from the guest goes in only as the number it is. */
static uint64_t address(const json_t *range, const char *name)
{
	const char *value = json_string_value(json_object_get(range, name));

	return value != NULL ? strtoull(value, NULL, 16) : 0;
}

/* Text that came over a socket. */
static void put_text(FILE *out, const char *text)
{
	for (; *text != '\0'; text++) {
		if (*text == '<' || *text == '>' || *text == '&')
			fprintf(out, "&#%d;", *text);
		else
			fputc(*text >= ' ' && *text <= '~' ? *text : '?', out);
	}
}

static void draw_label(FILE *out, double x, int y, const char *anchor, const char *label)
{
	fprintf(out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"%s\">", x, y, anchor);
	put_text(out, label);
	fputs("</text>\n", out);
}

static void put_fill(FILE *out, size_t state)
{
	if (states[state].hatch == 0)
		fprintf(out, "%s", states[state].colour);
	else
		fprintf(out, "url(#%s)", states[state].name);
}

static void draw_box(FILE *out, double x, int y, double width, int height, size_t state,
		     const char *title)
{
	fprintf(out, "<rect x=\"%.2f\" y=\"%d\" width=\"%.2f\" height=\"%d\" fill=\"", x, y, width,
		height);
	put_fill(out, state);
	fprintf(out, "\" stroke=\"#000\" stroke-width=\"0.4\"><title>%s</title></rect>\n", title);
}

static void define_hatches(FILE *out)
{
	fputs("<defs>\n", out);
	for (size_t i = 0; i < STATES; i++)
		if (states[i].hatch != 0)
			fprintf(out,
				"<pattern id=\"%s\" width=\"4\" height=\"4\" "
				"patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(%d)\">"
				"<rect width=\"4\" height=\"4\" fill=\"#fff\"/>"
				"<rect width=\"2\" height=\"4\" fill=\"%s\"/></pattern>\n",
				states[i].name, states[i].hatch == '/' ? 45 : -45,
				states[i].colour);
	fputs("</defs>\n", out);
}

/* --- the scale --- */

/* How many doublings of a page the picture's largest range has, and one: whole numbers. */
static double scale_of(const json_t *ranges)
{
	const json_t *range;
	uint64_t most = 1 << SHIFT_LEAST;
	size_t i;

	json_array_foreach(ranges, i, range) most =
		number(range, "bytes") > most ? number(range, "bytes") : most;
	return ceil(log2((double)most)) - SHIFT_LEAST + 1;
}

static double length_of(uint64_t bytes, double scale)
{
	double length = bytes > 0 ? log2((double)bytes) - SHIFT_LEAST + 1 : 0;

	return BAR_WIDTH * (length > 0 ? length : 0) / scale;
}

/* "4 KiB", not "4.0 KiB": what the scale names is a power of two. */
static void format_power(unsigned shift, char text[UNITS_TEXT_SIZE])
{
	static const char *const names[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };

	snprintf(text, UNITS_TEXT_SIZE, "%u %s", 1u << shift % 10, names[shift / 10 % 7]);
}

static void draw_scale(FILE *out, double scale, int top, int bottom)
{
	unsigned last = SHIFT_LEAST + (unsigned)scale - 1;
	unsigned step = ((unsigned)scale - 1 + SCALE_TEXTS - 2) / (SCALE_TEXTS - 1);

	for (unsigned shift = SHIFT_LEAST; shift <= last; shift += step > 0 ? step : 1) {
		double x = BAR_X + length_of(1ull << shift, scale);
		char text[UNITS_TEXT_SIZE];

		format_power(shift, text);
		draw_label(out, x, top - 6, "middle", text);
		fprintf(out,
			"<line x1=\"%.2f\" y1=\"%d\" x2=\"%.2f\" y2=\"%d\" stroke=\"#aaa\" "
			"stroke-width=\"0.6\"/>\n",
			x, top - 3, x, bottom);
	}
}

/* --- ranges --- */

static void draw_range(FILE *out, const json_t *range, double scale, int y)
{
	const json_t *frames = json_object_get(range, "frames");
	const json_t *pages = json_object_get(range, "pages");
	double length = length_of(number(range, "bytes"), scale), x = BAR_X;
	char label[128], size[UNITS_TEXT_SIZE];
	uint64_t sum = 0;

	snprintf(label, sizeof(label), "%" PRIx64, address(range, "start"));
	draw_label(out, FROM_X, y + 12, "end", label);
	snprintf(label, sizeof(label), "%cr%c%c", json_truth(range, "user") ? 'u' : '-',
		 json_truth(range, "write") ? 'w' : '-', json_truth(range, "execute") ? 'x' : '-');
	draw_label(out, MAY_X, y + 12, "start", label);
	draw_label(out, BAR_X - 8, y + 12, "end", units_format_size(number(range, "bytes"), size));
	for (size_t i = 0; i < STATES; i++)
		sum += number(frames, states[i].name);
	for (size_t i = 0; i < STATES && sum > 0; i++) {
		uint64_t count = number(frames, states[i].name);
		double width = length * ((double)count / (double)sum);

		if (count == 0)
			continue;
		snprintf(label, sizeof(label), "%" PRIu64 " %s", count, word_text(states[i].name));
		draw_box(out, x, y + 2, width, ROW - 4, i, label);
		x += width;
	}
	snprintf(label, sizeof(label), "%s%s%s", number(pages, "4K") ? " 4K" : "",
		 number(pages, "2M") ? " 2M" : "", number(pages, "1G") ? " 1G" : "");
	draw_label(out, BAR_X + BAR_WIDTH + 2, y + 12, "start", label);
}

/* --- the head --- */

static bool is_used(const json_t *ranges, size_t state)
{
	const json_t *range;
	size_t i;

	json_array_foreach(ranges, i, range) if (number(json_object_get(range, "frames"),
							states[state].name) > 0) return true;
	return false;
}

/* Draws nothing where out is NULL. The rows that it takes. */
static int draw_legend(FILE *out, const json_t *ranges)
{
	int at = 0, columns = (WIDTH - 16) / LEGEND_STEP;

	for (size_t i = 0; i < STATES; i++) {
		int x = 12 + at % columns * LEGEND_STEP, y = LEGEND_Y + at / columns * LEGEND_ROW;

		if (!is_used(ranges, i))
			continue;
		if (out != NULL) {
			draw_box(out, x, y, 12, 11, i, word_text(states[i].name));
			draw_label(out, x + 18, y + 10, "start", word_text(states[i].name));
		}
		at++;
	}
	return (at + columns - 1) / columns;
}

/* A path's end says most. */
static void put_end(const char *path, char text[256])
{
	size_t length = strlen(path);

	if (length <= TITLE_MOST)
		snprintf(text, 256, "%s", path);
	else
		snprintf(text, 256, "...%s", path + length - (TITLE_MOST - 3));
}

static void draw_head(FILE *out, const json_t *maps, size_t all, size_t shown, int top, int height)
{
	char text[256];

	fprintf(out,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
		"viewBox=\"0 0 %d %d\" font-family=\"monospace\" font-size=\"11.5\" "
		"xml:space=\"preserve\">\n",
		WIDTH, height, WIDTH, height);
	define_hatches(out);
	fputs("<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n", out);
	put_end(json_text(maps, "program"), text);
	fputs("<text x=\"12\" y=\"20\" font-size=\"14\">Address space of ", out);
	put_text(out, text);
	fputs("</text>\n", out);
	snprintf(text, sizeof(text), "vCPU %" PRIu64 ", CR3 0x%" PRIx64 ", %zu ranges%s",
		 number(maps, "vcpu"), address(maps, "cr3"), all,
		 shown < all ? ", not all shown" : "");
	draw_label(out, 12, 36, "start", text);
	snprintf(text, sizeof(text), "second layer: %.8s; %.10s", json_text(maps, "second_layer"),
		 json_text(maps, "date"));
	draw_label(out, 12, 51, "start", text);
	draw_legend(out, json_object_get(maps, "ranges"));
	draw_label(out, FROM_X, top - 22, "end", "from");
	draw_label(out, MAY_X, top - 22, "start", "may");
	draw_label(out, BAR_X - 8, top - 22, "end", "size");
	draw_label(out, BAR_X, top - 22, "start", "frames by state");
	draw_label(out, WIDTH - 8, top - 22, "end", "pages");
}

int maps_draw(const json_t *maps, FILE *out)
{
	const json_t *ranges = json_object_get(maps, "ranges");
	size_t all = json_array_size(ranges), shown = all < BARS_MAX ? all : BARS_MAX;
	double scale;
	int top, bottom;

	if (!json_is_array(ranges))
		return -EINVAL;
	scale = scale_of(ranges);
	top = LEGEND_Y + draw_legend(NULL, ranges) * LEGEND_ROW + 42;
	bottom = top + (int)shown * ROW;
	draw_head(out, maps, all, shown, top, bottom + 10);
	draw_scale(out, scale, top, bottom);
	for (size_t i = 0; i < shown; i++)
		draw_range(out, json_array_get(ranges, i), scale, top + (int)i * ROW);
	fputs("</svg>\n", out);
	return ferror(out) ? -EIO : 0;
}

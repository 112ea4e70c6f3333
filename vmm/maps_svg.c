/*
 * An address space as a picture: a bar for each range, divided by the states of its frames. The
 * bars are equally long, for a guest's ranges differ by six orders of magnitude; the sizes are
 * written beside them. The colours differ in lightness, too: it is to be read from grey paper.
 */
#include "vmm/maps.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "vmm/json.h"
#include "vmm/words.h"

#define BARS_MAX  1024
#define ROW	  22
#define BAR_X	  330
#define BAR_WIDTH 420
#define WIDTH	  900
#define TOP	  86

static const struct {
	const char *name, *colour;
} states[] = {
	{ "mapped", "#2f76ad" },      { "watched", "#8cbfe0" },	  { "evicting", "#b9d9ee" },
	{ "filling", "#b9d9ee" },     { "releasing", "#d9d9d9" }, { "compressed", "#e08a1e" },
	{ "same_filled", "#f6d8a8" }, { "swapped", "#5a1208" },	  { "untouched", "#f2f2f2" },
	{ "released", "#cfe8cf" },    { "unmanaged", "#6b6b6b" }, { "outside", "#ffffff" },
};
#define STATES (sizeof(states) / sizeof(states[0]))

static uint64_t number(const json_t *object, const char *name)
{
	json_int_t value = json_number(object, name);

	return value > 0 ? (uint64_t)value : 0;
}

/* What came as text goes in only as the number it is. */
static uint64_t address(const json_t *range, const char *name)
{
	const char *value = json_string_value(json_object_get(range, name));

	return value != NULL ? strtoull(value, NULL, 16) : 0;
}

static void draw_label(FILE *out, int x, int y, const char *anchor, const char *label)
{
	fprintf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"%s\">%s</text>\n", x, y, anchor, label);
}

static void draw_box(FILE *out, double x, int y, double width, int height, const char *colour,
		     const char *title)
{
	fprintf(out,
		"<rect x=\"%.2f\" y=\"%d\" width=\"%.2f\" height=\"%d\" fill=\"%s\" "
		"stroke=\"#000\" stroke-width=\"0.4\"><title>%s</title></rect>\n",
		x, y, width, height, colour, title);
}

static void draw_range(FILE *out, const json_t *range, int y)
{
	const json_t *frames = json_object_get(range, "frames");
	char label[128], size[UNITS_TEXT_SIZE];
	double x = BAR_X;
	uint64_t sum = 0;

	snprintf(label, sizeof(label), "%016" PRIx64 "  %cr%c%c", address(range, "start"),
		 json_truth(range, "user") ? 'u' : '-', json_truth(range, "write") ? 'w' : '-',
		 json_truth(range, "execute") ? 'x' : '-');
	draw_label(out, 20, y + 13, "start", label);
	draw_label(out, BAR_X - 10, y + 13, "end", units_format_size(number(range, "bytes"), size));
	for (size_t i = 0; i < STATES; i++)
		sum += number(frames, states[i].name);
	for (size_t i = 0; i < STATES && sum > 0; i++) {
		uint64_t count = number(frames, states[i].name);
		double width = BAR_WIDTH * ((double)count / (double)sum);

		if (count == 0)
			continue;
		snprintf(label, sizeof(label), "%" PRIu64 " %s", count, word_text(states[i].name));
		draw_box(out, x, y, width, ROW - 6, states[i].colour, label);
		x += width;
	}
	snprintf(label, sizeof(label), "%s%s%s",
		 number(json_object_get(range, "pages"), "4K") ? " 4K" : "",
		 number(json_object_get(range, "pages"), "2M") ? " 2M" : "",
		 number(json_object_get(range, "pages"), "1G") ? " 1G" : "");
	draw_label(out, BAR_X + BAR_WIDTH + 10, y + 13, "start", label);
}

static void draw_legend(FILE *out, const json_t *ranges)
{
	const json_t *range;
	int x = 20;
	size_t r;

	for (size_t i = 0; i < STATES; i++) {
		bool used = false;

		json_array_foreach(ranges, r, range) used =
			used || number(json_object_get(range, "frames"), states[i].name) > 0;
		if (!used)
			continue;
		draw_box(out, x, 44, 12, 12, states[i].colour, word_text(states[i].name));
		draw_label(out, x + 18, 54, "start", word_text(states[i].name));
		x += 38 + 8 * (int)strlen(states[i].name);
	}
}

static void draw_head(FILE *out, const json_t *maps, size_t all, size_t shown)
{
	fprintf(out,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%zu\" "
		"viewBox=\"0 0 %d %zu\" font-family=\"monospace\" font-size=\"12\" "
		"xml:space=\"preserve\">\n"
		"<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n"
		"<text x=\"20\" y=\"24\" font-size=\"15\">vCPU %" PRIu64 ", CR3 0x%" PRIx64
		": %zu ranges%s</text>\n",
		WIDTH, TOP + shown * ROW + 16, WIDTH, TOP + shown * ROW + 16, number(maps, "vcpu"),
		address(maps, "cr3"), all, shown < all ? ", the first ones shown" : "");
	draw_legend(out, json_object_get(maps, "ranges"));
	draw_label(out, 20, TOP - 10, "start", "from, and what it may");
	draw_label(out, BAR_X - 10, TOP - 10, "end", "size");
	draw_label(out, BAR_X, TOP - 10, "start", "share of its frames by state");
	draw_label(out, BAR_X + BAR_WIDTH + 10, TOP - 10, "start", " guest pages");
}

int maps_draw(const json_t *maps, FILE *out)
{
	const json_t *ranges = json_object_get(maps, "ranges");
	size_t all = json_array_size(ranges), shown = all < BARS_MAX ? all : BARS_MAX;

	if (!json_is_array(ranges))
		return -EINVAL;
	draw_head(out, maps, all, shown);
	for (size_t i = 0; i < shown; i++)
		draw_range(out, json_array_get(ranges, i), TOP + (int)i * ROW);
	fputs("</svg>\n", out);
	return ferror(out) ? -EIO : 0;
}

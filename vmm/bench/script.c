#include "vmm/bench/script.h"

#include <math.h>
#include <string.h>

#include "base/units.h"
#include "vmm/bench/tlb.h"

#define COLUMNS_A_CELL 6 /* of the data: chase and translation, each with low and high */

/* Colours of Okabe and Ito, which colour-blind eyes tell apart, also by lightness; and a mark each:
 * by what the guest's page lies on. */
static const struct {
	const char *colour, *dash, *title;
	unsigned mark;
} looks[BENCH_PAGES + 1] = {
	{ "#0072b2", "1", "on host 4K", 7 },
	{ "#d55e00", "1", "on host 2M", 5 },
	{ "#009e73", "1", "on host 1G", 9 },
	{ "#000000", "(6,4)", "one layer", 6 },
};

/* A picture's width and what follows from it; pixels of a 96th of an inch. */
struct layout {
	const char *suffix;
	unsigned width, panel; /* the picture's width, a panel's height */
	unsigned left, right, gap;
	unsigned font;
	bool stacked;	      /* panels one below the other */
	unsigned labels_most; /* along a panel's x axis */
};

static const struct layout layouts[] = {
	{ "", 321, 110, 52, 22, 22, 9, true, 5 },
	{ "-page", 680, 170, 58, 24, 44, 10, false, 3 },
};
#define LAYOUT_COUNT (sizeof(layouts) / sizeof(layouts[0]))

/* Above the panels the title, the key and what the TLB reaches; below them the axis and notes. */
#define HEAD  58
#define FOOT  78
#define NOTE  11 /* a line */
#define NOTES 3
#define SMALL 8 /* font */

struct picture {
	const char *name, *title;
	unsigned column; /* of the first cell's median */
	bool symmetric;	 /* about 0 */
};

void bench_script_ranges(const struct bench_cell *cell, unsigned size, struct bench_range *chase,
			 struct bench_range *translation)
{
	const struct bench_series *all = &cell->set[BENCH_CHASE][size].ns;
	const struct bench_series *packed = &cell->set[BENCH_PACKED][size].ns;

	*chase = (struct bench_range){ NAN, NAN, NAN };
	*translation = *chase;
	if (all->count > 0)
		*chase = (struct bench_range){ bench_median(all), bench_quantile(all, 0.25),
					       bench_quantile(all, 0.75) };
	if (all->count > 0 && packed->count > 0)
		*translation = (struct bench_range){
			chase->median - bench_median(packed),
			chase->low - bench_quantile(packed, 0.75),
			chase->high - bench_quantile(packed, 0.25),
		};
}

/* --- what all curves have in common --- */

static bool is_drawn(const struct bench_sweep *sweep, int guest)
{
	for (unsigned host = 0; host <= BENCH_NATIVE; host++)
		if (bench_measured(sweep, (enum bench_page)guest, host) != NULL)
			return true;
	return false;
}

static unsigned count_panels(const struct bench_sweep *sweep)
{
	unsigned count = 0;

	for (int guest = 0; guest < BENCH_PAGES; guest++)
		count += is_drawn(sweep, guest);
	return count;
}

/* The lowest and the highest of all bands. */
static void find_extremes(const struct bench_sweep *sweep, bool translation, double *low,
			  double *high)
{
	*low = INFINITY;
	*high = -INFINITY;
	for (int guest = 0; guest < BENCH_PAGES; guest++) {
		for (unsigned host = 0; host <= BENCH_NATIVE; host++) {
			const struct bench_cell *cell =
				bench_measured(sweep, (enum bench_page)guest, host);

			for (unsigned size = 0; cell != NULL && size < BENCH_SIZES; size++) {
				struct bench_range range[2];

				bench_script_ranges(cell, size, &range[0], &range[1]);
				*low = fmin(*low, range[translation].low);
				*high = fmax(*high, range[translation].high);
			}
		}
	}
	if (!isfinite(*low) || !isfinite(*high)) {
		*low = 1;
		*high = 10;
	}
}

static void put_tic(double value, bool label, const char **between, FILE *file)
{
	if (label && fabs(value) >= 1000)
		fprintf(file, "%s'%gk' %g", *between, value / 1000, value);
	else if (label)
		fprintf(file, "%s'%g' %g", *between, value, value);
	else
		fprintf(file, "%s'' %g", *between, value);
	*between = ", ";
}

/* 1, 2 and 5 of each power of ten, or with a wide range the powers alone; and 0. */
static void put_y_tics(double low, double high, bool symmetric, bool labels, FILE *file)
{
	static const int steps[] = { 1, 2, 5 };
	bool wide = symmetric || high > low * 200;
	const char *between = "";

	fputs("set ytics (", file);
	for (int power = -2; power < 7; power++) {
		for (int i = 0; i < (wide ? 1 : 3); i++) {
			double value = steps[i] * pow(10, power);

			if (symmetric && power < 0)
				continue;
			if (value >= low && value <= high)
				put_tic(value, labels, &between, file);
			if (symmetric && -value >= low)
				put_tic(-value, labels, &between, file);
		}
	}
	if (symmetric)
		put_tic(0, labels, &between, file);
	fputs(")\n", file);
}

/* The next of 1, 2 and 5 of the powers of ten below, or above. */
static double round_tic(double value, bool up)
{
	double power = pow(10, floor(log10(value))), rest = value / power;

	if (up)
		return power * (rest <= 1 ? 1 : rest <= 2 ? 2 : rest <= 5 ? 5 : 10);
	return power * (rest >= 5 ? 5 : rest >= 2 ? 2 : 1);
}

static void put_y_axis(const struct bench_sweep *sweep, const struct picture *picture, bool labels,
		       FILE *file)
{
	double low, high;

	find_extremes(sweep, picture->symmetric, &low, &high);
	if (picture->symmetric) {
		low = fmin(low * 1.3, -0.3);
		high = fmax(high * 1.3, 3);
		fputs("unset logscale y\n"
		      "set nonlinear y via asinh(y / 0.4) inverse 0.4 * sinh(y)\n",
		      file);
	} else {
		low = round_tic(fmax(low, 0.01), false) / 1.1;
		high = round_tic(fmax(high, 0.1), true) * 1.1;
		fputs("set logscale y 10\n", file);
	}
	fprintf(file, "set yrange [%g:%g]\n", low, high);
	put_y_tics(low, high, picture->symmetric, labels, file);
	fputs(labels ? "set ylabel 'ns an access' offset 0.6,0\n" : "unset ylabel\n", file);
}

static unsigned log2_of(uint64_t bytes)
{
	return 63 - (unsigned)__builtin_clzll(bytes);
}

/* A label at the first and at the last, and between them at equal steps where that works out. */
static void put_x_axis(const struct bench_sweep *sweep, const struct layout *layout, bool labels,
		       FILE *file)
{
	unsigned first = log2_of(sweep->options->least), last = log2_of(sweep->options->most);
	unsigned step = 1;
	const char *between = "";

	while ((last - first) / step >= layout->labels_most)
		step++;
	while (step < last - first && (last - first) % step != 0 && step < 6)
		step++;
	fprintf(file, "set logscale x 2\nset xrange [2.**%u/1.2:2.**%u*1.2]\nset xtics (", first,
		last);
	for (unsigned at = last;; at -= step) {
		char text[UNITS_TEXT_SIZE];
		uint64_t bytes = 1ull << at;

		snprintf(text, sizeof(text), "%llu %s",
			 (unsigned long long)(bytes >> (at >= 30   ? 30
							: at >= 20 ? 20
								   : 10)),
			 at >= 30   ? "GiB"
			 : at >= 20 ? "MiB"
				    : "KiB");
		fprintf(file, "%s'%s' 2.**%u", between, labels ? text : "", at);
		between = ", ";
		if (at < first + step)
			break;
	}
	for (unsigned at = first; at <= last; at++)
		fprintf(file, ", '' 2.**%u 1", at);
	fputs(labels ? ")\nset xlabel 'working set' offset 0,0.5\n" : ")\nunset xlabel\n", file);
}

/* --- a panel --- */

/* Where the TLB's reach on this page of the guest's ends: named above the panel. */
static void put_reach(const struct bench_sweep *sweep, int guest, FILE *file)
{
	unsigned entries[BENCH_PAGES][BENCH_TLB_LEVELS];
	unsigned named = 0;

	fputs("unset arrow\n", file);
	bench_tlb_entries(entries);
	for (int level = 0; level < BENCH_TLB_LEVELS; level++) {
		uint64_t reach = entries[guest][level] * bench_page_size[guest].bytes;

		if (reach < sweep->options->least || reach > sweep->options->most)
			continue;
		fprintf(file,
			"set arrow from %llu., graph 0 to %llu., graph 1.02 nohead lw 0.7 lc rgb "
			"'#777777' dt (2,3) back\n"
			"set label %u 'L%d TLB' at %llu., graph 1.07 center font ',%d' tc rgb "
			"'#555555'\n",
			(unsigned long long)reach, (unsigned long long)reach, 10 + named, level + 1,
			(unsigned long long)reach, SMALL);
		named++;
	}
	for (; named < BENCH_TLB_LEVELS; named++)
		fprintf(file, "unset label %u\n", 10 + named);
}

static unsigned column_of(const struct bench_sweep *sweep, int guest, unsigned host)
{
	unsigned cells = 0;

	for (int g = 0; g <= guest; g++)
		for (unsigned h = 0; h <= BENCH_NATIVE && (g < guest || h < host); h++)
			cells += bench_measured(sweep, (enum bench_page)g, h) != NULL;
	return cells * COLUMNS_A_CELL;
}

/* Bands first, so that no curve lies below one. */
static void put_curves(const struct bench_sweep *sweep, const struct picture *picture, int guest,
		       bool key, FILE *file)
{
	const char *between = "plot ";

	for (unsigned host = 0; host <= BENCH_NATIVE; host++) {
		unsigned column = picture->column + column_of(sweep, guest, host);

		if (bench_measured(sweep, (enum bench_page)guest, host) == NULL)
			continue;
		fprintf(file,
			"%s'" BENCH_SCRIPT_CURVES "' using 1:%u:%u with filledcurves fc rgb '%s' "
			"fs transparent solid 0.25 noborder notitle",
			between, column + 1, column + 2, looks[host].colour);
		between = ", \\\n  ";
	}
	for (unsigned host = 0; host <= BENCH_NATIVE; host++) {
		unsigned column = picture->column + column_of(sweep, guest, host);
		bool measured = bench_measured(sweep, (enum bench_page)guest, host) != NULL;
		bool asked = host == BENCH_NATIVE || sweep->options->host[host];

		if (measured)
			fprintf(file, "%s'" BENCH_SCRIPT_CURVES "' using 1:%u", between, column);
		else if (key && asked)
			fprintf(file, "%sNaN", between);
		else
			continue;
		fprintf(file, " with linespoints lw 1.3 lc rgb '%s' dt %s pt %u ps 0.45 ",
			looks[host].colour, looks[host].dash, looks[host].mark);
		fprintf(file, key ? "title '%s'" : "notitle", looks[host].title);
		between = ", \\\n  ";
	}
	fputs("\n", file);
}

static unsigned height_of(const struct layout *layout, unsigned panels)
{
	unsigned rows = layout->stacked ? panels : 1;

	return HEAD + rows * layout->panel + (rows - 1) * layout->gap + FOOT;
}

/* A panel's place, as shares of the picture. */
static void put_margins(const struct layout *layout, unsigned at, unsigned count, FILE *file)
{
	double width = layout->width, height = height_of(layout, count);
	double left = layout->left, top = HEAD, panel = width - left - layout->right;

	if (layout->stacked) {
		top += at * (layout->panel + layout->gap);
	} else {
		panel = (panel - layout->gap * (count - 1)) / count;
		left += at * (panel + layout->gap);
	}
	fprintf(file,
		"set lmargin at screen %.4f\nset rmargin at screen %.4f\n"
		"set tmargin at screen %.4f\nset bmargin at screen %.4f\n",
		left / width, (left + panel) / width, 1 - top / height,
		1 - (top + layout->panel) / height);
}

static void put_panel(const struct bench_sweep *sweep, const struct picture *picture,
		      const struct layout *layout, int guest, unsigned at, unsigned count,
		      FILE *file)
{
	bool bottom = !layout->stacked || at + 1 == count, left = layout->stacked || at == 0;

	put_margins(layout, at, count, file);
	put_reach(sweep, guest, file);
	fprintf(file, "set label 1 'guest page %s' at graph 0.03, graph 0.92 left front\n",
		bench_page_size[guest].name);
	put_x_axis(sweep, layout, bottom, file);
	put_y_axis(sweep, picture, left, file);
	if (at == 0)
		fprintf(file,
			"set key at screen 0.5, screen %.4f center center horizontal Left reverse "
			"samplen 1.6 width -1\n",
			1 - 32.0 / height_of(layout, count));
	else
		fputs("unset key\n", file);
	put_curves(sweep, picture, guest, at == 0, file);
}

/* --- a picture --- */

/* In gnuplot's quotes. */
static void put_quoted(const char *text, FILE *file)
{
	fputc('\'', file);
	for (; *text != '\0'; text++) {
		if (*text == '\'')
			fputc('\'', file);
		fputc(*text, file);
	}
	fputc('\'', file);
}

/* At the foot: the measurement, the host, the date. */
static void put_notes(const struct bench_sweep *sweep, const char *what, unsigned height,
		      FILE *file)
{
	char text[NOTES][160];

	snprintf(text[0], sizeof(text[0]), "%s%s", sweep->processor,
		 sweep->host_is_guest ? ", itself a guest" : "");
	snprintf(text[1], sizeof(text[1]), "second layer: %s; %s", sweep->second_layer, what);
	snprintf(text[2], sizeof(text[2]), "Linux %s; bifold " BIFOLD_VERSION "; %s", sweep->kernel,
		 sweep->date);
	for (int i = 0; i < NOTES; i++) {
		fprintf(file, "set label %d ", 2 + i);
		put_quoted(text[i], file);
		fprintf(file,
			" at screen 0.02, screen %.4f left noenhanced font ',%d' tc rgb "
			"'#333333'\n",
			(NOTE * (NOTES - 1 - i) + 8.0) / height, SMALL);
	}
}

static void put_title(const char *title, const struct layout *layout, unsigned height, FILE *file)
{
	fprintf(file, "set label 5 '%s' at screen 0.5, screen %.4f center font ',%u'\n", title,
		1 - 12.0 / height, layout->font + 1);
}

static void put_terminal(const struct layout *layout, unsigned height, const char *name, FILE *file)
{
	fprintf(file,
		"reset\n"
		"set terminal svg size %u,%u fixed enhanced font 'Helvetica,%u' background rgb "
		"'white' linewidth 1\n"
		"set output '%s%s.svg'\n",
		layout->width, height, layout->font, name, layout->suffix);
}

static void put_picture(const struct bench_sweep *sweep, const struct picture *picture,
			const struct layout *layout, FILE *file)
{
	unsigned count = count_panels(sweep), at = 0, height = height_of(layout, count);

	put_terminal(layout, height, picture->name, file);
	put_title(picture->title, layout, height, file);
	put_notes(sweep, "bands: the middle half of the rounds", height, file);
	fputs("set border 3 lw 0.8\nset tics nomirror out scale 0.6,0.3\n"
	      "set grid ytics lt 1 lw 0.4 lc rgb '#dddddd'\n"
	      "set multiplot\n",
	      file);
	for (int guest = 0; guest < BENCH_PAGES; guest++) {
		if (!is_drawn(sweep, guest))
			continue;
		put_panel(sweep, picture, layout, guest, at, count, file);
		/* Those of the whole picture once. */
		if (at++ == 0)
			fputs("do for [i = 2:5] { unset label i }\n", file);
	}
	fputs("unset multiplot\n", file);
}

/* Colours from light to dark that keep their order in grey and to colour-blind eyes. */
static void put_matrix(const struct bench_sweep *sweep, const struct layout *layout, unsigned size,
		       FILE *file)
{
	unsigned height = layout->stacked ? 230 : 330;
	char title[96], text[UNITS_TEXT_SIZE];

	put_terminal(layout, height, "matrix", file);
	snprintf(title, sizeof(title), "ns an access of the chase over %s",
		 units_format_size(BENCH_LEAST << size, text));
	put_title(title, layout, height, file);
	put_notes(sweep, "x: as much as one layer", height, file);
	fprintf(file,
		"stats '" BENCH_SCRIPT_MATRIX "' using 3 nooutput\n"
		"set lmargin at screen %.4f\nset rmargin at screen 0.88\n"
		"set tmargin at screen %.4f\nset bmargin at screen %.4f\n",
		layout->stacked ? 0.18 : 0.12, 1 - 24.0 / height, 58.0 / height);
	fputs("set xrange [-0.5:3.5]\nset yrange [2.5:-0.5]\n"
	      "set xtics ('host 4K' 0, 'host 2M' 1, 'host 1G' 2, 'one layer' 3)\n"
	      "set ytics ('guest 4K' 0, 'guest 2M' 1, 'guest 1G' 2)\n"
	      "set tics scale 0 nomirror\nset border 15 lw 0.6\n"
	      "set palette defined (0 '#ffffd9', 0.25 '#c7e9b4', 0.5 '#41b6c4', 0.75 '#225ea8', "
	      "1 '#081d58')\n"
	      "low = STATS_min / 1.05\nhigh = STATS_max * 1.05\n"
	      "set logscale cb\nset cbrange [low:high]\n"
	      "ns(v) = sprintf(v < 100 ? '%.1f' : '%.0f', v)\n"
	      "set cbtics (ns(STATS_min) STATS_min, ns(STATS_max) STATS_max) font ',8' offset "
	      "-0.8,0\n"
	      "is_dark(v) = log(v / low) > 0.62 * log(high / low)\n"
	      "one(v, w) = w > 0 ? sprintf(\"%s\\n%.2f x\", ns(v), w) : ns(v)\n"
	      "plot '" BENCH_SCRIPT_MATRIX "' using 1:2:3 with image pixels notitle, \\\n"
	      "  '' using 1:2:(strcol(3) eq 'NaN' || is_dark($3) ? '' : one($3, $4)) with labels "
	      "offset 0,0.4 tc rgb 'black' notitle, \\\n"
	      "  '' using 1:2:(strcol(3) ne 'NaN' && is_dark($3) ? one($3, $4) : '') with labels "
	      "offset 0,0.4 tc rgb 'white' notitle, \\\n"
	      "  '' using 1:2:(strcol(3) eq 'NaN' ? \"not\\nmeasured\" : '') with labels font "
	      "',8' offset 0,0.4 tc rgb '#777777' notitle\n",
	      file);
}

void bench_script_write(const struct bench_sweep *sweep, unsigned size, FILE *file)
{
	static const struct picture pictures[] = {
		{ "chase", "A dependent chase, one line in each 4 KiB", 2, false },
		{ "translation", "Translation: the chase less the same lines packed", 5, true },
	};

	fputs("# Made by bifold bench translation; run it here with gnuplot to draw again.\n"
	      "set encoding utf8\n",
	      file);
	for (size_t i = 0; i < LAYOUT_COUNT; i++) {
		put_picture(sweep, &pictures[0], &layouts[i], file);
		if (sweep->options->loop[BENCH_PACKED])
			put_picture(sweep, &pictures[1], &layouts[i], file);
		put_matrix(sweep, &layouts[i], size, file);
	}
}

/*
 * Pictures, by gnuplot. Its data and its script stay beside them in the directory, so that a
 * picture can be changed and made again without measuring again:
 *
 *   chase.svg        cost of an access against the working set, a curve a pair of pages
 *   translation.svg  the same less the packed chase: what translation costs
 *   matrix.svg       the pairs as a heat map, at the largest working set
 */
#include <errno.h>
#include <math.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/units.h"
#include "vmm/bench_output.h"
#include "vmm/bench_tlb.h"

#define SCRIPT "translation.gp"
#define CURVES "translation.dat"
#define MATRIX "matrix.dat"

extern char **environ;

/* Colours that differ in print and to colour-blind eyes: the guest's page; and a dash and a mark
 * for what it lies on. */
static const char *const colour[BENCH_PAGES] = { "#c1272d", "#0072b2", "#007a3d" };

static FILE *create_in(const char *directory, const char *name)
{
	char *path;
	FILE *file;

	if (asprintf(&path, "%s/%s", directory, name) < 0)
		return NULL;
	file = fopen(path, "we");
	if (file == NULL)
		log_error("%s: %m", path);
	free(path);
	return file;
}

/* 0 or -errno, and the file is closed. */
static int finish_file(FILE *file, const char *name)
{
	int error = ferror(file) != 0 ? -EIO : 0;

	if (fclose(file) != 0 && error == 0)
		error = -errno;
	if (error != 0)
		log_error("%s: %s", name, strerror(-error));
	return error;
}

/* --- data --- */

static void put_value(FILE *file, double value)
{
	if (isnan(value))
		fputs(" NaN", file);
	else
		fprintf(file, " %.3f", value);
}

/* A row a working set: bytes, then for each measured cell chase and chase less packed. */
static int write_curves(const struct bench_sweep *sweep, const char *directory)
{
	FILE *file = create_in(directory, CURVES);

	if (file == NULL)
		return -EIO;
	for (unsigned size = 0; size < BENCH_SIZES; size++) {
		if (BENCH_LEAST << size < sweep->options->least ||
		    BENCH_LEAST << size > sweep->options->most)
			continue;
		fprintf(file, "%llu", BENCH_LEAST << size);
		for (int guest = 0; guest < BENCH_PAGES; guest++) {
			for (unsigned host = 0; host <= BENCH_NATIVE; host++) {
				const struct bench_cell *cell =
					bench_measured(sweep, (enum bench_page)guest, host);

				if (cell == NULL)
					continue;
				put_value(file, bench_cell_ns(cell, BENCH_CHASE, size));
				put_value(file, bench_cell_ns(cell, BENCH_CHASE, size) -
							bench_cell_ns(cell, BENCH_PACKED, size));
			}
		}
		fputc('\n', file);
	}
	return finish_file(file, CURVES);
}

/* Columns: the host's pages and then the one layer; rows: the guest's. */
static int write_matrix(const struct bench_sweep *sweep, unsigned size, const char *directory)
{
	FILE *file = create_in(directory, MATRIX);

	if (file == NULL)
		return -EIO;
	for (int guest = 0; guest < BENCH_PAGES; guest++) {
		for (unsigned host = 0; host <= BENCH_NATIVE; host++) {
			const struct bench_cell *cell =
				bench_measured(sweep, (enum bench_page)guest, host);

			fprintf(file, "%u %d", host, guest);
			put_value(file,
				  cell == NULL ? NAN : bench_cell_ns(cell, BENCH_CHASE, size));
			fputc('\n', file);
		}
		fputc('\n', file);
	}
	return finish_file(file, MATRIX);
}

/* --- script --- */

/* Where the TLB's reach on small pages ends; more would be a thicket. */
static void put_reach(FILE *file)
{
	unsigned entries[BENCH_PAGES][BENCH_TLB_LEVELS];
	char text[UNITS_TEXT_SIZE];

	bench_tlb_entries(entries);
	for (int page = 0; page <= BENCH_2M; page++) {
		for (int level = 0; level < BENCH_TLB_LEVELS; level++) {
			uint64_t reach = entries[page][level] * bench_page_size[page].bytes;

			if (reach == 0)
				continue;
			fprintf(file,
				"if (%llu. <= most) {\n"
				"  set arrow from %llu., graph 0 to %llu., graph 1 nohead lt 1 lw "
				"1 lc rgb "
				"'#888888' dt (2,4)\n"
				"  set label 'L%d TLB, %s pages: %s' at %llu., graph 0.98 right "
				"rotate by 90 "
				"offset -0.6,0 font ',10' tc rgb '#555555'\n}\n",
				(unsigned long long)reach, (unsigned long long)reach,
				(unsigned long long)reach, level + 1, bench_page_size[page].name,
				units_format_size(reach, text), (unsigned long long)reach);
		}
	}
}

/* The curves of one picture: column 2 is the first cell's chase, 3 its translation. */
static void put_plot(const struct bench_sweep *sweep, unsigned first, FILE *file)
{
	const char *between = "plot ";
	unsigned column = first;

	for (int guest = 0; guest < BENCH_PAGES; guest++) {
		for (unsigned host = 0; host <= BENCH_NATIVE; host++) {
			bool native = host == BENCH_NATIVE;

			if (bench_measured(sweep, (enum bench_page)guest, host) == NULL)
				continue;
			fprintf(file,
				"%s'" CURVES
				"' using 1:%u with linespoints lw 2 lc rgb '%s' dt %u pt %u ps "
				"0.6 title '%s%s%s'",
				between, column, colour[guest], native ? 2u : 1u,
				native		   ? 6u
				: host == BENCH_4K ? 7u
				: host == BENCH_2M ? 5u
						   : 9u,
				bench_page_size[guest].name, native ? ", one layer" : " on ",
				native ? "" : bench_page_size[host].name);
			between = ", \\\n  ";
			column += 2;
		}
	}
	fputs("\n", file);
}

static void put_tics(const struct bench_sweep *sweep, FILE *file)
{
	for (uint64_t bytes = sweep->options->least, i = 0; bytes <= sweep->options->most;
	     bytes *= 4, i++)
		fprintf(file, "%s'%llu %s' %llu.", i > 0 ? ", " : "",
			(unsigned long long)(bytes < MIB(1)   ? bytes >> 10
					     : bytes < GIB(1) ? bytes >> 20
							      : bytes >> 30),
			bytes < MIB(1)	 ? "KiB"
			: bytes < GIB(1) ? "MiB"
					 : "GiB",
			(unsigned long long)bytes);
}

static void put_curves(const struct bench_sweep *sweep, FILE *file)
{
	fprintf(file,
		"set terminal svg size 900,560 font 'Helvetica,13' background rgb 'white'\n"
		"set logscale x 2\n"
		"set xrange [%llu.:%llu.]\n"
		"most = %llu.\n"
		"set yrange [0:*]\n"
		"set xlabel 'working set'\n"
		"set ylabel 'ns an access'\n"
		"set grid ytics lt 1 lw 0.5 lc rgb '#dddddd'\n"
		"set border 3\n"
		"set tics nomirror out\n"
		"set key outside right top vertical Left reverse samplen 3 title 'guest page on "
		"host "
		"page'\n"
		"set xtics (",
		(unsigned long long)sweep->options->least, (unsigned long long)sweep->options->most,
		(unsigned long long)sweep->options->most);
	put_tics(sweep, file);
	fputs(")\n", file);
	put_reach(file);
	fprintf(file,
		"set output 'chase.svg'\n"
		"set title 'A dependent chase, one line in each 4 KiB (second layer: %s)'\n",
		sweep->second_layer);
	put_plot(sweep, 2, file);
	if (!sweep->options->loop[BENCH_PACKED])
		return;
	fprintf(file,
		"set output 'translation.svg'\n"
		"set title 'The same less the chase over packed lines: translation (second layer: "
		"%s)'\n",
		sweep->second_layer);
	put_plot(sweep, 3, file);
}

static void put_heat_map(const struct bench_sweep *sweep, unsigned size, FILE *file)
{
	char text[UNITS_TEXT_SIZE];

	fprintf(file,
		"reset\n"
		"set terminal svg size 640,460 font 'Helvetica,13' background rgb 'white'\n"
		"set output 'matrix.svg'\n"
		"set title 'ns an access of the chase over %s (second layer: %s)'\n"
		"set xrange [-0.5:3.5]\nset yrange [2.5:-0.5]\n"
		"set xtics ('host 4K' 0, 'host 2M' 1, 'host 1G' 2, 'one layer' 3)\n"
		"set ytics ('guest 4K' 0, 'guest 2M' 1, 'guest 1G' 2)\n"
		"set tics scale 0\n"
		"set palette defined (0 '#fff7ec', 1 '#fdbb84', 2 '#d7301f')\n"
		"set cblabel 'ns'\n"
		"set cbrange [0:*]\n"
		"set border 15 lw 0.5\n"
		"plot '" MATRIX "' using 1:2:3 with image notitle, \\\n"
		"  '' using 1:2:(strcol(3) eq 'NaN' ? '' : sprintf('%%.1f', $3)) with labels font "
		"',13' "
		"notitle, \\\n"
		"  '' using 1:2:(strcol(3) eq 'NaN' ? 'not measured' : '') with labels font ',9' "
		"tc rgb "
		"'#777777' "
		"notitle\n",
		units_format_size(BENCH_LEAST << size, text), sweep->second_layer);
}

static int write_script(const struct bench_sweep *sweep, unsigned size, const char *directory)
{
	FILE *file = create_in(directory, SCRIPT);

	if (file == NULL)
		return -EIO;
	fputs("# Made by bifold bench translation; run it here with gnuplot to draw again.\n"
	      "set encoding utf8\n",
	      file);
	put_curves(sweep, file);
	put_heat_map(sweep, size, file);
	return finish_file(file, SCRIPT);
}

/* --- gnuplot --- */

static int draw(const char *directory)
{
	char *const words[] = { (char *)"gnuplot", (char *)SCRIPT, NULL };
	posix_spawn_file_actions_t actions;
	int status = 0, error;
	pid_t pid;

	posix_spawn_file_actions_init(&actions);
	error = posix_spawn_file_actions_addchdir_np(&actions, directory);
	if (error == 0)
		error = posix_spawnp(&pid, words[0], &actions, NULL, words, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (error != 0) {
		log_error("gnuplot: %s; the data and " SCRIPT
			  " for it are in %s (tools/setup --plots installs it)",
			  strerror(error), directory);
		return -error;
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (status == 0)
		return 0;
	log_error("gnuplot failed; the data and " SCRIPT " for it are in %s", directory);
	return -EIO;
}

int bench_plot(const struct bench_sweep *sweep, const char *directory)
{
	int size = bench_largest_size(sweep), error;

	if (size < 0) {
		log_error("--plot: nothing was measured");
		return -ENODATA;
	}
	if (mkdir(directory, 0777) != 0 && errno != EEXIST) {
		error = -errno;
		log_error("%s: %m", directory);
		return error;
	}
	error = write_curves(sweep, directory);
	if (error == 0)
		error = write_matrix(sweep, (unsigned)size, directory);
	if (error == 0)
		error = write_script(sweep, (unsigned)size, directory);
	if (error == 0)
		error = draw(directory);
	return error;
}

/*
 * Pictures, by gnuplot. Its data and its script (vmm/bench/script.c) stay beside them in the
 * directory, so that a picture can be changed and made again without measuring again.
 */
#include <errno.h>
#include <math.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "vmm/bench/output.h"
#include "vmm/bench/script.h"

#define SCRIPT "translation.gp"
#define CURVES BENCH_SCRIPT_CURVES
#define MATRIX BENCH_SCRIPT_MATRIX

extern char **environ;

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

/* Chase, and chase less packed: each as median, and where the middle half of the rounds lies. */
static void put_cell(const struct bench_cell *cell, unsigned size, FILE *file)
{
	struct bench_range chase, translation;

	bench_script_ranges(cell, size, &chase, &translation);
	put_value(file, chase.median);
	put_value(file, chase.low);
	put_value(file, chase.high);
	put_value(file, translation.median);
	put_value(file, translation.low);
	put_value(file, translation.high);
}

/* A row a working set: its bytes, then six columns for each measured cell. */
static int write_curves(const struct bench_sweep *sweep, const char *directory)
{
	FILE *file = create_in(directory, CURVES);

	if (file == NULL)
		return -EIO;
	fputs("# bytes", file);
	for (int guest = 0; guest < BENCH_PAGES; guest++)
		for (unsigned host = 0; host <= BENCH_NATIVE; host++)
			if (bench_measured(sweep, (enum bench_page)guest, host) != NULL)
				fprintf(file, " | %s/%s: chase low high translation low high",
					bench_page_size[guest].name,
					host == BENCH_NATIVE ? "none" : bench_page_size[host].name);
	fputc('\n', file);
	for (unsigned size = 0; size < BENCH_SIZES; size++) {
		if (BENCH_LEAST << size < sweep->options->least ||
		    BENCH_LEAST << size > sweep->options->most)
			continue;
		fprintf(file, "%llu", BENCH_LEAST << size);
		for (int guest = 0; guest < BENCH_PAGES; guest++)
			for (unsigned host = 0; host <= BENCH_NATIVE; host++)
				if (bench_measured(sweep, (enum bench_page)guest, host) != NULL)
					put_cell(&sweep->cell[guest][host], size, file);
		fputc('\n', file);
	}
	return finish_file(file, CURVES);
}

/* A row a cell: column (the host's pages, then the one layer), row (the guest's), ns, and how often
 * the one layer's that is; 0: that is the cell itself, or one of them was not measured. */
static int write_matrix(const struct bench_sweep *sweep, unsigned size, const char *directory)
{
	FILE *file = create_in(directory, MATRIX);

	if (file == NULL)
		return -EIO;
	for (int guest = 0; guest < BENCH_PAGES; guest++) {
		const struct bench_cell *native =
			bench_measured(sweep, (enum bench_page)guest, BENCH_NATIVE);
		double base = native != NULL ? bench_cell_ns(native, BENCH_CHASE, size) : NAN;

		for (unsigned host = 0; host <= BENCH_NATIVE; host++) {
			const struct bench_cell *cell =
				bench_measured(sweep, (enum bench_page)guest, host);
			double ns = cell != NULL ? bench_cell_ns(cell, BENCH_CHASE, size) : NAN;

			fprintf(file, "%u %d", host, guest);
			put_value(file, ns);
			put_value(file, host == BENCH_NATIVE || isnan(ns / base) ? 0 : ns / base);
			fputc('\n', file);
		}
		fputc('\n', file);
	}
	return finish_file(file, MATRIX);
}

static int write_script(const struct bench_sweep *sweep, unsigned size, const char *directory)
{
	FILE *file = create_in(directory, SCRIPT);

	if (file == NULL)
		return -EIO;
	bench_script_write(sweep, size, file);
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

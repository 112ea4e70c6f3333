/*
 * bifold bench: the benches, and their common parts: signals, and where figures go.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "vmm/common/arguments.h"
#include "vmm/bench/output.h"
#include "vmm/common/file.h"
#include "vmm/common/commands.h"

static volatile sig_atomic_t interrupted; /* the signal's number */

static void interrupt(int signal)
{
	interrupted = signal;
}

static void catch_signals(void)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction action = { .sa_handler = interrupt };

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaction(signals[i], &action, NULL);
	signal(SIGPIPE, SIG_IGN);
}

static int write_csv(const struct bench_sweep *sweep, FILE *file)
{
	bench_write_csv(sweep, file);
	return 0;
}

static int write_table(const struct bench_sweep *sweep, FILE *file)
{
	bench_print_table(sweep, file);
	return 0;
}

typedef int write_fn(const struct bench_sweep *sweep, FILE *file);

static int write_to(const struct bench_sweep *sweep, struct file_output *output, write_fn *write)
{
	int error;

	if (output->path == NULL)
		return 0;
	error = file_begin(output);
	return error != 0 ? error : file_end(output, write(sweep, output->file));
}

static int tell(const struct bench_sweep *sweep, struct bench_options *options)
{
	struct file_output table = { .path = "-", .file = stdout };
	int error = 0;

	if (options->json.file != stdout && options->csv.file != stdout)
		error = write_to(sweep, &table, write_table);
	if (error == 0)
		error = write_to(sweep, &options->json, bench_write_json);
	if (error == 0)
		error = write_to(sweep, &options->csv, write_csv);
	if (error == 0 && options->plot != NULL)
		error = bench_plot(sweep, options->plot);
	return error;
}

static int bench_translation(int argc, char **argv)
{
	struct bench_options options;
	struct bench_sweep *sweep;
	int error = bench_options_parse(&options, argc, argv), status = 0;

	if (error != 0)
		return error > 0 ? 0 : STATUS_FAILED;
	sweep = malloc(sizeof(*sweep));
	if (sweep == NULL)
		return STATUS_FAILED;
	catch_signals();
	error = bench_sweep_run(sweep, &options, &interrupted);
	if (error == -EINTR) {
		log_error("stopped by %s", strsignal(interrupted));
		status = 128 + interrupted;
	} else if (error == -EBADMSG) {
		log_error("memory did not hold what was put there: no figures");
		status = STATUS_NO;
	} else if (error != 0 || tell(sweep, &options) != 0) {
		status = STATUS_FAILED;
	}
	bench_sweep_finish(sweep);
	bench_options_finish(&options);
	free(sweep);
	return status;
}

static const struct bench {
	const char *name;
	const char *summary;
	int (*run)(int argc, char **argv);
} benches[] = {
	{ "translation", "what the translation of addresses costs, by the sizes of pages",
	  bench_translation },
};
#define BENCH_COUNT (sizeof(benches) / sizeof(benches[0]))

static void print_help(FILE *file)
{
	fputs("Usage: bifold bench NAME [OPTION...]\n\n", file);
	for (size_t i = 0; i < BENCH_COUNT; i++)
		fprintf(file, "  %-12s %s\n", benches[i].name, benches[i].summary);
	fputs("\n  -h, --help   this text; 'bifold bench NAME --help' says more\n", file);
}

static int complain(const char *word)
{
	const char *names[BENCH_COUNT + 2] = { "--help" }, *nearest; /* and NULL */

	for (size_t i = 0; i < BENCH_COUNT; i++)
		names[i + 1] = benches[i].name;
	nearest = arguments_nearest(word, names, sizeof(*names));
	if (nearest != NULL)
		log_error("'%s' is no bench: did you mean '%s'?", word, nearest);
	else
		log_error("'%s' is no bench: try 'bifold bench --help'", word);
	return STATUS_USAGE;
}

int command_bench(int argc, char **argv)
{
	if (argc < 2) {
		print_help(stderr);
		return STATUS_FAILED;
	}
	for (size_t i = 0; i < BENCH_COUNT; i++)
		if (strcmp(argv[1], benches[i].name) == 0)
			return benches[i].run(argc - 1, argv + 1);
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		print_help(stdout);
		return 0;
	}
	return complain(argv[1]);
}

#include "vmm/bench/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/units.h"
#include "vmm/common/arguments.h"
#include "vmm/common/file.h"
#include "vmm/common/path.h"

#define MOST_DEFAULT	 GIB(1)
#define ROUNDS_DEFAULT	 4
#define ROUNDS_MOST	 64
#define PASSES_DEFAULT	 10
#define ACCESSES_DEFAULT 65536
#define EVENTS_DEFAULT	 200
#define EVENTS_MOST	 4096
#define TIMEOUT_DEFAULT	 120

enum {
	OPTION_GUEST = 256,
	OPTION_HOST,
	OPTION_LOOPS,
	OPTION_LEAST,
	OPTION_MOST,
	OPTION_ROUNDS,
	OPTION_PASSES,
	OPTION_ACCESSES,
	OPTION_EVENTS,
	OPTION_TIMEOUT,
	OPTION_RESERVE,
	OPTION_JSON,
	OPTION_CSV,
	OPTION_PLOT,
};

static const struct option long_options[] = {
	{ "guest-pages", required_argument, NULL, OPTION_GUEST },
	{ "host-pages", required_argument, NULL, OPTION_HOST },
	{ "loops", required_argument, NULL, OPTION_LOOPS },
	{ "least", required_argument, NULL, OPTION_LEAST },
	{ "most", required_argument, NULL, OPTION_MOST },
	{ "rounds", required_argument, NULL, OPTION_ROUNDS },
	{ "passes", required_argument, NULL, OPTION_PASSES },
	{ "accesses", required_argument, NULL, OPTION_ACCESSES },
	{ "events", required_argument, NULL, OPTION_EVENTS },
	{ "timeout", required_argument, NULL, OPTION_TIMEOUT },
	{ "reserve", no_argument, NULL, OPTION_RESERVE },
	{ "json", optional_argument, NULL, OPTION_JSON },
	{ "csv", optional_argument, NULL, OPTION_CSV },
	{ "plot", required_argument, NULL, OPTION_PLOT },
	{ "quiet", no_argument, NULL, 'q' },
	{ "verbose", no_argument, NULL, 'v' },
	{ "help", no_argument, NULL, 'h' },
	{ 0 },
};

static void print_help(void)
{
	fputs("Usage: bifold bench translation [OPTION...]\n"
	      "\n"
	      "Measure what the translation of addresses costs a program in a guest, for each\n"
	      "size of page of the guest on each of the host, beside the same program run on\n"
	      "the host itself.\n"
	      "\n"
	      "  --guest-pages LIST   of 4K, 2M, 1G (default: all)\n"
	      "  --host-pages LIST    of 4K, 2M, 1G (default: all; what the host lacks is said)\n"
	      "  --reserve            set missing huge pages aside meanwhile (needs root)\n"
	      "  --least SIZE, --most SIZE  working sets, powers of two (default 64K to 1G)\n"
	      "  --loops LIST         of chase, packed, stride, touch, scan (default: all but\n"
	      "                       scan)\n"
	      "  --rounds N           measurements of each in a run (default 4)\n"
	      "  --passes N           runs of each; of sets above 64M the first 2 (default 10)\n"
	      "  --accesses N         of a round, at least (default 65536)\n"
	      "  --events N           how often each event is timed; 0: not at all (default\n"
	      "                       200)\n"
	      "  --timeout SECONDS    of each run (default 120)\n"
	      "  --json[=FILE], --csv[=FILE]  the figures in that form, in the table's place or\n"
	      "                       to FILE\n"
	      "  --plot DIR           SVG pictures, by gnuplot\n"
	      "  -q, --quiet          say nothing but errors\n"
	      "  -v, --verbose        say more\n"
	      "  -h, --help           this text\n",
	      stdout);
}

static int complain(const char *option, const char *value, const char *expected)
{
	log_error("%s '%s': expected %s", option, value, expected);
	return -EINVAL;
}

static const char *page_name(int page)
{
	return bench_page_size[page].name;
}

static const char *loop_name(int loop)
{
	return bench_loop_name[loop];
}

/* "A,B": sets those of `count` flags whose names it has. */
static int parse_list(const char *option, const char *value, bool *flag, int count,
		      const char *(*name_of)(int index))
{
	memset(flag, 0, (size_t)count * sizeof(*flag));
	for (const char *at = value;; at++) {
		size_t length = strcspn(at, ",");
		int i = 0;

		while (i < count &&
		       (strlen(name_of(i)) != length || strncasecmp(name_of(i), at, length) != 0))
			i++;
		if (i == count)
			return complain(option, value,
					count == BENCH_PAGES
						? "some of 4K,2M,1G"
						: "some of chase,packed,stride,touch,scan");
		flag[i] = true;
		at += length;
		if (*at == '\0')
			return 0;
	}
}

static int parse_set(const char *option, const char *value, uint64_t *bytes)
{
	int error = units_parse_size(value, bytes);

	if (error != 0 || *bytes < BENCH_LEAST || (*bytes & (*bytes - 1)) != 0 ||
	    *bytes > BENCH_LEAST << (BENCH_SIZES - 1))
		return complain(option, value, "a power of two from 64K to 32G");
	return 0;
}

static int parse_number(const char *option, const char *value, unsigned least, unsigned most,
			unsigned *number)
{
	char expected[64], *end;
	unsigned long parsed = strtoul(value, &end, 10);

	snprintf(expected, sizeof(expected), "a number from %u to %u", least, most);
	if (*value < '0' || *value > '9' || *end != '\0' || parsed < least || parsed > most)
		return complain(option, value, expected);
	*number = (unsigned)parsed;
	return 0;
}

static int parse_one(struct bench_options *options, int option, const char *value)
{
	switch (option) {
	case OPTION_GUEST:
		return parse_list("--guest-pages", value, options->guest, BENCH_PAGES, page_name);
	case OPTION_HOST:
		return parse_list("--host-pages", value, options->host, BENCH_PAGES, page_name);
	case OPTION_LOOPS:
		return parse_list("--loops", value, options->loop, BENCH_LOOPS, loop_name);
	case OPTION_LEAST:
		return parse_set("--least", value, &options->least);
	case OPTION_MOST:
		return parse_set("--most", value, &options->most);
	case OPTION_ROUNDS:
		return parse_number("--rounds", value, 1, ROUNDS_MOST, &options->rounds);
	case OPTION_PASSES:
		return parse_number("--passes", value, 1, 1000, &options->passes);
	case OPTION_ACCESSES:
		return parse_number("--accesses", value, 1, 1u << 30, &options->accesses);
	case OPTION_EVENTS:
		return parse_number("--events", value, 0, EVENTS_MOST, &options->events);
	case OPTION_TIMEOUT:
		return parse_number("--timeout", value, 1, 1000000, &options->timeout_seconds);
	case OPTION_RESERVE:
		options->reserve = true;
		return 0;
	case OPTION_JSON:
		options->json.path = value != NULL ? value : "-";
		return 0;
	case OPTION_CSV:
		options->csv.path = value != NULL ? value : "-";
		return 0;
	case OPTION_PLOT:
		options->plot = value;
		return 0;
	case 'q':
		log_set_verbosity(LOG_QUIET);
		return 0;
	case 'v':
		log_set_verbosity(log_verbosity() < 0 ? 1 : log_verbosity() + 1);
		return 0;
	case 'h':
		print_help();
		return 1;
	default:
		return -EINVAL;
	}
}

/* Before anything is measured. */
static int check_plot(const char *folder)
{
	static const char *const pictures[] = { ".svg", ".png", ".pdf" };
	size_t length = strlen(folder);
	char *gnuplot;

	if (strcmp(folder, "-") == 0) {
		log_error("--plot -: it is a folder, which gets several pictures");
		return -EINVAL;
	}
	for (size_t i = 0; i < sizeof(pictures) / sizeof(pictures[0]); i++) {
		if (length > 4 && strcasecmp(folder + length - 4, pictures[i]) == 0) {
			log_error("--plot %s: it is a folder, which gets several pictures: name it "
				  "%.*s",
				  folder, (int)length - 4, folder);
			return -EINVAL;
		}
	}
	if (arguments_check_folder("--plot", folder) != 0)
		return -EINVAL;
	gnuplot = path_search("gnuplot");
	if (gnuplot == NULL)
		log_warn("gnuplot is not in PATH (tools/setup --plots installs it): %s will have "
			 "the "
			 "data and a script for it, but no picture",
			 folder);
	free(gnuplot);
	return 0;
}

static bool is_standard(const struct file_output *output)
{
	return output->path != NULL && strcmp(output->path, "-") == 0;
}

static int settle(struct bench_options *options)
{
	if (options->least > options->most) {
		log_error("--least is more than --most");
		return -EINVAL;
	}
	if (is_standard(&options->json) && is_standard(&options->csv)) {
		log_error("--json and --csv cannot both have the standard output: give one a FILE");
		return -EINVAL;
	}
	if (options->plot != NULL && check_plot(options->plot) != 0)
		return -EINVAL;
	if (options->json.path != NULL && file_open_output(options->json.path, &options->json) != 0)
		return -EINVAL;
	if (options->csv.path != NULL && file_open_output(options->csv.path, &options->csv) != 0)
		return -EINVAL;
	options->loop[BENCH_CHASE] = true; /* what all else is compared with */
	return 0;
}

int bench_options_parse(struct bench_options *options, int argc, char **argv)
{
	static char whole[] = "bench translation"; /* what it is called */
	int option, result = 0;

	argv[0] = whole;
	*options = (struct bench_options){
		.guest = { true, true, true },
		.host = { true, true, true },
		.loop = { [BENCH_CHASE] = true,
			  [BENCH_PACKED] = true,
			  [BENCH_STRIDE] = true,
			  [BENCH_TOUCH] = true },
		.least = BENCH_LEAST,
		.most = MOST_DEFAULT,
		.rounds = ROUNDS_DEFAULT,
		.passes = PASSES_DEFAULT,
		.accesses = ACCESSES_DEFAULT,
		.events = EVENTS_DEFAULT,
		.timeout_seconds = TIMEOUT_DEFAULT,
	};
	optind = 0;
	while (result == 0 && (option = arguments_next(argc, argv, "qvh", long_options)) != -1)
		result = parse_one(options, option, optarg);
	if (result == 0)
		result = arguments_expect(argc, argv, "");
	if (result == 0)
		result = settle(options);
	return result;
}

void bench_options_finish(struct bench_options *options)
{
	file_end(&options->json, 0);
	file_end(&options->csv, 0);
}

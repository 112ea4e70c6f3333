#include "vmm/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "base/units.h"
#include "guest/abi.h"
#include "vmm/common/arguments.h"
#include "vmm/common/path.h"
#include "policy/table.h"

#define MEMORY_DEFAULT MIB(256)
#define MEMORY_LEAST   MIB(4)
#define MEMORY_MOST    GIB(1024)

enum {
	OPTION_MEMORY = 256,
	OPTION_BUDGET,
	OPTION_CPUS,
	OPTION_APPEND,
	OPTION_SWAP,
	OPTION_SWAP_SIZE,
	OPTION_ON_FULL,
	OPTION_COMPRESSOR,
	OPTION_POLICY,
	OPTION_WATCH,
	OPTION_FILE,
	OPTION_REPORT,
	OPTION_CONTROL,
	OPTION_TIMEOUT,
	OPTION_KERNEL,
	OPTION_INITRD,
	OPTION_FORCE,
	OPTION_DISK,
	OPTION_NO_BALLOON,
	OPTION_NO_REPORTING,
	OPTION_AUTO_BALLOON,
	OPTION_UNMANAGED,
	OPTION_NESTED,
	OPTION_VERSION,
};

static const struct option long_options[] = {
	{ "memory", required_argument, NULL, OPTION_MEMORY },
	{ "budget", required_argument, NULL, OPTION_BUDGET },
	{ "cpus", required_argument, NULL, OPTION_CPUS },
	{ "append", required_argument, NULL, OPTION_APPEND },
	{ "swap", required_argument, NULL, OPTION_SWAP },
	{ "swap-size", required_argument, NULL, OPTION_SWAP_SIZE },
	{ "on-full", required_argument, NULL, OPTION_ON_FULL },
	{ "compressor", required_argument, NULL, OPTION_COMPRESSOR },
	{ "policy", required_argument, NULL, OPTION_POLICY },
	{ "watch", required_argument, NULL, OPTION_WATCH },
	{ "file", required_argument, NULL, OPTION_FILE },
	{ "report", required_argument, NULL, OPTION_REPORT },
	{ "control", required_argument, NULL, OPTION_CONTROL },
	{ "timeout", required_argument, NULL, OPTION_TIMEOUT },
	{ "kernel", required_argument, NULL, OPTION_KERNEL },
	{ "initrd", required_argument, NULL, OPTION_INITRD },
	{ "force", no_argument, NULL, OPTION_FORCE },
	{ "disk", required_argument, NULL, OPTION_DISK },
	{ "no-balloon", no_argument, NULL, OPTION_NO_BALLOON },
	{ "no-reporting", no_argument, NULL, OPTION_NO_REPORTING },
	{ "auto-balloon", no_argument, NULL, OPTION_AUTO_BALLOON },
	{ "unmanaged", no_argument, NULL, OPTION_UNMANAGED },
	{ "nested", no_argument, NULL, OPTION_NESTED },
	{ "quiet", no_argument, NULL, 'q' },
	{ "verbose", no_argument, NULL, 'v' },
	{ "version", no_argument, NULL, OPTION_VERSION },
	{ "help", no_argument, NULL, 'h' },
	{ 0 },
};

static void print_help(void)
{
	fputs("Usage: bifold run [OPTION...] [--] [PROGRAM [ARG...]]\n"
	      "       bifold run --kernel FILE [--initrd FILE] [OPTION...]\n"
	      "\n"
	      "Run PROGRAM, a static x86-64 Linux program of this host, in a virtual machine\n"
	      "whose memory bifold itself pages, compresses and swaps, inside a budget. Without\n"
	      "PROGRAM: a demo that fills four times its budget, reads it back and checks every\n"
	      "page. With --kernel and no PROGRAM: a stock kernel, with the terminal as its\n"
	      "console; Ctrl-A x ends it.\n"
	      "\n"
	      "  --memory SIZE           the guest's memory (default 256M)\n"
	      "  --budget SIZE|PERCENT   what the guest may hold of the host's memory, the\n"
	      "                          compressed pool and the tables included (default: no\n"
	      "                          limit)\n"
	      "  --cpus N                the guest's processors, 1 to 8 (default 1)\n"
	      "  --append WORDS          options for the guest's kernel, such as 'swap=8M\n"
	      "                          policy=fifo'; a stock one's command line (default\n"
	      "                          console=ttyS0)\n"
	      "  --swap DIR|none         where the swap file goes (default: $TMPDIR or\n"
	      "                          /var/tmp)\n"
	      "  --swap-size SIZE        the most the swap file may hold (default: the guest's\n"
	      "                          memory)\n"
	      "  --on-full pause|stop    when the swap file's disk is full: wait a minute for\n"
	      "                          room (default), or stop at once\n"
	      "  --compressor NAME       lz4 (default), zstd or none\n"
	      "  --policy NAME[,OPT=VAL...]  which pages go first:\n",
	      stdout);
	for (size_t i = 0; mm_policies[i] != NULL; i++)
		arguments_print_words(stdout, mm_policies[i]->summary,
				      printf("%26s%-7s ", "", mm_policies[i]->name));
	fputs("  --watch auto|scan|notice\n"
	      "                          how touches of watched pages become known: the host\n"
	      "                          kernel serves them, and bifold looks for them later\n"
	      "                          (scan), or each is a fault (notice); auto (default):\n"
	      "                          scan, where this host can\n"
	      "  --file HOST[:GUEST]     put this file into the guest's root, too (default\n"
	      "                          name: its own, in /); may be repeated\n"
	      "  --disk FILE[,ro]        a raw file or a block device as a disk, /dev/vda; may\n"
	      "                          be repeated\n"
	      "  --no-balloon            no balloon, by which the guest could be asked for\n"
	      "                          memory\n"
	      "  --no-reporting          the guest does not tell which of its pages are free\n"
	      "  --auto-balloon          ask the guest for the memory that it can spare, and\n"
	      "                          give it back in time\n"
	      "  --report FILE           write what happened as JSON; -: to standard output\n"
	      "  --control PATH          answer questions on this socket, such as those of\n"
	      "                          'bifold translate'\n"
	      "  --timeout SECONDS       stop the guest after that long (exit status 124)\n"
	      "  --unmanaged             leave the guest's memory to the host kernel, to\n"
	      "                          compare\n"
	      "  --nested                the guest may use the processor's virtualization\n"
	      "                          (needs --unmanaged)\n"
	      "  --kernel FILE           boot this kernel: quire's interface for PROGRAM; a\n"
	      "                          stock one is Linux (bzImage, or an ELF with a PVH\n"
	      "                          entry) or Multiboot 1\n"
	      "  --initrd FILE           a stock kernel's initrd, or module\n"
	      "  --force                 try a stock kernel where ring 0 is emulated\n"
	      "  -q, --quiet             say nothing but errors\n"
	      "  -v, --verbose           say more; twice: still more\n"
	      "  --version               the version\n"
	      "  -h, --help              this text\n"
	      "\n"
	      "Sizes: 512M, 1.5G, 1048576. The exit status is PROGRAM's, or 0 when a stock\n"
	      "guest has switched itself off; 123: it has reset itself; 128+N: signal N killed\n"
	      "it; 124: time ran out; 125: bifold failed; 126: PROGRAM cannot be run; 127: not\n"
	      "found.\n",
	      stdout);
}

static int complain(const char *option, const char *value, const char *expected)
{
	log_error("%s '%s': expected %s", option, value, expected);
	return -EINVAL;
}

static int parse_size(const char *option, const char *value, uint64_t *bytes)
{
	return units_parse_size(value, bytes) == 0
		       ? 0
		       : complain(option, value, "a size such as 512M, 1.5G or 1048576");
}

const char *const compressor_names[COMPRESSOR_COUNT] = {
	[MM_COMPRESSOR_NONE] = "none",
	[MM_COMPRESSOR_LZ4] = "lz4",
	[MM_COMPRESSOR_ZSTD] = "zstd",
};

static int parse_compressor(struct run_options *options, const char *value)
{
	for (size_t i = 0; i < COMPRESSOR_COUNT; i++) {
		if (strcmp(value, compressor_names[i]) == 0) {
			options->compressor = (enum mm_compressor)i;
			return 0;
		}
	}
	return complain("--compressor", value, "lz4, zstd or none");
}

/* As in a sentence: "A, B or C". */
static const char *policy_names(void)
{
	static char names[256];
	size_t used = 0;

	for (size_t i = 0; mm_policies[i] != NULL && used < sizeof(names); i++)
		used += (size_t)snprintf(names + used, sizeof(names) - used, "%s%s",
					 i == 0			      ? ""
					 : mm_policies[i + 1] == NULL ? " or "
								      : ", ",
					 mm_policies[i]->name);
	return names;
}

/* "sfifo" or "sfifo,watched=30" */
static int parse_policy(struct run_options *options, const char *value)
{
	char *text = strdup(value);
	char *comma;

	CHECK(text != NULL);
	free(options->policy_text);
	options->policy_text = text;
	comma = strchr(text, ',');
	if (comma != NULL)
		*comma++ = '\0';
	options->policy_options = comma;
	options->policy = mm_policy_find(text);
	return options->policy != NULL ? 0 : complain("--policy", text, policy_names());
}

/* Slips in HOST:GUEST, at whose colon split is; NULL: there was none followed by a slash. */
static int check_file(const char *value, const char *split)
{
	const char *colon = strrchr(value, ':'), *name;
	int host = (int)((split != NULL ? split : colon) - value);
	char *copy;
	bool there;

	if (split != NULL && value[strlen(value) - 1] == '/') {
		name = memrchr(value, '/', (size_t)host);
		name = name != NULL ? name + 1 : value;
		log_error("--file '%s': GUEST names a file, such as %s%.*s", value, split + 1,
			  (int)(split - name), name);
		return -EINVAL;
	}
	if (split != NULL || colon == NULL || colon[1] == '\0' || access(value, F_OK) == 0)
		return 0;
	copy = strndup(value, (size_t)host);
	there = copy != NULL && access(copy, F_OK) == 0;
	free(copy);
	if (!there)
		return 0;
	log_error("--file '%s': GUEST begins with a slash: %.*s:/%s", value, host, value,
		  colon + 1);
	return -EINVAL;
}

/*
 * HOST[:GUEST]. The last colon that is followed by a slash splits, so host names may hold colons.
 */
static int parse_file(struct run_options *options, char *value)
{
	char *split = strstr(value, ":/");
	struct run_file *grown;

	for (char *next = split; next != NULL; next = strstr(next + 1, ":/"))
		split = next;
	if (split == value || *value == '\0')
		return complain("--file", value, "HOST or HOST:GUEST");
	if (check_file(value, split) != 0)
		return -EINVAL;
	grown = realloc(options->file, (options->file_count + 1) * sizeof(*grown));
	CHECK(grown != NULL);
	options->file = grown;
	grown += options->file_count++;
	if (split != NULL)
		*split = '\0';
	grown->host = value;
	if (split != NULL)
		grown->guest = path_absolute(split + 1);
	else if (asprintf(&grown->guest, "/%s", basename(value)) < 0)
		grown->guest = NULL;
	CHECK(grown->guest != NULL);
	return 0;
}

/* The words after a disk's file, with commas between them. */
static int parse_disk_options(const char *value, const char *words, bool *read_only)
{
	for (;; words++) {
		size_t length = strcspn(words, ",");

		if (length != 2 || strncmp(words, "ro", 2) != 0) {
			log_error("--disk '%s': '%.*s' is no option of a disk: there is 'ro' only",
				  value, (int)length, words);
			return -EINVAL;
		}
		*read_only = true;
		words += length;
		if (*words == '\0')
			return 0;
	}
}

/* FILE[,ro]; a file whose name has a comma is meant where it is there. */
static int parse_disk(struct run_options *options, char *value)
{
	char *comma = access(value, F_OK) == 0 ? NULL : strchr(value, ',');
	struct devices_disk *grown;
	bool read_only = false;

	if (*value == '\0' || comma == value)
		return complain("--disk", value, "FILE or FILE,ro");
	if (comma != NULL && parse_disk_options(value, comma + 1, &read_only) != 0)
		return -EINVAL;
	grown = realloc(options->disk, (options->disk_count + 1) * sizeof(*grown));
	CHECK(grown != NULL);
	options->disk = grown;
	if (comma != NULL)
		*comma = '\0';
	grown[options->disk_count++] =
		(struct devices_disk){ .path = value, .read_only = read_only };
	return 0;
}

static int parse_seconds(struct run_options *options, const char *value)
{
	char *end;
	unsigned long seconds = strtoul(value, &end, 10);

	if (*end != '\0' || end == value || *value == '-' || seconds == 0 || seconds > 1000000000)
		return complain("--timeout", value, "a number of seconds, 1 or more");
	options->timeout_seconds = (unsigned)seconds;
	return 0;
}

static int parse_cpus(struct run_options *options, const char *value)
{
	char *end;
	unsigned long count = strtoul(value, &end, 10);

	if (*end != '\0' || end == value || *value == '-' || count == 0 || count > QUIRE_CPU_MAX)
		return complain("--cpus", value, "a number from 1 to 8");
	options->cpu_count = (unsigned)count;
	return 0;
}

/* quire's words: "--" would end them too early. */
static int check_append(const char *value)
{
	for (const char *at = value; (at = strstr(at, "--")) != NULL; at += 2) {
		if ((at == value || at[-1] == ' ') && (at[2] == '\0' || at[2] == ' '))
			return complain("--append", value, "no word '--' of its own");
	}
	return 0;
}

static int parse_on_full(struct run_options *options, const char *value)
{
	options->stop_when_full = strcmp(value, "stop") == 0;
	if (options->stop_when_full || strcmp(value, "pause") == 0)
		return 0;
	log_error("--on-full: '%s' is neither 'pause' nor 'stop'", value);
	return -EINVAL;
}

static int parse_watch(struct run_options *options, const char *value)
{
	static const char *const ways[] = {
		[WATCH_AUTO] = "auto",
		[WATCH_SCAN] = "scan",
		[WATCH_NOTICE] = "notice",
	};

	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
		if (strcmp(value, ways[i]) == 0) {
			options->watch = (enum watch)i;
			return 0;
		}
	log_error("--watch: '%s' is neither 'auto', 'scan' nor 'notice'", value);
	return -EINVAL;
}

static int parse_one(struct run_options *options, int option, char *value, const char **budget)
{
	switch (option) {
	case OPTION_MEMORY:
		return parse_size("--memory", value, &options->memory_bytes);
	case OPTION_BUDGET:
		*budget = value;
		return 0;
	case OPTION_CPUS:
		return parse_cpus(options, value);
	case OPTION_APPEND:
		options->append = value;
		return 0;
	case OPTION_SWAP:
		options->swap_directory = strcmp(value, "none") == 0 ? NULL : value;
		return 0;
	case OPTION_SWAP_SIZE:
		return parse_size("--swap-size", value, &options->swap_bytes);
	case OPTION_ON_FULL:
		return parse_on_full(options, value);
	case OPTION_COMPRESSOR:
		return parse_compressor(options, value);
	case OPTION_POLICY:
		return parse_policy(options, value);
	case OPTION_WATCH:
		return parse_watch(options, value);
	case OPTION_FILE:
		return parse_file(options, value);
	case OPTION_REPORT:
		options->report_path = value;
		return 0;
	case OPTION_CONTROL:
		options->control_path = value;
		return 0;
	case OPTION_TIMEOUT:
		return parse_seconds(options, value);
	case OPTION_KERNEL:
		options->kernel_path = value;
		return 0;
	case OPTION_INITRD:
		options->initrd_path = value;
		return 0;
	case OPTION_FORCE:
		options->force = true;
		return 0;
	case OPTION_DISK:
		return parse_disk(options, value);
	case OPTION_NO_BALLOON:
		options->no_balloon = true;
		return 0;
	case OPTION_NO_REPORTING:
		options->no_reporting = true;
		return 0;
	case OPTION_AUTO_BALLOON:
		options->auto_balloon = true;
		return 0;
	case OPTION_UNMANAGED:
		options->unmanaged = true;
		return 0;
	case OPTION_NESTED:
		options->nested = true;
		return 0;
	case 'q':
		log_set_verbosity(LOG_QUIET);
		return 0;
	case 'v':
		log_set_verbosity(log_verbosity() < 0 ? 1 : log_verbosity() + 1);
		return 0;
	case OPTION_VERSION:
		puts("bifold " BIFOLD_VERSION);
		return 1;
	case 'h':
		print_help();
		return 1;
	default:
		return -EINVAL;
	}
}

/* Options that only one kind of guest takes. */
static int check_kind(const struct run_options *options)
{
	if (options->auto_balloon && options->no_balloon) {
		log_error("--auto-balloon and --no-balloon do not go together");
		return -EINVAL;
	}
	if (!options->stock && (options->initrd_path != NULL || options->force)) {
		log_error("%s is for a stock kernel: give it with --kernel, and no PROGRAM",
			  options->force ? "--force" : "--initrd");
		return -EINVAL;
	}
	if (options->stock && options->file_count > 0) {
		log_error("--file is for quire's root: a stock kernel takes an --initrd");
		return -EINVAL;
	}
	return options->stock || options->append == NULL ? 0 : check_append(options->append);
}

/* Checks that need all options. */
static int settle(struct run_options *options, const char *budget)
{
	char memory[UNITS_TEXT_SIZE], text[UNITS_TEXT_SIZE];

	if (options->memory_bytes < MEMORY_LEAST || options->memory_bytes > MEMORY_MOST) {
		unsigned long long bytes = options->memory_bytes;

		if (bytes > 0 && bytes < 1024)
			log_error("--memory %llu is %llu bytes, and a guest needs at least 4M: "
				  "%lluM is as many MiB",
				  bytes, bytes, bytes);
		else
			log_error("--memory: %s: a guest needs at least 4M and can have at most 1T",
				  units_format_size(bytes, memory));
		return -EINVAL;
	}
	options->memory_bytes &= ~(uint64_t)4095;
	if (check_kind(options) != 0)
		return -EINVAL;
	if (options->nested && !options->unmanaged) {
		log_error("--nested needs --unmanaged: KVM keeps pages of a guest that runs guests "
			  "in its own hands, and what is written to one that was evicted meanwhile "
			  "is lost");
		return -EINVAL;
	}
	if (budget == NULL)
		return 0;
	if (units_parse_size_or_percent(budget, options->memory_bytes, &options->budget_bytes) != 0)
		return complain("--budget", budget, "a size such as 64M, or a share such as 30%");
	if (options->budget_bytes == 0)
		return complain("--budget", budget, "more than nothing");
	if (options->unmanaged) {
		log_error("--unmanaged leaves the memory to the host kernel, which knows no "
			  "--budget");
		return -EINVAL;
	}
	if (options->budget_bytes > options->memory_bytes)
		log_warn("the budget (%s) is larger than the guest's memory (%s): it will not bind",
			 units_format_size(options->budget_bytes, text),
			 units_format_size(options->memory_bytes, memory));
	return 0;
}

int run_options_parse(struct run_options *options, int argc, char **argv)
{
	const char *budget = NULL;
	int option, result = 0;

	*options = (struct run_options){
		.memory_bytes = MEMORY_DEFAULT,
		.cpu_count = 1,
		.swap_directory = path_temporary(),
		.compressor = MM_COMPRESSOR_LZ4,
		.policy = mm_policies[0],
	};
	optind = 0; /* start anew: main has already looked at argv */
	/* "+": the first word that is no option is PROGRAM; what follows is its own. */
	while (result == 0 && (option = arguments_next(argc, argv, "+qvh", long_options)) != -1)
		result = parse_one(options, option, optarg, &budget);
	options->arguments = argv + optind;
	options->stock = options->kernel_path != NULL && options->arguments[0] == NULL;
	if (result == 0)
		result = settle(options, budget);
	if (result != 0)
		run_options_finish(options);
	return result;
}

void run_options_finish(struct run_options *options)
{
	for (size_t i = 0; i < options->file_count; i++)
		free(options->file[i].guest);
	free(options->file);
	free(options->disk);
	free(options->policy_text);
	options->file = NULL;
	options->file_count = 0;
	options->policy_text = NULL;
}

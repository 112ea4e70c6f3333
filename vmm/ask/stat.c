/* bifold stat: the state of a running guest. */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "vmm/common/arguments.h"
#include "vmm/common/commands.h"
#include "vmm/ask/ask.h"
#include "vmm/ask/client.h"
#include "vmm/ask/stat.h"

#define WATCH_LEAST 0.05
#define WATCH_MOST  86400.0

enum form {
	FORM_TABLE,
	FORM_JSON,
	FORM_PROMETHEUS,
};

struct options {
	enum form form;
	double watch; /* seconds; 0: once */
	const char *path;
};

static const char help[] =
	"Usage: bifold stat [OPTION...] PATH\n"
	"\n"
	"Tell how a running guest is: what it holds of the host's memory and where its\n"
	"pages are, its faults and how long they took, its evictions, its balloon. PATH\n"
	"is its control socket: bifold run --control PATH. The guest does not notice.\n"
	"\n"
	"  --json             one JSON object; with --watch, one a line\n"
	"  --prometheus       metrics, in Prometheus's text format\n"
	"  --watch SECONDS    again and again, until the guest ends or Ctrl-C\n"
	"  -h, --help         this text\n"
	"\n"
	"Exit status 0: it was told; 1: the guest cannot be asked, or ended while it was\n"
	"watched; 125: bad options.\n";

static int parse_watch(const char *text, double *seconds)
{
	char *end;

	errno = 0;
	*seconds = strtod(text, &end);
	if (strspn(text, "0123456789.") == strlen(text) && end != text && *end == '\0' &&
	    *seconds >= WATCH_LEAST && *seconds <= WATCH_MOST)
		return 0;
	log_error("--watch '%s': expected seconds, from %.2f to %.0f", text, WATCH_LEAST,
		  WATCH_MOST);
	return -EINVAL;
}

static int set_form(struct options *options, enum form form)
{
	if (options->form != FORM_TABLE && options->form != form) {
		log_error("--json and --prometheus exclude each other");
		return -EINVAL;
	}
	options->form = form;
	return 0;
}

static int take(int option, const char *value, void *context)
{
	struct options *options = context;

	if (option == 'w')
		return parse_watch(value, &options->watch);
	return set_form(options, option == 'j' ? FORM_JSON : FORM_PROMETHEUS);
}

/* 0, 1: help was printed, or -EINVAL, logged. */
static int parse(int argc, char **argv, struct options *options)
{
	static const struct option long_options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "prometheus", no_argument, NULL, 'p' },
		{ "watch", required_argument, NULL, 'w' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	static const struct arguments arguments = { long_options, help, "PATH", take };
	int error = arguments_parse(argc, argv, &arguments, options);

	if (error == 0 && options->form == FORM_PROMETHEUS && options->watch != 0) {
		log_error("--prometheus is told once: it is the one who scrapes that watches");
		error = -EINVAL;
	}
	options->path = argv[optind];
	return error;
}

static void print(const json_t *stat, const struct options *options)
{
	switch (options->form) {
	case FORM_TABLE:
		if (options->watch != 0 && isatty(STDOUT_FILENO))
			fputs("\033[H\033[2J", stdout);
		stat_print(stat, stdout);
		if (options->watch != 0)
			putchar('\n');
		break;
	case FORM_JSON:
		if (options->watch == 0) {
			ask_print_json(stat);
			break;
		}
		json_dumpf(stat, stdout, JSON_COMPACT);
		putchar('\n');
		break;
	case FORM_PROMETHEUS:
		stat_print_prometheus(stat, options->path, stdout);
		break;
	}
}

/* 0 or -errno, as of client.h; text: what to say of -EREMOTEIO. */
static int tell(struct control_client *client, const struct options *options,
		char text[CONTROL_ERROR_SIZE])
{
	json_t *stat = NULL;
	int error = control_client_call(client, "stat", NULL, &stat, text);

	if (error == 0 && !json_is_object(stat))
		error = -EPROTO;
	if (error == 0)
		print(stat, options);
	if (error == 0 && fflush(stdout) != 0) {
		snprintf(text, CONTROL_ERROR_SIZE, "standard output: %s", strerror(errno));
		error = -EREMOTEIO;
	}
	json_decref(stat);
	return error;
}

/* At the same distances, however long an answer takes. */
static int watch(struct control_client *client, const struct options *options,
		 char text[CONTROL_ERROR_SIZE])
{
	uint64_t next = clock_now_ns();
	int error = 0;

	while (error == 0) {
		next += (uint64_t)(options->watch * 1e9);
		error = control_client_rest(client, next, -1);
		if (error == 0)
			error = tell(client, options, text);
	}
	if (error == -ECONNRESET) {
		snprintf(text, CONTROL_ERROR_SIZE, "%s: the guest has ended", options->path);
		error = -EREMOTEIO;
	}
	return error;
}

int command_stat(int argc, char **argv)
{
	char text[CONTROL_ERROR_SIZE] = "";
	struct options options = { 0 };
	struct control_client client;
	int status = parse(argc, argv, &options), error;

	if (status != 0)
		return status > 0 ? 0 : STATUS_USAGE;
	error = control_client_init(&client, options.path);
	if (error == 0)
		error = tell(&client, &options, text);
	if (error == 0 && options.watch != 0)
		error = watch(&client, &options, text);
	control_client_finish(&client);
	if (error != 0)
		control_client_log(options.path, error, text);
	return error == 0 ? 0 : STATUS_NO;
}

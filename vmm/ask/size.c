/* bifold balloon, bifold budget: sizes of a running guest that can be changed. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/units.h"
#include "vmm/arguments.h"
#include "vmm/commands.h"
#include "vmm/json.h"
#include "vmm/ask/follow.h"

#define STATUS_USAGE 125
#define NONE	     "none"

struct options {
	bool wait;
	const char *path, *size;
};

/* NONE is what lifts a limit, and is 0 bytes on the way to the guest. */
static int check_size(const char *text, const struct steer_goal *goal)
{
	uint64_t bytes;

	if (goal->zero != NULL && strcmp(text, NONE) == 0)
		return 0;
	if (units_parse_size_or_percent(text, 4096, &bytes) == 0 &&
	    (goal->zero == NULL || bytes != 0))
		return 0;
	log_error("'%s' is no size: expected one such as 512M, 1.5G or 25%%%s", text,
		  goal->zero != NULL ? ", or " NONE : "");
	return -EINVAL;
}

/* 0, 1: help was printed, or -EINVAL, logged. */
static int parse(int argc, char **argv, const char *help, const struct steer_goal *goal,
		 struct options *options)
{
	static const struct option long_options[] = {
		{ "no-wait", no_argument, NULL, 'n' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int option;

	*options = (struct options){ .wait = true };
	optind = 0;
	while ((option = arguments_next(argc, argv, "h", long_options)) != -1) {
		if (option == 'h') {
			fputs(help, stdout);
			return 1;
		}
		if (option != 'n')
			return -EINVAL;
		options->wait = false;
	}
	if (arguments_expect(argc, argv, "PATH SIZE") != 0)
		return -EINVAL;
	options->path = argv[optind];
	options->size = argv[optind + 1];
	return check_size(options->size, goal);
}

/* Of a percentage, the whole is for the guest to say. 0 or -errno, as of control_client.h. */
static int settle_size(struct control_client *client, const char *text, uint64_t *bytes,
		       char refusal[CONTROL_ERROR_SIZE])
{
	json_t *stat = NULL;
	int error = 0;

	if (strchr(text, '%') != NULL)
		error = control_client_call(client, "stat", NULL, &stat, refusal);
	*bytes = 0;
	if (strcmp(text, NONE) != 0)
		units_parse_size_or_percent(text, json_count(stat, "guest.memory_bytes"), bytes);
	*bytes &= ~(uint64_t)4095;
	json_decref(stat);
	return error;
}

static int ask(struct control_client *client, const struct options *options,
	       const struct steer_goal *goal, json_t **state, char refusal[CONTROL_ERROR_SIZE])
{
	uint64_t bytes;
	json_t *params;
	int error = settle_size(client, options->size, &bytes, refusal);

	if (error != 0)
		return error;
	params = json_pack("{s:o}", "bytes", json_of_count(bytes));
	error = control_client_call(client, goal->method, params, state, refusal);
	json_decref(params);
	return error;
}

/* Asks for a size, and follows it there. The exit status. */
static int size_command(int argc, char **argv, const char *help, const struct steer_goal *goal)
{
	char refusal[CONTROL_ERROR_SIZE] = "";
	struct control_client client;
	struct options options;
	int status = parse(argc, argv, help, goal, &options), error;
	json_t *state = NULL;

	if (status != 0)
		return status > 0 ? 0 : STATUS_USAGE;
	error = control_client_init(&client, options.path);
	if (error == 0)
		error = ask(&client, &options, goal, &state, refusal);
	if (error != 0) {
		control_client_log(options.path, error, refusal);
		status = error == -EREMOTEIO ? STEER_STATUS_REFUSED : STEER_STATUS_FAILED;
	} else if (options.wait) {
		status = steer_follow(&client, options.path, goal, state);
	}
	json_decref(state);
	control_client_finish(&client);
	return status;
}

static const char *balloon_excuse(const json_t *state)
{
	return json_truth(state, "ready") ? NULL : "the guest has no driver for it";
}

int command_balloon(int argc, char **argv)
{
	static const char help[] =
		"Usage: bifold balloon [--no-wait] PATH SIZE\n"
		"\n"
		"Ask a running guest for SIZE of its memory, or give back what it had given\n"
		"beyond that. PATH is its control socket: bifold run --control PATH. What is in\n"
		"the balloon costs the host nothing. Follows it until it is there; Ctrl-C ends\n"
		"that, and leaves what was asked for.\n"
		"\n"
		"  --no-wait    ask, and do not follow\n"
		"  -h, --help   this text\n"
		"\n"
		"SIZE: bytes, or with a suffix as 512M or 1.5G, or a share of the guest's memory\n"
		"as 25%; 0 gives all back. Exit status 0: it is there; 1: the guest cannot be\n"
		"asked, or ended; 2: it refuses: it has no balloon, or no driver, or gives\n"
		"nothing more for 5 s; 125: bad options; 128+n: signal n.\n";
	static const struct steer_goal goal = {
		.what = "the balloon",
		.method = "balloon",
		.now = "actual_bytes",
		.target = "target_bytes",
		.excuse = balloon_excuse,
	};

	return size_command(argc, argv, help, &goal);
}

static const char *budget_excuse(const json_t *state)
{
	return "what is left cannot be put away";
}

int command_budget(int argc, char **argv)
{
	static const char help[] =
		"Usage: bifold budget [--no-wait] PATH SIZE|none\n"
		"\n"
		"Change what a running guest may hold of the host's memory. PATH is its control\n"
		"socket: bifold run --control PATH. A larger budget is in force at once; a\n"
		"smaller one is reached by steps, while the guest runs, and is followed until it\n"
		"is; Ctrl-C ends that, and leaves what was asked for.\n"
		"\n"
		"  --no-wait    ask, and do not follow\n"
		"  -h, --help   this text\n"
		"\n"
		"SIZE: bytes, or with a suffix as 512M or 1.5G, or a share of the guest's memory\n"
		"as 25%. Exit status 0: it is in force; 1: the guest cannot be asked, or ended;\n"
		"2: it is refused: too small to work with, or no nearer after 5 s; 125: bad\n"
		"options; 128+n: signal n.\n";
	static const struct steer_goal goal = {
		.what = "the budget",
		.method = "budget",
		.now = "budget_bytes",
		.target = "budget_wanted_bytes",
		.zero = "no limit",
		.excuse = budget_excuse,
	};

	return size_command(argc, argv, help, &goal);
}

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmm/ask/size.h"
#include "base/addr.h"
#include "base/log.h"
#include "base/units.h"
#include "vmm/common/arguments.h"
#include "vmm/common/commands.h"
#include "vmm/common/json.h"

#define NONE "none"

struct options {
	bool wait;
	const char *path, *size;
};

/* NONE lifts a limit, and is 0 bytes on the way to the guest: no size may be rounded down to that.
 */
static int check_size(const char *text, const struct follow_goal *goal)
{
	uint64_t bytes;
	int error;

	if (goal->zero != NULL && strcmp(text, NONE) == 0)
		return 0;
	error = units_parse_size_or_percent(text, 1ull << 40, &bytes);
	if (error == 0 && bytes > 0 && bytes < PAGE_SIZE) {
		log_error("'%s' is less than a page of %llu bytes", text,
			  (unsigned long long)PAGE_SIZE);
		return -EINVAL;
	}
	if (error == 0 && (goal->zero == NULL || bytes != 0))
		return 0;
	log_error("'%s' is no size: expected one such as 512M, 1.5G or 25%%%s", text,
		  goal->zero != NULL ? ", or " NONE : "");
	return -EINVAL;
}

static int take(int option, const char *value, void *context)
{
	((struct options *)context)->wait = false;
	return 0;
}

/* 0, 1: help was printed, or -EINVAL, logged. */
static int parse(int argc, char **argv, const char *help, const struct follow_goal *goal,
		 struct options *options)
{
	static const struct option long_options[] = {
		{ "no-wait", no_argument, NULL, 'n' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	const struct arguments arguments = { long_options, help, "PATH SIZE", take };
	int error;

	*options = (struct options){ .wait = true };
	error = arguments_parse(argc, argv, &arguments, options);
	if (error != 0)
		return error;
	options->path = argv[optind];
	options->size = argv[optind + 1];
	return check_size(options->size, goal);
}

/* A percentage is one of the guest's memory, so the guest is asked for its size. 0 or -errno, as
 * of client.h. */
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
	/* A small share is not rounded down to 0, which may mean no limit. */
	if (*bytes > 0 && *bytes < PAGE_SIZE)
		*bytes = PAGE_SIZE;
	*bytes &= PAGE_MASK;
	json_decref(stat);
	return error;
}

static int ask(struct control_client *client, const struct options *options,
	       const struct follow_goal *goal, json_t **state, char refusal[CONTROL_ERROR_SIZE])
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

int size_command(int argc, char **argv, const char *help, const struct follow_goal *goal)
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
		status = error == -EREMOTEIO ? STATUS_REFUSED : STATUS_NO;
	} else if (options.wait) {
		status = follow(&client, options.path, goal, state);
	}
	json_decref(state);
	control_client_finish(&client);
	return status;
}

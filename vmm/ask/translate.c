/* bifold translate: an address of a running guest through both layers. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "vmm/common/arguments.h"
#include "vmm/common/commands.h"
#include "vmm/ask/ask.h"
#include "vmm/common/translation_text.h"

static const char help[] =
	"Usage: bifold translate [OPTION...] PATH GVA...\n"
	"\n"
	"Follow guest-virtual addresses through both layers of translation: each entry of\n"
	"the guest's page tables, then what holds the page in the monitor, and what the\n"
	"way costs a processor. PATH is the control socket of a guest: bifold run\n"
	"--control PATH. Looking changes nothing: what is compressed or swapped stays so.\n"
	"Several addresses, at most 256, are followed at one moment of the guest.\n"
	"\n"
	"  --brief      a line each: where it leads, what a program may do there, its\n"
	"               state\n"
	"  --cr3 GPA    walk the page tables at this guest-physical address\n"
	"  --vcpu N     use the registers of this vCPU (default 0)\n"
	"  --json       print it as JSON\n"
	"  -h, --help   this text\n"
	"\n"
	"GVA and GPA: 0x7fffc0de, or decimal. Exit status 0: each leads to a page; 1: the\n"
	"way of one stops, or the guest cannot be asked; 125: bad options.\n";

/* One is asked for by itself, and answered so. */
static int parse_addresses(int count, char **words, json_t *params)
{
	json_t *all = json_array();
	int error = 0;

	for (int i = 0; i < count && error == 0; i++) {
		error = ask_add_number(params, "address", "GVA", words[i]);
		if (error == 0)
			json_array_append(all, json_object_get(params, "address"));
	}
	if (error == 0 && count > 1) {
		json_object_del(params, "address");
		json_object_set(params, "addresses", all);
	}
	json_decref(all);
	return error;
}

struct options {
	json_t *params; /* of the question */
	bool json;
};

static int take(int option, const char *value, void *context)
{
	struct options *options = context;

	if (option != 'b')
		return ask_option(option, value, options->params, &options->json);
	return json_object_set_new(options->params, "brief", json_true()) == 0 ? 0 : -ENOMEM;
}

/* 0, 1: help was printed, or -errno. */
static int parse(int argc, char **argv, struct options *options)
{
	static const struct option long_options[] = {
		{ "brief", no_argument, NULL, 'b' },
		ASK_OPTIONS,
		{ 0 },
	};
	static const struct arguments arguments = { long_options, help, NULL, take };
	int error = arguments_parse(argc, argv, &arguments, options);

	if (error != 0)
		return error;
	if (argc - optind < 2) {
		log_error("a PATH and a GVA are needed: try 'bifold translate --help'");
		return -EINVAL;
	}
	return parse_addresses(argc - optind - 1, argv + optind + 1, options->params);
}

/* One, or an array of them, with empty lines between where they are not brief. */
static int print(const json_t *result)
{
	int error = 0;

	if (!json_is_array(result))
		return translation_print(result, stdout);
	for (size_t i = 0; i < json_array_size(result) && error == 0; i++) {
		if (i > 0 && json_object_get(json_array_get(result, i), "steps") != NULL)
			putchar('\n');
		error = translation_print(json_array_get(result, i), stdout);
	}
	return error;
}

/* Each of them leads to a page. */
static bool all_lead(const json_t *result)
{
	const char *end = json_string_value(json_object_get(result, "end"));

	if (!json_is_array(result))
		return end != NULL && strcmp(end, "page") == 0;
	for (size_t i = 0; i < json_array_size(result); i++)
		if (!all_lead(json_array_get(result, i)))
			return false;
	return true;
}

static int show(const json_t *result, bool json)
{
	if (json) {
		ask_print_json(result);
	} else if (print(result) != 0) {
		log_error("the guest's answer is no translation");
		return STATUS_NO;
	}
	return fflush(stdout) == 0 && all_lead(result) ? 0 : STATUS_NO;
}

int command_translate(int argc, char **argv)
{
	struct options options = { .params = json_object() };
	int status = parse(argc, argv, &options);
	json_t *result;

	if (status != 0) {
		json_decref(options.params);
		return status > 0 ? 0 : STATUS_USAGE;
	}
	result = ask(argv[optind], "translate", options.params);
	status = result != NULL ? show(result, options.json) : STATUS_NO;
	json_decref(result);
	json_decref(options.params);
	return status;
}

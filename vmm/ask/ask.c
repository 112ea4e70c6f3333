#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "vmm/common/arguments.h"
#include "vmm/ask/ask.h"
#include "vmm/ask/client.h"
#include "vmm/common/commands.h"

json_t *ask(const char *path, const char *method, json_t *params)
{
	char refusal[CONTROL_ERROR_SIZE] = "";
	struct control_client client;
	json_t *result = NULL;
	int error = control_client_init(&client, path);

	if (error == 0)
		error = control_client_call(&client, method, params, &result, refusal);
	control_client_finish(&client);
	if (error != 0)
		control_client_log(path, error, refusal);
	return result;
}

int ask_add_number(json_t *params, const char *name, const char *what, const char *value)
{
	char *end;

	errno = 0;
	strtoull(value, &end, 0);
	if (value[0] < '0' || value[0] > '9' || *end != '\0' || errno != 0) {
		log_error("%s '%s': expected a number such as 0x7fffc0de", what, value);
		return -EINVAL;
	}
	return json_object_set_new(params, name, json_string(value)) == 0 ? 0 : -ENOMEM;
}

int ask_option(int option, const char *value, json_t *params, bool *json)
{
	switch (option) {
	case 'c':
		return ask_add_number(params, "cr3", "--cr3", value);
	case 'v':
		return ask_add_number(params, "vcpu", "--vcpu", value);
	case 'j':
		*json = true;
		return 0;
	default:
		return -EINVAL;
	}
}

void ask_print_json(const json_t *result)
{
	json_dumpf(result, stdout, JSON_INDENT(2));
	putchar('\n');
}

int ask_parse_path(int argc, char **argv, const char *help, const char **path)
{
	static const struct option long_options[] = {
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	const struct arguments arguments = { long_options, help, "PATH", NULL };
	int error = arguments_parse(argc, argv, &arguments, NULL);

	if (error != 0)
		return error;
	*path = argv[optind];
	return 0;
}

int ask_simply(int argc, char **argv, const char *help)
{
	const char *path;
	int status = ask_parse_path(argc, argv, help, &path);
	json_t *result;

	if (status != 0)
		return status > 0 ? 0 : STATUS_USAGE;
	result = ask(path, argv[0], NULL);
	status = result != NULL ? 0 : STATUS_NO;
	json_decref(result);
	return status;
}

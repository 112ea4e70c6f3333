/*
 * The control socket as an interface: every method of real guests, asked in every way, and each
 * answer held against docs/control.schema.json by tests/protocol/validate.py.
 */
#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/vm/guests.h"

#define VALIDATOR SOURCE_FOLDER "/tests/protocol/validate.py"
#define SCHEMA	  SOURCE_FOLDER "/docs/control.schema.json"

/* "definition<TAB>JSON" lines: all that came. */
static FILE *seen;
static char *seen_text;
static size_t seen_size;

static void init(void)
{
	harness_init();
	need_kvm();
	if (access(SCHEMA, R_OK) != 0)
		cr_skip_test("SKIP: the tree is not here");
	if (system("/usr/bin/python3 -c 'import jsonschema' 2>/dev/null") != 0)
		cr_skip_test("SKIP: python3-jsonschema is missing: tools/setup --tests");
	seen = open_memstream(&seen_text, &seen_size);
}

TestSuite(protocol, .init = init, .fini = harness_finish, .timeout = 120);

static void note(const char *definition, const json_t *value)
{
	char *text = json_dumps(value, JSON_COMPACT);

	fprintf(seen, "%s\t%s\n", definition, text);
	free(text);
}

static void expect_valid(void)
{
	struct child *child;

	fclose(seen);
	child = run_words(NULL, seen_text, "/usr/bin/python3", VALIDATOR, SCHEMA, NULL);
	cr_assert_eq(child->status, 0, "%s%s", child->out_text, child->err_text);
	free(seen_text);
}

/* Sends a line; the answer, a new reference. */
static json_t *ask_line(FILE *socket, const char *line)
{
	json_t *answer;

	fprintf(socket, "%s\n", line);
	fflush(socket);
	answer = json_loadf(socket, JSON_DISABLE_EOF_CHECK, NULL);
	cr_assert(answer != NULL && fgetc(socket) == '\n', "%s", line);
	note("answer", answer);
	return answer;
}

/* It works. params: of the request, or NULL. */
__attribute__((format(printf, 3, 4))) static void ask(FILE *socket, const char *method,
						      const char *params, ...)
{
	char line[1024], text[512], definition[64];
	va_list arguments;
	json_t *answer, *request;

	va_start(arguments, params);
	vsnprintf(text, sizeof(text), params, arguments);
	va_end(arguments);
	snprintf(line, sizeof(line), "{\"id\":[7],\"method\":\"%s\",\"params\":{%s}}", method,
		 text);
	request = json_loads(line, 0, NULL);
	snprintf(definition, sizeof(definition), "%s_params", method);
	note("request", request);
	note(definition, json_object_get(request, "params"));
	answer = ask_line(socket, line);
	cr_assert_not_null(json_object_get(answer, "result"), "%s: %s", line,
			   json_dumps(answer, JSON_COMPACT));
	note(method, json_object_get(answer, "result"));
	json_decref(answer);
	json_decref(request);
}

static void refused(FILE *socket, const char *line, const char *code)
{
	json_t *answer = ask_line(socket, line);
	const char *said = json_string_value(json_object_get(answer, "code"));

	cr_assert(said != NULL && strcmp(said, code) == 0, "%s: %s", line,
		  json_dumps(answer, JSON_COMPACT));
	json_decref(answer);
}

static void translate_all(FILE *socket, const char *told)
{
	uint64_t written, read_only, untouched, far, code;

	cr_assert_eq(sscanf(strstr(told, "written"),
			    "written %lx read_only %lx untouched %lx far %lx code %lx", &written,
			    &read_only, &untouched, &far, &code),
		     5, "%s", told);
	ask(socket, "translate", "\"address\":\"0x%lx\"", written);
	ask(socket, "translate", "\"address\":\"0x%lx\",\"vcpu\":0,\"cr3\":\"0x0\"", written);
	ask(socket, "translate", "\"address\":%lu", code);
	ask(socket, "translate", "\"address\":\"0x8000000000000000\"");
	ask(socket, "translate", "\"addresses\":[\"0x%lx\",%lu,0,\"0x8000000000000000\"]",
	    read_only, untouched);
	ask(socket, "translate", "\"brief\":true,\"addresses\":[\"0x%lx\",%lu,0]", read_only,
	    untouched);
	for (uint64_t i = 0; i < 64; i++)
		ask(socket, "translate", "\"address\":%lu,\"brief\":%s", far + i * (2ul << 20),
		    i % 2 == 0 ? "true" : "false");
}

static void refuse_all(FILE *socket)
{
	refused(socket, "{", "not_json");
	refused(socket, "{\"id\":1,\"id\":2}", "not_json");
	refused(socket, "[7]", "bad_request");
	refused(socket, "{\"method\":\"stat\",\"params\":7}", "bad_request");
	refused(socket, "{\"method\":\"stat\",\"parms\":{}}", "bad_request");
	refused(socket, "{\"method\":\"stats\"}", "unknown_method");
	refused(socket, "{\"method\":\"budget\",\"params\":{\"byte\":5}}", "unknown_parameter");
	refused(socket, "{\"method\":\"stat\",\"params\":{\"brief\":true}}", "unknown_parameter");
	refused(socket, "{\"method\":\"budget\",\"params\":{\"bytes\":\"5\"}}", "bad_parameter");
	refused(socket, "{\"method\":\"translate\"}", "bad_parameter");
	refused(socket, "{\"method\":\"translate\",\"params\":{\"address\":0,\"addresses\":[0]}}",
		"bad_parameter");
	refused(socket, "{\"method\":\"translate\",\"params\":{\"address\":0,\"brief\":1}}",
		"bad_parameter");
	refused(socket, "{\"method\":\"maps\",\"params\":{\"vcpu\":9}}", "out_of_range");
	refused(socket, "{\"method\":\"budget\",\"params\":{\"bytes\":4096}}", "out_of_range");
	refused(socket, "{\"method\":\"balloon\",\"params\":{\"bytes\":1099511627776}}",
		"out_of_range");
}

static FILE *open_socket(void)
{
	FILE *socket = fdopen(connect_socket(), "r+");

	cr_assert_not_null(socket);
	setvbuf(socket, NULL, _IONBF, 0);
	return socket;
}

/* The schema and the program name the same methods. */
static void same_methods(FILE *socket)
{
	json_t *schema = json_load_file(SCHEMA, 0, NULL), *defs = json_object_get(schema, "$defs");
	json_t *answer = ask_line(socket, "{\"method\":\"hello\"}"), *method;
	json_t *methods = json_object_get(json_object_get(answer, "result"), "methods");
	const char *name;
	size_t i, described = 0;

	json_array_foreach(methods, i, method)
	{
		char text[64];

		snprintf(text, sizeof(text), "%s_params", json_string_value(method));
		cr_assert_not_null(json_object_get(defs, text), "%s", text);
	}
	json_object_foreach(defs, name, method) described +=
		strlen(name) > 7 && strcmp(name + strlen(name) - 7, "_params") == 0;
	cr_assert_eq(described, json_array_size(methods));
	json_decref(answer);
	json_decref(schema);
}

Test(protocol, managed_guest)
{
	const char *report = scratch_path("report.json");
	struct child *guest =
		start_guest(WORDS("--memory", "64M", "--budget", "12M", "--report", report),
			    WORDS("places", "24"), "ready");
	FILE *socket = open_socket();

	same_methods(socket);
	ask(socket, "hello", " ");
	ask(socket, "stat", " ");
	ask(socket, "maps", " ");
	ask(socket, "maps", "\"cr3\":4096,\"vcpu\":\"0\"");
	translate_all(socket, guest->out_text);
	refuse_all(socket);
	ask(socket, "balloon", " ");
	ask(socket, "balloon", "\"bytes\":8388608");
	ask(socket, "budget", " ");
	ask(socket, "budget", "\"bytes\":0");
	ask(socket, "budget", "\"bytes\":16777216");
	ask(socket, "pause", " ");
	ask(socket, "stat", " ");
	ask(socket, "resume", " ");
	ask(socket, "quit", " ");
	fclose(socket);
	expect_end(guest, 0);
	note("report", report_load(report));
	expect_valid();
}

/* With what the other has not, and without what it has. */
Test(protocol, other_guest)
{
	const char *report = scratch_path("report.json"), *disk = scratch_path("disk");
	struct child *guest;
	FILE *socket;

	write_file(disk, "a disk", 6);
	cr_assert_eq(truncate(disk, 1 << 20), 0);
	guest = start_guest(WORDS("--memory", "64M", "--unmanaged", "--no-balloon", "--disk", disk,
				  "--cpus", "2", "--report", report),
			    WORDS("places", "1"), "ready");
	socket = open_socket();
	ask(socket, "hello", " ");
	ask(socket, "stat", " ");
	ask(socket, "maps", "\"vcpu\":1");
	translate_all(socket, guest->out_text);
	refused(socket, "{\"method\":\"balloon\"}", "unavailable");
	refused(socket, "{\"method\":\"budget\"}", "unavailable");
	ask(socket, "quit", " ");
	fclose(socket);
	expect_end(guest, 0);
	note("report", report_load(report));
	expect_valid();
}

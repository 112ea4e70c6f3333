/* Shared by the commands that ask a running guest. */
#ifndef VMM_ASK_ASK_H
#define VMM_ASK_ASK_H

#include <jansson.h>
#include <stdbool.h>

/* Asks one question and waits for the answer: a new reference, or NULL with a line logged that
 * names path. params may be NULL, and stays the caller's. */
json_t *ask(const char *path, const char *method, json_t *params);

/*
 * The options for getopt_long() that several commands have: the vCPU or CR3 whose page tables to
 * use, and the form of the answer. ask_option() takes one of them; -EINVAL: it is none, or a line
 * says what is wrong with its value.
 */
#define ASK_OPTIONS                                                                                \
	{ "cr3", required_argument, NULL, 'c' }, { "vcpu", required_argument, NULL, 'v' },         \
		{ "json", no_argument, NULL, 'j' },                                                \
	{                                                                                          \
		"help", no_argument, NULL, 'h'                                                     \
	}
int ask_option(int option, const char *value, json_t *params, bool *json);

/* Adds value, decimal or 0x..., to params as text. -EINVAL with a line logged that calls it what.
 */
int ask_add_number(json_t *params, const char *name, const char *what, const char *value);

/* The answer as it came, to standard output. */
void ask_print_json(const json_t *result);

/* The command line of a command that takes PATH and nothing else. 0, 1: help was printed, or
 * -EINVAL with a line logged. */
int ask_parse_path(int argc, char **argv, const char *help, const char **path);

/* Such a command, whose name is its method, which takes no parameters. The exit status. */
int ask_simply(int argc, char **argv, const char *help);

#endif

/*
 * The control socket of a running guest: a unix stream socket, mode 0600, where each line is a JSON
 * object.
 *
 *   -> {"id": 1, "method": "translate", "params": {"address": 4096}}
 *   <- {"id": 1, "result": {...}}
 *   <- {"id": 1, "error": "a sentence", "code": "bad_parameter"}
 *
 * What may be asked, and what comes back, is in docs/control.md and docs/control.schema.json.
 *
 * "id" may be any JSON value and comes back as it was (null, where it could not be read); "params"
 * may be left out. Answers come in the order of the requests.
 *
 * One thread serves all clients, and waits for none: sockets do not block, a client gets one
 * request in each turn, and none while it has not taken its last answer. A line over
 * CONTROL_LINE_MAX is answered with an error and skipped. Who leaves a line half sent, or an answer
 * half taken, for CONTROL_PATIENCE_NS is cut off. CONTROL_CLIENT_MAX may be connected; one more
 * takes the place of who has been silent longest.
 */
#ifndef VMM_CONTROL_SERVER_H
#define VMM_CONTROL_SERVER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define CONTROL_LINE_MAX    16384u /* bytes, the newline included */
#define CONTROL_CLIENT_MAX  64
#define CONTROL_PATIENCE_NS 10000000000ull
#define CONTROL_ERROR_SIZE  256

/* Goes up when a name, a unit or a meaning changes, not when something is added. */
#define CONTROL_PROTOCOL 1

struct control;

/* By what a program can tell refusals apart: the names are in docs/control.md. */
enum control_code {
	CONTROL_FAILED, /* on our side */
	CONTROL_NOT_JSON,
	CONTROL_TOO_LONG,
	CONTROL_BAD_REQUEST,
	CONTROL_UNKNOWN_METHOD,
	CONTROL_UNKNOWN_PARAMETER,
	CONTROL_BAD_PARAMETER, /* missing, or of the wrong type */
	CONTROL_OUT_OF_RANGE,
	CONTROL_UNAVAILABLE, /* this guest has no such thing */
	CONTROL_BUSY,	     /* may work later */
	CONTROL_CODES,
};

struct control_error {
	enum control_code code;
	char text[CONTROL_ERROR_SIZE];
};

/* For answer() to say why it does not. */
void control_refuse(struct control_error *error, enum control_code code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

struct control_method {
	const char *name;
	/*
	 * The result, a new reference, or NULL and error refused. params is an object, or NULL if
	 * there were none. On the control thread: the next client waits meanwhile, so it must end
	 * soon.
	 */
	json_t *(*answer)(void *context, json_t *params, struct control_error *error);
	const char *params; /* the names it takes, with a space between; NULL: any */
};

/*
 * Makes the socket and starts the thread. A socket at path that nobody answers is replaced;
 * anything else there is left alone, and -EADDRINUSE. methods ends with a NULL name and is the
 * caller's. 0 or -errno, with a line logged.
 */
int control_create(const char *path, const struct control_method *methods, void *context,
		   struct control **control);

/* Ends the thread and removes the socket, if it still is the one. Takes NULL. */
void control_destroy(struct control *control);

/*
 * The other side: ask one question. The result, a new reference, or NULL with a line logged that
 * names path.
 */
json_t *control_ask(const char *path, const char *method, json_t *params);

/*
 * The options that all who ask share, for getopt_long(): whose page tables, and in what form the
 * answer is told. control_option() takes one of them; -EINVAL: it is none, or a line says what is
 * wrong with its value.
 */
#define CONTROL_OPTIONS                                                                            \
	{ "cr3", required_argument, NULL, 'c' }, { "vcpu", required_argument, NULL, 'v' },         \
		{ "json", no_argument, NULL, 'j' },                                                \
	{                                                                                          \
		"help", no_argument, NULL, 'h'                                                     \
	}
int control_option(int option, const char *value, json_t *params, bool *json);

/* The answer as it came, to standard output. */
void control_print_json(const json_t *result);

/*
 * For the command lines of those who ask: adds value, decimal or 0x..., to params as text. -EINVAL
 * with a line logged that calls it what.
 */
int control_add_number(json_t *params, const char *name, const char *what, const char *value);

#endif

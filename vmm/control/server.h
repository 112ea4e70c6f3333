/*
 * The server's side of the control socket (vmm/control/protocol.h).
 *
 * One thread serves all clients, and waits for none: sockets do not block, a client gets one
 * request in each turn, and none while it has not taken its last answer. A line over
 * CONTROL_LINE_MAX is answered with an error and skipped. A client that leaves a line half sent, or
 * an answer half taken, for CONTROL_PATIENCE_NS is cut off. CONTROL_CLIENT_MAX may be connected;
 * one more takes the place of the one that has been silent longest.
 */
#ifndef VMM_CONTROL_SERVER_H
#define VMM_CONTROL_SERVER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/control/protocol.h"

#define CONTROL_CLIENT_MAX  64
#define CONTROL_PATIENCE_NS 10000000000ull

struct control;

/* The codes by which programs tell refusals apart: docs/control.md has their names. */
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

/* For an answer() that refuses: sets its reason. */
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
 * anything else there is left alone: -EADDRINUSE. methods ends with a NULL name and is the
 * caller's. 0 or -errno, with a line logged.
 */
int control_create(const char *path, const struct control_method *methods, void *context,
		   struct control **control);

/* Ends the thread and removes the socket, if it still is the one. Takes NULL. */
void control_destroy(struct control *control);

#endif

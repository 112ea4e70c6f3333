/*
 * The asking side of the control socket, for code that asks more than once, or must not wait: a
 * connection with one question under way at a time. ask() in vmm/ask/ask.h is one question with the
 * waiting done.
 */
#ifndef VMM_ASK_CLIENT_H
#define VMM_ASK_CLIENT_H

#include <jansson.h>
#include <stdint.h>
#include <sys/types.h>

#include "vmm/control/protocol.h"

struct control_client {
	int fd;	    /* readable when an answer, or the end, has come; -1: not connected */
	char *text; /* what has come of the answer; owned */
	size_t size, room;
};

/* 0 or -errno; -ECONNREFUSED: there is a socket, and nobody answers; -ENOTSOCK: no socket. */
int control_client_init(struct control_client *client, const char *path);
/* Also after a failed init. */
void control_client_finish(struct control_client *client);

/* Sends a question; params may be NULL. 0 or -errno: the connection is of no more use. */
int control_client_ask(struct control_client *client, const char *method, json_t *params);

/*
 * Takes the bytes that have come, without waiting. 0: *result is the answer, a new reference.
 * -EAGAIN: it is not complete. -EREMOTEIO: refused, and error has the guest's sentence.
 * -ECONNRESET: the guest has ended. -EPROTO: the bytes are no answer. After the last two the
 * connection is of no more use.
 */
int control_client_take(struct control_client *client, json_t **result,
			char error[CONTROL_ERROR_SIZE]);

/* Asks and waits for the answer, at most CONTROL_CLIENT_MS: errors as of these two, and
 * -ETIMEDOUT. */
#define CONTROL_CLIENT_MS 60000
int control_client_call(struct control_client *client, const char *method, json_t *params,
			json_t **result, char error[CONTROL_ERROR_SIZE]);

/*
 * Between two questions: until then (clock_now_ns()), or until something can be read from fd (-1:
 * nothing else is waited for). 0: it is time; 1: fd; -ECONNRESET: the guest has ended.
 */
int control_client_rest(struct control_client *client, uint64_t until_ns, int fd);

/* A line about the error of one of these. */
void control_client_log(const char *path, int error, const char *refusal);

#endif

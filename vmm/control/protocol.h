/*
 * The control socket of a running guest: a unix stream socket, mode 0600, where each line is a JSON
 * object.
 *
 *   -> {"id": 1, "method": "translate", "params": {"address": 4096}}
 *   <- {"id": 1, "result": {...}}
 *   <- {"id": 1, "error": "a sentence", "code": "bad_parameter"}
 *
 * The methods and their answers are in docs/control.md and docs/control.schema.json.
 *
 * "id" may be any JSON value and comes back as it was (null, where it could not be read); "params"
 * may be left out. Answers come in the order of the requests.
 */
#ifndef VMM_CONTROL_PROTOCOL_H
#define VMM_CONTROL_PROTOCOL_H

/* Goes up when a name, a unit or a meaning changes, not when something is added. */
#define CONTROL_PROTOCOL 1

#define CONTROL_LINE_MAX   16384u /* bytes of a request, the newline included */
#define CONTROL_ERROR_SIZE 256	  /* bytes of an error's sentence, with its end */

#endif

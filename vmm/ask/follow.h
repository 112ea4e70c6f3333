/*
 * Follows a part of the guest that was told to change its size and takes its time, with a bar on a
 * terminal and lines elsewhere.
 */
#ifndef VMM_ASK_FOLLOW_H
#define VMM_ASK_FOLLOW_H

#include <jansson.h>

#include "vmm/ask/client.h"

struct follow_goal {
	const char *what;	  /* "the balloon" */
	const char *method;	  /* without parameters it tells the state */
	const char *now, *target; /* members of the state, in bytes */
	const char *zero;	  /* what 0 bytes mean: "no limit"; NULL: 0 */
	/* Why it may not get on, or NULL. Required. */
	const char *(*excuse)(const json_t *state);
};

/*
 * Follows from the state that answered the question until now is target: 0. It has come no nearer
 * for a while, or somebody else set another target: STATUS_REFUSED. The guest ended: STATUS_NO.
 * SIGINT, SIGTERM, SIGHUP: 128 and its number; the target stays as set. All of this is told to the
 * user.
 */
int follow(struct control_client *client, const char *path, const struct follow_goal *goal,
	   const json_t *state);

#endif

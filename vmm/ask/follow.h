/*
 * Following something of a guest that was told to become another size and takes its time: a bar on
 * a terminal, lines elsewhere.
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
 * Until now is target, from the state that the question was answered with: 0. It has come no nearer
 * for a while, or somebody else set another target: STATUS_REFUSED. The guest ended:
 * STATUS_NO. SIGINT, SIGTERM, SIGHUP: 128 and its number; the target stays as set, which
 * is said, as is everything else.
 */
int follow(struct control_client *client, const char *path, const struct follow_goal *goal,
	   const json_t *state);

#endif

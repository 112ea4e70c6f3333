/* A size of a running guest that a command sets and follows. */
#ifndef VMM_ASK_SIZE_H
#define VMM_ASK_SIZE_H

#include "vmm/ask/follow.h"

/* The command: asks for a size, and follows it there. The exit status. */
int size_command(int argc, char **argv, const char *help, const struct follow_goal *goal);

#endif

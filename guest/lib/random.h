/* Numbers that differ from run to run. Not for secrets: the state is 64 bits. */
#ifndef GUEST_LIB_RANDOM_H
#define GUEST_LIB_RANDOM_H

#include "guest/lib/types.h"

void random_seed(uint64_t seed);
uint64_t random_next(void);

#endif

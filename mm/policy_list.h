/* The built-in policies, for mm/policy.c's array. */
#ifndef MM_POLICY_LIST_H
#define MM_POLICY_LIST_H

#include "mm/policy.h"

extern const struct mm_policy_ops mm_policy_fifo;
extern const struct mm_policy_ops mm_policy_clock;
extern const struct mm_policy_ops mm_policy_sfifo;

#endif

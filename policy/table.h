/* The built-in policies. */
#ifndef POLICY_TABLE_H
#define POLICY_TABLE_H

#include "policy/policy.h"

/* A new one is a file, which defines mm_policy_NAME, and its name here and in meson.build. The
 * first is the default. */
#define MM_POLICY_ROWS(row) row(sfifo) row(clock) row(fifo)

#define MM_POLICY_DECLARE(name) extern const struct mm_policy_ops mm_policy_##name;
MM_POLICY_ROWS(MM_POLICY_DECLARE)

/* In that order; ends with NULL. */
extern const struct mm_policy_ops *const mm_policies[];

/* By its name; NULL: there is none. */
const struct mm_policy_ops *mm_policy_find(const char *name);

#endif

/*
 * Criterion's process sandbox cannot start under ThreadSanitizer (its shared arena wants addresses
 * that TSan keeps for itself), so the threaded test runs there as a plain program: the few
 * assertions it uses, and tests that are functions called from its own main().
 */
#ifndef TESTS_UNIT_NO_CRITERION_H
#define TESTS_UNIT_NO_CRITERION_H

#include <stdio.h>
#include <stdlib.h>

#define cr_assert(condition)                                                                       \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: %s is false\n", __FILE__, __LINE__, #condition);   \
			abort();                                                                   \
		}                                                                                  \
	} while (0)
#define cr_assert_eq(a, b)     cr_assert((a) == (b))
#define cr_assert_gt(a, b)     cr_assert((a) > (b))
#define cr_assert_leq(a, b)    cr_assert((a) <= (b))
#define cr_skip_test(...)      exit((printf(__VA_ARGS__), puts(""), 77))
#define Test(suite, name, ...) static void suite##_##name(void)

#endif

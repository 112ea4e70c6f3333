/*
 * Repetitions and whole matrices belong to 'tools/check --long', which sets BIFOLD_TEST_LONG; else
 * a test runs one case of each kind.
 */
#ifndef TESTS_LONG_H
#define TESTS_LONG_H

#include <stdbool.h>
#include <stdlib.h>

static inline bool test_is_long(void)
{
	const char *text = getenv("BIFOLD_TEST_LONG");

	return text != NULL && *text != '\0' && *text != '0';
}

/* How often a test repeats, or how many cases it takes. */
static inline unsigned test_times(unsigned brief, unsigned whole)
{
	return test_is_long() ? whole : brief;
}

#endif

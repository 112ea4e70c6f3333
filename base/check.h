/*
 * CHECK(): for our own bugs only, never for guest input, files or the host's answers.
 * It prints the condition and the place, then aborts; it stays on in release builds.
 */
#ifndef BASE_CHECK_H
#define BASE_CHECK_H

#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (__builtin_expect(!(condition), 0)) {                                           \
			fprintf(stderr, "bifold: bug: %s:%d: %s\n", __FILE__, __LINE__,            \
				#condition);                                                       \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

#endif

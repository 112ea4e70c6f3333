/*
 * The words for people, and the names in JSON that they stand for: docs/glossary.md. All code that
 * shows the state of pages or the kinds of faults takes them from here.
 */
#ifndef VMM_COMMON_WORDS_H
#define VMM_COMMON_WORDS_H

#include <stddef.h>

/* Where there is no value. A zero is a value. */
#define WORD_NOTHING "-"

struct word {
	const char *name; /* in JSON */
	const char *text;
};

/* The states of a page that are counted of a whole guest, from near to far. */
#define WORDS_OF_FRAMES 7
extern const struct word words_of_frames[WORDS_OF_FRAMES];

#define WORDS_OF_FAULTS 4
extern const struct word words_of_faults[WORDS_OF_FAULTS];

/* The text for a state or a kind that a guest has named; any other name is returned as it is. */
const char *word_text(const char *name);

#endif

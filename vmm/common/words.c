#include "vmm/common/words.h"

#include <string.h>

const struct word words_of_frames[WORDS_OF_FRAMES] = {
	{ "mapped", "mapped" },		  { "watched", "watched" }, { "compressed", "compressed" },
	{ "same_filled", "same-filled" }, { "swapped", "swapped" }, { "released", "released" },
	{ "untouched", "untouched" },
};

const struct word words_of_faults[WORDS_OF_FAULTS] = {
	{ "zero_fill", "zero-fill" },
	{ "minor", "minor" },
	{ "pool", "pool" },
	{ "swap", "swap" },
};

const char *word_text(const char *name)
{
	for (size_t i = 0; i < WORDS_OF_FRAMES; i++)
		if (strcmp(words_of_frames[i].name, name) == 0)
			return words_of_frames[i].text;
	for (size_t i = 0; i < WORDS_OF_FAULTS; i++)
		if (strcmp(words_of_faults[i].name, name) == 0)
			return words_of_faults[i].text;
	return name;
}

/*
 * The arguments and the environment of a program that is about to run, in the kernel. There may be
 * megabytes of them: they lie in single pages, so that exec needs no contiguous memory.
 */
#ifndef GUEST_EXEC_STRINGS_H
#define GUEST_EXEC_STRINGS_H

#include "guest/lib/layout.h"
#include "guest/lib/types.h"

/* A page of text. A string may go on in the next one. */
struct exec_chunk {
	struct exec_chunk *next;
	uint32_t start, end; /* of `text`, where there is any */
	char text[PAGE_SIZE - 17];
	char zero; /* for strlen() */
};

/* The arguments and then the environment, one string after the other, each with its end. */
struct exec_strings {
	struct exec_chunk *first, *last;
	uint64_t used, limit; /* bytes: of text, and of text and pointers at most */
	unsigned argument_count, environment_count;
};

/* As on Linux: of one string with its end, and of all in any case. */
#define EXEC_STRING_MAX	 (128 << 10)
#define EXEC_STRINGS_MIN (128 << 10)
#define EXEC_STRINGS_MAX (6 << 20)

/* limit: of the stack, of which the strings and their pointers may take a quarter. */
void exec_strings_init(struct exec_strings *strings, uint64_t stack_limit);
void exec_strings_finish(struct exec_strings *strings);

/* The place for the next text, with room for *size bytes, at least one; NULL: no memory.
 * exec_strings_take() makes the written bytes text: 0, or -E2BIG when a string that ends here would
 * pass the limit. */
char *exec_strings_room(struct exec_strings *strings, uint64_t *size);
int exec_strings_take(struct exec_strings *strings, uint64_t length);

/* A whole string, behind the others. The caller counts it. 0, -ENOMEM or -E2BIG. */
int exec_strings_add(struct exec_strings *strings, const char *string);

/* These arguments, those that are not NULL, take the first one's place, if there is one. 0, -ENOMEM
 * or -E2BIG, and all is as it was. */
int exec_strings_replace_first(struct exec_strings *strings, const char *const argument[],
			       unsigned count);

/* Where a walk stands: at the first string, before exec_strings_skip(). */
struct exec_cursor {
	const struct exec_chunk *chunk;
	uint32_t at;
};
struct exec_cursor exec_strings_begin(const struct exec_strings *strings);

/* Moves behind the next string, which there must be: its bytes, with its end. */
uint64_t exec_strings_skip(struct exec_cursor *cursor);

#endif

/*
 * A list of pages: text is added behind the last one's end, and the first one's start moves when
 * the first string goes.
 */
#include "guest/exec/strings.h"
#include "guest/lib/errno.h"
#include "guest/lib/string.h"
#include "guest/memory/slab.h"

_Static_assert(sizeof(struct exec_chunk) == PAGE_SIZE, "a chunk is a page");

void exec_strings_init(struct exec_strings *strings, uint64_t stack_limit)
{
	*strings = (struct exec_strings){
		.limit = MIN(MAX(stack_limit / 4, EXEC_STRINGS_MIN), EXEC_STRINGS_MAX),
	};
}

/* Frees the chunks before `end`. */
static void free_until(struct exec_strings *strings, const struct exec_chunk *end)
{
	while (strings->first != end) {
		struct exec_chunk *next = strings->first->next;

		memory_free(strings->first);
		strings->first = next;
	}
	if (!end)
		strings->last = NULL;
}

void exec_strings_finish(struct exec_strings *strings)
{
	free_until(strings, NULL);
}

char *exec_strings_room(struct exec_strings *strings, uint64_t *size)
{
	struct exec_chunk *last = strings->last;

	if (!last || last->end == sizeof(last->text)) {
		last = memory_alloc(sizeof(*last));
		if (!last)
			return NULL;
		last->next = NULL;
		last->start = last->end = 0;
		last->zero = 0;
		if (strings->last)
			strings->last->next = last;
		else
			strings->first = last;
		strings->last = last;
	}
	*size = sizeof(last->text) - last->end;
	return last->text + last->end;
}

static bool fits(const struct exec_strings *strings, uint64_t length, unsigned count)
{
	uint64_t pointers = (uint64_t)strings->argument_count + strings->environment_count + count;

	return strings->used + length + pointers * 8 <= strings->limit;
}

int exec_strings_take(struct exec_strings *strings, uint64_t length)
{
	if (!fits(strings, length, 1))
		return -E2BIG;
	strings->last->end += length;
	strings->used += length;
	return 0;
}

int exec_strings_add(struct exec_strings *strings, const char *string)
{
	size_t left = strlen(string) + 1;

	while (left > 0) {
		uint64_t size;
		char *room = exec_strings_room(strings, &size);
		int error;

		if (!room)
			return -ENOMEM;
		size = MIN(size, left);
		memcpy(room, string, size);
		error = exec_strings_take(strings, size);
		if (error)
			return error;
		string += size;
		left -= size;
	}
	return 0;
}

/* The first argument goes. */
static void drop_first(struct exec_strings *strings)
{
	struct exec_cursor cursor = exec_strings_begin(strings);

	strings->used -= exec_strings_skip(&cursor);
	strings->argument_count--;
	free_until(strings, cursor.chunk);
	strings->first->start = cursor.at;
}

int exec_strings_replace_first(struct exec_strings *strings, const char *const argument[],
			       unsigned count)
{
	struct exec_strings front = { .limit = strings->limit };
	int error = 0;

	for (unsigned i = 0; i < count && !error; i++) {
		if (!argument[i])
			continue;
		error = exec_strings_add(&front, argument[i]);
		front.argument_count++;
	}
	if (!error && !fits(strings, front.used, front.argument_count))
		error = -E2BIG;
	if (error) {
		exec_strings_finish(&front);
		return error;
	}
	if (strings->argument_count > 0)
		drop_first(strings);
	front.last->next = strings->first;
	strings->first = front.first;
	if (!strings->last)
		strings->last = front.last;
	strings->used += front.used;
	strings->argument_count += front.argument_count;
	return 0;
}

struct exec_cursor exec_strings_begin(const struct exec_strings *strings)
{
	return (struct exec_cursor){ strings->first, strings->first ? strings->first->start : 0 };
}

uint64_t exec_strings_skip(struct exec_cursor *cursor)
{
	uint64_t length = 0;

	for (;;) {
		const struct exec_chunk *chunk = cursor->chunk;
		size_t part = strlen(chunk->text + cursor->at);

		if (cursor->at + part < chunk->end) {
			cursor->at += part + 1;
			return length + part + 1;
		}
		length += chunk->end - cursor->at;
		cursor->chunk = chunk->next;
		cursor->at = chunk->next->start;
	}
}

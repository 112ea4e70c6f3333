/* Text that grows. */
#include "guest/file/text.h"
#include "guest/lib/format.h"
#include "guest/lib/string.h"
#include "guest/memory/slab.h"

#define SIZE_FIRST 4096 /* whole pages: /proc/slabinfo does not show itself */

/* For `length` bytes more. */
static bool make_room(struct text *text, size_t length)
{
	size_t size = text->size ? text->size : SIZE_FIRST;
	char *grown;

	while (size - text->used < length)
		size *= 2;
	if (size == text->size)
		return true;
	grown = memory_alloc(size);
	if (!grown)
		return false;
	memcpy(grown, text->at, text->used);
	memory_free(text->at);
	text->at = grown;
	text->size = size;
	return true;
}

void text_add(struct text *text, const char *words, ...)
{
	va_list list;

	if (text->failed || !make_room(text, TEXT_LINE_MAX)) {
		text->failed = true;
		return;
	}
	va_start(list, words);
	text->used += format_list(text->at + text->used, TEXT_LINE_MAX, words, list);
	va_end(list);
}

void text_add_bytes(struct text *text, const void *bytes, size_t length)
{
	if (text->failed || !make_room(text, length)) {
		text->failed = true;
		return;
	}
	memcpy(text->at + text->used, bytes, length);
	text->used += length;
}

void text_finish(struct text *text)
{
	memory_free(text->at);
	*text = (struct text){ 0 };
}

/* Text that grows. */
#include "guest/lib/text.h"
#include "guest/lib/format.h"
#include "guest/lib/string.h"

static bool make_room(struct text *text, size_t length)
{
	if (!text->failed && text->size - text->used < length)
		text->failed = !text->grow(text, length);
	return !text->failed;
}

void text_add(struct text *text, const char *words, ...)
{
	va_list list;

	if (!make_room(text, TEXT_LINE_MAX))
		return;
	va_start(list, words);
	text->used += format_list(text->at + text->used, TEXT_LINE_MAX, words, list);
	va_end(list);
}

void text_add_bytes(struct text *text, const void *bytes, size_t length)
{
	if (!make_room(text, length))
		return;
	memcpy(text->at + text->used, bytes, length);
	text->used += length;
}

/* Text that grows: what a file of /proc says, made when it is opened. */
#ifndef GUEST_FILE_TEXT_H
#define GUEST_FILE_TEXT_H

#include "guest/lib/types.h"

struct text {
	char *at; /* by memory_alloc(), or NULL */
	size_t used, size;
	bool failed; /* memory ran out: what there is, is not all */
};

/* printf at the end, by lib/format.h's rules; at most TEXT_LINE_MAX bytes a call. */
#define TEXT_LINE_MAX 512
PRINTF(2, 3) void text_add(struct text *text, const char *format, ...);

/* Any bytes, any number. */
void text_add_bytes(struct text *text, const void *bytes, size_t length);

void text_finish(struct text *text);

#endif

/* Text that grows: the content of a file of /proc. Its maker decides where its room comes from. */
#ifndef GUEST_LIB_TEXT_H
#define GUEST_LIB_TEXT_H

#include "guest/lib/types.h"

struct text {
	char *at; /* of the maker's memory, or NULL */
	size_t used, size;
	/* makes `size` at least used + length; false: there is no memory */
	bool (*grow)(struct text *text, size_t length);
	bool failed; /* memory ran out: the text is not complete */
};

/* printf at the end, by lib/format.h's rules; at most TEXT_LINE_MAX bytes a call. */
#define TEXT_LINE_MAX 512
PRINTF(2, 3) void text_add(struct text *text, const char *format, ...);

/* Any bytes, any number. */
void text_add_bytes(struct text *text, const void *bytes, size_t length);

#endif

/* printf into a buffer: %d %i %u %x %p %s %c %%, with l and ll, a width, 0 and -. */
#ifndef GUEST_LIB_FORMAT_H
#define GUEST_LIB_FORMAT_H

#include <stdarg.h>
#include "guest/lib/types.h"

/* The result always ends with 0; text that does not fit is left out. Returns the bytes written, the
 * end not counted. */
size_t format_list(char *buffer, size_t size, const char *format, va_list list);
PRINTF(3, 4) size_t format(char *buffer, size_t size, const char *text, ...);

#endif

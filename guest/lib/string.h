/* Memory and strings. The compiler may call the mem functions on its own. */
#ifndef GUEST_LIB_STRING_H
#define GUEST_LIB_STRING_H

#include "guest/lib/types.h"

void *memcpy(void *to, const void *from, size_t length);
void *memmove(void *to, const void *from, size_t length);
void *memset(void *to, int byte, size_t length);
int memcmp(const void *a, const void *b, size_t length);
size_t strlen(const char *s);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t length);

/* Copies at most size - 1 bytes and always ends the result. Returns the length copied. */
size_t string_copy(char *to, const char *from, size_t size);

#endif

/*
 * Memory and strings, eight bytes at a time through the string instructions: where ring 0 is
 * emulated an instruction costs the same whatever it does, and a repeated one costs less than a
 * loop.
 */
#include "guest/lib/string.h"

void *memcpy(void *to, const void *from, size_t length)
{
	void *d = to;
	size_t words = length / 8, rest = length % 8;

	__asm__ volatile("rep movsq" : "+D"(d), "+S"(from), "+c"(words) : : "memory");
	if (rest)
		__asm__ volatile("rep movsb" : "+D"(d), "+S"(from), "+c"(rest) : : "memory");
	return to;
}

void *memmove(void *to, const void *from, size_t length)
{
	uint8_t *d = to;
	const uint8_t *s = from;

	if (d <= s || d >= s + length)
		return memcpy(to, from, length);
	while (length >= 8) {
		uint64_t word;

		length -= 8;
		__builtin_memcpy(&word, s + length, 8);
		__builtin_memcpy(d + length, &word, 8);
	}
	while (length > 0) {
		length--;
		d[length] = s[length];
	}
	return to;
}

void *memset(void *to, int byte, size_t length)
{
	void *d = to;
	size_t words = length / 8, rest = length % 8;
	uint64_t pattern = (uint8_t)byte * 0x0101010101010101ull;

	__asm__ volatile("rep stosq" : "+D"(d), "+c"(words) : "a"(pattern) : "memory");
	if (rest)
		__asm__ volatile("rep stosb" : "+D"(d), "+c"(rest) : "a"(pattern) : "memory");
	return to;
}

int memcmp(const void *a, const void *b, size_t length)
{
	const uint8_t *x = a, *y = b;

	for (; length > 0; x++, y++, length--) {
		if (*x != *y)
			return *x - *y;
	}
	return 0;
}

/* Words that lie within the string's last page: a string may be long, and each instruction counts.
 */
size_t strlen(const char *s)
{
	const char *end = s;
	uint64_t word;

	for (; (uint64_t)end % 8; end++) {
		if (!*end)
			return end - s;
	}
	for (;; end += 8) {
		word = *(const uint64_t *)end;
		if ((word - 0x0101010101010101) & ~word & 0x8080808080808080)
			break;
	}
	while (*end)
		end++;
	return end - s;
}

int strcmp(const char *a, const char *b)
{
	for (; *a && *a == *b; a++, b++)
		;
	return (uint8_t)*a - (uint8_t)*b;
}

int strncmp(const char *a, const char *b, size_t length)
{
	for (; length > 0; a++, b++, length--) {
		if (*a != *b || !*a)
			return (uint8_t)*a - (uint8_t)*b;
	}
	return 0;
}

size_t string_copy(char *to, const char *from, size_t size)
{
	size_t length = 0;

	for (; length + 1 < size && from[length]; length++)
		to[length] = from[length];
	to[length] = 0;
	return length;
}

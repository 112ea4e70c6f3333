/*
 * The current process's memory, from the kernel. Every address is the program's word and checked;
 * a page that is missing is brought in as for the program itself.
 */
#ifndef GUEST_MEMORY_USER_H
#define GUEST_MEMORY_USER_H

#include "guest/abi.h"
#include "guest/lib/layout.h"
#include "guest/lib/types.h"

/* Linux's struct iovec: a buffer of the program. */
struct io_vector {
	uint64_t base, length;
};

static inline bool user_range(uint64_t address, uint64_t length)
{
	return length <= USER_END && address <= USER_END - length;
}

/* 0 or -EFAULT; bytes that were copied before the fault stay copied. */
int user_read(void *to, uint64_t from, size_t length);
int user_write(uint64_t to, const void *from, size_t length);
int user_clear(uint64_t to, size_t length);

/* Copies a string with its end. Its length, -EFAULT, or -ENAMETOOLONG when it is `size` or longer.
 */
int64_t user_read_string(char *to, uint64_t from, size_t size);

/* Where a walk through vectors stands. */
struct vector_cursor {
	const struct io_vector *vector;
	unsigned count;
	uint64_t done; /* bytes of vector[0] */
};

/* The next bytes of the vectors as physical segments, at most `limit` bytes, each page made
 * accessible first; moves the cursor. Returns how many segments; 0 at the end; -EFAULT when the
 * first byte cannot be reached. */
int user_segments(struct vector_cursor *cursor, bool write, uint64_t limit,
		  struct quire_segment *segment, unsigned max);

/* After an event in the kernel at *rip (a fault, or an interrupt before a wait): sets *rip to the
 * instruction's fixup. False when it has none. */
bool user_fixup(uint64_t *rip);

#endif

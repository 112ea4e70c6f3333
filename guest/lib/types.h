/* The few words every file of quire uses: integers from the compiler, and small helpers. */
#ifndef GUEST_LIB_TYPES_H
#define GUEST_LIB_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

/* Of unsigned quantities. */
#define MIN(a, b) min_u64(a, b)
#define MAX(a, b) max_u64(a, b)

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* `to` is a power of two. */
#define ROUND_DOWN(value, to) ((value) & ~((uint64_t)(to)-1))
#define ROUND_UP(value, to)   ROUND_DOWN((value) + (uint64_t)(to)-1, to)

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define NORETURN     __attribute__((noreturn))
#define NOINLINE     __attribute__((noinline)) /* keeps a rare path's registers out of a hot one */
#define INLINE	     inline __attribute__((always_inline))
#define PRINTF(f, a) __attribute__((format(printf, f, a)))

/* For quire's own bugs only: a false condition is a panic. */
#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (unlikely(!(condition)))                                                        \
			check_failed(#condition, __FILE__, __LINE__);                              \
	} while (0)

NORETURN void check_failed(const char *condition, const char *file, int line);

#endif

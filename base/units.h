/*
 * Sizes, percentages and durations as people write and read them.
 */
#ifndef BASE_UNITS_H
#define BASE_UNITS_H

#include <stddef.h>
#include <stdint.h>

#define KIB(n) ((uint64_t)(n) << 10)
#define MIB(n) ((uint64_t)(n) << 20)
#define GIB(n) ((uint64_t)(n) << 30)

/*
 * "512M", "1.5G", "1048576", "64KiB" -> bytes. Suffixes K M G T (powers of 1024), in either
 * case, with an optional "B" or "iB". 0, or -EINVAL (not a size), or -ERANGE (beyond 2^63).
 */
int units_parse_size(const char *text, uint64_t *bytes);

/* As above, and "50%" of whole. */
int units_parse_size_or_percent(const char *text, uint64_t whole, uint64_t *bytes);

/* "14.0 MiB". Returns out. */
#define UNITS_TEXT_SIZE 24
const char *units_format_size(uint64_t bytes, char out[UNITS_TEXT_SIZE]);

/* "37.2 us", "1.80 s". Returns out. */
const char *units_format_ns(uint64_t ns, char out[UNITS_TEXT_SIZE]);

#endif

#include "base/units.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Digits with at most one point: strtod alone would also take "inf", "0x1p3" and "-1". */
static int parse_number(const char *text, double *value, const char **rest)
{
	size_t digits = strspn(text, "0123456789");
	size_t length = digits;
	char number[32];

	if (text[length] == '.') {
		size_t fraction = strspn(text + length + 1, "0123456789");

		digits += fraction;
		length += 1 + fraction;
	}
	if (digits == 0)
		return -EINVAL;
	if (length >= sizeof(number))
		return -ERANGE;
	memcpy(number, text, length);
	number[length] = '\0';
	*value = strtod(number, NULL);
	*rest = text + length;
	return 0;
}

int units_parse_size(const char *text, uint64_t *bytes)
{
	static const char suffixes[] = "KMGT";
	double value;
	int error = parse_number(text, &value, &text);

	if (error != 0)
		return error;
	if (*text != '\0') {
		const char *found = strchr(suffixes, toupper((unsigned char)*text));

		if (found != NULL) {
			value = ldexp(value, 10 * (int)(found - suffixes + 1));
			text++;
			if (strcasecmp(text, "b") != 0 && strcasecmp(text, "ib") != 0 &&
			    *text != '\0')
				return -EINVAL;
		} else if (strcasecmp(text, "b") != 0) {
			return -EINVAL;
		}
	}
	if (value >= 9223372036854775808.0)
		return -ERANGE;
	*bytes = (uint64_t)value;
	return 0;
}

int units_parse_size_or_percent(const char *text, uint64_t whole, uint64_t *bytes)
{
	const char *rest;
	double value;
	int error = parse_number(text, &value, &rest);

	if (error != 0)
		return error;
	if (strcmp(rest, "%") != 0)
		return units_parse_size(text, bytes);
	value = value / 100.0 * (double)whole;
	if (value >= 9223372036854775808.0)
		return -ERANGE;
	*bytes = (uint64_t)value;
	return 0;
}

static const char *format_scaled(double value, double step, const char *const *names, size_t count,
				 char out[UNITS_TEXT_SIZE])
{
	size_t i = 0;

	while (value >= step && i + 1 < count) {
		value /= step;
		i++;
	}
	snprintf(out, UNITS_TEXT_SIZE, i == 0 ? "%.0f %s" : "%.1f %s", value, names[i]);
	return out;
}

const char *units_format_size(uint64_t bytes, char out[UNITS_TEXT_SIZE])
{
	static const char *const names[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" };

	return format_scaled((double)bytes, 1024.0, names, sizeof(names) / sizeof(names[0]), out);
}

const char *units_format_ns(uint64_t ns, char out[UNITS_TEXT_SIZE])
{
	static const char *const names[] = { "ns", "us", "ms", "s" };

	return format_scaled((double)ns, 1000.0, names, sizeof(names) / sizeof(names[0]), out);
}

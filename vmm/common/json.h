/* Members of a JSON object that came from elsewhere and may be anything, and numbers of 64 bits. */
#ifndef VMM_COMMON_JSON_H
#define VMM_COMMON_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* A count too large for JSON's integers becomes the largest of them: 2^63 - 1. */
static inline json_t *json_of_count(uint64_t value)
{
	return json_integer(value <= INT64_MAX ? (json_int_t)value : INT64_MAX);
}

/* "?" where it is no text; 0 where it is no integer. */
static inline const char *json_text(const json_t *object, const char *name)
{
	const char *value = json_string_value(json_object_get(object, name));

	return value != NULL ? value : "?";
}

static inline json_int_t json_number(const json_t *object, const char *name)
{
	return json_integer_value(json_object_get(object, name));
}

static inline bool json_truth(const json_t *object, const char *name)
{
	return json_is_true(json_object_get(object, name));
}

/* The member of a member, "faults.pool"; NULL where there is none. At most 63 bytes. */
static inline json_t *json_at(const json_t *object, const char *path)
{
	char names[64], *rest = names, *name;
	const json_t *at = object;

	snprintf(names, sizeof(names), "%s", path);
	while (at != NULL && (name = strsep(&rest, ".")) != NULL)
		at = json_object_get(at, name);
	return (json_t *)(uintptr_t)at;
}

/* 0 where it is no count. */
static inline uint64_t json_count_of(const json_t *value)
{
	return json_integer_value(value) > 0 ? (uint64_t)json_integer_value(value) : 0;
}

static inline uint64_t json_count(const json_t *object, const char *path)
{
	return json_count_of(json_at(object, path));
}

/* "0x...": JSON's numbers often have fewer than 64 bits. */
static inline json_t *json_hex(uint64_t value)
{
	return json_sprintf("0x%llx", (unsigned long long)value);
}

#endif

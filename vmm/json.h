/* Members of a JSON object that came from elsewhere and may be anything, and numbers of 64 bits. */
#ifndef VMM_JSON_H
#define VMM_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

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

/* "0x...": JSON's numbers often have fewer than 64 bits. */
static inline json_t *json_hex(uint64_t value)
{
	return json_sprintf("0x%llx", (unsigned long long)value);
}

#endif

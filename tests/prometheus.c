#include "tests/prometheus.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LETTERS	   "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS	   "0123456789"
#define METRIC_MAX 128

struct metric {
	char name[64], type[16];
	bool has_help, has_samples;
};

struct reader {
	struct prometheus *out;
	struct metric metric[METRIC_MAX];
	size_t count;
	struct metric *at; /* whose lines stand here */
	/* Of the histogram at hand. */
	char series[512];
	double bound, reached;
	bool ended;
};

__attribute__((format(printf, 2, 3))) static bool wrong(struct reader *r, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(r->out->error, sizeof(r->out->error), format, arguments);
	va_end(arguments);
	return false;
}

/* A name at *at, into out; *at moves behind it. */
static bool take_name(const char **at, const char *more, char *out, size_t size)
{
	char all[80];
	size_t length;

	snprintf(all, sizeof(all), LETTERS "_%s", more);
	length = strspn(*at, all);
	if (length == 0)
		return false;
	strcat(all, DIGITS);
	length = strspn(*at, all);
	if (length >= size)
		return false;
	memcpy(out, *at, length);
	out[length] = '\0';
	*at += length;
	return true;
}

static struct metric *find(struct reader *r, const char *name, size_t length)
{
	for (size_t i = 0; i < r->count; i++)
		if (strlen(r->metric[i].name) == length &&
		    memcmp(r->metric[i].name, name, length) == 0)
			return &r->metric[i];
	return NULL;
}

/* HELP comes first here, then TYPE, then samples. */
static bool read_help(struct reader *r, const char *name, const char *rest)
{
	if (find(r, name, strlen(name)) != NULL)
		return wrong(r, "a second HELP of %s", name);
	if (*rest++ != ' ' || *rest == '\0')
		return wrong(r, "an empty HELP of %s", name);
	for (; *rest != '\0'; rest++)
		if (*rest == '\\' && *++rest != '\\' && *rest != 'n')
			return wrong(r, "a wrong escape in the HELP of %s", name);
	if (r->count == METRIC_MAX)
		return wrong(r, "too many metrics");
	r->at = &r->metric[r->count++];
	snprintf(r->at->name, sizeof(r->at->name), "%s", name);
	r->at->has_help = true;
	return true;
}

static bool read_type(struct reader *r, const char *name, const char *rest)
{
	size_t length = strlen(name);
	bool total = length > 6 && strcmp(name + length - 6, "_total") == 0;

	if (r->at == NULL || strcmp(r->at->name, name) != 0)
		return wrong(r, "the TYPE of %s is not behind its HELP", name);
	if (r->at->type[0] != '\0' || r->at->has_samples)
		return wrong(r, "a second TYPE of %s, or a late one", name);
	if (strcmp(rest, " counter") != 0 && strcmp(rest, " gauge") != 0 &&
	    strcmp(rest, " histogram") != 0)
		return wrong(r, "%s has the TYPE '%s'", name, rest);
	snprintf(r->at->type, sizeof(r->at->type), "%s", rest + 1);
	if (total != (strcmp(r->at->type, "counter") == 0))
		return wrong(r, "%s is a %s", name, r->at->type);
	r->series[0] = '\0';
	r->ended = true;
	return true;
}

static bool read_comment(struct reader *r, const char *line)
{
	const char *at = line + 7;
	char name[64];

	if (strncmp(line, "# HELP ", 7) != 0 && strncmp(line, "# TYPE ", 7) != 0)
		return wrong(r, "a comment that is neither HELP nor TYPE: %s", line);
	if (!take_name(&at, ":", name, sizeof(name)))
		return wrong(r, "no name: %s", line);
	return line[2] == 'H' ? read_help(r, name, at) : read_type(r, name, at);
}

/* {a="b",c="d"}: *at moves behind it; the value of le, if there, and the others go their ways. */
static bool read_labels(struct reader *r, const char **at, char *others, char *bound)
{
	char name[64], used[16][64];
	size_t count = 0;

	*others = *bound = '\0';
	if (*(*at)++ != '{')
		return wrong(r, "no labels");
	do {
		const char *start = *at;

		if (!take_name(at, "", name, sizeof(name)) || *(*at)++ != '=' || *(*at)++ != '"')
			return wrong(r, "a label is malformed: %s", start);
		for (size_t i = 0; i < count; i++)
			if (strcmp(used[i], name) == 0)
				return wrong(r, "the label %s comes twice", name);
		strcpy(used[count++], name);
		for (; **at != '"'; ++*at) {
			if (**at == '\0')
				return wrong(r, "a label without an end: %s", start);
			if (**at == '\\' && (*++*at == '\0' || strchr("\\\"n", **at) == NULL))
				return wrong(r, "a wrong escape: %s", start);
		}
		++*at;
		if (strcmp(name, "le") == 0)
			snprintf(bound, 64, "%.*s", (int)(*at - start) - 5, start + 4);
		else
			snprintf(others + strlen(others), 512 - strlen(others), "%s%.*s",
				 *others != '\0' ? "," : "", (int)(*at - start), start);
	} while (count < 16 && *(*at)++ == ',');
	return (*at)[-1] == '}' || wrong(r, "labels without an end");
}

static bool read_number(struct reader *r, const char *text, double *value)
{
	char *end;

	if (strcmp(text, "+Inf") == 0) {
		*value = INFINITY;
		return true;
	}
	if (strspn(text, DIGITS ".+-e") != strlen(text))
		return wrong(r, "'%s' is no number", text);
	*value = strtod(text, &end);
	return (*text != '\0' && *end == '\0') || wrong(r, "'%s' is no number", text);
}

/* Buckets, then the sum, then the count, of one series after the other. */
static bool read_histogram(struct reader *r, const char *name, const char *others,
			   const char *bound_text, double value)
{
	const char *part = name + strlen(r->at->name);
	double bound;

	if (strcmp(part, "_bucket") == 0) {
		if (!read_number(r, bound_text, &bound))
			return false;
		if (strcmp(r->series, others) != 0) {
			if (!r->ended)
				return wrong(r, "%s has no count", r->series);
			snprintf(r->series, sizeof(r->series), "%s", others);
			r->reached = 0;
		} else if (bound <= r->bound || value < r->reached) {
			return wrong(r, "the buckets of %s do not rise", others);
		}
		r->ended = false;
		r->bound = bound;
		r->reached = value;
		return true;
	}
	if (*bound_text != '\0' || strcmp(r->series, others) != 0 || r->bound != INFINITY)
		return wrong(r, "%s is not behind the buckets", name);
	if (strcmp(part, "_sum") == 0)
		return true;
	r->ended = true;
	return (strcmp(part, "_count") == 0 && value == r->reached) ||
	       wrong(r, "%s{%s} is not what +Inf says", name, others);
}

static bool keep(struct reader *r, const char *name, const char *labels, double value)
{
	struct prometheus *out = r->out;
	struct prometheus_sample *sample = &out->sample[out->count];

	for (size_t i = 0; i < out->count; i++)
		if (strcmp(out->sample[i].name, name) == 0 &&
		    strcmp(out->sample[i].labels, labels) == 0)
			return wrong(r, "%s{%s} comes twice", name, labels);
	if (out->count++ == PROMETHEUS_SAMPLES)
		return wrong(r, "too many samples");
	snprintf(sample->name, sizeof(sample->name), "%s", name);
	snprintf(sample->labels, sizeof(sample->labels), "%s", labels);
	sample->value = value;
	return true;
}

static bool read_sample(struct reader *r, const char *line)
{
	char name[64], others[512], bound[64], labels[512];
	const char *at = line, *start;
	bool histogram = r->at != NULL && strcmp(r->at->type, "histogram") == 0;
	double value;

	if (!take_name(&at, ":", name, sizeof(name)))
		return wrong(r, "no name: %s", line);
	if (r->at == NULL || r->at->type[0] == '\0' ||
	    strncmp(name, r->at->name, strlen(r->at->name)) != 0 ||
	    (!histogram && strcmp(name, r->at->name) != 0))
		return wrong(r, "%s stands behind another's TYPE", name);
	start = at;
	if (!read_labels(r, &at, others, bound))
		return false;
	snprintf(labels, sizeof(labels), "%.*s", (int)(at - start) - 2, start + 1);
	if (*at++ != ' ' || !read_number(r, at, &value))
		return *r->out->error != '\0' ? false : wrong(r, "no value: %s", line);
	if (value < 0 && strcmp(r->at->type, "gauge") != 0)
		return wrong(r, "%s is negative", name);
	r->at->has_samples = true;
	if (histogram ? !read_histogram(r, name, others, bound, value) : *bound != '\0')
		return *r->out->error != '\0' ? false : wrong(r, "%s has a bound", name);
	return keep(r, name, labels, value);
}

void prometheus_read(const char *text, struct prometheus *out)
{
	struct reader *r = calloc(1, sizeof(*r));
	bool right = true;
	char line[1024];

	memset(out, 0, sizeof(*out));
	r->out = out;
	r->ended = true;
	while (right && *text != '\0') {
		const char *end = strchr(text, '\n');

		if (end == NULL || (size_t)(end - text) >= sizeof(line)) {
			right = wrong(r, "a line without an end, or a long one");
			break;
		}
		snprintf(line, sizeof(line), "%.*s", (int)(end - text), text);
		text = end + 1;
		right = line[0] == '#' ? read_comment(r, line) : read_sample(r, line);
	}
	if (right && !r->ended)
		right = wrong(r, "the last histogram has no count");
	for (size_t i = 0; right && i < r->count; i++)
		if (!r->metric[i].has_samples)
			right = wrong(r, "%s has no samples", r->metric[i].name);
	free(r);
}

bool prometheus_find(const struct prometheus *all, double *value, const char *name, ...)
{
	size_t found = 0;

	for (size_t i = 0; i < all->count; i++) {
		const struct prometheus_sample *s = &all->sample[i];
		bool fits = strcmp(s->name, name) == 0;
		const char *label;
		va_list labels;

		va_start(labels, name);
		while ((label = va_arg(labels, const char *)) != NULL)
			fits = fits && strstr(s->labels, label) != NULL;
		va_end(labels);
		if (fits) {
			*value = s->value;
			found++;
		}
	}
	return found == 1;
}

/* A strict reader of Prometheus's text format, version 0.0.4, for tests. */
#ifndef TESTS_PROMETHEUS_H
#define TESTS_PROMETHEUS_H

#include <stdbool.h>
#include <stddef.h>

#define PROMETHEUS_SAMPLES 2048

struct prometheus_sample {
	char name[64];
	char labels[512]; /* as they stand there, without the braces */
	double value;
};

struct prometheus {
	char error[256]; /* "": it is right */
	size_t count;
	struct prometheus_sample sample[PROMETHEUS_SAMPLES];
};

/*
 * Holds text against the format's rules and against its customs: a metric has one HELP and one
 * TYPE, before its samples, which stand together; no sample comes twice; names and labels are
 * well-formed; counters end with _total and are not negative, and nothing else ends so; a
 * histogram's buckets rise, in bound and in count, to +Inf, which equals its count.
 */
void prometheus_read(const char *text, struct prometheus *out);

/* The value of the sample of this name whose labels have all of these, "kind=\"swap\"" each;
 * ends with NULL. False: there is none, or more than one. */
bool prometheus_find(const struct prometheus *all, double *value, const char *name, ...)
	__attribute__((sentinel));

#endif

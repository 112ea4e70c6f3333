/* CSV and JSON. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>

#include "vmm/bench/output.h"

static const char *host_name(unsigned host)
{
	return host == BENCH_NATIVE ? "none" : bench_page_size[host].name;
}

/* --- CSV --- */

static void csv_sets(const struct bench_cell *cell, const char *guest, const char *host, FILE *file)
{
	for (int loop = 0; loop < BENCH_LOOPS; loop++) {
		for (unsigned size = 0; size < BENCH_SIZES; size++) {
			const struct bench_series *ns = &cell->set[loop][size].ns;

			if (ns->count > 0)
				fprintf(file, "%s,%s,%s,%llu,%.3f,,%.4f,%zu\n",
					bench_loop_name[loop], guest, host,
					(unsigned long long)BENCH_LEAST << size, bench_median(ns),
					bench_spread(ns), ns->count);
		}
	}
}

static void csv_events(const struct bench_cell *cell, const char *guest, const char *host,
		       FILE *file)
{
	for (size_t i = 0; i < cell->event_count; i++) {
		const struct bench_event *event = &cell->event[i];

		if (event->p50.count > 0)
			fprintf(file, "%s,%s,%s,,%.0f,%.0f,,%zu\n", event->name, guest, host,
				bench_median(&event->p50), bench_median(&event->p99),
				event->p50.count);
	}
}

void bench_write_csv(const struct bench_sweep *sweep, FILE *file)
{
	fputs("what,guest_page,host_page,working_set_bytes,ns,p99_ns,spread,samples\n", file);
	for (int guest = 0; guest < BENCH_PAGES; guest++) {
		for (unsigned host = 0; host <= BENCH_NATIVE; host++) {
			const struct bench_cell *cell =
				bench_measured(sweep, (enum bench_page)guest, host);

			if (cell == NULL)
				continue;
			csv_sets(cell, bench_page_size[guest].name, host_name(host), file);
			csv_events(cell, bench_page_size[guest].name, host_name(host), file);
		}
	}
}

/* --- JSON --- */

static json_t *real_or_null(double value)
{
	return isnan(value) ? json_null() : json_real(value);
}

static json_t *counters_json(const struct bench_set *set)
{
	json_t *object = json_object();

	for (int i = 0; i < BENCH_COUNTERS; i++)
		json_object_set_new(object, bench_counter_name[i],
				    json_real((double)set->counted[i] / (double)set->accesses));
	return object;
}

static json_t *loop_json(const struct bench_cell *cell, const struct bench_cell *native,
			 enum bench_loop loop)
{
	json_t *array = json_array();

	for (unsigned size = 0; size < BENCH_SIZES; size++) {
		const struct bench_set *set = &cell->set[loop][size];
		double ns = bench_median(&set->ns);
		double base = native != NULL ? bench_cell_ns(native, loop, size) : NAN;
		json_t *object;

		if (set->ns.count == 0)
			continue;
		object = json_pack("{s:I, s:f, s:o, s:o, s:f, s:I}", "bytes",
				   (json_int_t)(BENCH_LEAST << size), "ns", ns,
				   "ns_above_one_layer", real_or_null(ns - base), "ratio",
				   real_or_null(ns / base), "spread", bench_spread(&set->ns),
				   "samples", (json_int_t)set->ns.count);
		if (cell->counted)
			json_object_set_new(object, "counters_an_access", counters_json(set));
		json_array_append_new(array, object);
	}
	return array;
}

static json_t *loops_json(const struct bench_cell *cell, const struct bench_cell *native)
{
	json_t *object = json_object();

	for (int loop = 0; loop < BENCH_LOOPS; loop++) {
		json_t *sets = loop_json(cell, native, (enum bench_loop)loop);

		if (json_array_size(sets) > 0)
			json_object_set(object, bench_loop_name[loop], sets);
		json_decref(sets);
	}
	return object;
}

static json_t *events_json(const struct bench_cell *cell)
{
	json_t *object = json_object();

	for (size_t i = 0; i < cell->event_count; i++) {
		const struct bench_event *event = &cell->event[i];
		json_t *value =
			event->p50.count > 0
				? json_pack("{s:f, s:f}", "p50_ns", bench_median(&event->p50),
					    "p99_ns", bench_median(&event->p99))
				: json_pack("{s:s}", "absent", event->absent);

		json_object_set_new(object, event->name, value);
	}
	return object;
}

static json_t *mappings_json(const struct bench_cell *cell)
{
	json_t *object = json_object();

	for (int page = 0; page < BENCH_PAGES; page++) {
		if (cell->mapped[page] != UINT64_MAX)
			json_object_set_new(object, bench_page_size[page].name,
					    json_integer((json_int_t)cell->mapped[page]));
	}
	return object;
}

static json_t *cell_json(const struct bench_sweep *sweep, enum bench_page guest, unsigned host)
{
	const struct bench_cell *cell = &sweep->cell[guest][host];
	json_t *object = json_pack("{s:s, s:s}", "guest_page", bench_page_size[guest].name,
				   "host_page", host_name(host));

	if (bench_measured(sweep, guest, host) == NULL) {
		json_object_set_new(object, "absent", json_string(cell->absent));
		return object;
	}
	json_object_set_new(object, "right", json_true());
	json_object_set_new(object, "loops",
			    loops_json(cell, bench_measured(sweep, guest, BENCH_NATIVE)));
	json_object_set_new(object, "events", events_json(cell));
	if (host == BENCH_NATIVE) {
		json_object_set_new(object, "references",
				    json_integer(bench_page_size[guest].levels));
		return object;
	}
	json_object_set_new(
		object, "references",
		json_integer(bench_references(sweep->second_layer, guest, (enum bench_page)host)));
	json_object_set_new(object, "references_nested",
			    json_integer(bench_references_nested(guest, (enum bench_page)host)));
	json_object_set_new(object, "second_layer_mappings", mappings_json(cell));
	json_object_set_new(object, "pcid", json_boolean(cell->pcid));
	return object;
}

int bench_write_json(const struct bench_sweep *sweep, FILE *file)
{
	const char *counters = bench_counters_text(sweep);
	json_t *cells = json_array();
	json_t *root = json_pack(
		"{s:s, s:s, s:s, s:s, s:s, s:s, s:b, s:b, s:s, s:i, s:i, s:f, s:f, s:f, s:f}",
		"bench", "translation", "version", BIFOLD_VERSION, "date", sweep->date, "processor",
		sweep->processor, "kernel", sweep->kernel, "second_layer", sweep->second_layer,
		"nested", bench_is_nested(sweep->second_layer), "host_is_guest",
		sweep->host_is_guest, "counters", counters == NULL ? "available" : counters,
		"rounds", (int)sweep->options->rounds, "passes", (int)sweep->options->passes,
		"seconds", sweep->seconds, "others_processors", sweep->others, "stolen_processors",
		sweep->stolen, "disturbed_rounds", sweep->disturbed);
	int error = 0;

	for (int guest = 0; guest < BENCH_PAGES; guest++) {
		for (unsigned host = 0; host <= BENCH_NATIVE; host++) {
			bool asked = host == BENCH_NATIVE || sweep->options->host[host];

			if (sweep->options->guest[guest] && asked)
				json_array_append_new(
					cells, cell_json(sweep, (enum bench_page)guest, host));
		}
	}
	json_object_set_new(root, "cells", cells);
	if (json_dumpf(root, file, JSON_INDENT(2) | JSON_REAL_PRECISION(6)) != 0 ||
	    fputc('\n', file) == EOF || fflush(file) != 0)
		error = errno != 0 ? -errno : -EIO;
	json_decref(root);
	return error;
}

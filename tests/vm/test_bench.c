/*
 * bifold bench translation: a small sweep has right content in every cell, the form that is
 * promised, second-layer mappings of the sizes that were asked for, and leaves nothing behind.
 */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/vm/harness.h"

#define POOL	  "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"
#define SET_BYTES (4 << 20)

static void init(void)
{
	harness_init();
	need_kvm();
}

TestSuite(bench, .init = init, .fini = harness_finish, .timeout = 200);

#define run_bench(...)                                                                             \
	run_words(NULL, NULL, bifold_path(), "bench", "translation", __VA_ARGS__, NULL)

static json_t *parse(const struct child *child)
{
	json_error_t error;
	json_t *root;

	cr_assert_eq(child->status, 0, "status %d: %s", child->status, child->err_text);
	root = json_loads(child->out_text, 0, &error);
	cr_assert(root != NULL, "line %d: %s", error.line, error.text);
	return root;
}

static const char *text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	cr_assert(text != NULL, "no '%s'", name);
	return text;
}

static double number_of(const json_t *object, const char *name)
{
	cr_assert(json_is_number(json_object_get(object, name)), "no number '%s'", name);
	return json_number_value(json_object_get(object, name));
}

static const json_t *cell_of(const json_t *root, const char *guest, const char *host)
{
	const json_t *cells = json_object_get(root, "cells");

	for (size_t i = 0; i < json_array_size(cells); i++) {
		const json_t *cell = json_array_get(cells, i);

		if (strcmp(text_of(cell, "guest_page"), guest) == 0 &&
		    strcmp(text_of(cell, "host_page"), host) == 0)
			return cell;
	}
	cr_assert_fail("no cell of %s on %s", guest, host);
	return NULL;
}

/* Every loop has its one working set, with a time that can be. */
static void check_loops(const json_t *cell)
{
	static const char *const names[] = { "chase", "packed", "stride", "touch", "scan" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const json_t *sets = json_object_get(json_object_get(cell, "loops"), names[i]);
		const json_t *set = json_array_get(sets, 0);

		cr_assert_eq(json_array_size(sets), 1, "%s", names[i]);
		cr_expect_eq(number_of(set, "bytes"), SET_BYTES);
		cr_expect_gt(number_of(set, "ns"), 0.0);
		cr_expect_eq(number_of(set, "samples"), 2);
	}
}

/* Compares the mappings that KVM reports with the page sizes of the cell. */
static void check_mappings(const json_t *root, const json_t *cell)
{
	const json_t *mapped = json_object_get(cell, "second_layer_mappings");
	bool nested = json_is_true(json_object_get(root, "nested"));
	bool huge_guest = strcmp(text_of(cell, "guest_page"), "2M") == 0;
	bool huge_host = strcmp(text_of(cell, "host_page"), "2M") == 0;

	if (json_object_size(mapped) == 0)
		return; /* a KVM without statistics */
	/* Nested, the host's page alone decides; a shadow table has the smaller of the two. */
	if (huge_host && (nested || huge_guest))
		cr_expect_geq(number_of(mapped, "2M"), SET_BYTES >> 21);
	else
		cr_expect_geq(number_of(mapped, "4K"), SET_BYTES >> 12);
	if (!huge_host)
		cr_expect_eq(number_of(mapped, "2M"), 0);
}

static void check_cell(const json_t *root, const char *guest, const char *host)
{
	const json_t *cell = cell_of(root, guest, host);

	if (json_object_get(cell, "absent") != NULL) {
		cr_expect_gt(strlen(text_of(cell, "absent")), 10);
		cr_expect_neq(strcmp(host, "4K"), 0, "on 4K: %s", text_of(cell, "absent"));
		/* A warning of Criterion's would fail the suite. */
		fprintf(stderr, "bench: SKIP %s on %s: %s\n", guest, host, text_of(cell, "absent"));
		return;
	}
	cr_expect(json_is_true(json_object_get(cell, "right")));
	check_loops(cell);
	if (strcmp(host, "none") != 0)
		check_mappings(root, cell);
}

static void check_references(const json_t *root)
{
	const json_t *cell = cell_of(root, "4K", "4K");
	bool nested = json_is_true(json_object_get(root, "nested"));

	if (strcmp(text_of(root, "second_layer"), "shadow") == 0)
		cr_expect(!nested);
	cr_expect_eq(number_of(cell, "references"), nested ? 24 : 4);
	cr_expect_eq(number_of(cell, "references_nested"), 24);
}

static void check_events(const json_t *root)
{
	static const char *const names[] = { "first-touch",    "minor-fault",	 "permission-fault",
					     "unmap-and-map",  "table-update",	 "flush-16-single",
					     "flush-16-whole", "process-switch", "thread-switch" };
	const json_t *events = json_object_get(cell_of(root, "4K", "4K"), "events");

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const json_t *event = json_object_get(events, names[i]);

		cr_assert(event != NULL && json_object_get(event, "absent") == NULL, "%s",
			  names[i]);
		cr_expect_geq(number_of(event, "p99_ns"), number_of(event, "p50_ns"), "%s",
			      names[i]);
	}
}

Test(bench, small_sweep)
{
	static const char *const hosts[] = { "4K", "2M", "none" };
	size_t size;
	char *pool = read_file(POOL, &size), *after;
	json_t *root = parse(run_bench("--guest-pages", "4K,2M", "--host-pages", "4K,2M",
				       "--reserve", "--least", "4M", "--most", "4M", "--rounds",
				       "2", "--passes", "1", "--accesses", "64", "--events", "8",
				       "--loops", "chase,packed,stride,touch,scan", "--json"));

	for (size_t i = 0; i < 3; i++) {
		check_cell(root, "4K", hosts[i]);
		check_cell(root, "2M", hosts[i]);
	}
	check_references(root);
	check_events(root);
	json_decref(root);
	after = read_file(POOL, &size);
	if (pool != NULL && after != NULL)
		cr_expect_str_eq(after, pool, "huge pages stay set aside");
	free(pool);
	free(after);
}

Test(bench, table_and_csv)
{
	const char *csv = scratch_path("b.csv");
	char argument[256], *text;
	struct child *child;
	size_t size;

	snprintf(argument, sizeof(argument), "--csv=%s", csv);
	child = run_bench("--guest-pages", "4K", "--host-pages", "4K", "--most", "128K", "--rounds",
			  "1", "--passes", "2", "--accesses", "64", "--events", "4", argument);
	cr_assert_eq(child->status, 0, "%s", child->err_text);
	cr_expect(strstr(child->out_text, "second layer: ") != NULL);
	cr_expect(strstr(child->err_text, "bench: 4 of 4: one layer, 4K") != NULL, "%s",
		  child->err_text);
	text = read_file(csv, &size);
	cr_assert(text != NULL);
	cr_expect(strstr(text, "\nchase,4K,4K,65536,") != NULL, "%s", text);
	cr_expect(strstr(text, "\ntouch,4K,none,131072,") != NULL, "%s", text);
	cr_expect(strstr(text, "\nfirst-touch,4K,4K,,") != NULL, "%s", text);
	free(text);
}

static bool is_installed(const char *word)
{
	struct child *child =
		run_words(NULL, NULL, "/bin/sh", "-c", "command -v \"$0\"", word, NULL);

	return child->status == 0;
}

/* A whole picture, which says of what, on what and when. */
static bool is_svg(const char *path, const char *says)
{
	static const char *const parts[] = { "<svg", "</svg>", "second layer: ", "bifold 0",
					     "Linux " };
	char date[16];
	time_t now = time(NULL);
	size_t size;
	char *text = read_file(path, &size);
	bool whole = text != NULL && strstr(text, says) != NULL;

	strftime(date, sizeof(date), "%Y-", localtime(&now));
	whole = whole && strstr(text, date) != NULL;
	for (size_t i = 0; whole && i < sizeof(parts) / sizeof(parts[0]); i++)
		whole = strstr(text, parts[i]) != NULL;
	free(text);
	return whole;
}

Test(bench, plots)
{
	/* Of those with an axis, both of its ends are labelled. */
	static const char *const pictures[][2] = {
		{ "chase", "64 KiB" },	    { "chase", "128 KiB" },
		{ "chase-page", "64 KiB" }, { "chase-page", "128 KiB" },
		{ "translation", "-1" },    { "translation-page", "128 KiB" },
		{ "matrix", "guest 4K" },   { "matrix-page", "measured" },
	};
	struct child *child;

	if (!is_installed("gnuplot"))
		cr_skip_test("SKIP: gnuplot is not installed: tools/setup --plots");
	child = run_bench("--guest-pages", "4K", "--host-pages", "4K", "--most", "128K", "--rounds",
			  "1", "--passes", "1", "--accesses", "64", "--events", "0", "--plot",
			  scratch_path("plots"));
	cr_assert_eq(child->status, 0, "%s", child->err_text);
	for (size_t i = 0; i < sizeof(pictures) / sizeof(pictures[0]); i++) {
		char name[64];

		snprintf(name, sizeof(name), "plots/%s.svg", pictures[i][0]);
		cr_expect(is_svg(scratch_path(name), pictures[i][1]), "%s", name);
	}
}

static int no_programs(void)
{
	return setenv("PATH", "/nowhere", 1);
}

/* The figures are told all the same. */
Test(bench, no_gnuplot)
{
	struct child *child = run_words(no_programs, NULL, bifold_path(), "bench", "translation",
					"--guest-pages", "4K", "--host-pages", "4K", "--most",
					"64K", "--rounds", "1", "--passes", "1", "--accesses", "64",
					"--events", "0", "--plot", scratch_path("plots"), NULL);

	cr_expect_eq(child->status, 125, "status %d: %s", child->status, child->err_text);
	cr_expect(strstr(child->out_text, "second layer: ") != NULL, "%s", child->out_text);
	cr_expect(strstr(child->err_text, "gnuplot") != NULL, "%s", child->err_text);
}

static int in_scratch(void)
{
	return chdir(scratch_path("."));
}

/* Both outputs end only when no process of the bench is left; and no empty file is. */
Test(bench, interrupted)
{
	const char *const words[] = { bifold_path(), "bench",	  "translation", "--rounds",
				      "64",	     "--csv=new", NULL };
	struct child *child = child_start(words, in_scratch);

	child_wait_for(child, true, "bench: 1 of ");
	kill(child->pid, SIGINT);
	child_finish(child, NULL, 0);
	cr_expect_eq(child->status, 130, "status %d: %s", child->status, child->err_text);
	cr_expect(strstr(child->err_text, "Interrupt") != NULL, "%s", child->err_text);
	cr_expect_str_empty(child->out_text);
	cr_expect_eq(access(scratch_path("new"), F_OK), -1);
}

Test(bench, bad_options)
{
	static const char *const bad[][3] = {
		{ "--guest-pages", "8K", "expected some of" },
		{ "--loops", "chase,", "expected some of" },
		{ "--most", "96K", "a power of two" },
		{ "--least", "2G", "--least is more" },
		{ "--rounds", "0", "a number from 1" },
		{ "--events", "many", "a number from 0" },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct child *child = run_bench(bad[i][0], bad[i][1]);

		cr_expect_eq(child->status, 125, "%s", bad[i][0]);
		cr_expect(strstr(child->err_text, bad[i][2]) != NULL, "%s", child->err_text);
		harness_forget();
	}
	cr_expect_eq(run_words(NULL, NULL, bifold_path(), "bench", "nothing", NULL)->status, 125);
}

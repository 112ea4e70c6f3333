/* vmm/bench/result.h: the statistics, the program's lines, the model. */
#include <criterion/criterion.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "vmm/bench/result.h"

static struct bench_series series(const double *value, size_t count)
{
	struct bench_series made = { NULL, 0 };

	for (size_t i = 0; i < count; i++)
		bench_series_add(&made, value[i]);
	return made;
}

Test(bench, median_and_spread)
{
	static const double odd[] = { 9, 1, 5 }, even[] = { 4, 1, 3, 2 };
	struct bench_series a = series(odd, 3), b = series(even, 4), none = { NULL, 0 };

	cr_expect_float_eq(bench_median(&a), 5, 1e-9);
	cr_expect_float_eq(bench_median(&b), 2.5, 1e-9);
	cr_expect(isnan(bench_median(&none)) && isnan(bench_spread(&none)));
	cr_expect_float_eq(bench_spread(&b), (3.25 - 1.75) / 2.5, 1e-9);
	cr_expect_float_eq(a.value[0], 9, 1e-9, "the median sorts the series itself");
	free(a.value);
	free(b.value);
}

Test(bench, leaves_out_what_was_disturbed)
{
	static const double ns[] = { 5, 9, 6, 7, 8 }, pace[] = { 1, 2, 1.01, 1.5, 1.02 };
	struct bench_set set = { .ns = series(ns, 5), .pace = series(pace, 5) };

	cr_expect_eq(bench_set_drop_disturbed(&set, 1.6), 1);
	cr_expect_eq(set.ns.count, 4);
	cr_expect_float_eq(set.ns.value[1], 6, 1e-9);
	/* Three are kept: those with the best pace. */
	cr_expect_eq(bench_set_drop_disturbed(&set, 0.5), 1);
	cr_expect_float_eq(bench_median(&set.ns), 6, 1e-9);
	cr_expect_eq(bench_set_drop_disturbed(&set, 0.5), 0);
	cr_expect_eq(set.pace.count, 3);
	free(set.ns.value);
	free(set.pace.value);
}

Test(bench, takes_the_programs_lines)
{
	struct bench_cell cell;

	bench_cell_init(&cell);
	cr_expect_eq(bench_cell_take(&cell, "start chase 65536"), 0);
	cr_expect_eq(bench_cell_take(&cell, "set chase 65536 16 1000 1500@900 2500@1200 2000@900"),
		     0);
	cr_expect_eq(bench_cell_take(&cell, "set chase 65536 16 1000 9000@950"), 0);
	cr_expect_eq(bench_cell_take(&cell, "set touch 1048576 256 512 700@900"), 0);
	cr_expect_eq(bench_cell_take(&cell, "mapped"), 0);
	cr_expect_eq(bench_cell_take(&cell, "kvm 12 - 1"), 0);
	cr_expect_eq(bench_cell_take(&cell, "event first-touch 100 1000 5500"), 0);
	cr_expect_eq(bench_cell_take(&cell, "absent flush no such file here"), 0);
	cr_expect_eq(bench_cell_take(&cell, "pcid kept"), 0);
	cr_expect(!cell.right);
	cr_expect_eq(bench_cell_take(&cell, "right"), 0);
	cr_expect(cell.right && cell.pcid);
	cr_expect_eq(cell.set[BENCH_CHASE][0].ns.count, 4);
	cr_expect_eq(cell.set[BENCH_CHASE][0].accesses, 4000);
	cr_expect_float_eq(bench_cell_ns(&cell, BENCH_CHASE, 0), 2.25, 1e-9);
	cr_expect_float_eq(bench_cell_ns(&cell, BENCH_TOUCH, 4), 0.7, 1e-9);
	cr_expect(isnan(bench_cell_ns(&cell, BENCH_SCAN, 4)));
	cr_expect(!bench_cell_unsure(&cell, BENCH_SCAN, 4));
	cr_expect(!bench_cell_unsure(&cell, BENCH_TOUCH, 4));
	cr_expect(bench_cell_unsure(&cell, BENCH_CHASE, 0), "1.5 2 2.5 9");
	cr_expect(cell.mapped[BENCH_4K] == 12 && cell.mapped[BENCH_2M] == UINT64_MAX &&
		  cell.mapped[BENCH_1G] == 1);
	cr_expect_float_eq(bench_median(&bench_cell_event(&cell, "first-touch")->p99), 5.5, 1e-9);
	cr_expect_str_eq(bench_cell_event(&cell, "flush")->absent, "no such file here");
	cr_expect_null(bench_cell_event(&cell, "other"));
	bench_cell_finish(&cell);
}

Test(bench, refuses_other_lines)
{
	static const char *const lines[] = {
		"",
		"set",
		"set chase",
		"set chase 65536 16 1000",
		"set chase 65537 16 1000 5@1",
		"set other 65536 16 1000 5@1",
		"set chase 65536 16 1000 5@1 x",
		"set chase 65536 16 1000 5",
		"event first-touch 100 1000",
		"absent first-touch",
		"kvm 1 2",
		"pcid maybe",
		"bifold: hello",
	};
	struct bench_cell cell;

	bench_cell_init(&cell);
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		cr_expect_eq(bench_cell_take(&cell, lines[i]), -EPROTO, "'%s'", lines[i]);
	cr_expect_eq(bench_cell_take(&cell, "wrong: a chase"), -EBADMSG);
	cr_expect(!cell.right);
	for (int i = 0; i < BENCH_EVENTS; i++) {
		char line[64];

		snprintf(line, sizeof(line), "event e%d 1 1 1", i);
		cr_expect_eq(bench_cell_take(&cell, line), 0);
	}
	cr_expect_eq(bench_cell_take(&cell, "event more 1 1 1"), -ENOSPC);
	bench_cell_finish(&cell);
}

/* One whose calibration went wrong by four is not measured. */
Test(bench, refuses_a_clock_of_its_own)
{
	struct bench_cell cell[4];

	for (int i = 0; i < 4; i++) {
		bench_cell_init(&cell[i]);
		cr_expect_eq(bench_cell_take(&cell[i], "tick 400000"), 0);
		cr_expect_eq(bench_cell_take(&cell[i], i == 2 ? "tick 100000" : "tick 401000"), 0);
		cr_expect_eq(bench_cell_take(&cell[i], "right"), 0);
	}
	cr_expect_eq(bench_cell_take(&cell[0], "tick 0"), -EPROTO);
	cr_expect_eq(bench_refuse_ticks(cell, 4), 1);
	for (int i = 0; i < 4; i++) {
		cr_expect_eq(cell[i].right, i != 2);
		cr_expect_eq(cell[i].absent[0] != '\0', i == 2);
	}
	cr_expect_str_eq(cell[2].absent, "its clock was 75.0 % off that of the others");
	cr_expect_eq(bench_refuse_ticks(cell, 4), 0, "once");
	for (int i = 0; i < 4; i++)
		bench_cell_finish(&cell[i]);
	cr_expect_eq(bench_refuse_ticks(cell, 4), 0, "no clock at all");
}

Test(bench, largest_working_set_of_all)
{
	struct bench_cell a, b, absent;
	const struct bench_cell *all[] = { &a, &absent, &b };

	bench_cell_init(&a);
	bench_cell_init(&b);
	bench_cell_init(&absent);
	cr_expect_eq(bench_common_size(all, 3), -1);
	a.right = b.right = true;
	for (unsigned size = 0; size < 6; size++) {
		bench_series_add(&a.set[BENCH_CHASE][size].ns, 1);
		if (size < 4)
			bench_series_add(&b.set[BENCH_CHASE][size].ns, 1);
	}
	cr_expect_eq(bench_common_size(all, 3), 3);
	cr_expect_eq(bench_common_size(all, 2), 5);
	bench_cell_finish(&a);
	bench_cell_finish(&b);
}

Test(bench, references_of_a_walk)
{
	static const unsigned nested[BENCH_PAGES][BENCH_PAGES] = {
		{ 24, 19, 14 },
		{ 19, 15, 11 },
		{ 14, 11, 8 },
	};

	for (int guest = 0; guest < BENCH_PAGES; guest++) {
		for (int host = 0; host < BENCH_PAGES; host++) {
			cr_expect_eq(bench_references("npt", (enum bench_page)guest,
						      (enum bench_page)host),
				     nested[guest][host]);
			cr_expect_eq(bench_references_nested((enum bench_page)guest,
							     (enum bench_page)host),
				     nested[guest][host]);
		}
	}
	cr_expect_eq(bench_references("ept", BENCH_4K, BENCH_4K), 24);
	cr_expect_eq(bench_references("shadow", BENCH_4K, BENCH_1G), 4);
	cr_expect_eq(bench_references("shadow", BENCH_2M, BENCH_1G), 3);
	cr_expect_eq(bench_references("shadow", BENCH_1G, BENCH_1G), 2);
}

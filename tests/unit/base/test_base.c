/* base/units.h, base/log.h, mm/hist.h. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/status.h"
#include "base/units.h"
#include "mm/hist.h"

Test(units, sizes)
{
	static const struct {
		const char *text;
		int error;
		uint64_t bytes;
	} cases[] = {
		{ "0", 0, 0 },
		{ "1048576", 0, 1048576 },
		{ "512M", 0, MIB(512) },
		{ "1.5G", 0, MIB(1536) },
		{ "64KiB", 0, KIB(64) },
		{ "64kb", 0, KIB(64) },
		{ "10B", 0, 10 },
		{ "1T", 0, GIB(1024) },
		{ ".5K", 0, 512 },
		{ "", -EINVAL, 0 },
		{ "M", -EINVAL, 0 },
		{ "-1", -EINVAL, 0 },
		{ "inf", -EINVAL, 0 },
		{ "0x10", -EINVAL, 0 },
		{ "12Q", -EINVAL, 0 },
		{ "12MM", -EINVAL, 0 },
		{ "50%", -EINVAL, 0 },
		{ "99999999999T", -ERANGE, 0 },
		{ "9223372036854775808", -ERANGE, 0 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t bytes = 0;

		cr_expect_eq(units_parse_size(cases[i].text, &bytes), cases[i].error, "%s",
			     cases[i].text);
		cr_expect_eq(bytes, cases[i].bytes, "%s", cases[i].text);
	}
}

Test(units, percent)
{
	uint64_t bytes;

	cr_assert_eq(units_parse_size_or_percent("50%", MIB(96), &bytes), 0);
	cr_assert_eq(bytes, MIB(48));
	cr_assert_eq(units_parse_size_or_percent("12.5%", 800, &bytes), 0);
	cr_assert_eq(bytes, 100);
	cr_assert_eq(units_parse_size_or_percent("14M", 0, &bytes), 0);
	cr_assert_eq(bytes, MIB(14));
	cr_assert_eq(units_parse_size_or_percent("%", 100, &bytes), -EINVAL);
	cr_assert_eq(units_parse_size_or_percent("50%%", 100, &bytes), -EINVAL);
}

Test(units, words)
{
	char out[UNITS_TEXT_SIZE];

	cr_assert_str_eq(units_format_size(0, out), "0 B");
	cr_assert_str_eq(units_format_size(1023, out), "1023 B");
	cr_assert_str_eq(units_format_size(MIB(14), out), "14.0 MiB");
	cr_assert_str_eq(units_format_ns(37200, out), "37.2 us");
	cr_assert_str_eq(units_format_ns(1800000000, out), "1.8 s");
	cr_assert_str_eq(units_format_ns(999, out), "999 ns");
}

static void expect_cut(const char *text, size_t columns, const char *expected)
{
	cr_assert_eq(status_cut(text, columns), strlen(expected), "'%s' in %zu: %zu", text, columns,
		     status_cut(text, columns));
}

Test(status, is_cut_between_its_fields)
{
	expect_cut("", 10, "");
	expect_cut("  1s  held 4 MiB  pool 12 B", 80, "  1s  held 4 MiB  pool 12 B");
	expect_cut("  1s  held 4 MiB  pool 12 B", 27, "  1s  held 4 MiB  pool 12 B");
	expect_cut("  1s  held 4 MiB  pool 12 B", 26, "  1s  held 4 MiB");
	expect_cut("  1s  held 4 MiB  pool 12 B", 16, "  1s  held 4 MiB");
	expect_cut("  1s  held 4 MiB  pool 12 B", 15, "  1s");
	expect_cut("  1s  held 4 MiB  pool 12 B", 3, "  1");
	expect_cut("one field of words", 10, "one field ");
	expect_cut("one", 0, "");
}

Test(log, one_write_a_line_and_errno_kept)
{
	int ends[2];
	char text[256] = "";

	cr_assert_eq(pipe(ends), 0);
	int saved = dup(STDERR_FILENO);

	dup2(ends[1], STDERR_FILENO);
	errno = ENOSPC;
	log_error("%d pages: %m", 3);
	cr_assert_eq(errno, ENOSPC);
	log_info("not at this verbosity");
	log_set_verbosity(1);
	log_info("but at this one");
	dup2(saved, STDERR_FILENO);
	cr_assert_gt(read(ends[0], text, sizeof(text) - 1), 0);
	cr_assert_str_eq(text,
			 "bifold: 3 pages: No space left on device\nbifold: but at this one\n");
}

/* Puts a pipe, whose read end is given, where standard error is. */
static int stderr_to_pipe(void)
{
	int ends[2];

	cr_assert_eq(pipe(ends), 0);
	cr_assert_eq(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
	close(ends[1]);
	return ends[0];
}

/* Until the pipe takes nothing more: how many bytes that were. */
static size_t fill_pipe(void)
{
	static const char zeros[4096];
	int fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK);
	size_t filled = 0;
	ssize_t n;

	while ((n = write(fd, zeros, sizeof(zeros))) > 0)
		filled += (size_t)n;
	close(fd);
	return filled;
}

static void skip_bytes(int fd, size_t count)
{
	char byte;

	while (count-- > 0)
		cr_assert_eq(read(fd, &byte, 1), 1);
}

/* The text that the pipe holds now. */
static char *pipe_text(int fd)
{
	static char text[65536];
	ssize_t n;

	fcntl(fd, F_SETFL, O_NONBLOCK);
	n = read(fd, text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	return text;
}

/* SIGALRM ends the test if a call waits for the reader, who is this very thread. */
Test(log, a_full_pipe_is_not_waited_for)
{
	int fd = stderr_to_pipe();
	size_t filled;
	char *text;

	alarm(10);
	filled = fill_pipe();
	log_error("kept");
	log_drain(-1, 0);
	skip_bytes(fd, filled);
	log_error("next");
	text = pipe_text(fd);
	cr_assert_str_eq(text, "bifold: kept\nbifold: next\n");
}

Test(log, what_was_dropped_is_counted)
{
	static char long_text[512];
	int fd = stderr_to_pipe(), kept = 0;
	size_t filled;
	char *text, *at;

	alarm(10);
	memset(long_text, 'x', sizeof(long_text) - 1);
	filled = fill_pipe();
	for (int i = 0; i < 100; i++)
		log_error("%s", long_text);
	skip_bytes(fd, filled);
	log_text("a table\n");
	log_drain(-1, 0);
	text = pipe_text(fd);
	for (at = text; strncmp(at, "bifold: xxx", 11) == 0; kept++)
		at = strchr(at, '\n') + 1;
	cr_assert(kept > 0 && kept < 100);
	cr_assert_eq(atoi(at + strlen("bifold: warning: ")), 100 - kept, "%s", at);
	cr_assert_str_eq(strchr(at, '\n'), "\na table\n");
}

/* Others may share it. */
Test(log, standard_error_stays_as_it_is)
{
	stderr_to_pipe();
	log_error("a line");
	cr_assert_eq(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK, 0);
}

/* The rest goes out once somebody reads, while the end waits for it. */
static void *read_slowly(void *argument)
{
	int *fd = argument;
	char bytes[4096];

	while (read(*fd, bytes, sizeof(bytes)) > 0)
		if (memmem(bytes, sizeof(bytes), "kept", 4) != NULL)
			return fd;
	return NULL;
}

Test(log, the_end_waits_for_a_reader)
{
	int fd = stderr_to_pipe();
	pthread_t reader;
	void *found;

	alarm(10);
	fill_pipe();
	log_error("kept");
	cr_assert_eq(pthread_create(&reader, NULL, read_slowly, &fd), 0);
	log_drain(-1, -1);
	pthread_join(reader, &found);
	cr_assert_not_null(found);
}

Test(hist, empty)
{
	static struct hist h;

	cr_assert_eq(hist_permille(&h, 500), 0);
}

Test(hist, buckets_end_where_the_next_begins)
{
	cr_assert_eq(hist_bucket_last(0), 0);
	for (unsigned i = 1; i < HIST_BUCKETS; i++) {
		uint64_t first = hist_bucket_last(i - 1) + 1, last = hist_bucket_last(i);
		struct hist h = { 0 };

		hist_add(&h, first);
		hist_add(&h, last);
		cr_assert_eq(h.bucket[i], 2, "bucket %u", i);
	}
	cr_assert_eq(hist_bucket_last(HIST_BUCKETS - 1), UINT64_MAX);
	for (unsigned bit = 1; bit < 64; bit++) {
		struct hist h = { 0 };

		hist_add(&h, (1ull << bit) - 1);
		for (unsigned i = 0; i < HIST_BUCKETS; i++)
			cr_assert(!h.bucket[i] || hist_bucket_last(i) == (1ull << bit) - 1);
	}
}

Test(hist, small_values_are_exact)
{
	static struct hist h;

	for (uint64_t v = 1; v <= 10; v++)
		hist_add(&h, v);
	cr_assert_eq(h.count, 10);
	cr_assert_eq(h.sum, 55);
	cr_assert_eq(hist_permille(&h, 500), 5);
	cr_assert_eq(hist_permille(&h, 100), 1);
	cr_assert_eq(hist_permille(&h, 0), 1);
	cr_assert_eq(hist_permille(&h, 1000), 10);
}

Test(hist, within_seven_percent_everywhere)
{
	for (uint64_t v = 1; v < 1ull << 60; v = v * 5 / 4 + 1) {
		static struct hist h;

		memset(&h, 0, sizeof(h));
		hist_add(&h, v);
		hist_add(&h, UINT64_MAX); /* so that max does not clip the answer */

		uint64_t got = hist_permille(&h, 500);
		uint64_t off = got > v ? got - v : v - got;

		cr_assert_leq(off, v / 14, "%llu gave %llu", (unsigned long long)v,
			      (unsigned long long)got);
	}
}

Test(hist, percentiles_of_many)
{
	static struct hist h;

	for (uint64_t v = 1; v <= 100000; v++)
		hist_add(&h, v);
	cr_assert_lt(hist_permille(&h, 990), 99000 * 1.07);
	cr_assert_gt(hist_permille(&h, 990), 99000 * 0.93);
	cr_assert_eq(h.max, 100000);
}

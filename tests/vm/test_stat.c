/* Guests told of and steered from outside: stat, pause, resume, quit. */
#include <criterion/criterion.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tests/prometheus.h"
#include "tests/vm/cage.h"
#include "tests/vm/guests.h"
#include "tests/vm/world.h"
#include "vmm/common/json.h"

static void init(void)
{
	harness_init();
	need_kvm();
}

TestSuite(stat, .init = init, .fini = harness_finish, .timeout = 300);

/* A guest that faults without an end. */
static struct child *start_busy(void)
{
	return start_guest(WORDS("--memory", "64M", "--budget", "12M", "--cpus", "2"),
			   WORDS("places", "24"), "ready");
}

static void nap(long milliseconds)
{
	struct timespec time = { .tv_nsec = milliseconds * 1000000 };

	nanosleep(&time, NULL);
}

/* The guest has got on since: its faults are more than these. */
static int64_t wait_for_faults(int64_t more_than)
{
	int64_t faults;

	while ((faults = stat_number("faults.swap")) <= more_than)
		nap(20);
	return faults;
}

Test(stat, json)
{
	static const char *const states[] = { "mapped",	 "watched",   "compressed", "same_filled",
					      "swapped", "untouched", "released" };
	struct child *guest = start_busy();
	json_t *stat;
	int64_t sum = 0;

	wait_for_faults(0);
	stat = stat_json();
	cr_assert_str_eq(json_text(stat, "state"), "running");
	cr_assert(json_is_null(json_object_get(stat, "stop")));
	cr_assert_eq(json_count(stat, "pid"), (uint64_t)guest->pid);
	cr_assert_eq(json_count(stat, "guest.memory_bytes"), 64u << 20);
	cr_assert_eq(json_count(stat, "guest.cpus"), 2);
	cr_assert_str_eq(json_string_value(json_at(stat, "guest.name")), test_program("places"));
	cr_assert_str_eq(json_string_value(json_at(stat, "guest.kernel")), "quire");
	cr_assert_eq(json_count(stat, "budget_bytes"), 12u << 20);
	cr_assert_leq(json_count(stat, "peak_host_bytes"), 12u << 20);
	for (int i = 0; i < 7; i++)
		sum += (int64_t)json_count(json_object_get(stat, "frames"), states[i]);
	cr_assert_eq(sum, json_count(stat, "frames.total"));
	cr_assert_gt(json_count(stat, "frames.swapped"), 0);
	cr_assert_gt(json_count(stat, "kvm.exits"), 0);
	cr_assert_gt(json_count(stat, "refaults"), 0);
	json_decref(stat);
	end_guest(guest);
}

/* The samples, of a guest that has done all there is to tell. */
Test(stat, prometheus)
{
	static struct prometheus first, second;
	struct child *guest = start_busy(), *asked;
	double before, now, sum = 0;

	for (int i = 0; i < 2; i++) {
		struct prometheus *got = i == 0 ? &first : &second;

		wait_for_faults(i == 0 ? 0 : stat_number("faults.swap"));
		asked = run_words(NULL, NULL, bifold_path(), "stat", "--prometheus", socket_path(),
				  NULL);
		cr_assert_eq(asked->status, 0, "%s", asked->err_text);
		prometheus_read(asked->out_text, got);
		cr_assert_str_eq(got->error, "", "%s\n%s", got->error, asked->out_text);
	}
	/* Counters go one way, and a histogram counts every fault. */
	for (size_t i = 0; i < first.count; i++) {
		const struct prometheus_sample *s = &first.sample[i];

		if (strstr(s->name, "_total") == NULL && strstr(s->name, "_bucket") == NULL)
			continue;
		cr_assert(prometheus_find(&second, &now, s->name, s->labels, NULL), "%s{%s}",
			  s->name, s->labels);
		cr_assert_geq(now, s->value, "%s{%s}", s->name, s->labels);
	}
	cr_assert(prometheus_find(&first, &before, "bifold_faults_total", "kind=\"swap\"", NULL));
	cr_assert(prometheus_find(&second, &now, "bifold_faults_total", "kind=\"swap\"", NULL));
	cr_assert_gt(now, before);
	cr_assert(prometheus_find(&second, &sum, "bifold_fault_seconds_count", "kind=\"swap\"",
				  NULL));
	cr_assert_eq(sum, now);
	end_guest(guest);
}

/* Where a long line goes on in the next depends on how long the program's path is. */
static void unfold(char *text)
{
	char *to = text;

	for (const char *from = text; *from != '\0'; from++)
		if (!isspace(*from))
			*to++ = *from;
		else if (to > text && to[-1] != ' ')
			*to++ = ' ';
	*to = '\0';
}

Test(stat, table_and_watch)
{
	struct child *guest = start_busy(), *watch;
	struct child *asked = run_words(NULL, NULL, bifold_path(), "stat", socket_path(), NULL);
	json_error_t error;

	cr_assert_eq(asked->status, 0, "%s", asked->err_text);
	unfold(asked->out_text);
	cr_assert(strstr(asked->out_text, "places on quire, 2 CPUs") != NULL &&
			  strstr(asked->out_text, "within the budget") != NULL &&
			  strstr(asked->out_text, "untouched") != NULL,
		  "%s", asked->out_text);
	watch = child_start(WORDS(bifold_path(), "stat", "--json", "--watch", "0.1", socket_path()),
			    NULL);
	child_wait_for(watch, false, "}\n{");
	end_guest(guest);
	child_finish(watch, NULL, 0);
	cr_assert_eq(watch->status, 1);
	cr_assert(strstr(watch->err_text, "the guest has ended") != NULL, "%s", watch->err_text);
	for (const char *at = watch->out_text; *at != '\0'; at = strchr(at, '\n') + 1) {
		json_t *line = json_loads(at, JSON_DISABLE_EOF_CHECK, &error);

		cr_assert(json_is_object(line), "%s", error.text);
		json_decref(line);
	}
}

/* Nothing moves in a paused guest, who looks in meanwhile or not; twice is once. */
Test(stat, pause_and_resume)
{
	struct child *guest = start_busy(), *asked;
	int64_t faults, exits;

	wait_for_faults(0);
	steer("pause");
	faults = stat_number("faults.swap");
	exits = stat_number("kvm.exits");
	asked = run_words(NULL, NULL, bifold_path(), "translate", socket_path(), "0x401000", NULL);
	cr_assert_eq(asked->status, 0, "%s", asked->err_text);
	steer("pause");
	nap(300);
	cr_assert_eq(stat_number("faults.swap"), faults);
	cr_assert_eq(stat_number("kvm.exits"), exits);
	asked = run_words(NULL, NULL, bifold_path(), "stat", socket_path(), NULL);
	cr_assert(strstr(asked->out_text, "paused, up ") != NULL, "%s", asked->out_text);
	steer("resume");
	wait_for_faults(faults);
	steer("resume");
	wait_for_faults(stat_number("faults.swap"));
	/* A paused guest ends as any other. */
	steer("pause");
	end_guest(guest);
}

/* As often as can be while it works, and the guest's data is whole. */
Test(stat, pauses_lose_nothing)
{
	struct child *guest = start_hold(WORDS("--memory", "48M", "--budget", "8M", "--cpus", "2"));
	FILE *socket = fdopen(connect_socket(), "r+");
	char line[256];
	int times = -1;

	child_send(guest, "\n");
	do {
		fputs("{\"method\":\"pause\"}\n{\"method\":\"resume\"}\n", socket);
		fflush(socket);
		times++;
	} while (fgets(line, sizeof(line), socket) != NULL &&
		 fgets(line, sizeof(line), socket) != NULL);
	fclose(socket);
	expect_end(guest, 0);
	cr_assert(strstr(guest->out_text, "whole") != NULL, "%s", guest->out_text);
	cr_assert_gt(times, 20, "paused %d times", times);
}

/* When it returns, the monitor is gone, and so is all it held. */
static void quit(bool paused)
{
	struct child *guest = start_guest(WORDS("--report", scratch_path("r.json")),
					  WORDS("places", "1"), "ready");

	if (paused)
		steer("pause");
	steer("quit");
	cr_assert_eq(report_number(scratch_path("r.json"), "exit_status"), 0);
	expect_end(guest, 0);
	cr_assert(strstr(guest->err_text, "stopped by 'bifold quit'") != NULL, "%s",
		  guest->err_text);
}

Test(stat, quits)
{
	quit(false);
	quit(true);
	steer_fails("quit", 1, "No such file");
}

static struct child *budget(const char *size)
{
	return run_words(NULL, NULL, bifold_path(), "budget", socket_path(), size, NULL);
}

static void set_budget(const char *size, int64_t bytes)
{
	struct child *asked = budget(size);

	cr_assert_eq(asked->status, 0, "status %d: %s", asked->status, asked->err_text);
	child_forget(asked);
	cr_assert_eq(stat_number("budget_bytes"), bytes);
	cr_assert(bytes == 0 || stat_number("held_bytes") <= bytes);
}

/* From any to any other, also where there was none, and the data is whole. */
static void budgets(const char *const *options)
{
	struct child *guest = start_hold(options), *asked;

	cage_widen(guest->cage, 48 << 20); /* it will be under no budget */
	set_budget("10M", 10 << 20);
	set_budget("50%", 24 << 20);
	set_budget("6M", 6 << 20);
	asked = budget("100K");
	cr_assert_eq(asked->status, 2);
	cr_assert(strstr(asked->err_text, "the least that works is") != NULL, "%s",
		  asked->err_text);
	cr_assert_eq(stat_number("budget_bytes"), 6 << 20);
	set_budget("none", 0);
	set_budget("8M", 8 << 20);
	end_hold(guest);
}

Test(stat, budget_of_a_guest_with_one)
{
	budgets(WORDS("--memory", "48M", "--budget", "40M"));
}

Test(stat, budget_of_a_guest_with_none)
{
	budgets(WORDS("--memory", "48M", "--cpus", "2"));
}

/* Down to a tenth and up again, while the guest uses all it has. */
Test(stat, budget_of_a_busy_guest)
{
	struct child *guest = start_busy();

	cage_widen(guest->cage, 64 << 20); /* it will be under no budget */
	for (int i = 0; i < 3; i++) {
		int64_t faults;

		set_budget("5M", 5 << 20);
		faults = wait_for_faults(0);
		set_budget("none", 0);
		set_budget("16M", 16 << 20);
		wait_for_faults(faults);
	}
	end_guest(guest);
}

static struct child *balloon(const char *size)
{
	return run_words(NULL, NULL, bifold_path(), "balloon", socket_path(), size, NULL);
}

static void set_balloon(const char *size, int64_t bytes)
{
	struct child *asked = balloon(size);

	cr_assert_eq(asked->status, 0, "status %d: %s", asked->status, asked->err_text);
	child_forget(asked);
	cr_assert_eq(stat_number("balloon.actual_bytes"), bytes);
	cr_assert_eq(stat_number("balloon_frames"), bytes / 4096);
	cr_assert_leq(stat_number("resident_bytes"),
		      stat_number("guest.memory_bytes") - stat_number("balloon.actual_bytes"));
}

/* Blown up, let out, and blown up to more than the guest can spare: it refuses, and lives. */
static void balloons(const char *const *options)
{
	struct child *guest = start_hold(options), *asked;
	int64_t had;

	set_balloon("32M", 32 << 20);
	set_balloon("25%", 16 << 20);
	asked = balloon("63M");
	cr_assert_eq(asked->status, 2, "status %d: %s", asked->status, asked->out_text);
	cr_assert(strstr(asked->err_text, "the guest refuses") != NULL, "%s", asked->err_text);
	had = stat_number("balloon.actual_bytes");
	cr_assert(had > 32 << 20 && had < 63 << 20, "%ld", (long)had);
	set_balloon("0", 0);
	asked = balloon("65M");
	cr_assert_eq(asked->status, 2);
	cr_assert(strstr(asked->err_text, "no more than 64.0 MiB") != NULL, "%s", asked->err_text);
	end_hold(guest);
}

Test(stat, balloon)
{
	balloons(WORDS("--memory", "64M"));
}

Test(stat, balloon_and_budget)
{
	balloons(WORDS("--memory", "64M", "--budget", "10M", "--cpus", "2"));
}

Test(stat, no_balloon)
{
	struct child *guest = start_hold(WORDS("--no-balloon")), *asked = balloon("1M");

	cr_assert_eq(asked->status, 2);
	cr_assert(strstr(asked->err_text, "no balloon") != NULL, "%s", asked->err_text);
	end_hold(guest);
}

Test(stat, unmanaged)
{
	struct child *guest = start_hold(WORDS("--unmanaged"));
	struct child *asked = run_words(NULL, NULL, bifold_path(), "stat", socket_path(), NULL);
	static struct prometheus got;

	cr_assert(strstr(asked->out_text, "host kernel's to manage") != NULL, "%s",
		  asked->out_text);
	asked = run_words(NULL, NULL, bifold_path(), "stat", "--prometheus", socket_path(), NULL);
	prometheus_read(asked->out_text, &got);
	cr_assert_str_eq(got.error, "");
	asked = budget("16M");
	cr_assert_eq(asked->status, 2);
	cr_assert(strstr(asked->err_text, "it has no budget") != NULL, "%s", asked->err_text);
	steer("pause");
	steer("resume");
	end_hold(guest);
}

Test(stat, bad_options)
{
	static const char *const bad[][4] = {
		{ "stat" },
		{ "stat", "a", "b" },
		{ "stat", "--watch", "0", "a" },
		{ "stat", "--watch" },
		{ "stat", "--watch", "x", "a" },
		{ "stat", "--no", "a" },
		{ "pause" },
		{ "resume", "a", "b" },
		{ "quit", "--json", "a" },
		{ "stat", "--json", "--prometheus", "a" },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct child *asked = child_start(
			WORDS(bifold_path(), bad[i][0], bad[i][1], bad[i][2], bad[i][3]), NULL);

		child_finish(asked, NULL, 0);
		cr_assert_eq(asked->status, 125, "case %zu: status %d", i, asked->status);
		cr_assert_neq(asked->err_text[0], '\0');
		child_forget(asked);
	}
	steer_fails("stat", 1, "No such file");
	steer_fails("pause", 1, "No such file");
	write_file(socket_path(), "x", 1);
	steer_fails("resume", 1, socket_path());
}

/* Why nothing happens in the guest. */
Test(stat, guest_that_stands)
{
	struct child *guest =
		child_start(WORDS(bifold_path(), "run", "--memory", "32M", "--budget", "8M",
				  "--swap", WORLD_FOLDER, "--compressor", "none", "--control",
				  socket_path(), "--", test_program("hold"), "6", "random"),
			    world_with_full_folder);
	json_t *stat;

	child_wait_for(guest, true, "stands until there is room");
	stat = stat_json();
	cr_assert_str_eq(json_string_value(json_object_get(stat, "state")), "standing");
	json_decref(stat);
	end_guest(guest);
}

/*
 * No write of a guest's is lost, whoever makes it, while its pages come and go: threads on two
 * processors and the kernel count in all of a program's memory (programs/counts.c), under budgets
 * and balloons that change.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/long.h"
#include "tests/vm/guests.h"

static void init(void)
{
	harness_init();
	need_kvm();
}

TestSuite(writes, .init = init, .fini = harness_finish);

/* The answer does not matter: a balloon may not get there before it is told otherwise. */
static void ask(const char *command, const char *size)
{
	child_forget(run_words(NULL, NULL, bifold_path(), command, "--no-wait", socket_path(), size,
			       NULL));
}

static void none_is_lost(const char *way, unsigned seconds)
{
	static const char *const budgets[] = { "9M", "12M", "10M" };
	static const char *const balloons[] = { "0", "12M", "4M" };
	const char *report = scratch_path("r.json"), *seed = harness_seed("writes");
	time_t end = time(NULL) + seconds;
	char text[16];
	struct child *guest;

	snprintf(text, sizeof(text), "%u", seconds);
	guest = start_guest(WORDS("--memory", "48M", "--budget", "12M", "--cpus", "2", "--watch",
				  way, "--swap", "/tmp", "--report", report),
			    WORDS("counts", "16", text, seed), "ready");
	for (unsigned turn = 0; time(NULL) < end; turn++) {
		ask("budget", budgets[turn % 3]);
		ask("balloon", balloons[turn / 2 % 3]);
	}
	child_finish(guest, NULL, 0);
	cr_assert_eq(guest->status, 0, "seed %s: %s%s", seed, guest->out_text, guest->err_text);
	cr_assert(strstr(guest->out_text, " writes, whole") != NULL, "%s", guest->out_text);
	fprintf(stderr, "%s", strstr(guest->out_text, "ready\n") + strlen("ready\n"));
	cr_assert_gt(report_number(report, "evictions.compressed"), 1000);
	cr_assert_gt(report_number(report, "faults.pool"), 1000);
	if (strcmp(way, "scan") == 0)
		cr_assert_gt(report_number(report, "touches_found"), 100);
}

Test(writes, none_is_lost_by_scanning)
{
	none_is_lost("scan", test_times(15, 600));
}

Test(writes, none_is_lost_by_notice)
{
	none_is_lost("notice", test_times(5, 60));
}

/* bifold balloon and bifold budget, before guests that do what they are told, and others. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/vm/fake_guest.h"
#include "tests/vm/guests.h"

#define MIB (1ull << 20)

static void init(void)
{
	harness_init();
	fake_guest_start();
}

static void finish(void)
{
	fake_guest_stop();
	harness_finish();
}

TestSuite(steer, .init = init, .fini = finish, .timeout = 60);

static struct child *balloon(const char *size)
{
	return run_words(NULL, NULL, bifold_path(), "balloon", socket_path(), size, NULL);
}

static void expect(const struct child *asked, int status, const char *says)
{
	cr_assert_eq(asked->status, status, "status %d: %s%s", asked->status, asked->out_text,
		     asked->err_text);
	cr_assert(strstr(asked->out_text, says) != NULL || strstr(asked->err_text, says) != NULL,
		  "'%s' is not in: %s%s", says, asked->out_text, asked->err_text);
}

Test(steer, balloon_gets_there_and_back)
{
	expect(balloon("8M"), 0, "the balloon: 8.0 MiB");
	cr_assert_eq(fake_guest.actual, 8 * MIB);
	cr_assert_geq(fake_guest.looks, 8);
	expect(balloon("2.5M"), 0, "the balloon: 2.5 MiB");
	cr_assert_eq(fake_guest.actual, 5 * MIB / 2);
	fake_guest.step = 64 * MIB;
	expect(balloon("25%"), 0, "the balloon: 64.0 MiB");
	expect(balloon("0"), 0, "the balloon: 0 B");
	cr_assert_eq(fake_guest.actual, 0);
}

Test(steer, balloon_without_waiting)
{
	struct child *asked = run_words(NULL, NULL, bifold_path(), "balloon", "--no-wait",
					socket_path(), "8M", NULL);

	expect(asked, 0, "");
	cr_assert_eq(fake_guest.target, 8 * MIB);
	cr_assert_eq(fake_guest.looks, 1);
}

/* Each way of refusing has its words, and the same status. */
Test(steer, balloon_refused)
{
	expect(balloon("1T"), 2, "no more than that");
	fake_guest.most = 3 * MIB;
	expect(balloon("8M"), 2, "the balloon: 3.0 MiB, to be 8.0 MiB; the guest refuses");
	cr_assert_eq(fake_guest.target, 8 * MIB);
}

Test(steer, balloon_of_a_paused_guest)
{
	fake_guest.most = 0;
	fake_guest.paused = true;
	expect(balloon("8M"), 2, "it is paused");
}

Test(steer, balloon_without_a_driver)
{
	fake_guest.ready = false;
	expect(balloon("8M"), 2, "the guest has no driver for it");
}

Test(steer, balloon_of_two_masters)
{
	struct child *asked =
		child_start(WORDS(bifold_path(), "balloon", socket_path(), "128M"), NULL);

	child_wait_for(asked, false, "\n");
	fake_guest.target = 4 * MIB;
	child_finish(asked, NULL, 0);
	expect(asked, 2, "something else has been asked for since");
}

/* The target stays. */
static void interrupted(int signal_number)
{
	struct child *asked =
		child_start(WORDS(bifold_path(), "balloon", socket_path(), "128M"), NULL);

	child_wait_for(asked, false, "\n");
	kill(asked->pid, signal_number);
	child_finish(asked, NULL, 0);
	expect(asked, 128 + signal_number, "what was asked for stays asked for");
	expect(asked, 128 + signal_number, "to be 128.0 MiB");
	cr_assert_eq(fake_guest.target, 128 * MIB);
	cr_assert_lt(fake_guest.actual, 128 * MIB);
}

Test(steer, balloon_interrupted)
{
	interrupted(SIGINT);
	interrupted(SIGTERM);
}

Test(steer, balloon_of_a_guest_that_ends)
{
	struct child *asked =
		child_start(WORDS(bifold_path(), "balloon", socket_path(), "128M"), NULL);

	child_wait_for(asked, false, "\n");
	fake_guest_stop();
	child_finish(asked, NULL, 0);
	expect(asked, 1, "the guest has ended");
}

Test(steer, bad_options)
{
	static const char *const bad[][4] = {
		{ "balloon" },
		{ "balloon", "a" },
		{ "balloon", "a", "x" },
		{ "balloon", "a", "-1" },
		{ "balloon", "a", "1M", "b" },
		{ "balloon", "--now", "a", "1M" },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct child *asked = child_start(
			WORDS(bifold_path(), bad[i][0], bad[i][1], bad[i][2], bad[i][3]), NULL);

		child_finish(asked, NULL, 0);
		cr_assert_eq(asked->status, 125, "case %zu: status %d", i, asked->status);
		child_forget(asked);
	}
	fake_guest_stop();
	expect(balloon("1M"), 1, "No such file");
}

/* bifold top on terminals of several kinds, before a real guest and before false ones. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/vm/fake_guest.h"
#include "tests/vm/guests.h"
#include "tests/vm/screen.h"

#define MIB (1ull << 20)

static struct screen screen;

TestSuite(top, .init = harness_init, .fini = harness_finish, .timeout = 120);

static void start_top(const char *type, int rows, int columns)
{
	screen_start(&screen, type, rows, columns,
		     WORDS(bifold_path(), "top", "--delay", "0.1", socket_path()));
}

static void leave(void)
{
	screen_send(&screen, "q");
	screen_finish(&screen);
	cr_assert_eq(screen.status, 0, "status %d:\n%s", screen.status, screen_text(&screen));
}

/* Its numbers are the guest's, and its keys reach the guest. */
static void real_guest(const char *type, bool colours)
{
	struct child *guest;

	need_kvm();
	guest = start_guest(WORDS("--memory", "64M", "--budget", "12M", "--cpus", "2"),
			    WORDS("places", "24"), "ready");
	start_top(type, 30, 110);
	screen_wait_for(&screen, "16384 pages");
	screen_wait_for(&screen, "running, up ");
	screen_wait_for(&screen, "of 12.0 MiB");
	screen_wait_for(&screen, "  same-filled ");
	screen_wait_for(&screen, "  zero-fill ");
	screen_wait_for(&screen, "q quit");
	cr_assert(screen_shows(&screen, "[#"), "%s", screen_text(&screen));
	cr_assert_eq(screen.coloured, colours);
	screen_send(&screen, "p");
	screen_wait_for(&screen, "paused, up ");
	screen_wait_for(&screen, "stalled   0.0 %");
	screen_send(&screen, " ");
	screen_wait_for(&screen, "running, up ");
	/* Three steps of 2 MiB at once. */
	screen_send(&screen, "+++");
	screen_wait_for(&screen, "of 18.0 MiB");
	screen_send(&screen, "-");
	screen_wait_for(&screen, "of 16.0 MiB");
	leave();
	end_guest(guest);
}

Test(top, xterm)
{
	real_guest("xterm-256color", true);
}

Test(top, vt100)
{
	real_guest("vt100", false);
}

/* A key's order takes effect, or the screen says why not. */
Test(top, orders)
{
	fake_guest_start();
	start_top("xterm", 24, 80);
	screen_wait_for(&screen, "balloon   0 B of 0 B");
	screen_send(&screen, "]]");
	screen_wait_for(&screen, "of 16.0 MiB");
	cr_assert_eq(fake_guest.target, 16 * MIB);
	screen_send(&screen, "\033[B"); /* as the arrow down sends it */
	screen_wait_for(&screen, "balloon   8.0 MiB of 8.0 MiB");
	screen_send(&screen, "-");
	screen_wait_for(&screen, "there is no method 'budget'");
	screen_send(&screen, "x");
	leave();
	cr_assert_eq(fake_guest.target, 8 * MIB);
	fake_guest_stop();
}

/* Down to a terminal of nothing, and back. */
Test(top, sizes)
{
	static const int sizes[][2] = { { 10, 40 }, { 1, 1 }, { 2, 300 }, { 60, 20 }, { 3, 3 } };

	fake_guest_start();
	start_top("xterm", 24, 80);
	screen_wait_for(&screen, "q quit");
	screen_wait_for(&screen, "balloon ");
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		screen_resize(&screen, sizes[i][0], sizes[i][1] > 200 ? 200 : sizes[i][1]);
		screen_wait_for(&screen, "q");
	}
	screen_resize(&screen, 24, 80);
	screen_wait_for(&screen, "balloon   0 B of 0 B");
	screen_wait_for(&screen, "q quit   p pause, resume");
	leave();
	fake_guest_stop();
}

static void ends_by(int signal_number, int status)
{
	start_top("xterm", 24, 80);
	screen_wait_for(&screen, "q quit");
	cr_assert(screen.alternate && screen.hidden);
	kill(screen.pid, signal_number);
	screen_finish(&screen);
	cr_assert_eq(screen.status, status, "status %d", screen.status);
}

/* screen_finish() looks at the terminal: it is as it was, whatever happened. */
Test(top, signals)
{
	fake_guest_start();
	ends_by(SIGTERM, 128 + SIGTERM);
	ends_by(SIGINT, 128 + SIGINT);
	ends_by(SIGHUP, 128 + SIGHUP);
	ends_by(SIGSEGV, 128 + SIGSEGV);
	ends_by(SIGABRT, 128 + SIGABRT);
	fake_guest_stop();
}

Test(top, interrupt_key)
{
	fake_guest_start();
	start_top("xterm", 24, 80);
	screen_wait_for(&screen, "q quit");
	screen_send(&screen, "\003");
	screen_finish(&screen);
	cr_assert_eq(screen.status, 128 + SIGINT);
	fake_guest_stop();
}

Test(top, guest_ends)
{
	fake_guest_start();
	start_top("xterm", 24, 80);
	screen_wait_for(&screen, "q quit");
	fake_guest_stop();
	screen_wait_for(&screen, "the guest has ended");
	screen_finish(&screen);
	cr_assert_eq(screen.status, 1);
}

Test(top, terminals_that_cannot)
{
	struct child *asked;

	fake_guest_start();
	start_top("dumb", 24, 80);
	screen_wait_for(&screen, "cannot be drawn on");
	screen_finish(&screen);
	cr_assert_eq(screen.status, 1);
	start_top("nothing-of-the-kind", 24, 80);
	screen_wait_for(&screen, "is not known here");
	screen_finish(&screen);
	cr_assert_eq(screen.status, 1);
	asked = run_words(NULL, NULL, bifold_path(), "top", socket_path(), NULL);
	cr_assert_eq(asked->status, 1);
	cr_assert(strstr(asked->err_text, "bifold stat --watch") != NULL, "%s", asked->err_text);
	fake_guest_stop();
	start_top("xterm", 24, 80);
	screen_wait_for(&screen, "No such file");
	screen_finish(&screen);
	cr_assert_eq(screen.status, 1);
	cr_assert_eq(run_words(NULL, NULL, bifold_path(), "top", NULL)->status, 125);
	cr_assert_eq(run_words(NULL, NULL, bifold_path(), "top", "--delay", "0", "a", NULL)->status,
		     125);
}

/* The bar of bifold balloon is drawn on terminals only. */
Test(top, balloon_on_a_terminal)
{
	unsigned long long most;

	fake_guest_start();
	most = fake_guest.most;
	fake_guest.most = 5u << 20; /* it stays half full until the bar was seen */
	screen_start(&screen, "xterm", 24, 100,
		     WORDS(bifold_path(), "balloon", socket_path(), "10M"));
	screen_wait_for(&screen, "####....");
	fake_guest.most = most;
	screen_wait_for(&screen, "the balloon: 10.0 MiB ");
	screen_finish(&screen);
	cr_assert_eq(screen.status, 0);
	cr_assert(!screen_shows(&screen, "####"), "%s", screen_text(&screen));
	fake_guest_stop();
}

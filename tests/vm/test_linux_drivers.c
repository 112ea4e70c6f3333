/*
 * Drivers that come and go: every virtio driver of an unmodified Debian kernel is unloaded and
 * loaded again while its device is idle, and taken off it and put back while it is busy; then the
 * device must do its work as before.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/long.h"
#include "tests/vm/linux_guest.h"

#define MIB	   (1ll << 20)
#define DISK_BYTES (1u << 20)

static void init(void)
{
	harness_init();
	need_linux();
}

TestSuite(linux_drivers, .init = init, .fini = harness_finish, .timeout = 1800);

static void wait_for_balloon(int64_t bytes)
{
	for (unsigned tries = 0; stat_number("balloon.held_bytes") != bytes; tries++) {
		cr_assert_lt(tries, 600, "%lld bytes are in the balloon",
			     (long long)stat_number("balloon.held_bytes"));
		usleep(100000);
	}
}

/* A disk with something in it. */
static const char *make_disk(const char *name)
{
	static uint32_t words[DISK_BYTES / sizeof(uint32_t)];

	for (uint32_t i = 0; i < DISK_BYTES / sizeof(uint32_t); i++)
		words[i] = i * 2654435761u;
	write_file(scratch_path(name), words, sizeof(words));
	return scratch_path(name);
}

/* The balloon has a size all the time, which every new driver fills it to. */
static void come_and_go(const char *how, unsigned times)
{
	struct child *guest, *asked;
	char script[128];

	snprintf(script, sizeof(script), "echo here; read go; /drivers.sh %s %u && read end", how,
		 times);
	guest = linux_start(WORDS("--budget", "256M", "--disk", make_disk("a"), "--disk",
				  make_disk("b"), "--timeout", test_is_long() ? "1700" : "280"),
			    false, script);
	child_wait_for(guest, false, "here");
	asked = run_words(NULL, NULL, bifold_path(), "balloon", socket_path(), "20M", NULL);
	cr_assert_eq(asked->status, 0, "%s%s", asked->out_text, asked->err_text);
	child_send(guest, "go\n");
	child_wait_for(guest, false, "all drivers are back");
	wait_for_balloon(20 * MIB);
	child_send(guest, "end\n");
	linux_end(guest);
	cr_assert(strstr(guest->out_text, "the console after virtio_balloon") != NULL, "%s",
		  guest->out_text);
	cr_assert_str_empty(guest->err_text);
}

Test(linux_drivers, unload_and_load)
{
	come_and_go("idle", test_times(2, 50));
}

Test(linux_drivers, leave_and_return_under_load)
{
	come_and_go("busy", test_times(2, 50));
}

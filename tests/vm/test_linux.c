/*
 * An unmodified Debian kernel, in the labs: booted by either protocol, its consoles and terminal,
 * its processors, and the ways it ends.
 */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/vm/linux_guest.h"
#include "tests/vm/screen.h"

static void init(void)
{
	harness_init();
	need_linux();
}

TestSuite(debian, .init = init, .fini = harness_finish, .timeout = 150);

/* A kernel with the initrd; the guest's words, console and quiet in front. */
static const char *const *linux_words(const char *kernel, const char *console, const char *words)
{
	static const char *argv[16];
	char *append;

	cr_assert(asprintf(&append, "console=%s quiet %s", console, words) > 0);
	memcpy(argv,
	       WORDS(bifold_path(), "run", "--memory", "256M", "--timeout", "280", "--kernel",
		     linux_file(kernel), "--initrd", linux_file("initrd"), "--append", append),
	       13 * sizeof(argv[0]));
	return argv;
}

static struct child *run_linux(const char *words, const char *input)
{
	struct child *guest = child_start(linux_words("vmlinuz", "ttyS0", words), NULL);

	child_finish(guest, input, strlen(input));
	return guest;
}

static void expect(const struct child *guest, int status, const char *said)
{
	cr_assert_eq(guest->status, status, "status %d, not %d: %s%s", guest->status, status,
		     guest->out_text, guest->err_text);
	cr_assert(strstr(guest->out_text, said) != NULL, "'%s' is not in: %s", said,
		  guest->out_text);
}

/* --- it boots --- */

Test(debian, boots_and_switches_off)
{
	struct child *guest =
		linux_start(NO_WORDS, false, "uname -s; cat /proc/interrupts; cat /proc/mtrr");

	linux_end(guest);
	expect(guest, 0, "Linux");
	expect(guest, 0, "IO-APIC   4-edge      ttyS0");
	expect(guest, 0, "base=0x0c0000000 ( 3072MB), size= 1024MB, count=1: uncachable");
	cr_assert_str_empty(guest->err_text);
}

Test(debian, boots_by_pvh)
{
	struct child *guest;

	if (access(linux_file("vmlinux"), R_OK) != 0)
		cr_skip_test("SKIP: no kernel out of its wrapping");
	guest = child_start(linux_words("vmlinux", "ttyS0", "script=\"cat /proc/version\""), NULL);
	child_finish(guest, NULL, 0);
	expect(guest, 0, "Linux version 6");
	expect(guest, 0, "script: status 0");
}

/* The devices that ACPI tells of, each with the driver that Debian has for it. */
Test(debian, finds_its_devices)
{
	struct child *guest = linux_start(
		NO_WORDS, false,
		"for d in /sys/bus/virtio/devices/*; do basename $(readlink $d/driver); done; "
		"cat /sys/devices/virtual/misc/hw_random/rng_current; "
		"cat /sys/devices/system/clocksource/clocksource0/current_clocksource");

	linux_end(guest);
	expect(guest, 0, "virtio_balloon");
	expect(guest, 0, "virtio_rng");
	expect(guest, 0, "virtio_rng.0");
	expect(guest, 0, "kvm-clock");
}

Test(debian, several_processors)
{
	struct child *guest = linux_start(
		WORDS("--cpus", "8"), false,
		"nproc; i=0; while [ $i -lt 8 ]; do taskset -c $i echo cpu $i; i=$((i + 1)); done");

	linux_end(guest);
	for (int i = 0; i < 8; i++) {
		char said[16];

		snprintf(said, sizeof(said), "cpu %d\r\n", i);
		expect(guest, 0, said);
	}
	expect(guest, 0, "8\r\n");
}

/* --- how it ends --- */

Test(debian, reboots)
{
	expect(run_linux("script=\"reboot -f\"", ""), 123, "");
}

Test(debian, reboots_with_several_processors)
{
	struct child *guest = linux_start(WORDS("--cpus", "4"), false, "reboot -f");

	child_finish(guest, NULL, 0);
	expect(guest, 123, "");
}

Test(debian, reboots_in_the_ways_it_knows)
{
	expect(run_linux("reboot=a script=\"reboot -f\"", ""), 123, "");
	expect(run_linux("reboot=k script=\"reboot -f\"", ""), 123, "");
}

Test(debian, reboots_by_a_triple_fault)
{
	struct child *guest = run_linux("reboot=t script=\"reboot -f\"", "");

	expect(guest, 125, "");
	cr_assert(strstr(guest->err_text, "triple fault") != NULL, "%s", guest->err_text);
}

Test(debian, panics)
{
	expect(run_linux("panic=-1 script=\"echo c >/proc/sysrq-trigger\"", ""), 123,
	       "Kernel panic - not syncing");
}

/* --- its consoles --- */

/* Typed long before there is a shell, and all of it arrives. */
static void shell_on(const char *console)
{
	struct child *guest = child_start(linux_words("vmlinuz", console, ""), NULL);
	static const char input[] = "echo the answer is $((6 * 7))\ncat /proc/consoles\nexit\n";

	child_finish(guest, input, sizeof(input) - 1);
	expect(guest, 0, "the answer is 42");
	expect(guest, 0, console);
}

Test(debian, a_shell_on_the_serial_port)
{
	shell_on("ttyS0");
}

Test(debian, a_shell_on_virtio)
{
	shell_on("hvc0");
}

/* As people use it: a prompt, keys, a window that changes, and away. */
Test(debian, a_terminal)
{
	static struct screen screen;

	screen_start(&screen, "xterm", 30, 100, linux_words("vmlinuz", "hvc0", ""));
	screen_wait_for(&screen, "# ");
	screen_send(&screen, "stty size; echo $((6 * 7)).\r");
	screen_wait_for(&screen, "30 100");
	screen_wait_for(&screen, "42.");
	screen_resize(&screen, 40, 120);
	screen_send(&screen, "while ! stty size | grep '40 120'; do :; done; echo resi''zed\r");
	screen_wait_for(&screen, "resized");
	screen_send(&screen, "sleep 1000\r");
	screen_send(&screen, "\x03"); /* ends the sleep, not the guest */
	screen_send(&screen, "echo st''ill here\r");
	screen_wait_for(&screen, "still here");
	screen_send(&screen, "\x01x");
	screen_finish(&screen);
	cr_assert_eq(screen.status, 0);
}

Test(debian, its_terminal_is_put_back)
{
	static struct screen screen;

	screen_start(&screen, "xterm", 24, 80, linux_words("vmlinuz", "ttyS0", ""));
	screen_wait_for(&screen, "# ");
	kill(screen.pid, SIGTERM);
	screen_finish(&screen);
	cr_assert_eq(screen.status, 128 + SIGTERM);
}

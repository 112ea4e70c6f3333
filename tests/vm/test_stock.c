/*
 * Stock guests without Linux: tests/vm/programs/pc.S, which is small enough to run also where ring
 * 0 is emulated. Consoles, terminals, ways to end, and kernels and initrds that cannot be loaded.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/vm/guests.h"
#include "tests/vm/screen.h"

static void init(void)
{
	harness_init();
	need_kvm();
}

TestSuite(stock, .init = init, .fini = harness_finish, .timeout = 120);

#define PC(protocol, ...)                                                                          \
	((const char *const[]){ bifold_path(), "run", "--force", "--memory", "16M", "--kernel",    \
				test_program("pc-" protocol ".elf"),                               \
				__VA_ARGS__ __VA_OPT__(, ) NULL })

static struct child *run_pc(const char *const *argv, const char *keys)
{
	struct child *child = child_start(argv, NULL);

	child_finish(child, keys, strlen(keys));
	return child;
}

static void expect(const struct child *child, int status, const char *said)
{
	cr_assert_eq(child->status, status, "status %d, not %d; it said: %s%s", child->status,
		     status, child->out_text, child->err_text);
	cr_assert(strstr(child->err_text, said) != NULL, "'%s' is not in: %s", said,
		  child->err_text);
}

/* --- what a kernel is given --- */

Test(stock, pvh)
{
	const char *module = scratch_path("module");
	struct child *child;

	write_file(module, "a module\n", 9);
	child = run_pc(PC("pvh", "--append", "some words -- more", "--initrd", module), "abo");
	expect(child, 0, "");
	cr_assert_str_eq(child->out_text, "pc: eax 00000000 \nline: some words -- more\n"
					  "nothing: ffffffff ffffffff \nmodule: a module\n> ab");
}

static void boot_by_multiboot(const char *const *argv)
{
	struct child *child;

	write_file(scratch_path("module"), "a module\n", 9);
	child = run_pc(argv, "abo");
	expect(child, 0, "");
	cr_assert_str_eq(child->out_text, "pc: eax 2badb002 \nline: some words\n"
					  "nothing: ffffffff ffffffff \nmodule: a module\n> ab");
}

Test(stock, multiboot)
{
	boot_by_multiboot(
		PC("multiboot", "--append", "some words", "--initrd", scratch_path("module")));
}

/* Where what it is told would lie otherwise. */
Test(stock, multiboot_below_1_mib)
{
	boot_by_multiboot(
		PC("multiboot-low", "--append", "some words", "--initrd", scratch_path("module")));
}

Test(stock, words_by_default)
{
	cr_assert(strstr(run_pc(PC("pvh"), "o")->out_text, "\nline: console=ttyS0\n") != NULL);
	cr_assert(strstr(run_pc(PC("multiboot"), "o")->out_text, "\nline: \n") != NULL);
}

/* tests/vm/programs/firmware.S finds the state that firmware would have left, and relies on it. */
Test(stock, as_firmware_leaves_it)
{
	struct child *child = run_bifold("--force", "--memory", "16M", "--cpus", "2", "--timeout",
					 "60", "--kernel", test_program("firmware.elf"));

	expect(child, 0, "");
	cr_assert_str_eq(child->out_text, "apic 000001ff 00000700 00000400\nmasks 0000ffff\n"
					  "quiet\nboth run\n");
}

/* --- how it ends --- */

Test(stock, ways_to_end)
{
	static const struct {
		const char *keys;
		int status;
		const char *said;
	} ways[] = {
		{ "o", 0, "" },
		{ "r", 123, "" },
		{ "k", 123, "" },
		{ "v", 123, "" },
		{ "t", 125, "triple fault" },
	};

	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		expect(run_pc(PC("pvh"), ways[i].keys), ways[i].status, ways[i].said);
		expect(run_pc(PC("multiboot", "--budget", "12M"), ways[i].keys), ways[i].status,
		       ways[i].said);
	}
}

/* Registers of before are told, or that there are none any more; never those of after. */
Test(stock, a_triple_fault_tells_of_before)
{
	struct child *child = run_pc(PC("pvh"), "t");

	expect(child, 125, "triple fault");
	cr_assert(strstr(child->err_text, "rip 000000000000fff0") == NULL, "%s", child->err_text);
	cr_assert((strstr(child->err_text, "code at rip:") != NULL) !=
			  (strstr(child->err_text, "cannot be told any more") != NULL),
		  "%s", child->err_text);
}

/* It is counted as one page, and -v says who it was, and where: at the instruction, or behind it.
 */
Test(stock, a_page_of_the_balloon_is_used)
{
	struct child *child =
		run_bifold("--force", "--memory", "16M", "--timeout", "60", "-v", "--report",
			   scratch_path("r.json"), "--kernel", test_program("inflated.elf"));
	const char *said = strstr(child->err_text, "guest page 0x800 (address 0x800000) was "
						   "written, though the balloon holds it, by vCPU "
						   "0 at RIP 0x");
	unsigned long here, rip;

	expect(child, 0, "it was released; 1 such pages so far");
	cr_assert(said != NULL, "%s", child->err_text);
	cr_assert_eq(sscanf(child->out_text, "at RIP %lx\ndone\n", &here), 1, "%s",
		     child->out_text);
	cr_assert_eq(sscanf(strstr(said, "RIP"), "RIP %lx", &rip), 1);
	cr_assert(rip >= here && rip <= here + 6, "%#lx, %#lx", here, rip);
	cr_assert_eq(report_number(scratch_path("r.json"), "balloon_touches"), 1);
}

/* Stopped by its shell, say: the guest hears of it when it goes on. */
Test(stock, the_guest_is_told_that_it_stood)
{
	struct child *child =
		child_start(WORDS(bifold_path(), "run", "--force", "--memory", "16M", "--timeout",
				  "60", "--kernel", test_program("clock.elf")),
			    NULL);
	int status;

	child_wait_for(child, false, "ready");
	kill(child->pid, SIGSTOP);
	cr_assert_eq(waitpid(child->pid, &status, WUNTRACED), child->pid);
	cr_assert(WIFSTOPPED(status));
	kill(child->pid, SIGCONT);
	child_finish(child, NULL, 0);
	expect(child, 0, "");
	cr_assert_str_eq(child->out_text, "ready\nstood\n");
}

/* Its input has ended, and it goes on. */
Test(stock, time_runs_out)
{
	struct child *child = run_pc(PC("pvh", "--timeout", "1"), "abc");

	expect(child, 124, "1 s have passed");
	cr_assert(strstr(child->out_text, "> abc") != NULL, "%s", child->out_text);
}

/* A pipe is full with less in it than it could hold: with what nothing is added to any more. */
static void wait_until_full(int pipe_fd)
{
	int there = 0, before;

	do {
		before = there;
		usleep(500000);
		cr_assert_eq(ioctl(pipe_fd, FIONREAD, &there), 0);
	} while (there != before || there < 16384);
}

/* Nobody reads what it prints: it stands, and can be ended. */
Test(stock, a_full_pipe_holds_nobody)
{
	struct child *child = child_start(PC("pvh"), NULL);
	int status;

	child_wait_for(child, false, "> ");
	child_send(child, "f");
	wait_until_full(child->out);
	cr_assert_eq(waitpid(child->pid, &status, WNOHANG), 0);
	kill(child->pid, SIGTERM);
	cr_assert_eq(waitpid(child->pid, &status, 0), child->pid);
	child->pid = 0;
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 128 + SIGTERM, "%#x", status);
}

/* The reader has gone. */
Test(stock, a_closed_output)
{
	struct child *child = child_start(PC("pvh", "--timeout", "30"), NULL);

	child_wait_for(child, false, "> ");
	close(child->out);
	child->out = -1;
	child_send(child, "ffff");
	child_wait_for(child, true, "output is lost");
	kill(child->pid, SIGTERM);
	child_finish(child, NULL, 0);
	cr_assert_eq(child->status, 128 + SIGTERM);
}

/* --- the terminal --- */

static struct screen screen;

static void start_screen(const char *const *argv)
{
	screen_start(&screen, "xterm", 24, 80, argv);
	screen_wait_for(&screen, "> ");
}

Test(stock, a_terminal)
{
	start_screen(PC("pvh"));
	screen_send(&screen, "hell");
	screen_wait_for(&screen, "> hell");
	screen_send(&screen, "\x03\x1a\x1c\x04"); /* the guest's own */
	screen_send(&screen, "\x01h");
	screen_wait_for(&screen, "Ctrl-A x ends the guest");
	screen_send(&screen, "\x01q"); /* no command */
	screen_send(&screen, "yz");
	screen_wait_for(&screen, "qyz");
	screen_send(&screen, "\x01x");
	screen_finish(&screen);
	cr_assert_eq(screen.status, 0);
}

Test(stock, a_terminal_is_put_back)
{
	static const struct {
		const char *keys;
		int signal, status;
	} ways[] = {
		{ "o", 0, 0 },
		{ "r", 0, 123 },
		{ "t", 0, 125 },
		{ NULL, SIGTERM, 128 + SIGTERM },
		{ NULL, SIGINT, 128 + SIGINT },
		{ NULL, SIGHUP, 128 + SIGHUP },
		{ NULL, SIGQUIT, 128 + SIGQUIT },
		{ NULL, SIGSEGV, 128 + SIGSEGV },
	};

	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		start_screen(PC("pvh"));
		if (ways[i].keys != NULL)
			screen_send(&screen, ways[i].keys);
		else
			kill(screen.pid, ways[i].signal);
		screen_finish(&screen);
		cr_assert_eq(screen.status, ways[i].status, "%zu: %d", i, screen.status);
	}
}

/* --- what cannot be loaded --- */

/* A bzImage with nothing in it, for 2 MiB and up. */
static const char *make_bzimage(void)
{
	static uint8_t image[4096];
	const char *path = scratch_path("bzImage");

	memset(image, 0, sizeof(image));
	image[0x1f1] = 1;
	image[0x1f4] = 128; /* 2 KiB */
	memcpy(image + 0x1fe, "\x55\xaa\xeb\x6aHdrS\x0f\x02", 10);
	image[0x211] = 1;
	memcpy(image + 0x22c, "\xff\xff\xff\x7f", 4);
	image[0x236] = 1;
	memcpy(image + 0x238, "\xff\x07", 2);
	image[0x25a] = 0x20; /* pref_address: 2 MiB */
	image[0x262] = 0x10; /* init_size: 1 MiB */
	write_file(path, image, sizeof(image));
	return path;
}

#define STOCK(...) run_bifold("--force", __VA_ARGS__)

Test(stock, kernels_that_are_none)
{
	const char *path = scratch_path("kernel");

	expect(STOCK("--kernel", "/no/such/kernel"), 125, "/no/such/kernel: No such file");
	expect(STOCK("--kernel", "/tmp"), 125, "/tmp is not a regular file");
	write_file(path, "", 0);
	expect(STOCK("--kernel", path), 125, "is empty");
	write_file(path, "no kernel\n", 10);
	expect(STOCK("--kernel", path), 125, "no Linux bzImage, and no ELF with a PVH entry");
	expect(STOCK("--kernel", busybox_path()), 125, "no Multiboot 1 image");
	/* quire's own loader takes no other kind. */
	expect(run_bifold("--kernel", make_bzimage(), busybox_path(), "true"), 125,
	       "no ELF with a PVH entry");
}

Test(stock, kernels_that_are_broken)
{
	const char *path = make_bzimage();
	size_t size;
	char *image = read_file(path, &size);

	cr_assert_eq(truncate(path, 2048), 0);
	expect(STOCK("--kernel", path), 125, "it is truncated");
	image[0x207] = 1;
	write_file(path, image, size);
	expect(STOCK("--kernel", path), 125, "version 1.15 of Linux' boot protocol");
	image[0x207] = 2;
	image[0x236] = 0;
	write_file(path, image, size);
	expect(STOCK("--kernel", path), 125, "no 64-bit entry");
	free(image);
}

Test(stock, kernels_and_initrds_too_large)
{
	const char *initrd = scratch_path("initrd");
	char words[3000];

	expect(STOCK("--kernel", make_bzimage(), "--initrd", "/no/such/initrd"), 125,
	       "/no/such/initrd: No such file");
	write_file(initrd, "", 0);
	expect(STOCK("--kernel", make_bzimage(), "--initrd", initrd), 125, "is empty");
	expect(STOCK("--kernel", make_bzimage(), "--initrd", "/"), 125, "not a regular file");
	cr_assert_eq(truncate(initrd, 30 << 20), 0);
	expect(STOCK("--kernel", make_bzimage(), "--memory", "32M", "--initrd", initrd), 125,
	       "the initrd (30.0 MiB) cannot fit into the guest's memory (32.0 MiB)");
	memset(words, 'x', sizeof(words) - 1);
	words[sizeof(words) - 1] = '\0';
	expect(STOCK("--kernel", make_bzimage(), "--append", words), 125,
	       "command line is too long: 2999 bytes, and it takes 2047");
}

Test(stock, options_of_the_other_kind)
{
	const char *kernel = test_program("pc-pvh.elf");

	expect(run_bifold("--initrd", "/x", busybox_path(), "true"), 125,
	       "--initrd is for a stock kernel");
	expect(run_bifold("--force", busybox_path(), "true"), 125, "--force is for a stock kernel");
	expect(STOCK("--kernel", kernel, "--file", busybox_path()), 125,
	       "--file is for quire's root");
}

Test(stock, refused_where_ring_0_is_emulated)
{
	if (!ring0_is_emulated())
		cr_skip_test("SKIP: KVM here runs ring 0");
	expect(run_bifold("--kernel", test_program("pc-pvh.elf")), 125, "lacks cmpxchg16b");
}

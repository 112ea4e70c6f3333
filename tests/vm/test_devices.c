/* Quire's virtio drivers on bifold's devices. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tests/vm/disks.h"
#include "tests/vm/guests.h"

static void init(void)
{
	harness_init();
	need_kvm();
}

TestSuite(devices, .init = init, .fini = harness_finish, .timeout = 300);

static void expect_right(const struct child *child)
{
	cr_assert_eq(child->status, 0, "status %d: %s%s", child->status, child->out_text,
		     child->err_text);
	cr_assert(strstr(child->out_text, "blocks are right") != NULL, "%s", child->out_text);
}

/* --- disks --- */

Test(devices, disk)
{
	expect_right(run_bifold("--disk", disk_make("a", 8 * MIB), guest_program("blocks"), "check",
				"/dev/vda", "1"));
}

/* The device reads and writes pages that the manager has put away. */
Test(devices, disk_in_a_tight_budget)
{
	expect_right(run_bifold("--memory", "64M", "--budget", "7M", "--disk",
				disk_make("a", 8 * MIB), guest_program("blocks"), "check",
				"/dev/vda", "2"));
}

Test(devices, what_is_written_is_in_the_file)
{
	const char *path = disk_make("a", 8 * MIB);

	expect_right(
		run_bifold("--disk", path, guest_program("blocks"), "fill", "/dev/vda", "4711"));
	disk_check(path, 4711);
}

Test(devices, read_only_disk)
{
	const char *path = disk_make("a", 8 * MIB);
	char option[300];
	struct child *child;

	disk_fill(path, 4712);
	snprintf(option, sizeof(option), "%s,ro", path);
	child = run_bifold("--disk", option, guest_program("blocks"), "verify", "/dev/vda", "4712");
	expect_right(child);
	cr_assert(strstr(child->out_text, "read-only") != NULL, "%s", child->out_text);
	disk_check(path, 4712);
}

Test(devices, discarded_blocks_leave_the_file)
{
	const char *path = disk_make("a", 8 * MIB);

	disk_fill(path, 1);
	expect_right(run_bifold("--disk", path, guest_program("blocks"), "trim", "/dev/vda"));
	cr_assert(disk_blocks(path) <= 4 * MIB / 512 + 64);
}

Test(devices, disks_together)
{
	expect_right(run_bifold("--disk", disk_make("a", 8 * MIB), "--disk",
				disk_make("b", 9 * MIB), guest_program("blocks"), "together",
				"/dev/vda", "/dev/vdb", "3"));
}

Test(devices, disks_together_on_two_cpus_with_a_swap)
{
	expect_right(run_bifold("--cpus", "2", "--append", "swap=16M", "--memory", "64M", "--disk",
				disk_make("a", 8 * MIB), "--disk", disk_make("b", 9 * MIB),
				guest_program("blocks"), "together", "/dev/vda", "/dev/vdb", "3"));
}

/* --- console --- */

Test(devices, console_output)
{
	struct child *child =
		run_bifold("--append", "console=hvc0", guest_program("console"), "flood", "300000");
	char line[64];

	cr_assert_eq(child->status, 0, "%s", child->err_text);
	cr_assert_eq(child->out_size, 300000);
	for (unsigned i = 0; i < 300000 / 32; i++) {
		snprintf(line, sizeof(line), "line %012u .............\n", i);
		cr_assert(strncmp(child->out_text + i * 32, line, 32) == 0, "line %u: %.40s", i,
			  child->out_text + i * 32);
	}
}

Test(devices, console_input)
{
	static const char *const argv[] = { NULL, "run",  "--append", "console=hvc0",
					    NULL, "echo", NULL };
	const char *words[7];
	struct child *child;
	size_t size = 40000;
	char *input = malloc(size + 1);

	memcpy(words, argv, sizeof(words));
	words[0] = bifold_path();
	words[4] = guest_program("console");
	for (size_t i = 0; i < size; i++)
		input[i] = i % 61 == 60 ? '\n' : 'A' + i % 26;
	memcpy(input + size - 3, "\n.\n", 4);
	child = child_start(words, NULL);
	child_wait_for(child, false, "ready\n");
	child_send(child, input);
	child_wait_for(child, false, "40000 bytes, 0 wrong\n");
	cr_assert(strstr(child->out_text, input) != NULL);
	child_finish(child, NULL, 0);
	cr_assert_eq(child->status, 0);
	free(input);
}

/* Its standard input: a terminal of 31 rows. */
static int world_with_terminal(void)
{
	struct winsize size = { .ws_row = 31, .ws_col = 97 };
	int fd = posix_openpt(O_RDWR | O_NOCTTY), terminal;

	if (fd < 0 || grantpt(fd) != 0 || unlockpt(fd) != 0)
		return -1;
	terminal = open(ptsname(fd), O_RDWR | O_NOCTTY);
	if (terminal < 0 || ioctl(terminal, TIOCSWINSZ, &size) != 0)
		return -1;
	return dup2(terminal, STDIN_FILENO) < 0;
}

Test(devices, console_size)
{
	struct child *child = run_bifold_in(world_with_terminal, "--append", "console=hvc0",
					    guest_program("console"), "size");

	cr_assert_eq(child->status, 0, "%s", child->err_text);
	cr_assert(strstr(child->out_text, "31 rows, 97 columns") != NULL, "%s", child->out_text);
}

Test(devices, console_of_the_kernel)
{
	struct child *child =
		run_bifold("--append", "console=hvc0", guest_program("wild"), "read-null");

	cr_assert_eq(child->status, 128 + 11);
	cr_assert(strstr(child->out_text, "quire: wild (process 1) killed by SIGSEGV") != NULL,
		  "%s", child->out_text);
}

/* --- balloon --- */

/* One line for the program. */
static void tell(struct child *child, const char *line)
{
	char text[100];

	snprintf(text, sizeof(text), "%s\n", line);
	child_send(child, text);
	snprintf(text, sizeof(text), "done %s\n", line);
	child_wait_for(child, false, text);
	free(child->out_text);
	child->out_text = calloc(1, 1);
	child->out_size = 0;
}

static void set_balloon(const char *size)
{
	struct child *child = run_words(NULL, NULL, bifold_path(), "balloon", "--no-wait",
					socket_path(), size, NULL);

	cr_assert_eq(child->status, 0, "%s", child->err_text);
	child_forget(child);
}

static void end_balloon(struct child *child)
{
	child_send(child, "quit\n");
	expect_end(child, 0);
	cr_assert(strstr(child->out_text, "the balloon is right") != NULL, "%s", child->out_text);
}

/* It used no page that its balloon held; else standard error says who did, and where. */
static void end_untouched(struct child *child)
{
	int64_t touched = stat_number("balloon_touches");

	end_balloon(child);
	cr_assert_eq(touched, 0, "%lld pages: %s", (long long)touched, child->err_text);
}

/* Under a load; with all that the manager does to pages at the same time. */
static void in_and_out(const char *const *options)
{
	struct child *child = start_program(options, WORDS("balloon"), "ready\n");

	tell(child, "touch 16M");
	set_balloon("32M");
	tell(child, "await 32M");
	cr_assert_eq(stat_number("balloon_frames"), 32 * MIB / 4096);
	tell(child, "again");
	tell(child, "touch 8M");
	set_balloon("10M");
	tell(child, "below 10485761");
	tell(child, "touch 8M");
	tell(child, "check");
	set_balloon("0");
	tell(child, "below 1");
	tell(child, "touch 8M");
	tell(child, "check");
	end_untouched(child);
}

Test(devices, balloon_in_and_out)
{
	in_and_out(WORDS("-v", "--memory", "96M"));
}

Test(devices, balloon_in_a_tight_budget)
{
	in_and_out(WORDS("-v", "--memory", "96M", "--budget", "12M"));
}

Test(devices, balloon_on_two_cpus_with_a_swap)
{
	in_and_out(WORDS("-v", "--memory", "96M", "--cpus", "2", "--append", "swap=8M"));
}

/* Memory runs out in the guest: the balloon shrinks, and nobody is killed. */
Test(devices, balloon_shrinks_when_memory_is_out)
{
	struct child *child =
		start_program(WORDS("-v", "--memory", "64M"), WORDS("balloon"), "ready\n");

	set_balloon("100%");
	tell(child, "await 40M");
	tell(child, "touch 40M");
	tell(child, "check");
	tell(child, "below 24M");
	end_untouched(child);
}

/* Memory that the program gave back has left the host within five seconds. */
Test(devices, free_pages_are_reported)
{
	struct child *child = start_program(WORDS("--memory", "128M"), WORDS("balloon"), "ready\n");
	int64_t full;

	tell(child, "touch 80M");
	full = stat_number("resident_bytes");
	tell(child, "free");
	tell(child, "report 76M");
	cr_assert(full - stat_number("resident_bytes") > (int64_t)(72 * MIB));
	tell(child, "touch 80M");
	tell(child, "check");
	end_balloon(child);
}

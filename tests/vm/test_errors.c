/*
 * Bad input and a host that refuses: a clear error, the right status, nothing left behind.
 */
#include <criterion/criterion.h>
#include <elf.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/vm/harness.h"
#include "tests/vm/world.h"

TestSuite(errors, .init = harness_init, .fini = harness_finish, .timeout = 300);

static void expect_error(const struct child *child, int status, const char *said)
{
	cr_assert_eq(child->status, status, "status %d, not %d; it said: %s", child->status, status,
		     child->err_text);
	cr_assert(strstr(child->err_text, said) != NULL, "'%s' is not in: %s", said,
		  child->err_text);
	cr_assert_eq(child->out_size, 0, "nothing belongs on standard output");
}

Test(errors, no_kvm)
{
	expect_error(run_bifold_in(world_without_kvm, busybox_path(), "true"), 125, "/dev/kvm");
}

/* A script that opened /dev/kvm where there is none may have left one. */
Test(errors, a_file_for_kvm)
{
	struct child *child;

	expect_error(run_bifold_in(world_with_a_file_for_kvm, busybox_path(), "true"), 125,
		     "/dev/kvm is not KVM's device");
	child = run_words(world_with_a_file_for_kvm, NULL, bifold_path(), "doctor", NULL);
	cr_assert_eq(child->status, 1);
	cr_assert(strstr(child->out_text, "/dev/kvm is not KVM's device") != NULL, "%s",
		  child->out_text);
	cr_assert(strstr(child->out_text, "remove that file") != NULL, "%s", child->out_text);
}

Test(errors, no_userfaultfd)
{
	size_t size;
	char *setting = read_file("/proc/sys/vm/unprivileged_userfaultfd", &size);

	need_kvm();
	if (setting == NULL || setting[0] != '0')
		cr_skip_test("SKIP: vm.unprivileged_userfaultfd lets everyone, so nothing refuses");
	free(setting);
	expect_error(run_bifold_in(world_without_userfaultfd, busybox_path(), "true"), 125,
		     "userfaultfd was refused");
}

Test(errors, program_missing)
{
	expect_error(run_bifold("/no/such/program"), 127, "/no/such/program");
	expect_error(run_bifold("no-such-program"), 127, "not found in PATH");
}

Test(errors, program_is_a_directory)
{
	expect_error(run_bifold("/tmp"), 126, "is a directory");
}

Test(errors, program_is_dynamic)
{
	expect_error(run_bifold("--", bifold_path()), 126,
		     "is dynamically linked: build it with -static");
}

Test(errors, program_is_no_program)
{
	const char *path = scratch_path("text");

	write_file(path, "hello, world, here is no program\n", 33);
	expect_error(run_bifold(path), 126, "is not executable");
	chmod(path, 0755);
	expect_error(run_bifold(path), 126, "is not an ELF program");
	write_file(path, "#!/bin/sh\n", 10);
	expect_error(run_bifold(path), 126, "is a script");
}

/* busybox, cut at various places. */
Test(errors, program_is_truncated)
{
	static const size_t cuts[] = { 5, 40, 64, 100, 4096, 200000 };
	const char *path = scratch_path("cut");
	size_t size;
	char *whole = read_file(busybox_path(), &size);

	cr_assert(whole != NULL && size > cuts[5]);
	for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
		write_file(path, whole, cuts[i]);
		chmod(path, 0755);
		expect_error(run_bifold(path), 126, "is truncated");
	}
	free(whole);
}

Test(errors, program_is_32_bit)
{
	const char *path = scratch_path("old");
	size_t size;
	char *whole = read_file(busybox_path(), &size);

	whole[EI_CLASS] = ELFCLASS32;
	write_file(path, whole, size);
	chmod(path, 0755);
	expect_error(run_bifold(path), 126, "is a 32-bit program");
	free(whole);
}

/* Nobody waits for the other end, and nothing is taken for what it is not. */
Test(errors, files_that_are_fifos)
{
	const char *fifo = scratch_path("fifo");
	const char *kernel = test_program("pc-pvh.elf");

	cr_assert_eq(mkfifo(fifo, 0600), 0);
	expect_error(run_bifold("--force", "--kernel", fifo), 125, "is not a regular file");
	expect_error(run_bifold("--force", "--kernel", kernel, "--initrd", fifo), 125,
		     "is not a regular file");
	expect_error(run_bifold("--file", fifo, busybox_path(), "true"), 125,
		     "is not a regular file");
	expect_error(run_bifold("--report", fifo, busybox_path(), "true"), 125,
		     "nobody reads there");
	expect_error(run_bifold(fifo), 126, "is not a regular file");
}

Test(errors, report_to_a_fifo_that_is_read)
{
	const char *fifo = scratch_path("fifo");
	char text[65536];
	ssize_t n;
	int fd;

	need_kvm();
	cr_assert_eq(mkfifo(fifo, 0600), 0);
	fd = open(fifo, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	cr_assert_eq(run_bifold("--report", fifo, busybox_path(), "true")->status, 0);
	n = read(fd, text, sizeof(text) - 1);
	cr_assert_gt(n, 0);
	text[n] = '\0';
	cr_assert(strstr(text, "\"exit_status\": 0") != NULL, "%s", text);
	close(fd);
}

/* A run that comes to nothing leaves an older report alone, and no empty one; the next one leaves
 * nothing of the older. */
Test(errors, report_is_emptied_when_it_is_written)
{
	static const char old[] = "an older report, which is long\n";
	const char *report = scratch_path("r.json");
	static char longer[65536];
	size_t size;

	need_kvm();
	write_file(report, old, sizeof(old) - 1);
	expect_error(run_bifold("--report", report, "--budget", "64K", busybox_path(), "true"), 125,
		     "the least that works is");
	cr_assert_str_eq(read_file(report, &size), old);
	unlink(report);
	expect_error(run_bifold("--report", report, "--budget", "64K", busybox_path(), "true"), 125,
		     "the least that works is");
	cr_assert_eq(access(report, F_OK), -1);
	memset(longer, 'x', sizeof(longer));
	write_file(report, longer, sizeof(longer));
	cr_assert_eq(run_bifold("--report", report, busybox_path(), "true")->status, 0);
	cr_assert_eq(report_number(report, "exit_status"), 0);
}

/* Filling memory takes longer than this run may: it is not even begun. */
Test(errors, time_is_up_while_loading)
{
	const char *initrd = scratch_path("initrd");
	const char *report = scratch_path("r.json");
	struct child *child;
	size_t size;

	need_kvm();
	write_file(initrd, "x", 1);
	cr_assert_eq(truncate(initrd, 2700ll << 20), 0);
	write_file(report, "old", 3);
	child = run_bifold("--force", "--memory", "3G", "--timeout", "1", "--report", report,
			   "--kernel", test_program("pc-pvh.elf"), "--initrd", initrd);
	expect_error(child, 124, "1 s have passed");
	cr_assert_str_eq(read_file(report, &size), "old");
}

static int close_input(void)
{
	return close(STDIN_FILENO);
}

static int close_output(void)
{
	return close(STDOUT_FILENO);
}

static int close_all(void)
{
	return close(STDIN_FILENO) != 0 || close(STDOUT_FILENO) != 0 || close(STDERR_FILENO) != 0;
}

/* As on the host: a service manager starts programs so. No file of the monitor's takes the place.
 */
Test(errors, standard_descriptors_that_are_closed)
{
	const char *report = scratch_path("r.json");
	struct child *child;

	need_kvm();
	child = run_bifold_in(close_input, busybox_path(), "cat");
	cr_assert_eq(child->status, 1, "status %d: %s", child->status, child->err_text);
	cr_assert(strstr(child->err_text, "Bad file descriptor") != NULL, "%s", child->err_text);
	child = run_bifold_in(close_output, busybox_path(), "echo", "hi");
	cr_assert_eq(child->status, 1, "status %d: %s", child->status, child->err_text);
	child = run_bifold_in(close_all, "-v", "--report", report, busybox_path(), "sh", "-c",
			      "echo hi >&2; exit 3");
	cr_assert_eq(child->status, 3);
	cr_assert_eq(report_number(report, "exit_status"), 3);
}

static int small_stack(void)
{
	const struct rlimit limit = { 64 << 10, 64 << 10 };

	return setrlimit(RLIMIT_STACK, &limit);
}

Test(errors, small_stack)
{
	const char *initrd = scratch_path("initrd");
	struct child *child;

	need_kvm();
	child = run_bifold_in(small_stack, "--memory", "96M", "--budget", "12M", busybox_path(),
			      "sh", "-c", "cat >/x; cat /x");
	cr_assert_eq(child->status, 0, "status %d: %s", child->status, child->err_text);
	write_file(initrd, "x", 1);
	child = run_bifold_in(small_stack, "--force", "--timeout", "1", "--initrd", initrd,
			      "--kernel", test_program("pc-pvh.elf"));
	cr_assert_lt(child->status, 126, "status %d: %s", child->status, child->err_text);
}

static int no_files(void)
{
	const struct rlimit limit = { 0, 0 };

	return setrlimit(RLIMIT_FSIZE, &limit);
}

Test(errors, files_that_may_not_grow)
{
	const char *report = scratch_path("r.json");

	need_kvm();
	expect_error(run_bifold_in(no_files, "--report", report, busybox_path(), "true"), 125,
		     "File too large");
	cr_assert_eq(access(report, F_OK), -1);
}

Test(errors, budget_larger_than_memory_runs)
{
	struct child *child;

	need_kvm();
	child = run_bifold("--memory", "32M", "--budget", "64M", busybox_path(), "echo", "runs");
	cr_assert_eq(child->status, 0, "%s", child->err_text);
	cr_assert_str_eq(child->out_text, "runs\n");
	cr_assert(strstr(child->err_text, "larger than the guest's memory") != NULL);
}

/* The least it names must then work. */
Test(errors, budget_too_small_names_the_least)
{
	struct child *child;
	const char *least;
	char bytes[32] = "";

	need_kvm();
	child = run_bifold("--memory", "64M", "--budget", "64K", busybox_path(), "echo", "runs");
	expect_error(child, 125, "the least that works is");
	least = strrchr(child->err_text, '(');
	cr_assert(least != NULL && sscanf(least, "(%31[0-9] bytes)", bytes) == 1);
	child = run_bifold("--memory", "64M", "--budget", bytes, busybox_path(), "echo", "runs");
	cr_assert_eq(child->status, 0, "%s", child->err_text);
	cr_assert_str_eq(child->out_text, "runs\n");
}

/* Above 3 GiB the device hole has frame records too, and the least is more. */
Test(errors, budget_too_small_for_a_large_guest)
{
	need_kvm();
	expect_error(run_bifold("--memory", "4G", "--budget", "31M", busybox_path(), "true"), 125,
		     "the least that works is");
}

Test(errors, swap_folder_missing)
{
	need_kvm();
	expect_error(
		run_bifold("--budget", "20M", "--swap", "/no/such/folder", busybox_path(), "true"),
		125, "/no/such/folder");
}

Test(errors, swap_folder_read_only)
{
	need_kvm();
	expect_error(run_bifold_in(world_with_read_only_folder, "--budget", "20M", "--swap",
				   WORLD_FOLDER, busybox_path(), "true"),
		     125, WORLD_FOLDER);
}

Test(errors, words_that_make_no_sense)
{
	expect_error(run_bifold("--memory", "12X", "true"), 125, "--memory");
	expect_error(run_bifold("--memory", "1K", "true"), 125, "at least");
	expect_error(run_bifold("--budget", "-5M", "true"), 125, "--budget");
	expect_error(run_bifold("--compressor", "rar", "true"), 125, "lz4, zstd or none");
	expect_error(run_bifold("--policy", "belady", "true"), 125, "sfifo, clock or fifo");
	expect_error(run_bifold("--timeout", "soon", "true"), 125, "--timeout");
	expect_error(run_bifold("--no-such-option"), 125, "no-such-option");
	expect_error(run_words(NULL, NULL, bifold_path(), "walk", NULL), 125, "no command");
}

/* The message says what was meant, where that can be seen; where not, it says where the help is. */
Test(errors, words_that_are_slips)
{
	static const struct {
		const char *words[4], *said;
	} rows[] = {
		{ { "run", "--memry", "64M" },
		  "run: there is no option '--memry': did you mean --memory?" },
		{ { "run", "--bugdet=64M" }, "no option '--bugdet': did you mean --budget?" },
		{ { "run", "--diskette", "x" }, "did you mean --disk?" },
		{ { "run", "--xyzzy" }, "no option '--xyzzy': try 'bifold run --help'" },
		{ { "run", "-x" }, "no option '-x': try 'bifold run --help'" },
		{ { "run", "--memory" }, "--memory needs a value" },
		{ { "run", "--force=yes" }, "--force takes no value" },
		{ { "stat", "--jsno", "x" },
		  "stat: there is no option '--jsno': did you mean --json?" },
		{ { "doctor", "--fxi" }, "did you mean --fix?" },
		{ { "maps", "--polt", "x" }, "did you mean --plot?" },
		{ { "translate", "--breif" }, "did you mean --brief?" },
		{ { "top", "--dealy", "1" }, "did you mean --delay?" },
		{ { "balloon", "--nowait" }, "did you mean --no-wait?" },
		{ { "pause", "--hepl" }, "did you mean --help?" },
		{ { "bench", "translation", "--polt" },
		  "bench translation: there is no option '--polt': did you mean --plot?" },
		{ { "bench", "translation", "x" }, "there is 'x'" },
		{ { "bench", "trans" }, "'trans' is no bench" },
		{ { "baloon", "x" }, "did you mean 'balloon'?" },
		{ { "stats", "x" }, "did you mean 'stat'?" },
		{ { "--hlep" }, "did you mean '--help'?" },
		{ { "xyzzy" }, "'xyzzy' is no command of bifold: try 'bifold --help'" },
		{ { "stat", "a", "b" }, "stat takes PATH, and 'b' is too many" },
		{ { "stat" }, "stat needs PATH: try 'bifold stat --help'" },
		{ { "quit", "a", "b" }, "quit takes PATH, and 'b' is too many" },
		{ { "budget", "a" }, "budget needs PATH SIZE" },
		{ { "budget", "a", "1M", "c" }, "'c' is too many" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *argv[6] = { bifold_path() };
		struct child *child;

		memcpy(argv + 1, rows[i].words, sizeof(rows[i].words));
		child = child_start(argv, NULL);
		child_finish(child, NULL, 0);
		cr_expect_eq(child->status, 125, "%s: %d", rows[i].said, child->status);
		cr_expect_not_null(strstr(child->err_text, rows[i].said), "not '%s': %s",
				   rows[i].said, child->err_text);
		cr_expect_eq(child->out_size, 0);
		harness_forget();
	}
}

Test(errors, file_missing_or_odd)
{
	need_kvm();
	expect_error(run_bifold("--file", "/no/such/file", busybox_path(), "true"), 125,
		     "/no/such/file");
	expect_error(run_bifold("--file", "/tmp", busybox_path(), "true"), 125, "is a directory");
	expect_error(run_bifold("--file", "/etc/passwd:/x", "--file", "/etc/group:/x",
				busybox_path(), "true"),
		     125, "two files claim /x");
	expect_error(run_bifold("--report", "/no/such/folder/r.json", busybox_path(), "true"), 125,
		     "r.json");
}

Test(errors, files_larger_than_memory)
{
	need_kvm();
	expect_error(run_bifold("--memory", "4M", "--file", test_program("hold"), "--file",
				test_program("libc"), busybox_path(), "true"),
		     125, "cannot fit into the guest's memory");
	expect_error(run_bifold("--memory", "5M", busybox_path(), "true"), 125, "cannot fit");
}

Test(errors, policy_option_unknown)
{
	need_kvm();
	expect_error(run_bifold("--budget", "20M", "--policy", "sfifo,sweetness=3", busybox_path(),
				"true"),
		     125, "sweetness");
}

Test(errors, help_and_version)
{
	struct child *child = run_words(NULL, NULL, bifold_path(), "--version", NULL);

	cr_assert_eq(child->status, 0);
	cr_assert(strncmp(child->out_text, "bifold ", 7) == 0);
	child = run_bifold("--version");
	cr_assert_eq(child->status, 0);
	cr_assert(strncmp(child->out_text, "bifold ", 7) == 0);
	child = run_bifold("--help");
	cr_assert_eq(child->status, 0);
	cr_assert(strstr(child->out_text, "--budget") != NULL);
	cr_assert(strstr(child->out_text, "sfifo") != NULL);
	child = run_words(NULL, NULL, bifold_path(), "doctor", "--help", NULL);
	cr_assert_eq(child->status, 0);
}

Test(errors, doctor_says_what_is_wrong)
{
	struct child *child = run_words(world_without_kvm, NULL, bifold_path(), "doctor", NULL);
	bool host_has_it = access("/dev/kvm", F_OK) == 0;

	cr_assert_eq(child->status, 1);
	cr_assert(strstr(child->out_text, "problem  kvm") != NULL, "%s", child->out_text);
	cr_assert(strstr(child->out_text,
			 host_has_it ? "--device /dev/kvm" : "KVM is not loaded") != NULL,
		  "%s", child->out_text);
	child = run_words(NULL, NULL, bifold_path(), "doctor", "--swap", "/no/such", NULL);
	cr_assert_eq(child->status, 1);
	cr_assert(strstr(child->out_text, "problem  swap_directory") != NULL, "%s",
		  child->out_text);
}

Test(errors, doctor_is_content_where_run_works)
{
	static const char *const names[] = { "kvm",	 "second_layer", "userfaultfd",	  "memfd",
					     "io_uring", "hugepages",	 "swap_directory" };
	struct child *child;
	json_t *root;

	need_kvm();
	child = run_words(NULL, NULL, bifold_path(), "doctor", "--swap", "/tmp", "--json", NULL);
	cr_assert_eq(child->status, 0, "%s", child->out_text);
	root = json_loads(child->out_text, 0, NULL);
	cr_assert(root != NULL);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		cr_assert(json_object_get(root, names[i]) != NULL, "%s", names[i]);
	json_decref(root);
}

Test(errors, cpus_and_append)
{
	static const char *const bad[] = { "0", "9", "x", "-1", "" };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct child *child = run_bifold("--cpus", bad[i], "/bin/true");

		cr_assert_eq(child->status, 125, "--cpus '%s': %d", bad[i], child->status);
		cr_assert(strstr(child->err_text, "a number from 1 to 8") != NULL, "%s",
			  child->err_text);
	}
	cr_assert_eq(run_bifold("--append", "a -- b", "/bin/true")->status, 125);
}

/*
 * How a run ends when it does not end by itself: signals, time, a closed output, a store that fails
 * under it, a guest that misbehaves.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <dirent.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/long.h"
#include "tests/vm/harness.h"
#include "tests/vm/world.h"

/* MiB: more than its budget, but for what a small folder has room for when nothing else is in it.
 */
#define HOLD_WITHOUT_ROOM "6"

static void init(void)
{
	harness_init();
	need_kvm();
}

TestSuite(stop, .init = init, .fini = harness_finish, .timeout = 300);

static void expect(const struct child *child, int status, const char *said)
{
	cr_assert_eq(child->status, status, "status %d, not %d; it said: %s", child->status, status,
		     child->err_text);
	cr_assert(strstr(child->err_text, said) != NULL, "'%s' is not in: %s", said,
		  child->err_text);
}

/* A guest that holds 16 MiB of this kind of data in 8 MiB and waits to be asked for it. */
static struct child *start_hold(prepare_fn *prepare, const char *swap, const char *kind)
{
	const char *const argv[] = { bifold_path(), "run",
				     "--memory",    "48M",
				     "--budget",    "8M",
				     "--swap",	    swap,
				     "--report",    scratch_path("r.json"),
				     "--",	    test_program("hold"),
				     "16",	    kind,
				     NULL };
	struct child *child = child_start(argv, prepare);

	child_wait_for(child, false, "ready");
	return child;
}

static void stopped_by(int signal_number)
{
	const char *swap = scratch_path("swap");
	struct child *child;

	mkdir(swap, 0700);
	child = start_hold(NULL, swap, "random");
	kill(child->pid, signal_number);
	child_finish(child, NULL, 0);
	expect(child, 128 + signal_number, "stopped by");
	cr_assert_eq(report_number(scratch_path("r.json"), "exit_status"), 128 + signal_number);
	cr_assert_eq(folder_count(swap), 0, "a file was left in the swap folder");
}

Test(stop, sigint)
{
	stopped_by(SIGINT);
}

Test(stop, sigterm)
{
	stopped_by(SIGTERM);
}

Test(stop, timeout)
{
	expect(run_bifold("--timeout", "1", busybox_path(), "sleep", "1000"), 124,
	       "1 s have passed");
	expect(run_bifold("--timeout", "1", busybox_path(), "sh", "-c", "while :; do :; done"), 124,
	       "1 s have passed");
}

/* The guest's words fill standard error, and nobody reads: the monitor must not wait with them. */
static struct child *start_flood(const char *option, const char *value)
{
	const char *const argv[] = {
		bifold_path(), "run",	       option, value, "-v",
		"--",	       busybox_path(), "sh",   "-c",  "echo ready; yes flood >&2",
		NULL
	};
	struct child *child = child_start(argv, NULL);
	int queued = 0, before;

	/* Read its output alone. */
	do {
		cr_assert_eq(poll(&(struct pollfd){ .fd = child->out, .events = POLLIN }, 1, 60000),
			     1);
		child->out_text[0] = '\0';
	} while (read(child->out, child->out_text, 1) == 1 && child->out_text[0] != '\n');
	/* Full: it takes less than one write of the guest's. */
	do {
		before = queued;
		cr_assert_eq(poll(NULL, 0, 100), 0);
		cr_assert_eq(ioctl(child->err, FIONREAD, &queued), 0);
	} while (queued < 32768 || queued > before);
	return child;
}

/* Ends it, without anybody having read a byte. */
static void expect_end(struct child *child, int status)
{
	int ended;

	for (int i = 0; i < 200 && waitpid(child->pid, &ended, WNOHANG) == 0; i++) {
		cr_assert_lt(i, 199, "it did not end");
		poll(NULL, 0, 50);
	}
	child->pid = 0;
	cr_assert_eq(WIFEXITED(ended) ? WEXITSTATUS(ended) : -1, status);
}

Test(stop, nobody_reads_standard_error_sigterm)
{
	struct child *child = start_flood("--memory", "32M");

	kill(child->pid, SIGTERM);
	expect_end(child, 128 + SIGTERM);
}

Test(stop, nobody_reads_standard_error_timeout)
{
	expect_end(start_flood("--timeout", "3"), 124);
}

Test(stop, nobody_reads_standard_error_quit)
{
	const char *path = scratch_path("control");
	struct child *child = start_flood("--control", path);

	cr_assert_eq(run_words(NULL, NULL, bifold_path(), "quit", path, NULL)->status, 0);
	expect_end(child, 0);
}

Test(stop, output_closed_early)
{
	const char *const argv[] = { bifold_path(), "run", "--", busybox_path(), "yes", NULL };
	struct child *child = child_start(argv, NULL);

	child_wait_for(child, false, "y\n");
	close(child->out);
	child->out = -1;
	child_finish(child, NULL, 0);
	cr_assert_eq(child->status, 128 + SIGPIPE, "status %d: %s", child->status, child->err_text);
}

/* A descriptor of the monitor's by what it leads to: the swap folder's one file, or guest RAM. */
static int open_descriptor(const struct child *child, const char *target)
{
	char path[PATH_MAX], link_text[PATH_MAX];
	DIR *descriptors;
	int fd = -1;

	snprintf(path, sizeof(path), "/proc/%d/fd", child->pid);
	descriptors = opendir(path);
	cr_assert(descriptors != NULL);
	for (struct dirent *entry; fd < 0 && (entry = readdir(descriptors)) != NULL;) {
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/%d/fd/%s", child->pid, entry->d_name);
		n = readlink(path, link_text, sizeof(link_text) - 1);
		if (n > 0 && strncmp(link_text, target, strlen(target)) == 0)
			fd = open(path, O_RDWR | O_CLOEXEC);
	}
	closedir(descriptors);
	cr_assert(fd >= 0, "%s was not found", target);
	return fd;
}

/* The budget by the host's own count: what the guest's memory really holds. */
Test(stop, host_counts_no_more_than_the_budget)
{
	struct child *child = start_hold(NULL, "/tmp", "half");
	int fd = open_descriptor(child, "/memfd:bifold-guest");
	struct stat status;

	cr_assert(fstat(fd, &status) == 0);
	cr_assert_gt(status.st_blocks, 0);
	cr_assert_leq(status.st_blocks * 512, 8 << 20);
	close(fd);
	child_finish(child, "\n", 1);
	cr_assert_eq(child->status, 0, "%s", child->err_text);
	cr_assert_leq(report_number(scratch_path("r.json"), "peak_host_bytes"), 8 << 20);
}

/* Flip one bit in each page of the swap file while the guest waits. */
Test(stop, flipped_bit_in_the_swap_file)
{
	const char *folder = scratch_path("swap");
	struct child *child;
	struct stat status;
	int fd;

	mkdir(folder, 0700);
	child = start_hold(NULL, folder, "random");
	fd = open_descriptor(child, folder);
	cr_assert(fstat(fd, &status) == 0 && status.st_size > 0);
	for (off_t at = 100; at < status.st_size; at += 4096) {
		unsigned char byte;

		cr_assert(pread(fd, &byte, 1, at) == 1);
		byte ^= 1;
		cr_assert(pwrite(fd, &byte, 1, at) == 1);
	}
	fsync(fd);
	close(fd);
	child_finish(child, "\n", 1);
	expect(child, 125, "guest page");
	cr_assert(strstr(child->err_text, "checksum") != NULL, "%s", child->err_text);
	cr_assert(strstr(child->out_text, "wrong") == NULL &&
		  strstr(child->out_text, "whole") == NULL);
	cr_assert_eq(report_number(scratch_path("r.json"), "exit_status"), 125);
}

/* The file loses its content: reads come back short. */
Test(stop, swap_file_that_cannot_be_read)
{
	const char *folder = scratch_path("swap");
	struct child *child;
	int fd;

	mkdir(folder, 0700);
	child = start_hold(NULL, folder, "random");
	fd = open_descriptor(child, folder);
	cr_assert(ftruncate(fd, 0) == 0);
	close(fd);
	child_finish(child, "\n", 1);
	expect(child, 125, "guest page");
	cr_assert(strstr(child->out_text, "wrong") == NULL &&
		  strstr(child->out_text, "whole") == NULL);
}

/*
 * The swap folder fills up in mid-run. What compresses still has a place in the pool, so a guest
 * that needs little more than the budget goes on; one that needs far more ends with a message.
 */
Test(stop, swap_folder_full)
{
	const char *const argv[] = { bifold_path(),
				     "run",
				     "--memory",
				     "48M",
				     "--budget",
				     "8M",
				     "--swap",
				     WORLD_FOLDER,
				     "--compressor",
				     "none",
				     "--on-full",
				     "stop",
				     "--",
				     test_program("hold"),
				     "24",
				     "random",
				     NULL };
	struct child *child = child_start(argv, world_with_small_folder);

	child_finish(child, "\n", 1);
	expect(child, 125, "guest page");
	cr_assert(strstr(child->out_text, "wrong") == NULL);
}

Test(stop, swap_folder_full_goes_on)
{
	const char *const argv[] = {
		bifold_path(), "run", "--memory",	    "48M", "--budget", "13M", "--swap",
		WORLD_FOLDER,  "--",  test_program("hold"), "16",  "half",     NULL
	};
	struct child *child = child_start(argv, world_with_small_folder);

	child_finish(child, "\n", 1);
	cr_assert_eq(child->status, 0, "%s", child->err_text);
	cr_assert_str_eq(child->out_text, "ready\nwhole\n");
}

/* A guest that needs room on the disk: it stands until somebody makes some. */
static struct child *start_without_room(void)
{
	const char *const argv[] = { bifold_path(),	"run",	  "--memory", "32M",
				     "--budget",	"8M",	  "--swap",   WORLD_FOLDER,
				     "--compressor",	"none",	  "--",	      test_program("hold"),
				     HOLD_WITHOUT_ROOM, "random", NULL };
	struct child *child = child_start(argv, world_with_full_folder);

	child_wait_for(child, true, "stands until there is room");
	return child;
}

Test(stop, swap_folder_full_until_there_is_room)
{
	struct child *child = start_without_room();
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/root" WORLD_FILLER, child->pid);
	cr_assert_eq(unlink(path), 0);
	child_finish(child, "\n", 1);
	cr_assert_eq(child->status, 0, "%s", child->err_text);
	cr_assert_str_eq(child->out_text, "ready\nwhole\n");
	cr_assert(strstr(child->err_text, "the guest goes on") != NULL, "%s", child->err_text);
}

/* It is not deaf meanwhile. */
Test(stop, swap_folder_full_and_a_signal)
{
	struct child *child = start_without_room();

	cr_assert_eq(kill(child->pid, SIGTERM), 0);
	child_finish(child, NULL, 0);
	cr_assert_eq(child->status, 128 + SIGTERM, "%s", child->err_text);
}

#define RANDOM_BYTES (10u << 20)

/* A file that no tier but the swap takes. */
static const char *random_file(void)
{
	const char *path = scratch_path("random");
	FILE *file = fopen(path, "w");
	uint64_t word = 88172645463325252;

	cr_assert(file != NULL);
	for (unsigned i = 0; i < RANDOM_BYTES / sizeof(word); i++) {
		word ^= word << 13;
		word ^= word >> 7;
		word ^= word << 17;
		cr_assert(fwrite(&word, sizeof(word), 1, file) == 1);
	}
	cr_assert(fclose(file) == 0);
	return path;
}

static struct child *start_with_random_file(const char *budget, const char *cpus,
					    const char *script)
{
	static char file[PATH_MAX + 16];
	const char *const argv[] = {
		bifold_path(),	"run", "--memory", "48M",	 "--budget", budget,
		"--cpus",	cpus,  "--swap",   WORLD_FOLDER, "--file",   file,
		busybox_path(), "sh",  "-c",	   script,	 NULL
	};

	snprintf(file, sizeof(file), "%s:/r", random_file());
	return child_start(argv, world_with_full_folder);
}

/* utime and stime of the threads that run vCPUs. */
static unsigned long vcpu_ticks_of(int pid)
{
	unsigned long sum = 0, user, system;
	char path[320], name[32];
	struct dirent *entry;
	DIR *folder;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	folder = opendir(path);
	cr_assert(folder != NULL);
	while ((entry = readdir(folder)) != NULL) {
		FILE *file;

		snprintf(path, sizeof(path), "/proc/%d/task/%s/stat", pid, entry->d_name);
		file = fopen(path, "r");
		if (file != NULL &&
		    fscanf(file,
			   "%*d (%31[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
			   name, &user, &system) == 3 &&
		    strcmp(name, "bifold-vcpu") == 0)
			sum += user + system;
		if (file != NULL)
			fclose(file);
	}
	closedir(folder);
	return sum;
}

/* Its vCPUs wait, and cost nothing, also when what waits is an access of KVM's for a guest's
 * kernel, and when one waits for its turn behind the page that there is no room for. */
static void expect_no_time(const char *cpus, const char *script)
{
	struct child *child = start_with_random_file("20M", cpus, script);
	unsigned long before, used;

	child_wait_for(child, true, "stands until there is room");
	before = vcpu_ticks_of(child->pid);
	cr_assert_gt(before, 0);
	sleep(2);
	used = vcpu_ticks_of(child->pid) - before;
	cr_assert_lt(used, (unsigned long)sysconf(_SC_CLK_TCK) / 10, "%lu ticks in 2 s", used);
	cr_assert_eq(kill(child->pid, SIGTERM), 0);
	child_finish(child, NULL, 0);
	cr_assert_eq(child->status, 128 + SIGTERM, "%s", child->err_text);
}

Test(stop, swap_folder_full_costs_no_time)
{
	expect_no_time("1", "cat /r >/tmp/copy");
}

Test(stop, swap_folder_full_costs_no_time_on_four_cpus)
{
	expect_no_time("4", "for i in 1 2 3 4; do cat /r >/tmp/copy$i & done; wait");
}

/* A guest that has not begun does not stand. */
Test(stop, swap_folder_full_before_the_start)
{
	struct child *child = start_with_random_file("8M", "1", "cat /r >/tmp/copy");

	child_finish(child, NULL, 0);
	expect(child, 125, "the disk of the swap file is full");
	cr_assert(strstr(child->err_text, "stands") == NULL, "%s", child->err_text);
}

/* A minute, and then it ends. */
Test(stop, swap_folder_full_for_too_long)
{
	struct child *child;

	if (!test_is_long())
		cr_skip_test("SKIP: takes a minute: tools/check --long");
	child = start_without_room();
	child_finish(child, NULL, 0);
	cr_assert_eq(child->status, 125);
	cr_assert(strstr(child->err_text, "the disk of the swap file is full") != NULL);
}

/* A program that wants more than the guest has dies in the guest; the monitor does not. */
Test(stop, out_of_guest_memory)
{
	const char *report = scratch_path("r.json");
	struct child *child = run_bifold("--memory", "24M", "--budget", "10M", "--report", report,
					 "--", test_program("hold"), "64", "half");

	cr_assert(child->status == 137 || child->status == 3, "status %d: %s", child->status,
		  child->err_text);
	cr_assert_eq(report_number(report, "exit_status"), child->status);
}

Test(stop, kernels_that_crash)
{
	static const struct {
		const char *kernel;
		const char *said;
	} cases[] = {
		{ "triple", "triple fault" },
		{ "nowhere", "where nothing is" },
		{ "unknown", "cannot go on" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char name[64];
		struct child *child;

		snprintf(name, sizeof(name), "crash-%s.elf", cases[i].kernel);
		child = run_bifold("--kernel", test_program(name), busybox_path(), "true");
		expect(child, 125, cases[i].said);
		/* Of a triple fault on AMD; stock/a_triple_fault_tells_of_before is about it. */
		if (strstr(child->err_text, "KVM resets the vCPU") != NULL)
			continue;
		cr_assert(strstr(child->err_text, "rip ") != NULL, "%s", child->err_text);
		cr_assert(strstr(child->err_text, "code at rip:") != NULL, "%s", child->err_text);
		cr_assert(strstr(child->err_text, "Second layer") != NULL, "%s", child->err_text);
	}
}

Test(stop, kernels_that_are_none)
{
	const char *path = scratch_path("kernel");

	write_file(path,
		   "no kernel at all, but long enough to hold an ELF header, or what it takes", 70);
	expect(run_bifold("--kernel", path, busybox_path(), "true"), 125, "PVH entry");
	expect(run_bifold("--kernel", busybox_path(), busybox_path(), "true"), 125, "PVH entry");
	expect(run_bifold("--kernel", "/no/such/kernel", busybox_path(), "true"), 125,
	       "/no/such/kernel");
}

/* On a terminal a long run shows one line of status. */
Test(stop, status_line_on_a_terminal)
{
	int terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	char text[4096], name[64];
	size_t used = 0;
	pid_t pid;
	int status;

	cr_assert(terminal >= 0 && grantpt(terminal) == 0 && unlockpt(terminal) == 0 &&
		  ptsname_r(terminal, name, sizeof(name)) == 0);
	pid = fork();
	if (pid == 0) {
		int err = open(name, O_RDWR | O_NOCTTY), out = open("/dev/null", O_WRONLY);

		dup2(err, STDERR_FILENO);
		dup2(out, STDOUT_FILENO); /* no pipe: its reader might write there, too */
		setenv("TERM", "linux", 1);
		signal(SIGINT, SIG_DFL); /* as a shell that starts it in the foreground */
		execl(bifold_path(), "bifold", "run", "--budget", "20M", "--", busybox_path(),
		      "sleep", "2", NULL);
		_exit(77);
	}
	cr_assert(waitpid(pid, &status, 0) == pid);
	fcntl(terminal, F_SETFL, O_NONBLOCK);
	for (ssize_t n; used < sizeof(text) - 1 &&
			(n = read(terminal, text + used, sizeof(text) - 1 - used)) > 0;)
		used += (size_t)n;
	text[used] = '\0';
	close(terminal);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	cr_assert(strstr(text, "held") != NULL, "the terminal shows: %s", text);
}

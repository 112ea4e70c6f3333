/*
 * Real programs in a real guest: what they print, how they end, what it cost.
 */
#include <criterion/criterion.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "tests/vm/cage.h"
#include "tests/long.h"
#include "tests/vm/harness.h"

#define MIB(n) ((int64_t)(n) << 20)

static void init(void)
{
	harness_init();
	need_kvm();
}

TestSuite(run, .init = init, .fini = harness_finish, .timeout = 600);

static void expect_status(const struct child *child, int status)
{
	cr_assert_eq(child->status, status, "status %d, not %d; it said: %s", child->status, status,
		     child->err_text);
}

/* The words file of tools/words, made by the build's own binary. */
static const char *make_words(const char *bytes)
{
	const char *maker = getenv("BIFOLD_WORDS");
	const char *path = scratch_path("words.txt");
	char beside[PATH_MAX];
	struct child *child;

	if (maker == NULL) { /* in the build folder, as bifold is */
		snprintf(beside, sizeof(beside), "%s", bifold_path());
		snprintf(strrchr(beside, '/'), sizeof("/../tools/words"), "/../tools/words");
		maker = beside;
	}
	child = run_words(NULL, NULL, maker, bytes, NULL);
	expect_status(child, 0);
	write_file(path, child->out_text, child->out_size);
	return path;
}

/* A sort of nearly 30 MiB in a budget of 14. */
Test(run, sorts_twice_its_budget)
{
	const char *words = make_words("8388608");
	const char *report = scratch_path("r.json");
	struct child *guest =
		run_bifold("--memory", "96M", "--budget", "14M", "--file", words, "--report",
			   report, "--", busybox_path(), "sort", "/words.txt");
	struct child *host = run_words(NULL, NULL, busybox_path(), "sort", words, NULL);

	expect_status(guest, 0);
	expect_status(host, 0);
	cr_assert_eq(guest->out_size, host->out_size);
	cr_assert(memcmp(guest->out_text, host->out_text, host->out_size) == 0,
		  "the guest sorted differently");
	cr_assert_str_eq(guest->err_text, "", "a piped run is silent, but said: %s",
			 guest->err_text);
	cr_assert_gt(report_number(report, "faults.pool"), 0);
	cr_assert_gt(report_number(report, "faults.swap"), 0);
	cr_assert_eq(report_number(report, "budget_bytes"), MIB(14));
	cr_assert_leq(report_number(report, "peak_host_bytes"), MIB(14));
}

/* The root's files are guest memory like any other: reading one does not make another copy. */
Test(run, files_are_held_once)
{
	const char *words = make_words("8388608");
	const char *report = scratch_path("r.json");

	expect_status(run_bifold("--memory", "64M", "--file", words, "--report", report, "--",
				 busybox_path(), "md5sum", "/words.txt"),
		      0);
	cr_assert_gt(report_number(report, "touched_frames") * 4096, MIB(8));
	cr_assert_lt(report_number(report, "touched_frames") * 4096, MIB(14));
}

/* The guest's answer, byte for byte, must be the host's, with a budget that bites. */
static void same_as_host(const char *applet, const char *option)
{
	const char *words = make_words("1048576");
	struct child *host = run_words(NULL, NULL, busybox_path(), applet, option, words, NULL);
	struct child *guest = run_bifold("--memory", "32M", "--budget", "4352K", "--file", words,
					 "--", busybox_path(), applet, option, "/words.txt");
	char *host_name = strstr(host->out_text, words);

	expect_status(guest, host->status);
	if (host_name != NULL) { /* sums name the file, whose name differs */
		size_t before = (size_t)(host_name - host->out_text);

		cr_assert_gt(guest->out_size, before);
		cr_assert(memcmp(guest->out_text, host->out_text, before) == 0);
		cr_assert_str_eq(guest->out_text + before, "/words.txt\n");
	} else {
		cr_assert_eq(guest->out_size, host->out_size);
		cr_assert(memcmp(guest->out_text, host->out_text, host->out_size) == 0);
	}
}

Test(run, busybox_sha256sum)
{
	same_as_host("sha256sum", "--");
}

Test(run, busybox_md5sum)
{
	same_as_host("md5sum", "--");
}

Test(run, busybox_gzip)
{
	same_as_host("gzip", "-c");
}

Test(run, busybox_wc)
{
	same_as_host("wc", "-lwc");
}

Test(run, busybox_awk)
{
	same_as_host("awk",
		     "{ n += length($1); h[substr($1, 1, 2)]++ } END { print n, NR, h[\"ab\"] }");
}

Test(run, busybox_time_and_clock)
{
	struct child *child =
		run_bifold("--", busybox_path(), "time", busybox_path(), "echo", "hi");

	expect_status(child, 0);
	cr_assert_str_eq(child->out_text, "hi\n");
	cr_assert(strstr(child->err_text, "real") != NULL, "%s", child->err_text);
}

/* Every run with a budget is judged so: tests/vm/cage.h. */
Test(run, the_host_can_judge_budgets)
{
	if (cage_obstacle() != NULL)
		cr_skip_test("SKIP: runs with a budget are not in a memory cgroup: %s",
			     cage_obstacle());
}

/* A guest's page tables are few, and what KVM makes of them is much: it is in the budget. */
Test(run, page_tables_stay_in_the_budget)
{
	struct child *child = run_bifold("--memory", "512M", "--budget", "12M", "--",
					 test_program("tables"), "256", "12");

	expect_status(child, 0);
	cr_assert_str_eq(child->out_text, "held\n");
}

static void libc_program(const char *name)
{
	struct child *child = run_bifold("--memory", "160M", "--budget", "24M", "--",
					 test_program(name), "a b", "", "back\\slash");

	expect_status(child, 0);
	cr_assert_str_eq(child->out_text, "all good\n");
}

Test(run, static_glibc)
{
	libc_program("libc");
}

Test(run, static_musl)
{
	size_t size;
	char *program = read_file(test_program("libc-musl"), &size);

	if (program == NULL)
		cr_skip_test("SKIP: built without musl-gcc (package musl-tools)");
	free(program);
	libc_program("libc-musl");
}

Test(run, exit_status_is_the_programs)
{
	expect_status(run_bifold("--", busybox_path(), "sh", "-c", "exit 7"), 7);
	expect_status(run_bifold("--", busybox_path(), "false"), 1);
}

Test(run, found_in_path)
{
	struct child *child = run_bifold("busybox", "echo", "found");

	expect_status(child, 0);
	cr_assert_str_eq(child->out_text, "found\n");
}

Test(run, input_reaches_it_and_output_is_exact)
{
	const char *const argv[] = { bifold_path(), "run", "--", busybox_path(), "cat", NULL };
	struct child *child = child_start(argv, NULL);
	static char data[700001];
	uint32_t state = 1;

	for (size_t i = 0; i < sizeof(data); i++) {
		state = state * 1664525 + 1013904223;
		data[i] = (char)(state >> 24);
	}
	child_finish(child, data, sizeof(data));
	expect_status(child, 0);
	cr_assert_eq(child->out_size, sizeof(data));
	cr_assert(memcmp(child->out_text, data, sizeof(data)) == 0);
}

/* Input that is not there yet must not keep the guest from its other half. */
Test(run, waits_for_input)
{
	const char *const argv[] = { bifold_path(), "run", "--", busybox_path(), "cat", NULL };
	struct child *child = child_start(argv, NULL);

	for (int i = 0; i < 3; i++) {
		char text[16];

		snprintf(text, sizeof(text), "line %d\n", i);
		child_send(child, text);
		child_wait_for(child, false, text);
	}
	child_finish(child, NULL, 0);
	expect_status(child, 0);
}

/* More words, and longer ones, than a command line of a kernel has room for. */
Test(run, arguments_by_the_thousand)
{
	static char word[60000];
	const char *argv[1100] = { bifold_path(), "run", "--memory", "64M", "--", busybox_path() };
	struct child *child;
	size_t length = 0;

	argv[6] = "echo";
	for (unsigned i = 7; i < 1006; i++)
		argv[i] = i % 2 ? "two words" : "";
	memset(word, 'x', sizeof(word) - 1);
	argv[1006] = word;
	child = child_start(argv, NULL);
	child_finish(child, NULL, 0);
	cr_assert_eq(child->status, 0, "%s", child->err_text);
	for (const char *at = child->out_text; (at = strstr(at, "two words ")) != NULL; at++)
		length++;
	cr_assert_eq(length, 500);
	cr_assert_eq(strlen(child->out_text), 500 * 9 + 999 + sizeof(word));
}

/* A file of /proc has no size before it is read: the guest gets its content, not nothing. */
Test(run, files_of_proc_are_read)
{
	struct child *child = run_bifold("--file", "/proc/version:/etc/version", busybox_path(),
					 "cat", "/etc/version");

	cr_assert_eq(child->status, 0, "%s", child->err_text);
	cr_assert(strstr(child->out_text, "Linux version") != NULL, "%s", child->out_text);
}

Test(run, files_go_where_they_are_told)
{
	const char *path = scratch_path("a.txt");
	char at[PATH_MAX];
	struct child *child;

	write_file(path, "deep\n", 5);
	snprintf(at, sizeof(at), "%s:/deep/down/b.txt", path);
	child = run_bifold("--file", at, "--", busybox_path(), "cat", "/deep/down/b.txt");
	expect_status(child, 0);
	cr_assert_str_eq(child->out_text, "deep\n");
}

Test(run, report_has_every_name)
{
	static const char *const names[] = {
		"guest.memory_bytes",
		"budget_bytes",
		"peak_host_bytes",
		"resident_bytes",
		"pool_bytes",
		"pool_stored_bytes",
		"swap_bytes",
		"faults.zero_fill",
		"faults.minor",
		"faults.pool",
		"faults.swap",
		"evictions.same_filled",
		"evictions.compressed",
		"evictions.swapped",
		"evictions.clean",
		"evictions.cancelled",
		"latency_ns.zero_fill.p50",
		"latency_ns.minor.p99",
		"latency_ns.pool.max",
		"latency_ns.swap.p50",
		"stall_ns",
		"exit_status",
		"wall_ns",
		"start_to_user_ns",
	};
	const char *report = scratch_path("r.json");
	json_t *root;
	const char *layer;

	expect_status(run_bifold("--report", report, "--", busybox_path(), "sh", "-c", "exit 3"),
		      3);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		report_number(report, names[i]);
	cr_assert_eq(report_number(report, "exit_status"), 3);
	cr_assert_gt(report_number(report, "start_to_user_ns"), 0);
	root = report_load(report);
	layer = json_string_value(json_object_get(root, "second_layer"));
	cr_assert(strcmp(layer, "ept") == 0 || strcmp(layer, "npt") == 0 ||
		  strcmp(layer, "shadow") == 0);
	cr_assert_str_eq(json_string_value(json_object_get(root, "policy")), "sfifo");
	json_decref(root);
}

Test(run, budget_as_a_share)
{
	const char *report = scratch_path("r.json");

	expect_status(run_bifold("--memory", "100M", "--budget", "12.5%", "--report", report, "--",
				 busybox_path(), "true"),
		      0);
	cr_assert_eq(report_number(report, "budget_bytes"), MIB(100) / 8);
	cr_assert_leq(report_number(report, "peak_host_bytes"), MIB(100) / 8);
}

/* Every policy, every compressor, with and without swap: the data comes back whole. */
static void hold_in(const char *budget, const char *policy, const char *compressor,
		    const char *swap)
{
	const char *const argv[] = { bifold_path(),
				     "run",
				     "--memory",
				     "48M",
				     "--budget",
				     budget,
				     "--policy",
				     policy,
				     "--compressor",
				     compressor,
				     "--swap",
				     swap,
				     "--",
				     test_program("hold"),
				     "16",
				     "half",
				     NULL };
	struct child *child = child_start(argv, NULL);

	child_finish(child, "\n", 1);
	expect_status(child, 0);
	cr_assert_str_eq(child->out_text, "ready\nwhole\n");
}

Test(run, policy_fifo)
{
	hold_in("10M", "fifo", "lz4", "/tmp");
}

Test(run, policy_clock)
{
	hold_in("10M", "clock", "lz4", "/tmp");
}

Test(run, zstd_without_swap)
{
	hold_in("14M", "sfifo", "zstd", "none");
}

Test(run, swap_without_compressor)
{
	hold_in("10M", "sfifo", "none", "/tmp");
}

/* Twice as much memory as the budget, and all comes back. The report's path. */
static const char *watch(const char *way, const char *policy)
{
	const char *report = scratch_path("r.json");
	struct child *child = run_bifold(
		"--memory", "48M", "--budget", "10M", "--watch", way, "--policy", policy, "--swap",
		"/tmp", "--report", report, "--", guest_program("demo"), "--touch", "16M", "--fill",
		"half", "--pattern", "zipf", "--count", "30000", "--write-share", "50");

	if (strstr(child->err_text, "Linux 5.19") != NULL)
		cr_skip_test("SKIP: this kernel's userfaultfd does not protect shared memory");
	expect_status(child, 0);
	cr_assert_not_null(strstr(child->out_text, "every page read was right"));
	return report;
}

/* Touches are no faults: a scan finds them. */
static void watch_by_scanning(const char *policy)
{
	const char *report = watch("scan", policy);

	cr_assert_gt(report_number(report, "touches_found"), 0);
	cr_assert_lt(report_number(report, "faults.minor"), report_number(report, "touches_found"));
}

Test(run, watch_by_scanning_sfifo)
{
	watch_by_scanning("sfifo");
}

Test(run, watch_by_scanning_clock)
{
	watch_by_scanning("clock");
}

/* Each touch is a fault. */
Test(run, watch_by_notice)
{
	const char *report = watch("notice", "sfifo");

	cr_assert_eq(report_number(report, "touches_found"), 0);
	cr_assert_gt(report_number(report, "faults.minor"), 100);
}

/* The default is what the doctor says of this host. */
Test(run, watch_by_default)
{
	const char *report = scratch_path("r.json");
	struct child *child = run_bifold("--memory", "48M", "--budget", "10M", "--report", report,
					 busybox_path(), "true");
	char said[32];
	json_t *root;

	expect_status(child, 0);
	root = report_load(report);
	snprintf(said, sizeof(said), "watch: %s",
		 json_string_value(json_object_get(root, "watch")));
	json_decref(root);
	child = run_words(NULL, NULL, bifold_path(), "doctor", NULL);
	cr_assert(strstr(child->out_text, said) != NULL, "%s is not in: %s", said, child->out_text);
}

Test(run, demo_checks_itself)
{
	const char *report = scratch_path("r.json");
	struct child *child = run_bifold("--memory", "48M", "--budget", "7M", "--report", report);

	expect_status(child, 0);
	cr_assert(strstr(child->out_text, "within the budget") != NULL, "%s", child->out_text);
	cr_assert_geq(report_number(report, "touched_frames") * 4096,
		      4 * report_number(report, "budget_bytes"));
	cr_assert_leq(report_number(report, "peak_host_bytes"), MIB(7));
	cr_assert_gt(report_number(report, "evictions.compressed"), 0);
}

/* Whether this host's KVM would let a guest run guests. */
static bool kvm_nests(void)
{
	static const char *const paths[] = { "/sys/module/kvm_amd/parameters/nested",
					     "/sys/module/kvm_intel/parameters/nested" };
	size_t size;

	for (int i = 0; i < 2; i++) {
		char *text = read_file(paths[i], &size);

		if (text != NULL && (text[0] == '1' || text[0] == 'Y'))
			return true;
	}
	return false;
}

/* KVM would keep control pages that may be evicted: a managed guest sees no VMX and no SVM. */
Test(run, virtualization_is_hidden)
{
	const char *program = test_program("virtualization");

	cr_assert_str_eq(run_bifold(program)->out_text, "none\n");
	cr_assert_str_eq(run_bifold("--unmanaged", program)->out_text, "none\n");
	expect_status(run_bifold("--nested", program), 125);
	if (!kvm_nests())
		cr_skip_test("SKIP: this host's KVM offers no nesting: --nested shows nothing");
	cr_assert_str_neq(run_bifold("--unmanaged", "--nested", program)->out_text, "none\n");
}

/* The same guest with its memory left to the host kernel: what tools/bench compares with. */
Test(run, unmanaged)
{
	struct child *child = run_bifold("--unmanaged", "--", busybox_path(), "echo", "plain");

	expect_status(child, 0);
	cr_assert_str_eq(child->out_text, "plain\n");
}

/* KVM has tables for all of a guest's memory from its start, before any of it is touched. */
#define KVM_BYTES_PER_GIB (4ull << 20)

static bool host_has(uint64_t bytes)
{
	FILE *file = fopen("/proc/meminfo", "r");
	unsigned long long available = 0;
	char line[128];

	while (file != NULL && fgets(line, sizeof(line), file) != NULL)
		if (sscanf(line, "MemAvailable: %llu kB", &available) == 1)
			break;
	if (file != NULL)
		fclose(file);
	return available * 1024 > bytes;
}

/*
 * Guests far larger than the host, who touch next to nothing of it: their frame numbers, the pool's
 * handles and the guest kernel's own tables go beyond 32 bits of bytes, 1 GiB of records and 512
 * GiB of addresses.
 */
Test(run, sparse_giants)
{
	static const char *const sizes[] = {
		"520G", "126G", "127G", "255G", "512G", "1023G", "1T"
	};
	unsigned count = test_times(1, sizeof(sizes) / sizeof(sizes[0]));

	for (unsigned i = 0; i < count; i++) {
		unsigned long gib =
			strcmp(sizes[i], "1T") == 0 ? 1024 : strtoul(sizes[i], NULL, 10);
		struct child *child;

		if (!host_has(gib * KVM_BYTES_PER_GIB + (1ull << 30)))
			cr_skip_test("SKIP: this host has no memory for KVM's tables of %s",
				     sizes[i]);
		child = run_bifold("--memory", sizes[i], busybox_path(), "echo", "here");
		cr_assert_eq(child->status, 0, "%s: %s", sizes[i], child->err_text);
		cr_assert_str_eq(child->out_text, "here\n");
	}
}

/*
 * Quire itself, by the programs of guest/programs: what they check, and how the wild ones die. The
 * kernel must outlive them all: a monitor's 125 is a failure here.
 */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "tests/vm/harness.h"

static void init(void)
{
	harness_init();
	need_kvm();
}

TestSuite(guest, .init = init, .fini = harness_finish, .timeout = 300);

static void expect(const struct child *child, int status, const char *out, const char *err)
{
	cr_assert_eq(child->status, status, "status %d, not %d; it said: %s%s", child->status,
		     status, child->out_text, child->err_text);
	cr_assert(strstr(child->out_text, out) != NULL, "'%s' is not in: %s", out, child->out_text);
	cr_assert(strstr(child->err_text, err) != NULL, "'%s' is not in: %s", err, child->err_text);
}

Test(guest, exit_status)
{
	expect(run_bifold(guest_program("exit"), "0"), 0, "", "");
	expect(run_bifold(guest_program("exit"), "77"), 77, "", "");
	expect(run_bifold(guest_program("exit"), "255"), 255, "", "");
}

/* Linux's errno for a table of calls, most of them bad. */
Test(guest, system_calls)
{
	expect(run_bifold(guest_program("syscalls")), 0, "0 wrong", "");
}

Test(guest, address_space)
{
	const char *report = scratch_path("r.json");

	expect(run_bifold("--report", report, guest_program("memory")), 0,
	       "the address space is right", "");
}

Test(guest, address_space_in_a_tight_budget)
{
	expect(run_bifold("--memory", "64M", "--budget", "6M", guest_program("memory")), 0,
	       "the address space is right", "");
}

Test(guest, clocks)
{
	char now[32];

	snprintf(now, sizeof(now), "%lld", (long long)time(NULL));
	expect(run_bifold(guest_program("clock"), now), 0, "clocks are right", "");
}

Test(guest, console)
{
	struct child *child =
		run_words(NULL, "some\nlines\n", bifold_path(), "run", guest_program("echo"), NULL);

	expect(child, 0, "some\nlines\n", "echo: 11 bytes");
}

/* ring 3 goes wild: it dies of the right signal, with a line that says why. */
Test(guest, wild_accesses_kill_the_program_alone)
{
	static const struct {
		const char *way;
		int signal;
		const char *said; /* why it died; NULL: no line */
	} cases[] = {
		{ "read-null", SIGSEGV, "" },
		{ "write-null", SIGSEGV, "" },
		{ "call-null", SIGSEGV, "" },
		{ "read-kernel", SIGSEGV, "not the program's half" },
		{ "write-kernel", SIGSEGV, "not the program's half" },
		{ "call-kernel", SIGSEGV, "not the program's half" },
		{ "read-protected", SIGSEGV, "" },
		{ "write-protected", SIGSEGV, "" },
		{ "use-after-unmap", SIGSEGV, "" },
		{ "write-text", SIGSEGV, "" },
		{ "write-constant", SIGSEGV, "" },
		{ "execute-data", SIGSEGV, "" },
		{ "execute-stack", SIGSEGV, "" },
		{ "overflow-stack", SIGSEGV, "guard" },
		{ "not-canonical", SIGSEGV, "general protection" },
		{ "privileged", SIGSEGV, "general protection" },
		{ "port", SIGSEGV, "general protection" },
		{ "divide", SIGFPE, "" },
		{ "bad-instruction", SIGILL, "" },
		{ "breakpoint", SIGTRAP, "" },
		{ "abort", SIGABRT, NULL }, /* its own doing: nothing to explain */
		{ "terminate", SIGTERM, NULL },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct child *child = run_bifold(guest_program("wild"), cases[i].way);

		cr_assert_eq(child->status, 128 + cases[i].signal, "%s: status %d: %s",
			     cases[i].way, child->status, child->err_text);
		cr_assert(cases[i].said == NULL || (strstr(child->err_text, "guest: ") != NULL &&
						    strstr(child->err_text, cases[i].said) != NULL),
			  "%s: %s", cases[i].way, child->err_text);
		harness_forget();
	}
}

/* More than the guest has: the program dies in the guest, with a message. */
Test(guest, out_of_memory)
{
	expect(run_bifold("--memory", "32M", guest_program("oom")), 137, "", "out of memory");
	expect(run_bifold("--memory", "32M", "--budget", "12M", guest_program("demo"), "--touch",
			  "200M"),
	       137, "", "out of memory");
}

Test(guest, finds_itself)
{
	char path[64];

	snprintf(path, sizeof(path), "%s\n", busybox_path());
	expect(run_bifold(busybox_path(), "readlink", "/proc/self/exe"), 0, path, "");
}

/* Bits of busybox flipped at random: no ELF may panic the kernel or hang it. */
Test(guest, hostile_programs)
{
	const char *path = scratch_path("hostile");
	size_t size;
	char *whole = read_file(guest_program("exit"), &size);
	uint32_t state = 20261120;

	cr_log_info("seed %u", state);
	for (int round = 0; round < 40; round++) {
		char saved[512];
		FILE *file;
		struct child *child;

		memcpy(saved, whole, sizeof(saved));
		for (int flips = 0; flips < 3; flips++) {
			state = state * 1664525 + 1013904223;
			whole[16 + (state >> 16) % 300] ^= (char)(1 << (state >> 8 & 7));
		}
		write_file(path, whole, size);
		file = fopen(path, "r");
		cr_assert(file != NULL && fchmod(fileno(file), 0755) == 0);
		fclose(file);
		child = run_bifold("--timeout", "20", path, "3");
		cr_assert(strstr(child->err_text, "kernel failed") == NULL &&
				  strstr(child->err_text, "cannot go on") == NULL &&
				  child->status != 124,
			  "round %d: %d: %s", round, child->status, child->err_text);
		memcpy(whole, saved, sizeof(saved));
		harness_forget();
	}
	free(whole);
}

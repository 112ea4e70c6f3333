/*
 * Tests quire's memory management, feature by feature: a program that uses it and checks the
 * outcome, run twice - alone, and with a host budget of a third of what it touched the first time
 * (or the least that bifold takes, where that is more).
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/vm/harness.h"

static void init(void)
{
	harness_init();
	need_kvm();
}

TestSuite(rows, .init = init, .fini = harness_finish, .timeout = 300);

#define WORDS_MAX 24

static void run_row(const char *memory, const char *budget, const char *const *words,
		    const char *out)
{
	const char *argv[WORDS_MAX] = { bifold_path(), "run",	   "--memory",
					memory,	       "--report", scratch_path("r.json"),
					"--timeout",   "200" };
	unsigned count = 8;
	struct child *child;

	if (budget != NULL) {
		argv[count++] = "--budget";
		argv[count++] = budget;
	}
	while (*words != NULL && count < WORDS_MAX - 1)
		argv[count++] = *words++;
	cr_assert(*words == NULL);
	child = child_start(argv, NULL);
	child_finish(child, NULL, 0);
	if (strstr(child->out_text, "SKIP: ") != NULL)
		cr_skip_test("%s", strstr(child->out_text, "SKIP: "));
	cr_assert_eq(child->status, 0, "budget %s: status %d; it said: %s%s",
		     budget != NULL ? budget : "none", child->status, child->out_text,
		     child->err_text);
	cr_assert(strstr(child->out_text, out) != NULL, "'%s' is not in: %s%s", out,
		  child->out_text, child->err_text);
}

/* The least budget for this run, by what bifold says of a smaller one. */
static int64_t least_budget(const char *memory, const char *const *words)
{
	const char *argv[WORDS_MAX] = {
		bifold_path(), "run", "--memory", memory, "--budget", "64K"
	};
	unsigned count = 6;
	struct child *child;
	const char *number;

	while (*words != NULL && count < WORDS_MAX - 1)
		argv[count++] = *words++;
	child = child_start(argv, NULL);
	child_finish(child, NULL, 0);
	number = strchr(child->err_text, '(');
	cr_assert(number != NULL && child->status != 0, "%s", child->err_text);
	return strtoll(number + 1, NULL, 10);
}

static void row(const char *memory, const char *const *words, const char *out)
{
	int64_t budget, least;
	char text[24];

	run_row(memory, NULL, words, out);
	budget = report_number(scratch_path("r.json"), "peak_host_bytes") / 3;
	least = least_budget(memory, words);
	snprintf(text, sizeof(text), "%lld", (long long)(budget > least ? budget : least));
	run_row(memory, text, words, out);
}

#define ROW(name, memory, out, ...)                                                                \
	Test(rows, name)                                                                           \
	{                                                                                          \
		row(memory, (const char *const[]){ __VA_ARGS__, NULL }, out);                      \
	}

ROW(isolation, "64M", "processes are apart", guest_program("isolation"))
ROW(address_space, "64M", "the space is right", guest_program("space"))
ROW(demand_paging, "64M", "paging is right", guest_program("paging"))
ROW(huge_pages, "64M", "huge pages are right", guest_program("huge"), "sure")
ROW(replacement, "64M", "replacement: all is right", "--append", "swap=8M",
    guest_program("replacement"))
ROW(out_of_memory, "24M", "oomkill: only the fattest died", guest_program("oomkill"))
ROW(out_of_memory_with_a_swap, "24M", "oomkill: only the fattest died", "--append", "swap=512K",
    guest_program("oomkill"))
ROW(who_is_killed_is_chosen, "24M", "oomkill: oom_score_adj is heeded", guest_program("oomkill"),
    "adjust")
ROW(who_is_killed_is_chosen_with_a_swap, "24M", "oomkill: oom_score_adj is heeded", "--append",
    "swap=512K", guest_program("oomkill"), "adjust")
ROW(overcommit, "64M", "promises are right", guest_program("overcommit"))
ROW(overcommit_with_a_swap, "64M", "promises are right", "--append", "swap=8M",
    guest_program("overcommit"))
ROW(proc_of_processes, "64M", "/proc is right", guest_program("procfs"))
ROW(proc_of_processes_on_two_cpus, "64M", "/proc is right", "--cpus", "2", guest_program("procfs"))
ROW(kinds_of_time, "64M", "times are right", guest_program("times"))
ROW(kinds_of_time_on_two_cpus, "64M", "times are right", "--cpus", "2", guest_program("times"))
ROW(segmentation, "64M", "segment: base and limit are enforced", guest_program("segment"))
ROW(tlb, "64M", "tlb: flushes are right", guest_program("tlb"))
ROW(tlb_on_two_cpus, "64M", "tlb: flushes are right", "--cpus", "2", guest_program("tlb"))
ROW(one_cpu, "64M", "cpus: all is right", guest_program("cpus"), "5")
ROW(two_cpus, "64M", "cpus: all is right", "--cpus", "2", guest_program("cpus"), "5")
ROW(eight_cpus, "64M", "cpus: all is right", "--cpus", "8", guest_program("cpus"), "2")
ROW(vector_registers, "64M", "vector: kept", guest_program("vector"))
ROW(vector_registers_on_two_cpus, "64M", "vector: kept", "--cpus", "2", guest_program("vector"))
ROW(physical_memory, "20M", "physical memory is right", guest_program("physical"))
/* Pages with places in the lists of replacement move, too; and under another CPU. */
ROW(physical_memory_with_a_swap, "20M", "physical memory is right", "--append", "swap=2M",
    guest_program("physical"))
ROW(physical_memory_on_two_cpus, "20M", "physical memory is right", "--cpus", "2",
    guest_program("physical"), "storm")
ROW(contiguous, "24M", "contiguous runs are right", "--append", "contiguous=4M",
    guest_program("contiguous"))
ROW(contiguous_odd, "24M", "contiguous runs are right", "--append", "contiguous=1500K",
    guest_program("contiguous"), "1", "120")
ROW(working_set, "32M", "the working set is right", guest_program("workingset"))
ROW(working_set_with_a_swap, "32M", "the working set is right", "--append", "swap=8M",
    guest_program("workingset"), "swap")

/* A hostile program's ways to become quire; the amount of host memory makes no difference. */
#define ROW_OF_DOORS(group, ...)                                                                   \
	Test(rows, doors_##group)                                                                  \
	{                                                                                          \
		run_row("32M", NULL,                                                               \
			(const char *const[]){ __VA_ARGS__ guest_program("doors"), #group, NULL }, \
			"all are shut");                                                           \
	}

ROW_OF_DOORS(privileged)
ROW_OF_DOORS(debug)
ROW_OF_DOORS(interrupts)
ROW_OF_DOORS(ports)
ROW_OF_DOORS(sysenter)
ROW_OF_DOORS(gates)
ROW_OF_DOORS(compat)
ROW_OF_DOORS(iret)
ROW_OF_DOORS(stack, "--cpus", "2", )
ROW_OF_DOORS(fsgsbase)
ROW_OF_DOORS(canonical)

/* Where ring 0 is emulated these take most of a minute. */
#define ROW_BESIDE_TWO_CPUS(name, memory, out, ...)                                                \
	Test(rows, name)                                                                           \
	{                                                                                          \
		if (ring0_is_emulated())                                                           \
			cr_skip_test("SKIP: on two CPUs only, for ring 0 is emulated here");       \
		row(memory, (const char *const[]){ __VA_ARGS__, NULL }, out);                      \
	}

ROW_BESIDE_TWO_CPUS(usertests, "16M", "tests, all right", guest_program("usertests"))
ROW(usertests_on_two_cpus, "16M", "tests, all right", "--cpus", "2", guest_program("usertests"))
ROW_BESIDE_TWO_CPUS(bombs, "16M", "bombs: quire lives", guest_program("bombs"), "all")
ROW(bombs_on_two_cpus, "16M", "bombs: quire lives", "--cpus", "2", guest_program("bombs"), "all")

/* The tests above rest on this: a leak is seen, and an unknown name is no success. */
Test(rows, usertests_find_leaks)
{
	struct child *child = run_bifold("--memory", "16M", guest_program("usertests"), "leak-page",
					 "leak-objects", "links");

	cr_assert_eq(child->status, 1, "status %d; it said: %s%s", child->status, child->out_text,
		     child->err_text);
	cr_assert(strstr(child->out_text, "leak-page leaks 1 pages") != NULL, "%s",
		  child->out_text);
	cr_assert(strstr(child->out_text, "leak-objects leaks 1 objects") != NULL, "%s",
		  child->out_text);
	cr_assert(strstr(child->out_text, "2 of 3 tests failed") != NULL, "%s", child->out_text);
	child = run_bifold("--memory", "16M", guest_program("usertests"), "links", "no-such-test");
	cr_assert_eq(child->status, 2);
}

Test(rows, usertests_are_listed)
{
	struct child *child = run_bifold("--memory", "16M", guest_program("usertests"), "--list");

	cr_assert_eq(child->status, 0);
	cr_assert(strstr(child->out_text, "stop-and-continue\n") != NULL, "%s", child->out_text);
	cr_assert(strstr(child->out_text, "leak-page") == NULL, "%s", child->out_text);
}

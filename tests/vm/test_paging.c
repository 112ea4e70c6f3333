/*
 * Quire's paging, by programs that check themselves: each with the default memory, and with a host
 * budget of about a third of what it touches.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "tests/vm/harness.h"

static void init(void)
{
	harness_init();
	need_kvm();
}

TestSuite(paging, .init = init, .fini = harness_finish, .timeout = 300);

static void expect(const struct child *child, int status, const char *out)
{
	cr_assert_eq(child->status, status, "status %d, not %d; it said: %s%s", child->status,
		     status, child->out_text, child->err_text);
	cr_assert(strstr(child->out_text, out) != NULL, "'%s' is not in: %s", out, child->out_text);
}

Test(paging, copies_on_write_and_shares)
{
	expect(run_bifold(guest_program("paging"), "leaks"), 0, "paging is right");
}

Test(paging, copies_on_write_in_a_tight_budget)
{
	expect(run_bifold("--memory", "64M", "--budget", "6M", guest_program("paging")), 0,
	       "paging is right");
}

/* What is mapped is what /proc says; stacks and limits. */
Test(paging, spaces_are_as_said)
{
	expect(run_bifold(guest_program("space")), 0, "the space is right");
	expect(run_bifold("--memory", "64M", "--budget", "6M", guest_program("space")), 0,
	       "the space is right");
}

/* Where things are: different from run to run, unless randomness is off. */
Test(paging, places_are_random)
{
	struct child *first = run_bifold(guest_program("space"), "where");
	struct child *second = run_bifold(guest_program("space"), "where");
	struct child *third = run_bifold("--append", "norandmaps", guest_program("space"), "where");
	struct child *fourth =
		run_bifold("--append", "norandmaps", guest_program("space"), "where");

	expect(first, 0, "stack 7ff");
	cr_assert_str_neq(first->out_text, second->out_text);
	expect(third, 0, "stack 7fffffff");
	cr_assert_str_eq(third->out_text, fourth->out_text);
}

Test(paging, processes_are_apart)
{
	expect(run_bifold(guest_program("isolation")), 0, "processes are apart");
	expect(run_bifold("--memory", "64M", "--budget", "6M", guest_program("isolation")), 0,
	       "processes are apart");
}

Test(paging, huge_pages)
{
	expect(run_bifold(guest_program("huge"), "sure"), 0, "huge pages are right");
	expect(run_bifold("--memory", "64M", "--budget", "6M", guest_program("huge"), "sure"), 0,
	       "huge pages are right");
}

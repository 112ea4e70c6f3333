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

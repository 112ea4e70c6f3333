/*
 * Sizes of memory on both sides of where the guest-physical space has its hole:
 * tests/vm/programs/ranges.c uses the pages around each end of each piece of RAM, in both
 * directions, under a budget far smaller; with --long at every size, and all pages where the host
 * has room for what is put away.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "tests/long.h"
#include "tests/vm/harness.h"

static void init(void)
{
	harness_init();
	need_kvm();
}

TestSuite(ranges, .init = init, .fini = harness_finish, .timeout = 120);

struct size {
	const char *memory;
	const char *end; /* of its last piece of RAM */
};

/* The first two come first: a hole with a page behind it, and one far from the end. */
static const struct size sizes[] = {
	{ "3145736K", "4194312K" }, { "5G", "6291456K" },	{ "2.9G", "3040868K" },
	{ "3G", "3145728K" },	    { "3145732K", "4194308K" }, { "3.5G", "4718592K" },
	{ "4G", "5242880K" },	    { "9G", "10485760K" },
};
#define SIZES (sizeof(sizes) / sizeof(sizes[0]))

static void use(const struct size *size, const char *words, const char *budget)
{
	struct child *child = run_bifold("--force", "--memory", size->memory, "--budget", budget,
					 "--swap", scratch_path("."), "--kernel",
					 test_program("ranges.elf"), "--append", words);
	char end[64];

	cr_assert_eq(child->status, 0, "%s, %s: status %d: %s%s", size->memory, words,
		     child->status, child->out_text, child->err_text);
	snprintf(end, sizeof(end), " pages up to %s are right\n", size->end);
	cr_assert(strstr(child->out_text, end) != NULL, "%s, %s: %s", size->memory, words,
		  child->out_text);
	cr_assert_str_empty(child->err_text);
	harness_forget();
}

Test(ranges, ends_of_memory)
{
	for (unsigned i = 0; i < test_times(2, SIZES); i++) {
		use(&sizes[i], "edges", "96M");
		use(&sizes[i], "edges down", "96M");
	}
}

Test(ranges, all_of_memory, .timeout = 3000)
{
	if (!test_is_long())
		cr_skip_test("SKIP: only with --long");
	if (!ring0_is_emulated())
		cr_skip_test("SKIP: a lab has no room for what is put away");
	for (unsigned i = 0; i < SIZES; i++)
		use(&sizes[i], i % 2 == 0 ? "" : "down", "512M");
}

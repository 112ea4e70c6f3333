/* Quire without bifold: a plain PC, by its PVH entry. */
#include <criterion/criterion.h>
#include <string.h>

#include "tests/vm/alone.h"

TestSuite(alone, .init = harness_init, .fini = harness_finish, .timeout = 120);

Test(alone, demo)
{
	const char *out = alone_boot("demo", "--touch 16M --count 4096");

	cr_assert(strstr(out, "every page read was right") != NULL, "%s", out);
}

Test(alone, paging)
{
	const char *out = alone_boot("paging", "");

	cr_assert(strstr(out, "paging is right") != NULL, "%s", out);
}

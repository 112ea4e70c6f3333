/* Quire without bifold: a plain PC, by its PVH entry. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "tests/vm/harness.h"

TestSuite(alone, .init = harness_init, .fini = harness_finish, .timeout = 120);

/* Boots the program as init, the only file there is; its serial line. */
static const char *boot(const char *program, const char *words)
{
	const char *root = scratch_path("root"), *archive = scratch_path("root.cpio");
	char line[256];
	struct child *child;

	child = run_words(NULL, NULL, "/bin/sh", "-c",
			  "command -v qemu-system-x86_64 && command -v cpio", NULL);
	if (child->status != 0)
		cr_skip_test("SKIP: qemu-system-x86_64 or cpio is not installed");
	child = run_words(NULL, NULL, "/bin/sh", "-c",
			  "mkdir -p \"$1/bin\" && cp \"$2\" \"$1/bin\" && cd \"$1\" &&"
			  "find . | cpio -o -H newc >\"$3\"",
			  "sh", root, guest_program(program), archive, NULL);
	cr_assert_eq(child->status, 0, "%s", child->err_text);
	snprintf(line, sizeof(line), "init=/bin/%s -- %s %s", program, program, words);
	child = run_words(NULL, NULL, "/usr/bin/env", "timeout", "-s", "KILL", "100",
			  "qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", "128",
			  "-display", "none", "-serial", "stdio", "-no-reboot", "-kernel",
			  guest_kernel(), "-initrd", archive, "-append", line, NULL);
	cr_assert_eq(child->status, 0, "%d: %s%s", child->status, child->out_text, child->err_text);
	return child->out_text;
}

Test(alone, demo)
{
	const char *out = boot("demo", "--touch 16M --count 4096");

	cr_assert(strstr(out, "every page read was right") != NULL, "%s", out);
}

Test(alone, paging)
{
	const char *out = boot("paging", "");

	cr_assert(strstr(out, "paging is right") != NULL, "%s", out);
}

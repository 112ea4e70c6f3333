#include "tests/vm/linux_guest.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OPTIONS_MAX 40

/*
 * Begins each line that the kernel printed at the levels from emergency to warning, except for
 * those about an emulated processor's pace.
 */
#define WARNED "kernel: "

void need_linux(void)
{
	need_kvm();
	if (ring0_is_emulated())
		cr_skip_test("KVM emulates ring 0 here, and lacks what stock kernels need");
	if (access(linux_file("vmlinuz"), R_OK) != 0)
		cr_skip_test("no stock kernel: tools/linux-guest made none for this build");
}

static const char *copy_disk(void)
{
	const char *copy = scratch_path("disk.img");
	struct child *child =
		run_words(NULL, NULL, busybox_path(), "cp", linux_file("disk.img"), copy, NULL);

	cr_assert_eq(child->status, 0, "%s", child->err_text);
	return copy;
}

struct child *linux_start(const char *const *options, bool on_disk, const char *script)
{
	return linux_start_in(NULL, options, on_disk, script);
}

struct child *linux_start_in(int (*world)(void), const char *const *options, bool on_disk,
			     const char *script)
{
	const char *argv[OPTIONS_MAX] = {
		bifold_path(), "run", "--control", socket_path(), "--kernel",  NULL,
		"--initrd",    NULL,  "--memory",  "512M",	  "--timeout", "280",
	};
	unsigned n = 12;
	char *append;

	argv[5] = linux_file("vmlinuz");
	argv[7] = linux_file("initrd");
	cr_assert(asprintf(&append,
			   "console=ttyS0 quiet%s script=\"(%s); status=$?; "
			   "dmesg -r | grep -v -E 'hrtimer: interrupt took|clocksource:' | "
			   "sed -n 's/^<[0-4]>/" WARNED "/p'; exit $status\"",
			   on_disk ? " root=/dev/vda" : "", script) > 0);
	if (on_disk) {
		argv[n++] = "--disk";
		argv[n++] = copy_disk();
	}
	argv[n++] = "--append";
	argv[n++] = append;
	while (*options != NULL && n < OPTIONS_MAX - 1)
		argv[n++] = *options++;
	cr_assert(*options == NULL);
	return child_start(argv, world);
}

void linux_end(struct child *guest)
{
	child_finish(guest, NULL, 0);
	cr_assert_eq(guest->status, 0, "status %d: %s%s", guest->status, guest->out_text,
		     guest->err_text);
	cr_assert(strstr(guest->out_text, "script: status 0") != NULL, "%s%s", guest->out_text,
		  guest->err_text);
	cr_assert(strstr(guest->out_text, WARNED) == NULL, "%s", guest->out_text);
}

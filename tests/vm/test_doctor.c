/*
 * bifold doctor as an ordinary user on a host that lacks something: what it says, and that its
 * script, run as root, ends in a run that works. A row each; the host is this one with an /etc and
 * devices of the test's own, in a namespace.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/vm/harness.h"
#include "tests/vm/world.h"

TestSuite(doctor, .init = harness_init, .fini = harness_finish, .timeout = 60);

/*
 * $1: bifold, $2: busybox, $3: what is taken away. "kvm" is the group, "newcomer" the user, who
 * lacks nothing until then. Says what the doctor says, behind "before:", then what it says when its
 * script has run and the user has logged in again.
 */
static const char script[] =
	"set -eu\n"
	"export PATH=$PATH:/usr/sbin:/sbin\n"
	"for command in useradd usermod groupadd groupdel gpasswd setpriv; do\n"
	"	command -v $command >/dev/null || { echo \"SKIP: no $command\"; exit 0; }\n"
	"done\n"
	"minor=$(sed -n 's/ userfaultfd$//p' /proc/misc)\n"
	"[ -n \"$minor\" ] || { echo 'SKIP: this kernel has no /dev/userfaultfd'; exit 0; }\n"
	"mount -t tmpfs -o mode=755 none /mnt\n"
	"cp -a /etc /mnt/etc\n"
	"mount --bind /mnt/etc /etc\n"
	"rm -f /etc/.pwd.lock /etc/udev/rules.d/*bifold*\n"
	"cp \"$1\" /mnt/bifold\n"
	"cp \"$2\" /mnt/busybox\n"
	"mkdir -m 700 /mnt/closed\n"
	"getent group kvm >/dev/null || groupadd --system kvm\n"
	"useradd --no-create-home -G kvm newcomer\n"
	"mknod -m 660 /mnt/kvm c 10 232\n"
	"mknod -m 660 /mnt/userfaultfd c 10 $minor\n"
	"chgrp kvm /mnt/kvm /mnt/userfaultfd\n"
	"mount --bind /mnt/kvm /dev/kvm\n"
	"mount --bind /mnt/userfaultfd /dev/userfaultfd\n"
	"groups=--init-groups\n"
	"as_newcomer()\n"
	"{\n"
	"	setpriv --reuid newcomer --regid newcomer $groups env USER= TMPDIR=/tmp \"$@\"\n"
	"}\n"
	"eval \"$3\"\n"
	"echo before:\n"
	"as_newcomer /mnt/bifold doctor || echo \"status $?\"\n"
	"as_newcomer /mnt/bifold doctor --fix >/mnt/fix.sh || true\n"
	"echo fix:\n"
	"cat /mnt/fix.sh\n"
	"sh /mnt/fix.sh\n"
	"groups=--init-groups\n"
	"echo after:\n"
	"as_newcomer /mnt/bifold doctor || echo \"status $?\"\n"
	"as_newcomer /mnt/bifold run --memory 16M /mnt/busybox echo it works\n"
	"sed 's/^/rule: /' /etc/udev/rules.d/70-bifold.rules 2>/dev/null || true\n";

struct row {
	const char *change; /* commands */
	const char *said;   /* by the doctor; NULL: that all is well */
	const char *then;   /* "-> " and this, too; or NULL */
	bool rule;	    /* the script leaves a rule for udev */
};

static void check_row(const struct row *row)
{
	struct child *child;
	const char *after;

	need_kvm();
	child = run_words(world_of_own_mounts, NULL, "/bin/sh", "-c", script, "sh", bifold_path(),
			  busybox_path(), row->change, NULL);
	if (strncmp(child->out_text, "SKIP: ", 6) == 0)
		cr_skip_test("%s", child->out_text);
	cr_assert_eq(child->status, 0, "%s%s", child->out_text, child->err_text);
	after = strstr(child->out_text, "after:");
	cr_assert_not_null(after, "%s", child->out_text);
	if (row->said != NULL) {
		const char *said = strstr(child->out_text, row->said);

		cr_expect(said != NULL && said < after, "not '%s': %s", row->said, child->out_text);
		said = strstr(child->out_text, row->then);
		cr_expect(said != NULL && said < after, "not '%s': %s", row->then, child->out_text);
		said = strstr(child->out_text, "status 1");
		cr_expect(said != NULL && said < after, "%s", child->out_text);
	} else {
		cr_expect_null(strstr(child->out_text, "problem"), "%s", child->out_text);
	}
	cr_expect_null(strstr(after, "problem"), "%s", child->out_text);
	cr_expect_null(strstr(after, "->  sudo"), "%s", child->out_text);
	cr_expect_not_null(strstr(after, "it works\n"), "%s%s", child->out_text, child->err_text);
	cr_expect_eq(strstr(after, "rule: KERNEL==\"kvm\"") != NULL, row->rule, "%s", after);
	cr_expect_eq(strstr(after, "rule: KERNEL==\"userfaultfd\"") != NULL, row->rule, "%s",
		     after);
}

#define ROW(name, ...)                                                                             \
	Test(doctor, name)                                                                         \
	{                                                                                          \
		check_row(&(struct row){ __VA_ARGS__ });                                           \
	}

#define SCRIPT "doctor --fix"

ROW(nothing_is_missing, .change = ":")
ROW(no_group, .change = "groupdel kvm; chown root:root /dev/kvm; chmod 600 /dev/kvm",
    .said = "there is no group kvm", .then = SCRIPT, .rule = true)
ROW(kvm_is_roots, .change = "chown root:root /dev/kvm; chmod 600 /dev/kvm",
    .said = "/dev/kvm is root:root 0600", .then = SCRIPT, .rule = true)
ROW(kvm_may_not_be_written, .change = "chmod 640 /dev/kvm", .said = "/dev/kvm is root:kvm 0640",
    .then = SCRIPT, .rule = true)
ROW(not_a_member, .change = "gpasswd -d newcomer kvm >/dev/null",
    .said = "newcomer is not in the group kvm", .then = SCRIPT)
ROW(userfaultfd_is_roots, .change = "chown root:root /dev/userfaultfd; chmod 600 /dev/userfaultfd",
    .said = "/dev/userfaultfd is root:root 0600", .then = SCRIPT, .rule = true)
ROW(all_is_missing,
    .change = "groupdel kvm; chown root:root /mnt/kvm /mnt/userfaultfd;"
	      "chmod 600 /dev/kvm /dev/userfaultfd",
    .said = "there is no group kvm", .then = SCRIPT, .rule = true)
/* In the group by now, and logged in before that. */
ROW(an_older_session, .change = "groups=--clear-groups", .said = "older than",
    .then = "log in again")

/* No script mends this: doctor says what the user can do. */
Test(doctor, a_folder_that_is_not_ones_own)
{
	struct child *child;

	need_kvm();
	child = run_words(world_of_own_mounts, NULL, "/bin/sh", "-c", script, "sh", bifold_path(),
			  busybox_path(),
			  "as_newcomer /mnt/bifold doctor --swap /mnt/closed && exit 1; "
			  "as_newcomer /mnt/bifold doctor --fix --swap /mnt/closed | sh",
			  NULL);
	if (strncmp(child->out_text, "SKIP: ", 6) == 0)
		cr_skip_test("%s", child->out_text);
	cr_assert_eq(child->status, 0, "%s%s", child->out_text, child->err_text);
	cr_expect_not_null(strstr(child->out_text, "problem  swap_directory  /mnt/closed: "), "%s",
			   child->out_text);
	cr_expect_not_null(strstr(child->out_text, "--swap none"), "%s", child->out_text);
}

Test(doctor, takes_no_words)
{
	struct child *child = run_words(NULL, NULL, bifold_path(), "doctor", "foo", NULL);

	cr_expect_eq(child->status, 125);
	cr_expect_not_null(strstr(child->err_text, "'foo'"), "%s", child->err_text);
}

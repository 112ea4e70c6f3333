/*
 * bifold doctor --fix: the script. It is for root, may run any number of times, and its changes
 * hold after a boot too.
 */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "vmm/doctor.h"
#include "vmm/common/image.h"

static void print_module(const char *name)
{
	printf("\n"
	       "# KVM, now and after each boot.\n"
	       "modprobe %s\n"
	       "mkdir -p /etc/modules-load.d\n"
	       "echo %s >/etc/modules-load.d/bifold.conf\n",
	       name, name);
}

/* udev, where there is one, does it again after each boot. */
static void print_devices(void)
{
	fputs("\n"
	      "# The devices are the group's, after each boot and now.\n"
	      "mkdir -p /etc/udev/rules.d\n"
	      "cat >/etc/udev/rules.d/70-bifold.rules <<'END'\n",
	      stdout);
	fwrite(image_rules, 1, (size_t)(image_rules_end - image_rules), stdout);
	fputs("END\n"
	      "! command -v udevadm >/dev/null || udevadm control --reload || true\n"
	      "for device in /dev/kvm /dev/userfaultfd; do\n"
	      "	if [ -e \"$device\" ]; then\n"
	      "		chgrp kvm \"$device\"\n"
	      "		chmod 0660 \"$device\"\n"
	      "	fi\n"
	      "done\n",
	      stdout);
}

static void print_member(void)
{
	static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				   "0123456789._-";
	const char *user = doctor_user();

	if (user != NULL && user[0] != '-' && user[strspn(user, safe)] == '\0')
		printf("\n"
		       "# The user is in the group from the next login on.\n"
		       "usermod -aG kvm %s\n"
		       "echo 'now log in again (or: newgrp kvm)'\n",
		       user);
	else
		fputs("\n# This user has no name to put into the group: usermod -aG kvm NAME\n",
		      stdout);
}

void doctor_fix_print(unsigned fix)
{
	fputs("#!/bin/sh\n"
	      "# By 'bifold doctor --fix', for root: what this host lacks to run guests.\n",
	      stdout);
	if (fix == 0) {
		fputs("# Nothing that a script could mend.\n", stdout);
		return;
	}
	fputs("set -eu\n"
	      "PATH=$PATH:/usr/sbin:/sbin\n",
	      stdout);
	if ((fix & DOCTOR_FIX_INTEL) != 0)
		print_module("kvm_intel");
	if ((fix & DOCTOR_FIX_AMD) != 0)
		print_module("kvm_amd");
	if ((fix & (DOCTOR_FIX_DEVICES | DOCTOR_FIX_MEMBER)) != 0)
		fputs("\n"
		      "getent group kvm >/dev/null || groupadd --system kvm\n",
		      stdout);
	if ((fix & DOCTOR_FIX_DEVICES) != 0)
		print_devices();
	if ((fix & DOCTOR_FIX_MEMBER) != 0)
		print_member();
	if ((fix & DOCTOR_FIX_SYSCTL) != 0)
		fputs("\n"
		      "# This kernel has no /dev/userfaultfd: the system call, for every user.\n"
		      "mkdir -p /etc/sysctl.d\n"
		      "echo vm.unprivileged_userfaultfd=1 >/etc/sysctl.d/60-bifold.conf\n"
		      "echo 1 >/proc/sys/vm/unprivileged_userfaultfd\n",
		      stdout);
}

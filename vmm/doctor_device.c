/*
 * Finds why a device could not be opened: from there being none, to a session that is older than
 * the user's place in the group. Each answer is the first thing that has to change; the script of
 * doctor_fix.c does all of them.
 */
#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/doctor.h"

#define GROUP		"kvm"
#define GROUP_COUNT_MAX 256

const char *doctor_user(void)
{
	const struct passwd *entry = getpwuid(getuid());

	return entry != NULL ? entry->pw_name : NULL;
}

/* The kernel has the driver: with no file for it, that was kept from this container. */
static bool kernel_has(const char *name)
{
	FILE *file = fopen("/proc/misc", "re");
	char line[128], known[64];
	bool found = false;

	while (file != NULL && !found && fgets(line, sizeof(line), file) != NULL)
		found = sscanf(line, "%*u %63s", known) == 1 && strcmp(known, name) == 0;
	if (file != NULL)
		fclose(file);
	return found;
}

/* Which module brings KVM to this processor; 0: none does. */
static unsigned kvm_module(void)
{
	FILE *file = fopen("/proc/cpuinfo", "re");
	unsigned fix = 0;
	char *line = NULL;
	size_t size = 0;

	while (file != NULL && fix == 0 && getline(&line, &size, file) > 0) {
		if (strncmp(line, "flags", 5) != 0)
			continue;
		if (strstr(line, " vmx ") != NULL)
			fix = DOCTOR_FIX_INTEL;
		else if (strstr(line, " svm ") != NULL)
			fix = DOCTOR_FIX_AMD;
		else
			break;
	}
	free(line);
	if (file != NULL)
		fclose(file);
	return fix;
}

static void explain_absent(struct doctor_finding *finding, const char *name)
{
	if (kernel_has(name)) {
		doctor_found(finding, DOCTOR_PROBLEM,
			     "there is no /dev/%s here, though the kernel has it", name);
		doctor_mend(finding, "let this container have it (as docker run --device /dev/%s)",
			    name);
		return;
	}
	doctor_found(finding, DOCTOR_PROBLEM, "there is no /dev/%s: KVM is not loaded", name);
	finding->fix = kvm_module();
	if (finding->fix == 0)
		doctor_mend(finding, "switch on virtualization in the firmware, or in the host "
				     "whose guest this is");
}

static bool user_is_member(const struct passwd *user, gid_t group)
{
	gid_t groups[GROUP_COUNT_MAX];
	int count = GROUP_COUNT_MAX;

	if (user == NULL || getgrouplist(user->pw_name, user->pw_gid, groups, &count) < 0)
		return false;
	for (int i = 0; i < count; i++)
		if (groups[i] == group)
			return true;
	return false;
}

/* The device is there, and this user may not. */
static void explain_refused(struct doctor_finding *finding, const char *name)
{
	const struct group *group = getgrnam(GROUP);
	gid_t gid = group != NULL ? group->gr_gid : 0;
	const struct passwd *user = getpwuid(getuid());
	const char *user_name = user != NULL ? user->pw_name : "this user";
	bool is_member = group != NULL && user_is_member(user, gid);
	char path[64];
	struct stat status;

	snprintf(path, sizeof(path), "/dev/%s", name);
	if (!is_member)
		finding->fix |= DOCTOR_FIX_MEMBER;
	if (group == NULL) {
		doctor_found(finding, DOCTOR_PROBLEM, "%s: there is no group " GROUP " for it",
			     path);
		finding->fix |= DOCTOR_FIX_DEVICES;
	} else if (stat(path, &status) == 0 &&
		   (status.st_gid != gid || (status.st_mode & 0060) != 0060)) {
		const struct passwd *owner = getpwuid(status.st_uid);
		char owner_name[LOGIN_NAME_MAX];

		snprintf(owner_name, sizeof(owner_name), "%s",
			 owner != NULL ? owner->pw_name : "?");
		group = getgrgid(status.st_gid);
		doctor_found(finding, DOCTOR_PROBLEM, "%s is %s:%s %04o, not for the group " GROUP,
			     path, owner_name, group != NULL ? group->gr_name : "?",
			     status.st_mode & 07777);
		finding->fix |= DOCTOR_FIX_DEVICES;
	} else if (!is_member) {
		doctor_found(finding, DOCTOR_PROBLEM, "%s: %s is not in the group " GROUP, path,
			     user_name);
	} else {
		doctor_found(finding, DOCTOR_PROBLEM,
			     "%s: this session is older than %s's place in the group " GROUP, path,
			     user_name);
		doctor_mend(finding, "log in again, or go on in the shell of: newgrp " GROUP);
	}
}

void doctor_device(struct doctor_finding *finding, const char *name, int error)
{
	finding->fix = 0;
	if (error == ENOENT || error == ENXIO || error == ENODEV) {
		explain_absent(finding, name);
	} else if (error == EACCES) {
		explain_refused(finding, name);
	} else if (error == EPERM) {
		doctor_found(finding, DOCTOR_PROBLEM,
			     "/dev/%s: the rules of this container or service forbid it", name);
		doctor_mend(finding, "let it have the device (as docker run --device /dev/%s)",
			    name);
	} else {
		doctor_found(finding, DOCTOR_PROBLEM, "/dev/%s: %s", name, strerror(error));
	}
}

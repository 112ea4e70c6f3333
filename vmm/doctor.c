/*
 * bifold doctor: a table of checks, a line each, and the command that mends a fault.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <liburing.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/log.h"
#include "base/units.h"
#include "ept/space.h"
#include "vmm/common/arguments.h"
#include "vmm/common/commands.h"
#include "vmm/doctor.h"
#include "vmm/common/host.h"
#include "vmm/common/path.h"

enum form {
	FORM_TEXT,
	FORM_JSON,
	FORM_SCRIPT,
};

struct subject {
	const char *swap_directory;
};

void doctor_found(struct doctor_finding *finding, enum doctor_outcome outcome, const char *format,
		  ...)
{
	va_list arguments;

	finding->outcome = outcome;
	va_start(arguments, format);
	vsnprintf(finding->what, sizeof(finding->what), format, arguments);
	va_end(arguments);
}

void doctor_mend(struct doctor_finding *finding, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(finding->mend, sizeof(finding->mend), format, arguments);
	va_end(arguments);
}

static void check_kvm(const struct subject *subject, struct doctor_finding *finding)
{
	static const struct {
		int capability;
		const char *name;
	} needed[] = {
		{ KVM_CAP_IRQCHIP, "an in-kernel interrupt controller" },
		{ KVM_CAP_USER_MEMORY, "user memory regions" },
		{ KVM_CAP_SIGNAL_MSI, "message-signalled interrupts" },
		{ KVM_CAP_IMMEDIATE_EXIT, "immediate exits" },
	};
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int version;

	if (fd < 0) {
		doctor_device(finding, "kvm", errno);
		return;
	}
	version = ioctl(fd, KVM_GET_API_VERSION, 0);
	if (version < 0) {
		doctor_found(finding, DOCTOR_PROBLEM, "/dev/kvm is not KVM's device: %s",
			     strerror(errno));
		doctor_mend(finding, "remove that file, and load KVM's module");
		close(fd);
		return;
	}
	doctor_found(finding, DOCTOR_OK, "/dev/kvm opens, interface version %d", version);
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
		if (ioctl(fd, KVM_CHECK_EXTENSION, needed[i].capability) <= 0)
			doctor_found(finding, DOCTOR_PROBLEM, "this KVM lacks %s", needed[i].name);
	close(fd);
}

static void check_second_layer(const struct subject *subject, struct doctor_finding *finding)
{
	const char *kind = host_second_layer();

	if (access("/dev/kvm", F_OK) != 0) {
		doctor_found(finding, DOCTOR_LIMITED, "unknown without /dev/kvm");
		return;
	}
	if (strcmp(kind, "shadow") == 0) {
		doctor_found(finding, DOCTOR_LIMITED,
			     "shadow: no nested paging here; guests run, with slower faults");
		doctor_mend(finding, "use a host with EPT or NPT, or switch on kvm_intel.ept / "
				     "kvm_amd.npt");
	} else {
		doctor_found(finding, DOCTOR_OK, "%s", kind);
	}
}

/* Refused: by the device where there is one, else as a system call. */
static void explain_userfaultfd(struct doctor_finding *finding)
{
	int fd = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT) {
		doctor_found(finding, DOCTOR_PROBLEM, "this kernel keeps it from all but root");
		finding->fix = DOCTOR_FIX_SYSCTL;
	} else if (fd < 0) {
		doctor_device(finding, "userfaultfd", errno);
	} else {
		doctor_found(finding, DOCTOR_PROBLEM, "/dev/userfaultfd opens and then refuses");
		close(fd);
	}
}

static void check_userfaultfd(const struct subject *subject, struct doctor_finding *finding)
{
	int error = ept_probe_userfaultfd();

	if (error == 0) {
		doctor_found(finding, DOCTOR_OK,
			     "missing and minor faults of shared memory; watch: %s",
			     ept_probe_scan() == 0 ? "scan" : "notice");
	} else if (error == -EPERM || error == -EACCES) {
		explain_userfaultfd(finding);
	} else {
		doctor_found(finding, DOCTOR_PROBLEM, "%s",
			     error == -ENOTSUP ? "cannot report minor faults of shared memory"
					       : strerror(-error));
		doctor_mend(finding, "use Linux 5.14 or newer, with CONFIG_USERFAULTFD");
	}
}

static void check_memfd(const struct subject *subject, struct doctor_finding *finding)
{
	int error = ept_probe_memfd();

	if (error == 0)
		doctor_found(finding, DOCTOR_OK, "guest memory can be made");
	else
		doctor_found(finding, DOCTOR_PROBLEM, "memfd_create: %s", strerror(-error));
}

/* The number in a file of the kernel's, 0 where it has none. False: there is no such file. */
static bool read_number(const char *path, unsigned long *number)
{
	FILE *file = fopen(path, "re");

	*number = 0;
	if (file == NULL)
		return false;
	if (fscanf(file, "%lu", number) != 1)
		*number = 0;
	fclose(file);
	return true;
}

static void check_io_uring(const struct subject *subject, struct doctor_finding *finding)
{
	struct io_uring ring;
	unsigned long disabled;
	int error = io_uring_queue_init(8, &ring, 0);

	if (error == 0) {
		io_uring_queue_exit(&ring);
		doctor_found(finding, DOCTOR_OK, "available");
	} else {
		doctor_found(finding, DOCTOR_LIMITED,
			     "refused (%s): swapping falls back to plain reads "
			     "and writes",
			     strerror(-error));
		if (error == -ENOMEM)
			doctor_mend(finding, "ulimit -l: the limit of locked memory is too small");
		else if (read_number("/proc/sys/kernel/io_uring_disabled", &disabled) &&
			 disabled != 0)
			doctor_mend(finding, "as root: sysctl kernel.io_uring_disabled=0 (to keep "
					     "it: a file in /etc/sysctl.d)");
	}
}

static void check_hugepages(const struct subject *subject, struct doctor_finding *finding)
{
	unsigned long free_pages;

	if (!read_number("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", &free_pages))
		doctor_found(finding, DOCTOR_LIMITED,
			     "no 2 MiB pages on this kernel; none are needed");
	else
		doctor_found(finding, DOCTOR_OK, "%lu free of 2 MiB; none are needed", free_pages);
}

static void check_swap_directory(const struct subject *subject, struct doctor_finding *finding)
{
	const char *directory = subject->swap_directory;
	struct statvfs status;
	char room[UNITS_TEXT_SIZE];
	int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	bool direct;

	if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR) && access(directory, W_OK) == 0) {
		doctor_found(finding, DOCTOR_LIMITED, "%s: no unnamed files on this file system",
			     directory);
		return;
	}
	if (fd < 0 || fstatvfs(fd, &status) != 0) {
		doctor_found(finding, DOCTOR_PROBLEM, "%s: %s", directory, strerror(errno));
		doctor_mend(finding, "name another with --swap DIR, or go without: --swap none");
		if (fd >= 0)
			close(fd);
		return;
	}
	direct = fcntl(fd, F_SETFL, O_DIRECT) == 0;
	doctor_found(
		finding, direct ? DOCTOR_OK : DOCTOR_LIMITED, "%s, %s free%s", directory,
		units_format_size((uint64_t)status.f_bavail * status.f_frsize, room),
		direct ? ""
		       : "; no direct I/O there, so the host's page cache holds swapped pages too");
	close(fd);
}

static const struct check {
	const char *name;
	void (*look)(const struct subject *subject, struct doctor_finding *finding);
} checks[] = {
	{ "kvm", check_kvm },
	{ "second_layer", check_second_layer },
	{ "userfaultfd", check_userfaultfd },
	{ "memfd", check_memfd },
	{ "io_uring", check_io_uring },
	{ "hugepages", check_hugepages },
	{ "swap_directory", check_swap_directory },
};

static const char *const outcome_names[] = {
	[DOCTOR_OK] = "ok",
	[DOCTOR_LIMITED] = "limited",
	[DOCTOR_PROBLEM] = "problem",
};

static const char help[] =
	"Usage: bifold doctor [OPTION...]\n"
	"\n"
	"Check this host, a line for each thing that 'bifold run' needs, and say how to\n"
	"mend what is wrong. Exit status 0: run can work here; 1: it cannot; 125: bad\n"
	"options.\n"
	"\n"
	"  --swap DIR   check this swap directory (default: $TMPDIR or /var/tmp)\n"
	"  --fix        print a script for root that mends what a script can; then exit\n"
	"               status 1 is for what it cannot\n"
	"  --json       print the findings as JSON\n"
	"  -h, --help   this text\n";

/* The script is for root: how this user runs it. */
static void mend_by_script(struct doctor_finding *finding)
{
	if (finding->fix == 0)
		return;
	if (geteuid() == 0)
		doctor_mend(finding, "%s doctor --fix | sh", program_invocation_name);
	else if (access("/usr/bin/sudo", X_OK) == 0)
		doctor_mend(finding, "%s doctor --fix | sudo sh, then log in again",
			    program_invocation_name);
	else
		doctor_mend(finding,
			    "%s doctor --fix >fix.sh; as root: sh fix.sh; then log in again",
			    program_invocation_name);
}

static void print_finding(const char *name, const struct doctor_finding *finding)
{
	arguments_print_words(stdout, finding->what,
			      printf("%-8s %-15s ", outcome_names[finding->outcome], name));
	if (finding->mend[0] != '\0')
		arguments_print_words(stdout, finding->mend, printf("%9s-> ", ""));
}

static int examine(const struct subject *subject, enum form form)
{
	json_t *root = json_object();
	unsigned fix = 0;
	int status = 0;

	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
		struct doctor_finding finding = { 0 };

		checks[i].look(subject, &finding);
		mend_by_script(&finding);
		fix |= finding.fix;
		/* A script that mends all there is to mend is a success. */
		if (finding.outcome == DOCTOR_PROBLEM && (form != FORM_SCRIPT || finding.fix == 0))
			status = STATUS_NO;
		json_object_set_new(root, checks[i].name,
				    json_pack("{s:s, s:s, s:s}", "outcome",
					      outcome_names[finding.outcome], "what", finding.what,
					      "mend", finding.mend));
		if (form == FORM_TEXT)
			print_finding(checks[i].name, &finding);
	}
	if (form == FORM_JSON) {
		json_dumpf(root, stdout, JSON_INDENT(2));
		putchar('\n');
	} else if (form == FORM_SCRIPT) {
		doctor_fix_print(fix);
	}
	json_decref(root);
	return status;
}

struct options {
	struct subject subject;
	enum form form;
};

static int take(int option, const char *value, void *context)
{
	struct options *options = context;

	if (option == 's')
		options->subject.swap_directory = value;
	else
		options->form = option == 'f' ? FORM_SCRIPT : FORM_JSON;
	return 0;
}

int command_doctor(int argc, char **argv)
{
	static const struct option long_options[] = {
		{ "swap", required_argument, NULL, 's' },
		{ "fix", no_argument, NULL, 'f' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	static const struct arguments arguments = { long_options, help, "", take };
	struct options options = {
		.subject = { .swap_directory = path_temporary() },
		.form = FORM_TEXT,
	};
	int error = arguments_parse(argc, argv, &arguments, &options);

	if (error != 0)
		return error > 0 ? 0 : STATUS_USAGE;
	return examine(&options.subject, options.form);
}

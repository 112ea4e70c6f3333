/*
 * bifold doctor: a table of checks, a line each, and the command that mends what is wrong.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <jansson.h>
#include <liburing.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/log.h"
#include "base/units.h"
#include "ept/space.h"
#include "vmm/commands.h"
#include "vmm/host.h"
#include "vmm/path.h"

#define STATUS_UNFIT 1
#define STATUS_USAGE 125
#define TEXT_SIZE    192

enum outcome {
	OUTCOME_OK,
	OUTCOME_LIMITED, /* run works without it */
	OUTCOME_PROBLEM, /* run cannot work */
};

struct finding {
	enum outcome outcome;
	char what[TEXT_SIZE];
	char mend[TEXT_SIZE]; /* a command; empty: none needed or none known */
};

struct subject {
	const char *swap_directory;
};

static void __attribute__((format(printf, 3, 4)))
found(struct finding *finding, enum outcome outcome, const char *format, ...)
{
	va_list arguments;

	finding->outcome = outcome;
	va_start(arguments, format);
	vsnprintf(finding->what, sizeof(finding->what), format, arguments);
	va_end(arguments);
}

static void __attribute__((format(printf, 2, 3)))
mend_with(struct finding *finding, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(finding->mend, sizeof(finding->mend), format, arguments);
	va_end(arguments);
}

static void check_kvm(const struct subject *subject, struct finding *finding)
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

	if (fd < 0) {
		int error = errno;

		found(finding, OUTCOME_PROBLEM, "/dev/kvm cannot be opened: %s", strerror(error));
		if (error == EACCES || error == EPERM)
			mend_with(finding, "sudo usermod -aG kvm \"$USER\"   (then log in again)");
		else
			mend_with(finding, "sudo modprobe -a kvm_intel kvm_amd   (and switch on "
					   "virtualization in the firmware)");
		return;
	}
	found(finding, OUTCOME_OK, "/dev/kvm opens, interface version %d",
	      ioctl(fd, KVM_GET_API_VERSION, 0));
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
		if (ioctl(fd, KVM_CHECK_EXTENSION, needed[i].capability) <= 0)
			found(finding, OUTCOME_PROBLEM, "this KVM lacks %s", needed[i].name);
	close(fd);
}

static void check_second_layer(const struct subject *subject, struct finding *finding)
{
	const char *kind = host_second_layer();

	if (strcmp(kind, "shadow") == 0) {
		found(finding, OUTCOME_LIMITED,
		      "shadow: no nested paging here; guests run, with slower faults");
		mend_with(finding, "use a host with EPT or NPT, or switch on kvm_intel.ept / "
				   "kvm_amd.npt");
	} else {
		found(finding, OUTCOME_OK, "%s", kind);
	}
}

static void check_userfaultfd(const struct subject *subject, struct finding *finding)
{
	int error = ept_probe_userfaultfd();

	if (error == 0) {
		found(finding, OUTCOME_OK, "missing and minor faults of shared memory");
	} else if (error == -EPERM || error == -EACCES) {
		found(finding, OUTCOME_PROBLEM, "refused to this user: %s", strerror(-error));
		if (access("/dev/userfaultfd", F_OK) == 0)
			mend_with(finding, "sudo chgrp kvm /dev/userfaultfd && sudo chmod g+rw "
					   "/dev/userfaultfd");
		else
			mend_with(finding, "sudo sysctl vm.unprivileged_userfaultfd=1");
	} else {
		found(finding, OUTCOME_PROBLEM, "%s",
		      error == -ENOTSUP ? "cannot report minor faults of shared memory"
					: strerror(-error));
		mend_with(finding, "use Linux 5.14 or newer, with CONFIG_USERFAULTFD");
	}
}

static void check_memfd(const struct subject *subject, struct finding *finding)
{
	int error = ept_probe_memfd();

	if (error == 0)
		found(finding, OUTCOME_OK, "guest memory can be made");
	else
		found(finding, OUTCOME_PROBLEM, "memfd_create: %s", strerror(-error));
}

static void check_io_uring(const struct subject *subject, struct finding *finding)
{
	struct io_uring ring;
	int error = io_uring_queue_init(8, &ring, 0);

	if (error == 0) {
		io_uring_queue_exit(&ring);
		found(finding, OUTCOME_OK, "available");
	} else {
		found(finding, OUTCOME_LIMITED,
		      "refused (%s): swapping falls back to plain reads "
		      "and writes",
		      strerror(-error));
		mend_with(finding, "sudo sysctl kernel.io_uring_disabled=0");
	}
}

static void check_hugepages(const struct subject *subject, struct finding *finding)
{
	FILE *file = fopen("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "re");
	unsigned long free_pages = 0;

	if (file != NULL) {
		if (fscanf(file, "%lu", &free_pages) != 1)
			free_pages = 0;
		fclose(file);
	}
	if (file == NULL)
		found(finding, OUTCOME_LIMITED, "no 2 MiB pages on this kernel; none are needed");
	else
		found(finding, OUTCOME_OK, "%lu free of 2 MiB; none are needed", free_pages);
}

static void check_memlock(const struct subject *subject, struct finding *finding)
{
	struct rlimit limit;
	char text[UNITS_TEXT_SIZE];

	if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0) {
		found(finding, OUTCOME_LIMITED, "unknown: %s", strerror(errno));
	} else if (limit.rlim_cur == RLIM_INFINITY) {
		found(finding, OUTCOME_OK, "no limit");
	} else if (limit.rlim_cur < MIB(1)) {
		found(finding, OUTCOME_LIMITED, "%s: kernels before 5.12 need more for io_uring",
		      units_format_size(limit.rlim_cur, text));
		mend_with(finding, "ulimit -l 8192   (and /etc/security/limits.conf)");
	} else {
		found(finding, OUTCOME_OK, "%s", units_format_size(limit.rlim_cur, text));
	}
}

static void check_swap_directory(const struct subject *subject, struct finding *finding)
{
	const char *directory = subject->swap_directory;
	struct statvfs status;
	char room[UNITS_TEXT_SIZE];
	int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	bool direct;

	if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR) && access(directory, W_OK) == 0) {
		found(finding, OUTCOME_LIMITED, "%s: no unnamed files on this file system",
		      directory);
		return;
	}
	if (fd < 0 || fstatvfs(fd, &status) != 0) {
		found(finding, OUTCOME_PROBLEM, "%s: %s", directory, strerror(errno));
		mend_with(finding, "name another with --swap DIR, or go without: --swap none");
		if (fd >= 0)
			close(fd);
		return;
	}
	direct = fcntl(fd, F_SETFL, O_DIRECT) == 0;
	found(finding, direct ? OUTCOME_OK : OUTCOME_LIMITED, "%s, %s free%s", directory,
	      units_format_size((uint64_t)status.f_bavail * status.f_frsize, room),
	      direct ? ""
		     : "; no direct I/O there, so the host's page cache holds swapped pages too");
	close(fd);
}

static const struct check {
	const char *name;
	void (*look)(const struct subject *subject, struct finding *finding);
} checks[] = {
	{ "kvm", check_kvm },
	{ "second_layer", check_second_layer },
	{ "userfaultfd", check_userfaultfd },
	{ "memfd", check_memfd },
	{ "io_uring", check_io_uring },
	{ "hugepages", check_hugepages },
	{ "memlock", check_memlock },
	{ "swap_directory", check_swap_directory },
};

static const char *const outcome_names[] = {
	[OUTCOME_OK] = "ok",
	[OUTCOME_LIMITED] = "limited",
	[OUTCOME_PROBLEM] = "problem",
};

static void print_help(void)
{
	fputs("Usage: bifold doctor [OPTION...]\n"
	      "\n"
	      "Check this host, a line for each thing that 'bifold run' needs, with the command "
	      "that\n"
	      "mends what is wrong. Exit status 0: run can work here; 1: it cannot.\n"
	      "\n"
	      "  --swap DIR   check this swap directory (default: $TMPDIR or /var/tmp)\n"
	      "  --json       print the findings as JSON\n"
	      "  -h, --help   this text\n",
	      stdout);
}

static int examine(const struct subject *subject, bool json)
{
	json_t *root = json_object();
	int status = 0;

	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
		struct finding finding = { 0 };

		checks[i].look(subject, &finding);
		if (finding.outcome == OUTCOME_PROBLEM)
			status = STATUS_UNFIT;
		json_object_set_new(root, checks[i].name,
				    json_pack("{s:s, s:s, s:s}", "outcome",
					      outcome_names[finding.outcome], "what", finding.what,
					      "mend", finding.mend));
		if (json)
			continue;
		printf("%-8s %-15s %s\n", outcome_names[finding.outcome], checks[i].name,
		       finding.what);
		if (finding.mend[0] != '\0')
			printf("%-8s %-15s -> %s\n", "", "", finding.mend);
	}
	if (json) {
		json_dumpf(root, stdout, JSON_INDENT(2));
		putchar('\n');
	}
	json_decref(root);
	return status;
}

int command_doctor(int argc, char **argv)
{
	static const struct option long_options[] = {
		{ "swap", required_argument, NULL, 's' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct subject subject = {
		.swap_directory = path_temporary(),
	};
	bool json = false;
	int option;

	optind = 0;
	while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		switch (option) {
		case 's':
			subject.swap_directory = optarg;
			break;
		case 'j':
			json = true;
			break;
		case 'h':
			print_help();
			return 0;
		default:
			log_error("try 'bifold doctor --help'");
			return STATUS_USAGE;
		}
	}
	return examine(&subject, json);
}

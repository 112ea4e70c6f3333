/*
 * The host refuses: each system call that the monitor makes up to its guest's first instruction
 * fails in turn, and a sample of those behind it. Every run ends right, or says why and ends
 * with 125, and leaves nothing behind. strace makes them fail; it counts each thread by itself.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/long.h"
#include "tests/vm/harness.h"

#define STRACE	     "/usr/bin/strace"
#define CALL_MAX     64
#define PATIENCE     30 /* seconds for a run */
#define DISK_BYTES   (1 << 20)
#define SAMPLE_BRIEF 6
#define SAMPLE_WHOLE 400
/* main()'s first: what comes before is the dynamic linker's. */
#define MARK_BEGIN  "fcntl(0, F_GETFD"
#define MARK_INSIDE "KVM_RUN"

/* A system call's name, and how often the main thread made it by when. */
struct call {
	char name[32];
	unsigned before, inside, all; /* main(), the guest's first instruction, the end */
};

static struct call calls[CALL_MAX];
static unsigned call_count;

static void init(void)
{
	harness_init();
	need_kvm();
	if (access(STRACE, X_OK) != 0)
		cr_skip_test("SKIP: strace is not installed (tools/setup --tests)");
}

TestSuite(inject, .init = init, .fini = harness_finish, .timeout = 3600);

/*
 * Any call may fail but these: they are libc's own, which aborts where one fails. brk() fails by
 * its value, not by an error.
 */
static bool is_injectable(const char *name)
{
	static const char *const none[] = { "futex",	   "exit", "exit_group",
					    "execve",	   "rseq", "set_robust_list",
					    "arch_prctl",  "brk",  "set_tid_address",
					    "rt_sigreturn" };

	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		if (strcmp(none[i], name) == 0)
			return false;
	return true;
}

/* How it fails as the host may fail it. */
static const char *error_of(const char *name)
{
	static const struct {
		const char *name, *error;
	} errors[] = {
		{ "openat", "EMFILE" },		{ "mmap", "ENOMEM" },
		{ "mprotect", "ENOMEM" },	{ "ioctl", "EINVAL" },
		{ "clone3", "EAGAIN" },		{ "eventfd2", "EMFILE" },
		{ "epoll_ctl", "ENOMEM" },	{ "memfd_create", "EMFILE" },
		{ "ftruncate", "ENOSPC" },	{ "bind", "EACCES" },
		{ "poll", "ENOMEM" },		{ "epoll_create1", "EMFILE" },
		{ "timerfd_create", "EMFILE" }, { "madvise", "ENOMEM" },
		{ "io_uring_setup", "ENOMEM" },
	};

	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
		if (strcmp(errors[i].name, name) == 0)
			return errors[i].error;
	return "EIO";
}

/* A run that hangs ends by this; it is the monitor's own process that gets it (strace -D). */
static int be_patient(void)
{
	alarm(PATIENCE);
	return 0;
}

static struct child *traced(const char *log, const char *what, const char *inject)
{
	return run_words(be_patient, NULL, STRACE, "-D", "-f", "-qq", "--seccomp-bpf", "-o", log,
			 "-e", what, "-e", inject, bifold_path(), "run", "--memory", "32M",
			 "--budget", "6M", "--swap", scratch_path("swap"), "--disk",
			 scratch_path("disk"), "--control", scratch_path("control"), "--report",
			 scratch_path("r.json"), busybox_path(), "echo", "hi", NULL);
}

static struct call *find_call(const char *name, size_t length)
{
	for (unsigned i = 0; i < call_count; i++)
		if (strlen(calls[i].name) == length && strncmp(calls[i].name, name, length) == 0)
			return &calls[i];
	if (call_count == CALL_MAX || length >= sizeof(calls[0].name))
		return NULL;
	memcpy(calls[call_count].name, name, length);
	return &calls[call_count++];
}

/* Takes the main thread's calls from a whole trace. */
static void count_calls(char *trace)
{
	bool begun = false, inside = false;
	long first = strtol(trace, NULL, 10);
	char *rest = trace;

	for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
		char *name = line + strspn(line, "0123456789 ");
		size_t length = strcspn(name, "(");
		struct call *call;

		inside |= strstr(line, MARK_INSIDE) != NULL;
		begun |= strncmp(name, MARK_BEGIN, strlen(MARK_BEGIN)) == 0;
		if (strtol(line, NULL, 10) != first || name[length] != '(' ||
		    strspn(name, "<+-") != 0)
			continue;
		call = find_call(name, length);
		if (call == NULL)
			continue;
		call->before += !begun;
		call->inside += !inside;
		call->all++;
	}
	cr_assert(begun && inside, "the trace has no main(), or no guest");
}

static void learn_calls(void)
{
	const char *log = scratch_path("trace");
	static char zeros[DISK_BYTES];
	struct child *child;
	size_t size;
	char *trace;

	mkdir(scratch_path("swap"), 0700);
	write_file(scratch_path("disk"), zeros, sizeof(zeros));
	child = traced(log, "trace=all", "signal=none");
	if (child->status != 0)
		cr_skip_test("SKIP: strace cannot trace here: %s", child->err_text);
	trace = read_file(log, &size);
	cr_assert(trace != NULL);
	count_calls(trace);
	free(trace);
}

/* Each line of the monitor's own. */
static bool says_why(const char *text)
{
	return strncmp(text, "bifold: ", 8) == 0;
}

static void fail_one(const struct call *call, unsigned number)
{
	char what[64], inject[96];
	struct child *child;
	bool right, failed;

	snprintf(what, sizeof(what), "trace=%s", call->name);
	snprintf(inject, sizeof(inject), "inject=%s:error=%s:when=%u", call->name,
		 error_of(call->name), number);
	/* As in the run whose calls were counted, there is no report yet. */
	unlink(scratch_path("r.json"));
	child = traced("/dev/null", what, inject);
	/* A guest whose output fails says so, as on any host. */
	right = (child->status == 0 && strcmp(child->out_text, "hi\n") == 0) ||
		(child->status == 1 && strcmp(call->name, "write") == 0);
	/* 126: of the program, as a shell says it. */
	failed = (child->status == 125 || child->status == 126) && says_why(child->err_text);
	cr_expect(right || failed, "%s: status %d, output '%s', and it said: %s", inject,
		  child->status, child->out_text, child->err_text);
	cr_expect_eq(folder_count(scratch_path("swap")), 0, "%s: left in the swap folder", inject);
	/* A process that cannot look whether a socket is its own leaves it. */
	cr_expect(access(scratch_path("control"), F_OK) != 0 ||
			  strcmp(call->name, "newfstatat") == 0,
		  "%s: left its socket", inject);
	unlink(scratch_path("control"));
	child_forget(child);
}

/* One of each kind; the whole with --long. */
Test(inject, up_to_the_first_instruction)
{
	unsigned short state[3] = { 0 };
	unsigned done = 0;

	learn_calls();
	state[0] = (unsigned short)strtoul(harness_seed("inject"), NULL, 10);
	for (unsigned i = 0; i < call_count; i++) {
		const struct call *call = &calls[i];
		unsigned count = call->inside - call->before;
		unsigned one = count > 0 ? (unsigned)(nrand48(state) % count) : 0;

		if (!is_injectable(call->name))
			continue;
		for (unsigned n = 0; n < count; n++) {
			if (!test_is_long() && n != one)
				continue;
			fail_one(call, call->before + n + 1);
			done++;
		}
	}
	cr_assert_gt(done, 10);
}

Test(inject, behind_it)
{
	unsigned short state[3] = { 1 };
	unsigned done = 0, times = test_times(SAMPLE_BRIEF, SAMPLE_WHOLE);

	learn_calls();
	state[0] = (unsigned short)strtoul(harness_seed("inject"), NULL, 10);
	while (done < times) {
		const struct call *call = &calls[nrand48(state) % call_count];
		unsigned most = call->all > 8 ? call->all : 8; /* other threads make more */

		if (!is_injectable(call->name) || call->inside == call->before)
			continue;
		fail_one(call, call->before + 1 + (unsigned)(nrand48(state) % most));
		done++;
	}
}

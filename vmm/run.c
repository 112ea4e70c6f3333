/*
 * bifold run: from the command line to the exit status.
 *
 * The main thread makes the machine and then waits, in one poll, for its end, for signals, for the
 * timeout, for input that the guest waits for, and for the next tick of the status line.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/status.h"
#include "base/units.h"
#include "ept/space.h"
#include "vmm/boot/loader.h"
#include "vmm/common/commands.h"
#include "vmm/control/server.h"
#include "vmm/common/file.h"
#include "vmm/common/host.h"
#include "vmm/control/methods.h"
#include "vmm/machine/machine.h"
#include "vmm/options.h"
#include "vmm/common/report_table.h"
#include "vmm/machine/report.h"
#include "vmm/run_guest.h"
#include "vmm/terminal.h"

#define STATUS_FIRST_NS	 1000000000u /* a run shorter than this shows no status line */
#define STATUS_PERIOD_NS 500000000u

struct run {
	struct run_options options;
	uint64_t start_ns;
	struct run_guest guest;
	struct file_output report;
	struct machine *machine;
	struct control *control;
	struct terminal *terminal; /* of a stock guest */
	int signal_fd;
};

/*
 * Where KVM emulates ring 0 it lacks instructions that any kernel for x86-64 uses: better said than
 * met as a crash.
 */
static int check_host(const struct run *run)
{
	if (run->options.kernel_path != NULL &&
	    loader_probe(run->guest.kernel, run->guest.kernel_size, run->options.stock) != 0)
		return -ENOEXEC;
	if (!run->options.stock || run->options.force || !host_emulates_ring0())
		return 0;
	log_error("this host's KVM emulates a guest's ring 0 and lacks cmpxchg16b, which stock "
		  "kernels need: run it where the processor's VMX or SVM is there, or in tools/lab "
		  "(--force tries all the same)");
	return -ENOTSUP;
}

static int open_report(struct run *run)
{
	return run->options.report_path != NULL
		       ? file_open_output(run->options.report_path, &run->report)
		       : 0;
}

static bool has_virtio_console(const struct run *run)
{
	return machine_console_is_virtio(run->options.append);
}

static bool loading_stopped(void *run);

static enum mm_watch way_to_watch(enum watch watch)
{
	bool scans = watch == WATCH_SCAN || (watch == WATCH_AUTO && ept_probe_scan() == 0);

	return scans ? MM_WATCH_SCAN : MM_WATCH_NOTICE;
}

static int make_machine(struct run *run)
{
	const struct run_options *options = &run->options;
	/* Or may be given one, by 'bifold budget'. */
	bool has_budget = options->budget_bytes != 0 || options->control_path != NULL;
	struct machine_config config = {
		.about = {
			.name = run_guest_name(&run->guest),
			.kernel = options->kernel_path != NULL ? options->kernel_path : "quire",
			.policy = options->policy->name,
			.compressor = compressor_names[options->compressor],
			.start_ns = run->start_ns,
		},
		.memory_bytes = options->memory_bytes,
		.cpu_count = options->cpu_count,
		.kind = options->stock ? MACHINE_STOCK : MACHINE_QUIRE,
		.input_fd = STDIN_FILENO,
		.output_fd = STDOUT_FILENO,
		.error_fd = STDERR_FILENO,
		.unmanaged = options->unmanaged,
		.stop_when_full = options->stop_when_full,
		.nested = options->nested,
		.load_stopped = loading_stopped,
		.load_context = run,
		.devices = {
			.balloon = !options->no_balloon,
			.reporting = !options->no_reporting,
			.auto_balloon = options->auto_balloon,
			.disk = options->disk,
			.disk_count = options->disk_count,
			.rng = options->stock,
			.console = options->stock || has_virtio_console(run),
			.console_fd = STDOUT_FILENO,
		},
		.mm = {
			.budget_bytes = options->budget_bytes,
			.policy = options->policy,
			.policy_options = options->policy_options,
			.compressor = options->compressor,
			.swap_directory = has_budget ? options->swap_directory : NULL,
			.swap_bytes = options->swap_bytes != 0 ? options->swap_bytes :
								 options->memory_bytes,
			.watch = way_to_watch(options->watch),
		},
	};
	int error = machine_create(&config, &run->machine);

	return error != 0 ? error : run_guest_load(&run->guest, run->machine);
}

/* The user's typing would stand in the same row. */
static void show_status(struct run *run, bool awaited)
{
	struct report report;
	char text[160];

	if (!log_status_possible() || (awaited && isatty(STDIN_FILENO))) {
		log_status(NULL);
		return;
	}
	report_fill(&report, run->machine);
	report_format_status(&report, text, sizeof(text));
	log_status(text);
}

/* While the guest is loaded there is no terminal yet. */
static void take_terminal_signal(struct run *run, uint32_t number)
{
	if (run->terminal != NULL && number == SIGWINCH)
		terminal_measure(run->terminal);
	if (run->terminal != NULL && number == SIGCONT)
		terminal_continue(run->terminal);
	if (number == SIGCONT)
		machine_continued(run->machine);
}

static void set_ctrl_z(int how)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTSTP);
	sigprocmask(how, &set, NULL);
}

/* Ctrl-Z: the terminal is the shell's then, so the status line goes first. Returns once it goes on.
 */
static void stand_still(void)
{
	log_status(NULL);
	raise(SIGTSTP);
	set_ctrl_z(SIG_UNBLOCK);
	set_ctrl_z(SIG_BLOCK);
}

static void take_signal(struct run *run)
{
	struct signalfd_siginfo info;

	if (read(run->signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGTSTP) {
		stand_still();
	} else if (info.ssi_signo == SIGWINCH || info.ssi_signo == SIGCONT) {
		take_terminal_signal(run, info.ssi_signo);
	} else if (machine_stop(run->machine, MACHINE_INTERRUPTED, 128 + (int)info.ssi_signo)) {
		log_error("stopped by %s", strsignal((int)info.ssi_signo));
	}
}

/* Milliseconds until the earlier of two times; -1: neither is set. */
static int until(uint64_t now, uint64_t first, uint64_t second)
{
	uint64_t next = second == 0 || (first != 0 && first < second) ? first : second;

	if (next == 0)
		return -1;
	return next <= now ? 0 : (int)((next - now + 999999) / 1000000);
}

/* A console's input goes through the terminal; quire's doorbell reads by itself when told. */

static int input_poll_fd(const struct run *run, bool awaited)
{
	if (run->terminal != NULL)
		return terminal_poll_fd(run->terminal);
	return awaited ? STDIN_FILENO : -1;
}

static void take_input(struct run *run)
{
	if (run->terminal != NULL)
		terminal_ready(run->terminal);
	else
		machine_input_ready(run->machine);
}

static size_t give_input(void *context, const uint8_t *bytes, size_t length)
{
	struct run *run = context;

	if (has_virtio_console(run))
		return virtio_console_input(machine_devices(run->machine)->console, bytes, length);
	return machine_serial_input(run->machine, bytes, length);
}

static void resized(void *context, unsigned columns, unsigned rows)
{
	struct run *run = context;
	struct virtio_console *console = machine_devices(run->machine)->console;

	if (console != NULL)
		virtio_console_resize(console, (uint16_t)columns, (uint16_t)rows);
}

static void leave(void *context)
{
	machine_stop(((struct run *)context)->machine, MACHINE_QUIT, 0);
}

static int open_terminal(struct run *run)
{
	const struct terminal_config config = {
		.fd = STDIN_FILENO,
		.input = give_input,
		.leave = leave,
		.resized = resized,
		.cooked = !run->options.stock,
		.context = run,
	};

	return run->options.stock || has_virtio_console(run)
		       ? terminal_create(&config, &run->terminal)
		       : 0;
}

/* Whether there can be a status line at any time. A terminal in raw mode is the guest's alone. */
static bool shows_status(const struct run *run)
{
	return isatty(STDERR_FILENO) && status_is_apart_from(STDOUT_FILENO) &&
	       !(run->terminal != NULL && isatty(STDIN_FILENO));
}

/* 0: none. */
static uint64_t deadline_ns(const struct run *run)
{
	uint64_t seconds = run->options.timeout_seconds;

	return seconds != 0 ? run->start_ns + seconds * 1000000000 : 0;
}

static void time_out(struct run *run)
{
	if (machine_stop(run->machine, MACHINE_TIMED_OUT, MACHINE_STATUS_TIMED_OUT))
		log_error("stopped: %u s have passed", run->options.timeout_seconds);
}

/* Signals and time, while the guest's memory is filled. */
static bool loading_stopped(void *context)
{
	struct run *run = context;
	struct pollfd signals = { .fd = run->signal_fd, .events = POLLIN };
	uint64_t deadline = deadline_ns(run);

	if (poll(&signals, 1, 0) > 0)
		take_signal(run);
	if (deadline != 0 && clock_now_ns() >= deadline)
		time_out(run);
	return machine_stopping(run->machine);
}

static void wait_for_end(struct run *run)
{
	uint64_t deadline = deadline_ns(run);
	uint64_t tick = shows_status(run) ? run->start_ns + STATUS_FIRST_NS : 0;
	bool awaited = false;

	while (!machine_stopping(run->machine)) {
		struct pollfd fds[] = {
			{ .fd = machine_stop_fd(run->machine), .events = POLLIN },
			{ .fd = run->signal_fd, .events = POLLIN },
			{ .fd = machine_input_fd(run->machine), .events = POLLIN },
			{ .fd = input_poll_fd(run, awaited), .events = POLLIN },
		};
		uint64_t now = clock_now_ns(), count;

		if (poll(fds, 4, until(now, deadline, tick)) < 0)
			continue;
		now = clock_now_ns();
		if (fds[1].revents != 0)
			take_signal(run);
		if (fds[2].revents != 0 &&
		    read(machine_input_fd(run->machine), &count, sizeof(count)) == sizeof(count)) {
			awaited = true;
			if (run->terminal != NULL)
				terminal_room(run->terminal);
		}
		if (fds[3].revents != 0) {
			awaited = false;
			take_input(run);
		}
		if (deadline != 0 && now >= deadline)
			time_out(run);
		if (tick != 0 && now >= tick && !machine_stopping(run->machine)) {
			show_status(run, awaited);
			tick = now + STATUS_PERIOD_NS;
		}
	}
	log_status(NULL);
}

/* The accounts must balance at the end of every run, not only in tests. Whether they do. */
static bool accounts_balance(struct machine *machine)
{
	struct mm *mm = machine_mm(machine);
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	int breaches = mm != NULL ? mm_check(mm, out) : 0;

	if (out != NULL)
		fclose(out);
	if (breaches != 0) {
		log_text(text != NULL ? text : "");
		log_error("the memory manager's accounts do not balance (%d breaches)", breaches);
	}
	free(text);
	return breaches == 0;
}

/* Through the log, which waits for nobody. */
static void print_table(const json_t *json)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (out == NULL)
		return;
	report_print_table(json, out);
	fclose(out);
	log_text(text);
	free(text);
}

/* The exit status it gives is the run's, or that of a report that could not be written. */
static int tell(struct run *run, int status)
{
	struct report report;
	json_t *json;
	int error = 0;

	report_fill(&report, run->machine);
	json = report_to_json(&report);
	json_object_set_new(json, "exit_status", json_integer(status));
	if (run->guest.demo)
		report_print_table(json, stdout);
	else if (log_verbosity() > 0)
		print_table(json);
	if (run->report.path != NULL)
		error = file_begin(&run->report);
	if (run->report.path != NULL && error == 0)
		error = file_end(&run->report, report_write(json, run->report.file));
	json_decref(json);
	return error == 0 ? status : MACHINE_STATUS_FAILED;
}

/* The signals that end the guest; while it runs also Ctrl-Z, and those of a terminal that changed.
 */
static int watch_signals(struct run *run, bool runs, bool terminal)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	if (runs)
		sigaddset(&set, SIGTSTP);
	if (runs && terminal) {
		sigaddset(&set, SIGWINCH);
		sigaddset(&set, SIGCONT);
	}
	sigprocmask(SIG_BLOCK, &set, NULL);
	run->signal_fd = signalfd(run->signal_fd, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return run->signal_fd >= 0 ? 0 : -errno;
}

/* The output of a guest that exited is written in full; of one that was stopped, only what can be
 * written without waiting. */
static void drain(struct run *run)
{
	int status;

	watch_signals(run, false, false);
	set_ctrl_z(SIG_UNBLOCK);
	machine_drain(run->machine, machine_outcome(run->machine, &status) == MACHINE_EXITED
					    ? run->signal_fd
					    : machine_stop_fd(run->machine));
}

/*
 * The machine is over, and only its end is still to be told, perhaps to slow readers: signals end
 * the program now as they end any other. One that came late has nothing left to stop.
 */
static void unwatch_signals(struct run *run)
{
	struct signalfd_siginfo info;
	sigset_t none;

	while (read(run->signal_fd, &info, sizeof(info)) == sizeof(info))
		;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static int run_machine(struct run *run)
{
	int error, status;

	signal(SIGPIPE, SIG_IGN); /* a closed standard output is the guest's to hear of */
	error = watch_signals(run, true, run->options.stock || has_virtio_console(run));
	if (error == 0)
		error = run_guest_open(&run->guest);
	if (error == 0)
		error = check_host(run);
	if (error == 0)
		error = open_report(run);
	if (error == 0)
		error = make_machine(run);
	if (error == 0 && run->options.control_path != NULL)
		error = control_create(run->options.control_path, inspect_methods, run->machine,
				       &run->control);
	if (error == 0)
		error = open_terminal(run);
	if (error == 0)
		error = machine_start(run->machine);
	if (error == -ECANCELED) {
		machine_outcome(run->machine, &status);
		return status;
	}
	if (error != 0) {
		/* The function that failed has logged why; if not, say at least this. */
		if (!log_has_spoken())
			log_error("the guest cannot be started: %s", strerror(-error));
		return MACHINE_STATUS_FAILED;
	}
	wait_for_end(run);
	control_destroy(run->control);
	run->control = NULL;
	machine_join(run->machine);
	drain(run);
	terminal_destroy(run->terminal);
	run->terminal = NULL;
	unwatch_signals(run);
	machine_outcome(run->machine, &status);
	return tell(run, accounts_balance(run->machine) ? status : MACHINE_STATUS_FAILED);
}

int command_run(int argc, char **argv)
{
	struct run run = { .start_ns = clock_now_ns(), .signal_fd = -1 };
	int status = run_options_parse(&run.options, argc, argv);

	if (status != 0)
		return status > 0 ? 0 : MACHINE_STATUS_FAILED;
	status = run_guest_init(&run.guest, &run.options);
	if (status == 0)
		status = run_machine(&run);
	terminal_destroy(run.terminal);
	control_destroy(run.control);
	machine_destroy(run.machine);
	file_end(&run.report, 0);
	log_drain(run.signal_fd, LOG_PATIENCE_MS);
	if (run.signal_fd >= 0)
		close(run.signal_fd);
	run_guest_finish(&run.guest);
	run_options_finish(&run.options);
	return status;
}

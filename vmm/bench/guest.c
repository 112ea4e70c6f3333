/*
 * A guest for the bench: quire and the program, on memory of a chosen size of host page that the
 * host kernel manages, so that nothing but the two folds is in the figures.
 *
 * The program's lines pass through here. At the line "mapped" the program waits, and KVM's counts
 * of second-layer mappings are those of the sweep: they are added as a line of our own.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "vmm/bench/job.h"
#include "vmm/boot/archive.h"
#include "vmm/boot/loader.h"
#include "vmm/common/image.h"
#include "vmm/machine/kvm_stats.h"
#include "vmm/machine/machine.h"

#define MAPPED "mapped\n"

struct guest {
	struct machine *machine;
	int fd;		/* where lines go */
	int output[2];	/* the guest's standard output */
	int input[2];	/* its standard input */
	size_t matched; /* of MAPPED, since the last line began; SIZE_MAX: another line */
	bool awaited;	/* the guest waits for input */
	bool released;	/* it has been given some */
};

static char *command_line(const struct bench_job *job)
{
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	CHECK(out != NULL);
	fprintf(out, "%s init=/" BENCH_PROGRAM " -- " BENCH_PROGRAM,
		job->append != NULL ? job->append : "");
	for (size_t i = 0; job->arguments[i] != NULL; i++)
		fprintf(out, " %s", job->arguments[i]);
	CHECK(fclose(out) == 0);
	return text;
}

static int make_machine(struct guest *guest, const struct bench_job *job)
{
	struct machine_config config = {
		.memory_bytes = job->memory_bytes,
		.cpu_count = 1,
		.input_fd = guest->input[0],
		.output_fd = guest->output[1],
		.error_fd = STDERR_FILENO,
		.unmanaged = true,
		.host_page_bytes = job->host_page_bytes,
	};
	struct archive *root = archive_create();
	char *line = command_line(job);
	struct loader_module files = { .what = "the files", .archive = root };
	const struct loader_guest loaded = {
		.kernel = image_quire,
		.kernel_size = (size_t)(image_quire_end - image_quire),
		.command_line = line,
		.module = &files,
	};
	int error = archive_add_memory(root, image_translation,
				       (size_t)(image_translation_end - image_translation),
				       "/" BENCH_PROGRAM);

	files.size = archive_size(root);
	if (error == 0)
		error = machine_create(&config, &guest->machine);
	if (error == 0)
		error = machine_load(guest->machine, &loaded);
	archive_destroy(root);
	free(line);
	return error;
}

static void send_text(struct guest *guest, const char *text, size_t size)
{
	while (size > 0) {
		ssize_t n = write(guest->fd, text, size);

		if (n <= 0)
			return; /* nobody listens any more: the bench ends us */
		text += n;
		size -= (size_t)n;
	}
}

/* The line of result.c's take_kvm(). */
static void send_mappings(struct guest *guest)
{
	static const enum kvm_stat sizes[] = { KVM_STAT_PAGES_4K, KVM_STAT_PAGES_2M,
					       KVM_STAT_PAGES_1G };
	uint64_t values[KVM_STAT_COUNT];
	char text[96] = "kvm";

	kvm_stats_read_vm(guest->machine, values);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		size_t used = strlen(text);

		if (values[sizes[i]] == UINT64_MAX)
			snprintf(text + used, sizeof(text) - used, " -");
		else
			snprintf(text + used, sizeof(text) - used, " %" PRIu64, values[sizes[i]]);
	}
	strcat(text, "\n");
	send_text(guest, text, strlen(text));
}

static void release_program(struct guest *guest)
{
	guest->released = true;
	if (write(guest->input[1], "g", 1) == 1 && guest->awaited)
		machine_input_ready(guest->machine);
}

/* Whether the byte is the last of a line that says MAPPED. */
static bool ends_mapped(struct guest *guest, char byte)
{
	bool whole = false;

	if (guest->matched < sizeof(MAPPED) - 1 && byte == MAPPED[guest->matched])
		whole = ++guest->matched == sizeof(MAPPED) - 1;
	else
		guest->matched = SIZE_MAX;
	if (byte == '\n')
		guest->matched = 0;
	return whole;
}

/* Passes on the guest's output. False: nothing more comes now. */
static bool pass_on(struct guest *guest)
{
	char text[4096];
	ssize_t n = read(guest->output[0], text, sizeof(text));
	size_t sent = 0;

	if (n <= 0)
		return false;
	for (size_t i = 0; i < (size_t)n; i++) {
		if (!ends_mapped(guest, text[i]))
			continue;
		send_text(guest, text + sent, i + 1 - sent);
		sent = i + 1;
		send_mappings(guest);
		release_program(guest);
	}
	send_text(guest, text + sent, (size_t)n - sent);
	return true;
}

static void serve(struct guest *guest)
{
	while (!machine_stopping(guest->machine)) {
		struct pollfd fds[] = {
			{ .fd = machine_stop_fd(guest->machine), .events = POLLIN },
			{ .fd = machine_input_fd(guest->machine), .events = POLLIN },
			{ .fd = guest->output[0], .events = POLLIN },
		};
		uint64_t times;

		if (poll(fds, 3, -1) < 0)
			continue;
		if (fds[2].revents != 0)
			pass_on(guest);
		if (fds[1].revents != 0 && read(machine_input_fd(guest->machine), &times,
						sizeof(times)) == sizeof(times)) {
			guest->awaited = true;
			if (guest->released)
				machine_input_ready(guest->machine);
		}
	}
}

int bench_guest_run(const struct bench_job *job, int fd)
{
	struct guest guest = { .fd = fd };
	int status = MACHINE_STATUS_FAILED;

	/* A SIGPIPE would end us all the same; the machine's own threads need not see it. */
	signal(SIGPIPE, SIG_IGN);
	if (pipe2(guest.output, O_CLOEXEC) != 0 || pipe2(guest.input, O_CLOEXEC) != 0 ||
	    fcntl(guest.output[0], F_SETFL, O_NONBLOCK) != 0) {
		log_error("no pipe for the guest: %m");
		return status;
	}
	if (make_machine(&guest, job) == 0) {
		if (machine_start(guest.machine) == 0)
			serve(&guest);
		machine_join(guest.machine);
		while (pass_on(&guest))
			;
		machine_outcome(guest.machine, &status);
	}
	machine_destroy(guest.machine);
	return status;
}

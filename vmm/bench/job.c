#include "vmm/bench/job.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "vmm/bench/counters.h"
#include "vmm/common/image.h"

#define SLICE_MS     200 /* how soon an interruption is seen that came beside poll() */
#define LINE_MAX_LEN 4096
#define WORDS_MAX    32
#define STATUS_LOST  125

/* A job that runs. */
struct running {
	const struct bench_job *job;
	struct bench_cell *cell;
	pid_t pid;
	int fd;
	struct bench_counters counters;
	bool counted;
	uint64_t counter_start[BENCH_COUNTERS];
	char line[LINE_MAX_LEN];
	size_t used;
};

/* --- the child --- */

static bool write_all(int fd, const uint8_t *data, size_t size)
{
	while (size > 0) {
		ssize_t n = write(fd, data, size);

		if (n <= 0)
			return false;
		data += n;
		size -= (size_t)n;
	}
	return true;
}

/* Becomes the program, from memory. */
static int become_program(const struct bench_job *job)
{
	int fd = memfd_create(BENCH_PROGRAM, MFD_CLOEXEC);
	const char *words[WORDS_MAX] = { BENCH_PROGRAM };
	char *const none[] = { NULL };

	for (size_t i = 0; i + 2 < WORDS_MAX && job->arguments[i] != NULL; i++)
		words[i + 1] = job->arguments[i];
	if (fd >= 0 &&
	    write_all(fd, image_translation, (size_t)(image_translation_end - image_translation)))
		fexecve(fd, (char *const *)(uintptr_t)words, none);
	log_error("the host cannot run the program of the bench: %m");
	return STATUS_LOST;
}

static void __attribute__((noreturn))
be_child(const struct bench_job *job, pid_t parent, int go, int fd)
{
	int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
	cpu_set_t set;
	char byte;

	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	CPU_ZERO(&set);
	CPU_SET((unsigned)job->cpu, &set);
	if (getppid() != parent || read(go, &byte, 1) != 1 ||
	    sched_setaffinity(0, sizeof(set), &set) != 0)
		_exit(STATUS_LOST);
	if (job->guest)
		_exit(bench_guest_run(job, fd));
	dup2(nothing, STDIN_FILENO);
	dup2(fd, STDOUT_FILENO);
	_exit(become_program(job));
}

/* --- the parent --- */

static int start(struct running *running)
{
	pid_t parent = getpid();
	int lines[2], go[2], error = 0;

	if (pipe2(lines, O_CLOEXEC) != 0)
		return -errno;
	if (pipe2(go, O_CLOEXEC) != 0) {
		error = -errno;
		close(lines[0]);
		close(lines[1]);
		return error;
	}
	running->pid = fork();
	if (running->pid == 0) {
		close(lines[0]);
		close(go[1]);
		be_child(running->job, parent, go[0], lines[1]);
	}
	error = running->pid < 0 ? -errno : 0;
	close(lines[1]);
	close(go[0]);
	running->fd = lines[0];
	if (error == 0) {
		running->counted = bench_counters_open(&running->counters, running->pid);
		if (write(go[1], "g", 1) != 1)
			error = -errno;
	}
	close(go[1]);
	return error;
}

/* Counts belong to the rounds between a "start" line and its "set" line. */
static void count(struct running *running, const char *line)
{
	uint64_t value[BENCH_COUNTERS];
	struct bench_set *set;

	if (!running->counted)
		return;
	bench_counters_read(&running->counters, value);
	if (strncmp(line, "start ", 6) == 0)
		memcpy(running->counter_start, value, sizeof(value));
	set = strncmp(line, "set ", 4) == 0 ? bench_cell_set(running->cell, line) : NULL;
	for (int i = 0; set != NULL && i < BENCH_COUNTERS; i++)
		set->counted[i] += value[i] - running->counter_start[i];
	running->cell->counted = true;
}

static int take_line(struct running *running, const char *line)
{
	int error;

	count(running, line);
	log_debug("%.120s", line);
	error = bench_cell_take(running->cell, line);
	if (error == -EBADMSG)
		log_error("%s", line);
	else if (error != 0)
		log_error("the program of the bench says what nobody knows: '%.80s'", line);
	else if (running->job->heard != NULL)
		running->job->heard(running->job->context, line);
	return error;
}

/* Reads what there is. 1: go on; 0: the end of the lines; or -errno. */
static int take_some(struct running *running)
{
	ssize_t n = read(running->fd, running->line + running->used,
			 sizeof(running->line) - running->used);
	char *end;

	if (n <= 0)
		return n == 0 || errno != EINTR ? 0 : 1;
	running->used += (size_t)n;
	while ((end = memchr(running->line, '\n', running->used)) != NULL) {
		size_t length = (size_t)(end + 1 - running->line);
		int error;

		*end = '\0';
		error = take_line(running, running->line);
		if (error != 0)
			return error;
		running->used -= length;
		memmove(running->line, end + 1, running->used);
	}
	return running->used < sizeof(running->line) ? 1 : -EPROTO;
}

static int listen_to(struct running *running)
{
	uint64_t deadline = clock_now_ns() + running->job->timeout_seconds * 1000000000ull;
	int more = 1;

	while (more > 0) {
		struct pollfd ready = { .fd = running->fd, .events = POLLIN };

		if (poll(&ready, 1, SLICE_MS) > 0)
			more = take_some(running);
		if (*running->job->interrupted)
			return -EINTR;
		if (clock_now_ns() > deadline)
			return -ETIMEDOUT;
	}
	return more;
}

int bench_job_run(const struct bench_job *job, struct bench_cell *cell)
{
	struct running *running = calloc(1, sizeof(*running));
	int error, status = 0;

	if (running == NULL)
		return -ENOMEM;
	running->job = job;
	running->cell = cell;
	running->fd = -1;
	for (int i = 0; i < BENCH_COUNTERS; i++)
		running->counters.fd[i] = -1;
	cell->right = false;
	error = start(running);
	if (error == 0)
		error = listen_to(running);
	if (running->pid > 0) {
		if (error != 0)
			kill(running->pid, SIGKILL);
		while (waitpid(running->pid, &status, 0) < 0 && errno == EINTR)
			;
	}
	/* A child that a signal from the terminal ended shows before the signal's own mark does. */
	if (*job->interrupted)
		error = -EINTR;
	if (error == 0 && (status != 0 || (!cell->right && cell->absent[0] == '\0')))
		error = -EIO;
	bench_counters_close(&running->counters);
	if (running->fd >= 0)
		close(running->fd);
	free(running);
	return error;
}

#include "vmm/ask/follow.h"
#include "vmm/common/commands.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/units.h"
#include "vmm/common/json.h"

#define PERIOD_NS  100000000ull	 /* between two looks */
#define LINE_NS	   1000000000ull /* between two lines */
#define PATIENCE_S 5		 /* without any progress */
#define BAR_WIDTH  24
#define TEXT_OF(x) #x
#define TEXT(x)	   TEXT_OF(x)

struct follow {
	struct control_client *client;
	const char *path;
	const struct follow_goal *goal;
	bool terminal;
	int signal_fd;		       /* or -1 */
	uint64_t first, target;	       /* bytes: where it began, where it goes */
	uint64_t now;		       /* bytes */
	double best;		       /* the nearest that it has come, in bytes */
	uint64_t moved_ns;	       /* when it last got on */
	uint64_t told_ns;	       /* the last line */
	char text[CONTROL_ERROR_SIZE]; /* what the guest refused */
};

static double share_done(const struct follow *f)
{
	double way = fabs((double)f->target - (double)f->first);
	double share = way != 0 ? 1 - fabs((double)f->target - (double)f->now) / way : 1;

	return share < 0 ? 0 : share;
}

static const char *format_size(const struct follow *f, uint64_t bytes, char out[UNITS_TEXT_SIZE])
{
	return bytes == 0 && f->goal->zero != NULL ? f->goal->zero : units_format_size(bytes, out);
}

/* "the balloon: 12.0 MiB, to be 64.0 MiB" */
static void format_way(const struct follow *f, char *text, size_t size)
{
	char now[UNITS_TEXT_SIZE], target[UNITS_TEXT_SIZE];

	snprintf(text, size, "%s: %s, to be %s", f->goal->what, format_size(f, f->now, now),
		 format_size(f, f->target, target));
}

static void draw(struct follow *f)
{
	char way[96], text[160], bar[BAR_WIDTH + 1];
	size_t filled = (size_t)(share_done(f) * BAR_WIDTH);
	uint64_t time = clock_now_ns();

	format_way(f, way, sizeof(way));
	if (f->terminal) {
		memset(bar, '.', BAR_WIDTH);
		memset(bar, '#', filled);
		bar[BAR_WIDTH] = '\0';
		snprintf(text, sizeof(text), "%s  [%s]", way, bar);
		log_status(text);
	} else if (time - f->told_ns >= LINE_NS) {
		puts(way);
		fflush(stdout);
		f->told_ns = time;
	}
}

/* It ends before it is there. */
static void conclude(struct follow *f, const char *sentence, const char *excuse)
{
	char way[96];

	log_status(NULL);
	format_way(f, way, sizeof(way));
	log_error("%s; %s%s%s", way, sentence, excuse != NULL ? ": " : "",
		  excuse != NULL ? excuse : "");
}

static int take_signal(struct follow *f)
{
	struct signalfd_siginfo info = { .ssi_signo = SIGINT };

	if (read(f->signal_fd, &info, sizeof(info)) < 0)
		log_debug("signalfd: %m");
	conclude(f, "no longer followed, what was asked for stays asked for", NULL);
	return 128 + (int)info.ssi_signo;
}

/* A guest that is paused cannot get on. */
static int give_up(struct follow *f, const char *excuse)
{
	json_t *stat = NULL;
	bool paused = control_client_call(f->client, "stat", NULL, &stat, f->text) == 0 &&
		      strcmp(json_text(stat, "state"), "paused") == 0;

	json_decref(stat);
	conclude(f, "the guest refuses, it is no nearer after " TEXT(PATIENCE_S) " s",
		 paused ? "it is paused" : excuse);
	return STATUS_REFUSED;
}

/* -1: it goes on; or the exit status. */
static int judge(struct follow *f, const json_t *state)
{
	char now[UNITS_TEXT_SIZE];
	double distance;

	f->now = json_count(state, f->goal->now);
	distance = fabs((double)f->now - (double)f->target);
	if (distance < f->best) {
		f->best = distance;
		f->moved_ns = clock_now_ns();
	}
	if (json_count(state, f->goal->target) != f->target) {
		conclude(f, "something else has been asked for since",
			 json_string_value(json_object_get(state, "auto")));
		return STATUS_REFUSED;
	}
	if (f->now == f->target) {
		log_status(NULL);
		printf("%s: %s\n", f->goal->what, format_size(f, f->now, now));
		return fflush(stdout) == 0 ? 0 : STATUS_NO;
	}
	if (clock_now_ns() - f->moved_ns >= PATIENCE_S * 1000000000ull)
		return give_up(f, f->goal->excuse(state));
	draw(f);
	return -1;
}

/* Looks again in a while: -1, it goes on; or the exit status. */
static int look_again(struct follow *f)
{
	int error = control_client_rest(f->client, clock_now_ns() + PERIOD_NS, f->signal_fd);
	json_t *state = NULL;
	int status;

	if (error == 1)
		return take_signal(f);
	if (error == 0)
		error = control_client_call(f->client, f->goal->method, NULL, &state, f->text);
	if (error == 0) {
		status = judge(f, state);
	} else {
		log_status(NULL);
		control_client_log(f->path, error, f->text);
		status = STATUS_NO;
	}
	json_decref(state);
	return status;
}

int follow(struct control_client *client, const char *path, const struct follow_goal *goal,
	   const json_t *first)
{
	struct follow f = {
		.client = client,
		.path = path,
		.goal = goal,
		.terminal = isatty(STDERR_FILENO),
		.first = json_count(first, goal->now),
		.target = json_count(first, goal->target),
		.best = INFINITY,
	};
	sigset_t set, before;
	int status;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, &before);
	f.signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
	status = judge(&f, first);
	while (status < 0)
		status = look_again(&f);
	if (f.signal_fd >= 0)
		close(f.signal_fd);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return status;
}

#include "vmm/steer_follow.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/units.h"
#include "vmm/json.h"

#define PERIOD_NS  100000000ull	 /* between two looks */
#define LINE_NS	   1000000000ull /* between two lines */
#define PATIENCE_S 5		 /* without any progress */
#define BAR_WIDTH  40

struct follow {
	struct control_client *client;
	const char *path;
	const struct steer_goal *goal;
	bool terminal;
	int signal_fd;		       /* or -1 */
	uint64_t first, target;	       /* bytes: where it began, where it goes */
	uint64_t now;		       /* bytes */
	uint64_t moved_ns;	       /* when it last got on */
	uint64_t told_ns;	       /* the last line */
	char excuse[64];	       /* "" or "; why" */
	char text[CONTROL_ERROR_SIZE]; /* what the guest refused */
};

static void take_state(struct follow *f, const json_t *state)
{
	const char *excuse = f->goal->excuse != NULL ? f->goal->excuse(state) : NULL;
	uint64_t now = json_count(state, f->goal->now);

	if (now != f->now)
		f->moved_ns = clock_now_ns();
	f->now = now;
	snprintf(f->excuse, sizeof(f->excuse), "%s%s", excuse != NULL ? "; " : "",
		 excuse != NULL ? excuse : "");
}

static double share_done(const struct follow *f)
{
	double way = (double)f->target - (double)f->first;
	double share = way != 0 ? ((double)f->now - (double)f->first) / way : 1;

	return share < 0 ? 0 : share > 1 ? 1 : share;
}

static void draw(struct follow *f)
{
	char now[UNITS_TEXT_SIZE], target[UNITS_TEXT_SIZE], text[160], bar[BAR_WIDTH + 1];
	size_t filled = (size_t)(share_done(f) * BAR_WIDTH);
	uint64_t time = clock_now_ns();

	units_format_size(f->now, now);
	units_format_size(f->target, target);
	if (f->terminal) {
		memset(bar, '.', BAR_WIDTH);
		memset(bar, '#', filled);
		bar[BAR_WIDTH] = '\0';
		snprintf(text, sizeof(text), "%s [%s] %s of %s", f->goal->what, bar, now, target);
		log_status(text);
	} else if (time - f->told_ns >= LINE_NS) {
		printf("%s: %s of %s\n", f->goal->what, now, target);
		fflush(stdout);
		f->told_ns = time;
	}
}

/* It ends before it is there. */
static void conclude(struct follow *f, const char *sentence)
{
	char now[UNITS_TEXT_SIZE], target[UNITS_TEXT_SIZE];

	if (f->terminal)
		log_status(NULL);
	log_error("%s: %s is at %s of %s%s", sentence, f->goal->what,
		  units_format_size(f->now, now), units_format_size(f->target, target), f->excuse);
}

static int take_signal(struct follow *f)
{
	struct signalfd_siginfo info = { .ssi_signo = SIGINT };

	if (read(f->signal_fd, &info, sizeof(info)) < 0)
		log_debug("signalfd: %m");
	conclude(f, "no longer followed; what was asked for stays asked for");
	return 128 + (int)info.ssi_signo;
}

/* Nothing has moved. A guest that is paused cannot. */
static int give_up(struct follow *f)
{
	char sentence[96];
	json_t *stat = NULL;

	if (control_client_call(f->client, "stat", NULL, &stat, f->text) == 0 &&
	    strcmp(json_text(stat, "state"), "paused") == 0)
		snprintf(f->excuse, sizeof(f->excuse), "; the guest is paused");
	json_decref(stat);
	snprintf(sentence, sizeof(sentence), "the guest refuses: nothing has moved for %d s",
		 PATIENCE_S);
	conclude(f, sentence);
	return STEER_STATUS_REFUSED;
}

/* -1: it goes on; or the exit status. */
static int judge(struct follow *f, const json_t *state)
{
	char now[UNITS_TEXT_SIZE];

	take_state(f, state);
	if (json_count(state, f->goal->target) != f->target) {
		conclude(f, "somebody else asked for something else");
		return STEER_STATUS_REFUSED;
	}
	if (f->now == f->target) {
		if (f->terminal)
			log_status(NULL);
		printf("%s: %s\n", f->goal->what, units_format_size(f->now, now));
		return fflush(stdout) == 0 ? 0 : STEER_STATUS_FAILED;
	}
	if (clock_now_ns() - f->moved_ns >= PATIENCE_S * 1000000000ull)
		return give_up(f);
	draw(f);
	return -1;
}

static int look_again(struct follow *f, json_t **state)
{
	int error = control_client_rest(f->client, clock_now_ns() + PERIOD_NS, f->signal_fd);

	*state = NULL;
	if (error == 0)
		error = control_client_call(f->client, f->goal->method, NULL, state, f->text);
	return error;
}

int steer_follow(struct control_client *client, const char *path, const struct steer_goal *goal,
		 const json_t *first)
{
	struct follow f = {
		.client = client,
		.path = path,
		.goal = goal,
		.terminal = isatty(STDERR_FILENO),
		.first = json_count(first, goal->now),
		.target = json_count(first, goal->target),
		.moved_ns = clock_now_ns(),
	};
	int status, error = 0;
	sigset_t set, before;
	json_t *state;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, &before);
	f.signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
	status = judge(&f, first);
	while (status < 0) {
		error = look_again(&f, &state);
		if (error == 1) {
			status = take_signal(&f);
		} else if (error != 0) {
			if (f.terminal)
				log_status(NULL);
			control_client_log(path, error, f.text);
			status = STEER_STATUS_FAILED;
		} else {
			status = judge(&f, state);
		}
		json_decref(state);
	}
	if (f.signal_fd >= 0)
		close(f.signal_fd);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return status;
}

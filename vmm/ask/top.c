/*
 * bifold top: a running guest, watched and steered. One poll waits for keys, signals, the guest's
 * answers and the time of the next question. One question is under way at a time; an order waits
 * for its turn, and is followed by a question, so that its effect shows.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/units.h"
#include "vmm/common/arguments.h"
#include "vmm/common/commands.h"
#include "vmm/ask/client.h"
#include "vmm/common/json.h"
#include "vmm/ask/top_screen.h"

#define MESSAGE_NS 5000000000ull /* so long a message stands in the place of the keys */
#define STEP_LEAST MIB(1)

/* A size of the guest that keys change. */
struct dial {
	const char *method, *path; /* the order; where the answer has what was wanted last */
	uint64_t bytes;
	bool changed; /* the order has yet to go out */
};

struct top {
	const char *path;
	double delay; /* seconds */
	struct control_client client;
	struct top_model model;
	struct dial budget, balloon;
	bool pausing;	     /* the order has yet to go out */
	const char *asked;   /* what is under way, or NULL */
	uint64_t next_ns;    /* when to ask again */
	uint64_t message_ns; /* when message is over */
	char message[CONTROL_ERROR_SIZE];
	int signal_fd;
	int status; /* of the exit; -1: it goes on */
};

static const char help[] =
	"Usage: bifold top [--delay SECONDS] PATH\n"
	"\n"
	"Watch a running guest on a terminal: what it holds, where its pages are, how\n"
	"often it faults and how long that takes, its balloon; and steer it. Rates and\n"
	"latencies are those of the last delay. PATH is its control socket: bifold run\n"
	"--control PATH.\n"
	"\n"
	"  --delay SECONDS    between two looks (default 1)\n"
	"  -h, --help         this text\n"
	"\n"
	"Keys: q leaves; p or space pauses and resumes the guest; - and +, or left and\n"
	"right, change its budget; [ and ], or down and up, its balloon, by a step of\n"
	"about a 32nd of its memory. Exit status 0: left; 1: the guest cannot be asked,\n"
	"or has ended, or the terminal cannot be drawn on; 125: bad options; 128+n:\n"
	"signal n.\n";

static int parse_delay(const char *text, double *seconds)
{
	char *end;

	*seconds = strtod(text, &end);
	if (strspn(text, "0123456789.") == strlen(text) && end != text && *end == '\0' &&
	    *seconds >= 0.05 && *seconds <= 3600)
		return 0;
	log_error("--delay '%s': expected seconds, from 0.05 to 3600", text);
	return -EINVAL;
}

static int take(int option, const char *value, void *context)
{
	return parse_delay(value, &((struct top *)context)->delay);
}

/* 0, 1: help was printed, or -EINVAL, logged. */
static int parse(int argc, char **argv, struct top *top)
{
	static const struct option long_options[] = {
		{ "delay", required_argument, NULL, 'd' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	static const struct arguments arguments = { long_options, help, "PATH", take };
	int error = arguments_parse(argc, argv, &arguments, top);

	top->path = argv[optind];
	return error;
}

__attribute__((format(printf, 2, 3))) static void say(struct top *top, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(top->message, sizeof(top->message), format, arguments);
	va_end(arguments);
	top->message_ns = clock_now_ns() + MESSAGE_NS;
}

static void draw(struct top *top)
{
	if (clock_now_ns() >= top->message_ns)
		top->message[0] = '\0';
	if (top->model.now != NULL)
		top_screen_draw(&top->model, top->path, top->message);
}

/* It ends, with a line for after the screen. */
static void lose(struct top *top, int error)
{
	top_screen_close();
	if (error == -ECONNRESET)
		log_error("%s: the guest has ended", top->path);
	else
		control_client_log(top->path, error, top->message);
	top->status = STATUS_NO;
}

static void update_dial(const struct top *top, struct dial *dial)
{
	if (!dial->changed)
		dial->bytes = json_count(top->model.now, dial->path);
}

static void take_answer(struct top *top)
{
	json_t *result = NULL;
	bool was_stat = top->asked != NULL && strcmp(top->asked, "stat") == 0;
	int error = control_client_take(&top->client, &result, top->message);

	if (error == -EAGAIN)
		return;
	if (error == 0 && was_stat && !json_is_object(result))
		error = -EPROTO;
	if (error != 0 && (error != -EREMOTEIO || was_stat)) {
		json_decref(result);
		lose(top, error);
		return;
	}
	top->asked = NULL;
	if (error == -EREMOTEIO)
		top->message_ns = clock_now_ns() + MESSAGE_NS;
	if (was_stat) {
		top_model_put(&top->model, result);
		update_dial(top, &top->budget);
		update_dial(top, &top->balloon);
	} else {
		json_decref(result);
		top->next_ns = 0; /* what has become of it? */
	}
}

static void send(struct top *top, const char *method, json_t *params)
{
	int error = control_client_ask(&top->client, method, params);

	json_decref(params);
	top->asked = method;
	if (error != 0)
		lose(top, error);
}

static void send_dial(struct top *top, struct dial *dial)
{
	dial->changed = false;
	send(top, dial->method, json_pack("{s:o}", "bytes", json_of_count(dial->bytes)));
}

static bool is_paused(const struct top *top)
{
	return strcmp(json_text(top->model.now, "state"), "paused") == 0;
}

/* Orders first. */
static void ask_next(struct top *top)
{
	uint64_t now = clock_now_ns();

	if (top->asked != NULL) {
		return;
	} else if (top->pausing) {
		top->pausing = false;
		send(top, is_paused(top) ? "resume" : "pause", NULL);
	} else if (top->budget.changed) {
		send_dial(top, &top->budget);
	} else if (top->balloon.changed) {
		send_dial(top, &top->balloon);
	} else if (now >= top->next_ns) {
		top->next_ns = now + (uint64_t)(top->delay * 1e9);
		send(top, "stat", NULL);
	}
}

/* A power of two. */
static uint64_t step_of(uint64_t memory_bytes)
{
	uint64_t step = STEP_LEAST;

	while (step * 2 <= memory_bytes / 32)
		step *= 2;
	return step;
}

/* No budget is written 0, and is beyond all others. */
static void turn_budget(struct top *top, bool more)
{
	uint64_t memory = json_count(top->model.now, "guest.memory_bytes"), step = step_of(memory);
	uint64_t bytes = top->budget.bytes != 0 ? top->budget.bytes : memory;
	char text[UNITS_TEXT_SIZE];

	bytes = more ? bytes + step : bytes > step ? bytes - step : step;
	top->budget.bytes = bytes >= memory ? 0 : bytes;
	top->budget.changed = true;
	say(top, "budget: %s",
	    top->budget.bytes != 0 ? units_format_size(top->budget.bytes, text) : "no limit");
}

static void turn_balloon(struct top *top, bool more)
{
	uint64_t memory = json_count(top->model.now, "guest.memory_bytes"), step = step_of(memory);
	uint64_t bytes = top->balloon.bytes;
	char text[UNITS_TEXT_SIZE];

	bytes = more ? bytes + step : bytes > step ? bytes - step : 0;
	top->balloon.bytes = bytes < memory ? bytes : memory;
	top->balloon.changed = true;
	say(top, "balloon: %s", units_format_size(top->balloon.bytes, text));
}

static void take_keys(struct top *top)
{
	enum top_key key;

	while (top->status < 0 && (key = top_screen_key()) != TOP_KEY_NONE) {
		bool more = key == TOP_KEY_BUDGET_MORE || key == TOP_KEY_BALLOON_MORE;

		if (key == TOP_KEY_QUIT) {
			top->status = 0;
		} else if (top->model.now == NULL) {
			continue;
		} else if (key == TOP_KEY_PAUSE) {
			top->pausing = true;
		} else if (key == TOP_KEY_BUDGET_LESS || key == TOP_KEY_BUDGET_MORE) {
			turn_budget(top, more);
		} else if (key == TOP_KEY_BALLOON_LESS || key == TOP_KEY_BALLOON_MORE) {
			turn_balloon(top, more);
		}
	}
	draw(top);
}

static void take_signal(struct top *top)
{
	struct signalfd_siginfo info;

	if (read(top->signal_fd, &info, sizeof(info)) == sizeof(info))
		top->status = 128 + (int)info.ssi_signo;
}

/* Until the next question, ms; -1: an answer comes before. */
static int time_left(const struct top *top)
{
	uint64_t now = clock_now_ns();

	if (top->asked != NULL)
		return -1;
	return now < top->next_ns ? (int)((top->next_ns - now) / 1000000 + 1) : 0;
}

static void watch(struct top *top)
{
	ask_next(top);
	while (top->status < 0) {
		struct pollfd fds[] = {
			{ .fd = STDIN_FILENO, .events = POLLIN },
			{ .fd = top->signal_fd, .events = POLLIN },
			{ .fd = top->client.fd, .events = POLLIN },
		};

		if (poll(fds, 3, time_left(top)) < 0)
			fds[0].revents = fds[1].revents = fds[2].revents = 0;
		if (fds[1].revents != 0)
			take_signal(top);
		if (fds[0].revents & (POLLHUP | POLLERR))
			top->status = 128 + SIGHUP;
		if (top->status < 0 && fds[2].revents != 0)
			take_answer(top);
		/* Also when none was pressed: a new size comes as one; and it draws. */
		if (top->status < 0)
			take_keys(top);
		if (top->status < 0)
			ask_next(top);
	}
}

static void catch_signals(struct top *top)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGQUIT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	top->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int command_top(int argc, char **argv)
{
	struct top top = {
		.delay = 1,
		.budget = { .method = "budget", .path = "budget_wanted_bytes" },
		.balloon = { .method = "balloon", .path = "balloon.target_bytes" },
		.signal_fd = -1,
		.status = -1,
	};
	int status = parse(argc, argv, &top), error;

	if (status != 0)
		return status > 0 ? 0 : STATUS_USAGE;
	error = control_client_init(&top.client, top.path);
	if (error != 0)
		control_client_log(top.path, error, NULL);
	else
		error = top_screen_open();
	if (error != 0) {
		top.status = STATUS_NO;
	} else {
		catch_signals(&top);
		watch(&top);
		top_screen_close();
	}
	if (top.signal_fd >= 0)
		close(top.signal_fd);
	top_model_finish(&top.model);
	control_client_finish(&top.client);
	return top.status;
}

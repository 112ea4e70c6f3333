/*
 * The serving side. (T) the control thread only, (C) constant after create.
 */
#include "vmm/control/server.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/event.h"
#include "base/log.h"
#include "vmm/control/socket.h"

#define REST_NS 1000000000ull /* no new clients for so long when descriptors are used up */

struct client {
	int fd;		/* -1: a free place */
	char *in;	/* CONTROL_LINE_MAX bytes */
	size_t in_size; /* received, not yet answered */
	bool skipping;	/* the rest of a line that was too long */
	bool ended;	/* nothing more will come */
	char *out;	/* the answer, or NULL */
	size_t out_size, out_done;
	uint64_t since_ns; /* when it last began something or got on */
};

struct control {
	struct control_socket socket;		  /* (C) */
	const struct control_method *methods;	  /* (C) */
	void *context;				  /* (C) */
	int stop_fd;				  /* (C) eventfd */
	pthread_t thread;			  /* (C) */
	struct client client[CONTROL_CLIENT_MAX]; /* (T) */
	uint64_t rest_until_ns;			  /* (T) */
};

static void drop(struct client *c)
{
	close(c->fd);
	free(c->in);
	free(c->out);
	*c = (struct client){ .fd = -1 };
}

static bool has_line(const struct client *c)
{
	return c->in_size > 0 && memchr(c->in, '\n', c->in_size) != NULL;
}

/* Takes the answer as its own. Without memory for it the client is dropped. */
static void say(struct client *c, json_t *answer)
{
	char *text = answer != NULL ? json_dumps(answer, JSON_COMPACT) : NULL;

	json_decref(answer);
	if (text == NULL) {
		drop(c);
		return;
	}
	c->out = text;
	c->out_size = strlen(text) + 1;
	c->out_done = 0;
	text[c->out_size - 1] = '\n'; /* in place of the NUL */
	c->since_ns = clock_now_ns();
}

static const char *const codes[CONTROL_CODES] = {
	[CONTROL_FAILED] = "failed",
	[CONTROL_NOT_JSON] = "not_json",
	[CONTROL_TOO_LONG] = "too_long",
	[CONTROL_BAD_REQUEST] = "bad_request",
	[CONTROL_UNKNOWN_METHOD] = "unknown_method",
	[CONTROL_UNKNOWN_PARAMETER] = "unknown_parameter",
	[CONTROL_BAD_PARAMETER] = "bad_parameter",
	[CONTROL_OUT_OF_RANGE] = "out_of_range",
	[CONTROL_UNAVAILABLE] = "unavailable",
	[CONTROL_BUSY] = "busy",
};

/* The text may quote what came, cut anywhere: what is not ASCII would not be UTF-8 for sure. */
void control_refuse(struct control_error *error, enum control_code code, const char *format, ...)
{
	va_list arguments;

	error->code = code;
	va_start(arguments, format);
	vsnprintf(error->text, sizeof(error->text), format, arguments);
	va_end(arguments);
	for (char *at = error->text; *at != '\0'; at++)
		if ((unsigned char)*at >= 0x80)
			*at = '?';
}

static void say_error(struct client *c, json_t *id, const struct control_error *error)
{
	say(c, json_pack("{s:O, s:s, s:s}", "id", id != NULL ? id : json_null(), "error",
			 error->text, "code", codes[error->code]));
}

static bool is_among(const char *names, const char *name)
{
	size_t length = strlen(name);

	for (const char *at = names; *at != '\0'; at += *at == ' ') {
		size_t n = strcspn(at, " ");

		if (n == length && memcmp(at, name, n) == 0)
			return true;
		at += n;
	}
	return false;
}

/* The first member of the object that is not among the names, or NULL. */
static const char *unknown_member(json_t *object, const char *names)
{
	const char *name;
	json_t *value;

	json_object_foreach(object, name, value) if (!is_among(names, name)) return name;
	return NULL;
}

static json_t *call_method(struct control *control, const struct control_method *m, json_t *params,
			   struct control_error *error)
{
	const char *unknown = m->params != NULL ? unknown_member(params, m->params) : NULL;

	if (unknown == NULL)
		return m->answer(control->context, params, error);
	control_refuse(error, CONTROL_UNKNOWN_PARAMETER, "'%s' has no parameter '%.64s'%s%s",
		       m->name, unknown, *m->params != '\0' ? "; it takes " : "", m->params);
	return NULL;
}

static json_t *call(struct control *control, json_t *request, struct control_error *error)
{
	json_t *params = json_object_get(request, "params");
	const char *name = json_string_value(json_object_get(request, "method"));
	const char *unknown = unknown_member(request, "id method params");

	if (name == NULL)
		control_refuse(error, CONTROL_BAD_REQUEST,
			       "a request is an object with a \"method\"");
	else if (unknown != NULL)
		control_refuse(error, CONTROL_BAD_REQUEST, "a request has no member '%.64s'",
			       unknown);
	else if (params != NULL && !json_is_object(params))
		control_refuse(error, CONTROL_BAD_REQUEST, "\"params\" is an object");
	if (name == NULL || unknown != NULL || (params != NULL && !json_is_object(params)))
		return NULL;
	for (const struct control_method *m = control->methods; m->name != NULL; m++)
		if (strcmp(m->name, name) == 0)
			return call_method(control, m, params, error);
	control_refuse(error, CONTROL_UNKNOWN_METHOD, "there is no method '%.64s'", name);
	return NULL;
}

static void answer_line(struct control *control, struct client *c, const char *line, size_t length)
{
	struct control_error error = { CONTROL_FAILED, "it failed" };
	json_error_t where;
	json_t *request = json_loadb(line, length, JSON_REJECT_DUPLICATES, &where);
	json_t *result, *id;

	if (request == NULL) {
		control_refuse(&error, CONTROL_NOT_JSON, "not JSON: %s", where.text);
		say_error(c, NULL, &error);
		return;
	}
	result = call(control, request, &error);
	id = json_object_get(request, "id");
	if (result != NULL)
		say(c,
		    json_pack("{s:O, s:o}", "id", id != NULL ? id : json_null(), "result", result));
	else
		say_error(c, id, &error);
	json_decref(request);
}

/* The first line that has come, or the beginning of one that is too long. */
static void take_line(struct control *control, struct client *c)
{
	char *end = memchr(c->in, '\n', c->in_size), *line;
	size_t length;

	if (end == NULL) {
		if (c->in_size < CONTROL_LINE_MAX)
			return;
		c->in_size = 0;
		if (!c->skipping)
			say_error(c, NULL,
				  &(struct control_error){ CONTROL_TOO_LONG,
							   "the line is too long" });
		c->skipping = c->fd >= 0;
		return;
	}
	line = c->in;
	length = (size_t)(end - line);
	if (c->skipping)
		c->skipping = false;
	else if (strspn(line, " \t\r\n") < length) /* the newline bounds it */
		answer_line(control, c, line, length);
	if (c->fd < 0)
		return;
	c->in_size -= length + 1;
	memmove(c->in, end + 1, c->in_size);
}

static void receive(struct client *c)
{
	ssize_t n = recv(c->fd, c->in + c->in_size, CONTROL_LINE_MAX - c->in_size, MSG_DONTWAIT);

	if (n > 0) {
		if (c->in_size == 0)
			c->since_ns = clock_now_ns();
		c->in_size += (size_t)n;
	} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		c->ended = true;
	}
}

static void transmit(struct client *c)
{
	ssize_t n = send(c->fd, c->out + c->out_done, c->out_size - c->out_done,
			 MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		drop(c);
		return;
	}
	if (n <= 0)
		return;
	c->since_ns = clock_now_ns();
	c->out_done += (size_t)n;
	if (c->out_done == c->out_size) {
		free(c->out);
		c->out = NULL;
	}
}

static void serve(struct control *control, struct client *c, short events)
{
	if (c->out == NULL) {
		if (events != 0 && !c->ended && c->in_size < CONTROL_LINE_MAX)
			receive(c);
		if (c->in_size > 0)
			take_line(control, c);
		events = POLLOUT; /* most answers fit at once */
	}
	if (c->fd >= 0 && c->out != NULL && events != 0)
		transmit(c);
	if (c->fd >= 0 && c->ended && c->out == NULL && !has_line(c))
		drop(c);
}

/* A place for one more: a free one, or that of the client that has been silent longest. */
static struct client *find_place(struct control *control, bool used)
{
	struct client *best = NULL;

	for (struct client *c = control->client; c < control->client + CONTROL_CLIENT_MAX; c++) {
		if (c->fd < 0 && !used)
			return c;
		if (c->fd >= 0 && (best == NULL || c->since_ns < best->since_ns))
			best = c;
	}
	return best;
}

static void welcome(struct control *control)
{
	int fd = accept4(control->socket.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct client *c;

	if (fd < 0) {
		if (errno != EMFILE && errno != ENFILE && errno != ENOMEM && errno != ENOBUFS)
			return;
		/* It stays readable: do not spin on it. */
		control->rest_until_ns = clock_now_ns() + REST_NS;
		c = find_place(control, true);
		if (c != NULL)
			drop(c);
		return;
	}
	c = find_place(control, false);
	if (c->fd >= 0)
		drop(c);
	*c = (struct client){ .fd = fd,
			      .in = malloc(CONTROL_LINE_MAX),
			      .since_ns = clock_now_ns() };
	if (c->in == NULL)
		drop(c);
}

/* When this client's time is up; UINT64_MAX: it owes us nothing. */
static uint64_t deadline(const struct client *c)
{
	if (c->fd < 0 || (c->out == NULL && c->in_size == 0 && !c->skipping))
		return UINT64_MAX;
	return c->since_ns + CONTROL_PATIENCE_NS;
}

/* Cuts off who is too slow. Milliseconds until the next thing to do; -1: none. */
static int settle_time(struct control *control)
{
	uint64_t now = clock_now_ns(), next = UINT64_MAX;

	if (control->rest_until_ns > now)
		next = control->rest_until_ns;
	else
		control->rest_until_ns = 0;
	for (struct client *c = control->client; c < control->client + CONTROL_CLIENT_MAX; c++) {
		uint64_t at = deadline(c);

		if (c->fd >= 0 && c->out == NULL && has_line(c))
			return 0; /* its next request is here already */
		if (at <= now)
			drop(c);
		else if (at < next)
			next = at;
	}
	return next == UINT64_MAX ? -1 : (int)((next - now) / 1000000 + 1);
}

static void *control_main(void *argument)
{
	struct control *control = argument;
	struct pollfd fds[2 + CONTROL_CLIENT_MAX];

	pthread_setname_np(pthread_self(), "bifold-control");
	for (;;) {
		int wait = settle_time(control);

		fds[0] = (struct pollfd){ .fd = control->stop_fd, .events = POLLIN };
		fds[1] = (struct pollfd){ .fd = control->rest_until_ns != 0 ? -1
									    : control->socket.fd,
					  .events = POLLIN };
		for (int i = 0; i < CONTROL_CLIENT_MAX; i++) {
			const struct client *c = &control->client[i];

			/* A client that has closed its side only waits for its answer. */
			fds[2 + i] = (struct pollfd){ .fd = c->ended && c->out == NULL ? -1 : c->fd,
						      .events = c->out != NULL ? POLLOUT : POLLIN };
		}
		if (poll(fds, 2 + CONTROL_CLIENT_MAX, wait) < 0)
			continue;
		if (fds[0].revents != 0)
			return NULL;
		for (int i = 0; i < CONTROL_CLIENT_MAX; i++)
			if (control->client[i].fd >= 0)
				serve(control, &control->client[i], fds[2 + i].revents);
		if (fds[1].revents != 0)
			welcome(control);
	}
}

static int start_thread(struct control *control)
{
	sigset_t all, before;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = -pthread_create(&control->thread, NULL, control_main, control);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return error;
}

int control_create(const char *path, const struct control_method *methods, void *context,
		   struct control **out)
{
	struct control *control = calloc(1, sizeof(*control));
	int error;

	if (control == NULL)
		return -ENOMEM;
	control->methods = methods;
	control->context = context;
	for (int i = 0; i < CONTROL_CLIENT_MAX; i++)
		control->client[i].fd = -1;
	error = control_socket_open(path, &control->socket);
	if (error != 0)
		goto fail_socket;
	control->stop_fd = eventfd(0, EFD_CLOEXEC);
	error = control->stop_fd < 0 ? -errno : start_thread(control);
	if (error != 0)
		goto fail_thread;
	*out = control;
	return 0;

fail_thread:
	log_error("cannot serve %s: %s", path, strerror(-error));
	if (control->stop_fd >= 0)
		close(control->stop_fd);
	control_socket_close(&control->socket);
fail_socket:
	free(control);
	return error;
}

void control_destroy(struct control *control)
{
	if (control == NULL)
		return;
	event_put(control->stop_fd);
	pthread_join(control->thread, NULL);
	for (int i = 0; i < CONTROL_CLIENT_MAX; i++)
		if (control->client[i].fd >= 0)
			drop(&control->client[i]);
	close(control->stop_fd);
	control_socket_close(&control->socket);
	free(control);
}

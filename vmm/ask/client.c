#include "vmm/ask/client.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "vmm/control/socket.h"

#define ROOM_LEAST   4096u
#define ROOM_MOST    (256u << 20) /* no answer is so long */
#define SEND_SECONDS 10

int control_client_init(struct control_client *client, const char *path)
{
	const struct timeval patience = { .tv_sec = SEND_SECONDS };

	*client = (struct control_client){ .fd = control_socket_connect(path) };
	if (client->fd < 0) {
		int error = client->fd;

		client->fd = -1;
		return error;
	}
	setsockopt(client->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	return 0;
}

void control_client_finish(struct control_client *client)
{
	if (client->fd >= 0)
		close(client->fd);
	free(client->text);
	*client = (struct control_client){ .fd = -1 };
}

static int send_all(int fd, const char *text, size_t size)
{
	while (size > 0) {
		ssize_t n = send(fd, text, size, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EPIPE ? -ECONNRESET : -errno;
		text += n;
		size -= (size_t)n;
	}
	return 0;
}

int control_client_ask(struct control_client *client, const char *method, json_t *params)
{
	json_t *request = json_pack("{s:i, s:s}", "id", 1, "method", method);
	int error = request == NULL ? -ENOMEM : 0;
	char *text;

	if (error == 0 && params != NULL && json_object_set(request, "params", params) != 0)
		error = -ENOMEM;
	text = error == 0 ? json_dumps(request, JSON_COMPACT) : NULL;
	if (error == 0)
		error = text == NULL ? -ENOMEM : send_all(client->fd, text, strlen(text));
	if (error == 0)
		error = send_all(client->fd, "\n", 1);
	free(text);
	json_decref(request);
	return error;
}

/* Bytes that came: 0 or -errno; -EAGAIN: none now. */
static int receive(struct control_client *client)
{
	ssize_t n;

	if (client->size == client->room) {
		size_t room = client->room == 0 ? ROOM_LEAST : client->room * 2;
		char *text = room <= ROOM_MOST ? realloc(client->text, room) : NULL;

		if (text == NULL)
			return -ENOMEM;
		client->text = text;
		client->room = room;
	}
	n = recv(client->fd, client->text + client->size, client->room - client->size,
		 MSG_DONTWAIT);
	if (n > 0)
		client->size += (size_t)n;
	if (n >= 0)
		return n > 0 ? 0 : -ECONNRESET;
	return errno == EINTR ? 0 : -errno;
}

/* A terminal's commands, and whatever else is no text, become question marks; length stays. */
static void scrub_text(const json_t *string)
{
	unsigned char *at = (unsigned char *)(uintptr_t)json_string_value(string);

	for (size_t left = json_string_length(string); left > 0; left--, at++) {
		if (*at < ' ' || *at == 0x7f)
			*at = '?';
		else if (*at == 0xc2 && left > 1 && at[1] < 0xa0) /* U+0080 to U+009F */
			at[1] = 0xbf;
	}
}

/* The other end need not be bifold, and its answer is printed: unprintable characters are replaced.
 * Names are printed too; one with such a character makes the answer void. */
static bool scrub(json_t *value)
{
	const char *name;
	json_t *member;
	size_t index;

	if (json_is_string(value))
		scrub_text(value);
	json_object_foreach(value, name, member)
	{
		for (const char *at = name; *at != '\0'; at++)
			if ((unsigned char)*at < ' ' || (unsigned char)*at >= 0x7f)
				return false;
		if (!scrub(member))
			return false;
	}
	json_array_foreach(value, index, member) if (!scrub(member)) return false;
	return true;
}

static int open_answer(const char *text, size_t size, json_t **result,
		       char error[CONTROL_ERROR_SIZE])
{
	json_t *answer = json_loadb(text, size, 0, NULL);
	const char *refusal;
	int failed = 0;

	if (!scrub(answer)) {
		json_decref(answer);
		answer = NULL;
	}
	refusal = json_string_value(json_object_get(answer, "error"));
	*result = json_incref(json_object_get(answer, "result"));
	if (*result == NULL && refusal != NULL) {
		snprintf(error, CONTROL_ERROR_SIZE, "%s", refusal);
		failed = -EREMOTEIO;
	} else if (*result == NULL) {
		failed = -EPROTO;
	}
	json_decref(answer);
	return failed;
}

int control_client_take(struct control_client *client, json_t **result,
			char error[CONTROL_ERROR_SIZE])
{
	size_t seen = client->size;
	int failed = receive(client);
	const char *end;

	if (failed != 0)
		return failed;
	end = client->size > seen ? memchr(client->text + seen, '\n', client->size - seen) : NULL;
	if (end == NULL)
		return -EAGAIN;
	/* It was asked for nothing more: what follows the line, if anything does, is no answer. */
	client->size = 0;
	return open_answer(client->text, (size_t)(end - client->text), result, error);
}

int control_client_call(struct control_client *client, const char *method, json_t *params,
			json_t **result, char error[CONTROL_ERROR_SIZE])
{
	uint64_t deadline = clock_now_ns() + CONTROL_CLIENT_MS * 1000000ull;
	int failed = control_client_ask(client, method, params);

	if (failed != 0)
		return failed;
	while ((failed = control_client_take(client, result, error)) == -EAGAIN) {
		struct pollfd fd = { .fd = client->fd, .events = POLLIN };
		uint64_t now = clock_now_ns();

		if (now >= deadline)
			return -ETIMEDOUT;
		poll(&fd, 1, (int)((deadline - now) / 1000000 + 1));
	}
	return failed;
}

int control_client_rest(struct control_client *client, uint64_t until_ns, int fd)
{
	struct pollfd fds[] = {
		{ .fd = client->fd, .events = POLLIN },
		{ .fd = fd, .events = POLLIN },
	};

	for (;;) {
		uint64_t now = clock_now_ns();

		if (now >= until_ns)
			return 0;
		if (poll(fds, 2, (int)((until_ns - now) / 1000000 + 1)) <= 0)
			continue;
		/* It was asked for nothing, so only its end can be read. */
		return fds[1].revents != 0 ? 1 : -ECONNRESET;
	}
}

static const char *reason(int error)
{
	switch (error) {
	case -ECONNREFUSED:
		return "nobody answers there: the guest has ended";
	case -ENOTSOCK:
		return "it is no socket: PATH is that of 'bifold run --control PATH'";
	case -ECONNRESET:
		return "no answer came: the guest has ended, or it is no control socket";
	case -EPROTO:
		return "what came is no answer: it is no control socket";
	case -ETIMEDOUT:
		return "no answer came in time";
	default:
		return strerror(-error);
	}
}

void control_client_log(const char *path, int error, const char *refusal)
{
	if (error == -EREMOTEIO)
		log_error("%s", refusal);
	else
		log_error("%s: %s", path, reason(error));
}

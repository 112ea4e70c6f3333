/* The control socket without a guest: what clients may do to it, and that others do not notice. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/long.h"
#include "vmm/ask/ask.h"
#include "vmm/ask/client.h"
#include "vmm/control/server.h"
#include "vmm/control/socket.h"

#define BIG	 (4u << 20)
#define REQUEST	 "{\"id\":1,\"method\":\"echo\",\"params\":{\"a\":[1,2]}}\n"
#define RESPONSE "{\"id\":1,\"result\":{\"a\":[1,2]}}\n"

static char folder[64], path[96];
static struct control *control;
static atomic_uint answered;

static json_t *echo(void *context, json_t *params, struct control_error *error)
{
	answered++;
	return params != NULL ? json_incref(params) : json_null();
}

static json_t *fail(void *context, json_t *params, struct control_error *error)
{
	control_refuse(error, CONTROL_FAILED, "it is %s", (const char *)context);
	return NULL;
}

static json_t *big(void *context, json_t *params, struct control_error *error)
{
	char *text = malloc(BIG);
	json_t *result;

	memset(text, 'x', BIG);
	result = json_stringn(text, BIG);
	free(text);
	return result;
}

static const struct control_method methods[] = {
	{ "echo", echo, NULL },		{ "fail", fail, "" }, { "big", big, NULL },
	{ "picky", echo, "one other" }, { NULL, NULL, NULL },
};

static void init(void)
{
	signal(SIGPIPE, SIG_IGN);
	strcpy(folder, "/tmp/bifold-control-XXXXXX");
	cr_assert(mkdtemp(folder) != NULL);
	snprintf(path, sizeof(path), "%s/s", folder);
}

static void finish(void)
{
	unlink(path);
	rmdir(folder);
}

TestSuite(control, .init = init, .fini = finish, .timeout = 60);

static void begin(void)
{
	cr_assert_eq(control_create(path, methods, (void *)(uintptr_t) "wrong", &control), 0);
}

static void end(void)
{
	struct stat status;

	control_destroy(control);
	cr_assert(lstat(path, &status) != 0 && errno == ENOENT, "the socket is left");
}

static int open_client(void)
{
	const struct timeval patience = { .tv_sec = 30 };
	int fd = control_socket_connect(path);

	cr_assert(fd >= 0, "%s", strerror(-fd));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	return fd;
}

static void say(int fd, const char *text)
{
	cr_assert_eq(send(fd, text, strlen(text), 0), (ssize_t)strlen(text));
}

/* One line; NULL: the other side has closed. */
static char *hear(int fd)
{
	static char line[4096];
	size_t n = 0;

	do {
		ssize_t got = recv(fd, line + n, 1, 0);

		if (got <= 0)
			return NULL;
	} while (line[n++] != '\n' && n < sizeof(line) - 1);
	line[n] = '\0';
	return line;
}

static void expect(int fd, const char *answer)
{
	char *line = hear(fd);

	cr_assert(line != NULL, "closed, instead of %s", answer);
	cr_assert_str_eq(line, answer);
}

static void expect_error(int fd, const char *part)
{
	char *line = hear(fd);

	cr_assert(line != NULL && strstr(line, "\"error\"") != NULL && strstr(line, part) != NULL,
		  "%s", line);
}

Test(control, answers)
{
	struct stat status;
	int fd;

	begin();
	cr_assert_eq(stat(path, &status), 0);
	cr_assert_eq(status.st_mode & 0777, 0600);
	fd = open_client();
	say(fd, REQUEST);
	expect(fd, RESPONSE);
	say(fd, "{\"id\":{\"any\":null},\"method\":\"echo\"}\r\n");
	expect(fd, "{\"id\":{\"any\":null},\"result\":null}\n");
	say(fd, "{\"method\":\"fail\",\"id\":\"x\"}\n");
	expect(fd, "{\"id\":\"x\",\"error\":\"it is wrong\",\"code\":\"failed\"}\n");
	/* Several at once, and one in pieces. */
	say(fd, REQUEST REQUEST "\n  \n" REQUEST "{\"id\":1,\"met");
	for (int i = 0; i < 3; i++)
		expect(fd, RESPONSE);
	say(fd, "hod\":\"fail\"}\n");
	expect(fd, "{\"id\":1,\"error\":\"it is wrong\",\"code\":\"failed\"}\n");
	close(fd);
	end();
}

/* A member that nobody knows is never passed over: it may be another, misspelt. */
Test(control, unknown_members)
{
	static const struct {
		const char *request, *error, *code;
	} cases[] = {
		{ "{\"method\":\"nothing\"}", "there is no method 'nothing'", "unknown_method" },
		{ "{\"method\":7}", "a request is an object with a \\\"method\\\"", "bad_request" },
		{ "[]", "a request is an object with a \\\"method\\\"", "bad_request" },
		{ "{\"method\":\"echo\",\"parms\":{}}", "a request has no member 'parms'",
		  "bad_request" },
		{ "{\"method\":\"echo\",\"params\":[]}", "\\\"params\\\" is an object",
		  "bad_request" },
		{ "{\"method\":\"picky\",\"params\":{\"one\":1,\"oth\":2}}",
		  "'picky' has no parameter 'oth'; it takes one other", "unknown_parameter" },
		{ "{\"method\":\"picky\",\"params\":{\"\":2}}",
		  "'picky' has no parameter ''; it takes one other", "unknown_parameter" },
		{ "{\"method\":\"fail\",\"params\":{\"one\":1}}", "'fail' has no parameter 'one'",
		  "unknown_parameter" },
	};
	int fd;

	begin();
	fd = open_client();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char answer[256];

		say(fd, cases[i].request);
		say(fd, "\n");
		snprintf(answer, sizeof(answer), "{\"id\":null,\"error\":\"%s\",\"code\":\"%s\"}\n",
			 cases[i].error, cases[i].code);
		expect(fd, answer);
	}
	say(fd, "{\"method\":\"picky\",\"params\":{\"other\":1,\"one\":2}}\n");
	expect(fd, "{\"id\":null,\"result\":{\"other\":1,\"one\":2}}\n");
	close(fd);
	end();
}

Test(control, asks)
{
	json_t *params = json_pack("{s:i}", "a", 7), *result;

	begin();
	result = ask(path, "echo", params);
	cr_assert_eq(json_integer_value(json_object_get(result, "a")), 7);
	json_decref(result);
	result = ask(path, "big", NULL);
	cr_assert_eq(json_string_length(result), BIG);
	json_decref(result);
	cr_assert_null(ask(path, "fail", NULL));
	cr_assert_null(ask(path, "nothing", NULL));
	json_decref(params);
	end();
	cr_assert_null(ask(path, "echo", NULL));
}

/* --- a connection that does not wait --- */

static int next_answer(struct control_client *client, json_t **result, char *error)
{
	struct pollfd fd = { .fd = client->fd, .events = POLLIN };
	int failed;

	while ((failed = control_client_take(client, result, error)) == -EAGAIN)
		cr_assert_eq(poll(&fd, 1, 30000), 1);
	return failed;
}

Test(control, client)
{
	char error[CONTROL_ERROR_SIZE] = "";
	struct control_client client;
	json_t *params = json_pack("{s:i}", "a", 7), *result = NULL;

	begin();
	cr_assert_eq(control_client_init(&client, path), 0);
	cr_assert_eq(control_client_take(&client, &result, error), -EAGAIN);
	for (int i = 0; i < 3; i++) {
		cr_assert_eq(control_client_ask(&client, "echo", params), 0);
		cr_assert_eq(next_answer(&client, &result, error), 0);
		cr_assert(json_equal(result, params));
		json_decref(result);
	}
	cr_assert_eq(control_client_call(&client, "big", NULL, &result, error), 0);
	cr_assert_eq(json_string_length(result), BIG);
	json_decref(result);
	cr_assert_eq(control_client_call(&client, "fail", NULL, &result, error), -EREMOTEIO);
	cr_assert_str_eq(error, "it is wrong");
	end();
	cr_assert_eq(next_answer(&client, &result, error), -ECONNRESET);
	cr_assert_eq(control_client_call(&client, "echo", NULL, &result, error), -ECONNRESET);
	control_client_finish(&client);
	cr_assert_eq(control_client_init(&client, path), -ENOENT);
	control_client_finish(&client);
	json_decref(params);
}

/* The other end may be anything. */
static void answered_with(const char *answer, int wanted)
{
	char error[CONTROL_ERROR_SIZE] = "";
	struct control_client client = { 0 };
	json_t *result = NULL;
	int fd[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	client.fd = fd[0];
	for (size_t i = 0; answer[i] != '\0'; i++) {
		cr_assert_eq(control_client_take(&client, &result, error), -EAGAIN, "%s", answer);
		cr_assert_eq(write(fd[1], answer + i, 1), 1);
	}
	close(fd[1]);
	cr_assert_eq(next_answer(&client, &result, error), wanted, "%s", answer);
	json_decref(result);
	control_client_finish(&client);
}

/* The length of a text stays, and so does what is text. */
Test(control, terminal_commands_are_no_text)
{
	struct control_socket socket;
	struct control_client client;
	char error[CONTROL_ERROR_SIZE];
	const char *answers[] = {
		"{\"id\":1,\"result\":[{\"a\":\"\\u001b[31m\\u0007\\u009b2J \\u00e4\\n\"}]}\n",
		"{\"id\":1,\"error\":\"\\u001bc\"}\n",
		"{\"id\":1,\"result\":{\"\\u001bc\":1}}\n",
	};
	const int wanted[] = { 0, -EREMOTEIO, -EPROTO };

	cr_assert_eq(control_socket_open(path, &socket), 0);
	for (int i = 0; i < 3; i++) {
		json_t *result = NULL;
		const char *text;
		int fd;

		cr_assert_eq(control_client_init(&client, path), 0);
		fd = accept(socket.fd, NULL, NULL);
		cr_assert_eq(write(fd, answers[i], strlen(answers[i])),
			     (ssize_t)strlen(answers[i]));
		cr_assert_eq(control_client_call(&client, "x", NULL, &result, error), wanted[i]);
		text = i == 0 ? json_string_value(json_object_get(json_array_get(result, 0), "a"))
			      : error;
		if (i == 0)
			cr_assert_str_eq(text, "?[31m?\u00bf2J \u00e4?");
		if (i == 1)
			cr_assert_str_eq(text, "?c");
		json_decref(result);
		close(fd);
		control_client_finish(&client);
	}
	control_socket_close(&socket);
}

Test(control, client_of_anything)
{
	answered_with("{\"result\": 1}\n", 0);
	answered_with("{\"error\": \"no\"}\n", -EREMOTEIO);
	answered_with("{\"error\": 7}\n", -EPROTO);
	answered_with("{}\n", -EPROTO);
	answered_with("[]\n", -EPROTO);
	answered_with("SSH-2.0-x\n", -EPROTO);
	answered_with("\n", -EPROTO);
	answered_with("{\"result\": 1}", -ECONNRESET);
	answered_with("", -ECONNRESET);
}

Test(control, garbage)
{
	static const char *const garbage[] = {
		"hello\n",
		"\xff\xfe\n",
		"{\"id\":\xc3\x28}\n",
		"[]\n",
		"1\n",
		"\"method\"\n",
		"{}\n",
		"{\"method\":7}\n",
		"{\"method\":\"echo\",\"params\":[]}\n",
		"{\"method\":\"echo\",\"method\":\"echo\"}\n",
		"{\"method\":\"\xc3\xa4\xc3\xa4"
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\xc3\xa4\"}\n",
		"{\"method\":\"echo\"} x\n",
	};
	static char deep[8192];
	int fd, other;

	begin();
	fd = open_client();
	other = open_client();
	for (size_t i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++) {
		say(fd, garbage[i]);
		expect_error(fd, "");
		say(other, REQUEST);
		expect(other, RESPONSE);
	}
	cr_assert_eq(send(fd, "{\"a\0b\":1}\n", 10, 0), 10);
	expect_error(fd, "");
	memset(deep, '[', sizeof(deep) - 2);
	deep[sizeof(deep) - 2] = '\n';
	say(fd, deep);
	expect_error(fd, "");
	say(fd, REQUEST);
	expect(fd, RESPONSE);
	close(fd);
	close(other);
	end();
}

Test(control, line_too_long)
{
	static char piece[10000];
	int fd, other;

	memset(piece, 'a', sizeof(piece) - 1);
	begin();
	fd = open_client();
	other = open_client();
	for (int i = 0; i < 100; i++) {
		say(fd, piece);
		if (i == 1)
			expect_error(fd, "too long");
		say(other, REQUEST);
		expect(other, RESPONSE);
	}
	say(fd, "\n" REQUEST);
	expect(fd, RESPONSE);
	/* The longest that is taken. */
	piece[0] = '\0';
	{
		static char line[CONTROL_LINE_MAX + 2];

		memset(line, ' ', CONTROL_LINE_MAX - sizeof(REQUEST) + 1);
		strcat(line, REQUEST);
		cr_assert_eq(strlen(line), CONTROL_LINE_MAX);
		say(fd, line);
		expect(fd, RESPONSE);
	}
	close(fd);
	close(other);
	end();
}

Test(control, half_open)
{
	int fd, silent;

	begin();
	silent = open_client(); /* says nothing */
	fd = open_client();
	say(fd, REQUEST REQUEST "{\"half");
	shutdown(fd, SHUT_WR);
	expect(fd, RESPONSE);
	expect(fd, RESPONSE);
	cr_assert_null(hear(fd), "then the end");
	close(fd);
	/* Gone before the answer. */
	for (int i = 0; i < 20; i++) {
		fd = open_client();
		say(fd, "{\"method\":\"big\"}\n" REQUEST);
		close(fd);
	}
	fd = open_client();
	say(fd, REQUEST);
	expect(fd, RESPONSE);
	say(silent, REQUEST);
	expect(silent, RESPONSE);
	close(fd);
	close(silent);
	end();
}

/* A client that does not take its answer, or never ends its line, is cut off in time; others go
 * on. */
Test(control, slow_clients)
{
	int reader, writer, fd;
	uint64_t began;
	char byte;

	begin();
	reader = open_client();
	say(reader, "{\"method\":\"big\"}\n");
	writer = open_client();
	say(writer, "{\"method\"");
	fd = open_client();
	began = clock_now_ns();
	say(writer, ":");
	say(fd, REQUEST);
	expect(fd, RESPONSE);
	cr_assert_lt(clock_now_ns() - began, 1000000000ull);
	cr_assert_null(hear(writer));
	cr_assert_lt(clock_now_ns() - began, CONTROL_PATIENCE_NS + 2000000000ull);
	/* The part that was sent is there, then nothing comes. */
	{
		size_t got = 0;

		while (recv(reader, &byte, 1, 0) == 1)
			got++;
		cr_assert_lt(got, BIG);
	}
	say(fd, REQUEST);
	expect(fd, RESPONSE);
	close(reader);
	close(writer);
	close(fd);
	end();
}

static void *ask_often(void *argument)
{
	int fd = open_client();

	for (int i = 0; i < 100; i++) {
		say(fd, REQUEST);
		expect(fd, RESPONSE);
	}
	close(fd);
	return NULL;
}

Test(control, fifty_clients)
{
	pthread_t thread[50];

	begin();
	for (int i = 0; i < 50; i++)
		cr_assert_eq(pthread_create(&thread[i], NULL, ask_often, NULL), 0);
	for (int i = 0; i < 50; i++)
		pthread_join(thread[i], NULL);
	cr_assert_eq(answered, 5000);
	end();
}

/* More than there are places: the longest silent goes. */
Test(control, more_clients_than_places)
{
	int fd[2 * CONTROL_CLIENT_MAX];

	begin();
	for (int i = 0; i < 2 * CONTROL_CLIENT_MAX; i++) {
		fd[i] = open_client();
		say(fd[i], REQUEST);
		expect(fd[i], RESPONSE);
	}
	cr_assert_null(hear(fd[0]));
	say(fd[2 * CONTROL_CLIENT_MAX - 1], REQUEST);
	expect(fd[2 * CONTROL_CLIENT_MAX - 1], RESPONSE);
	for (int i = 0; i < 2 * CONTROL_CLIENT_MAX; i++)
		close(fd[i]);
	end();
}

/* The asking side of the control socket. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/log.h"
#include "vmm/control.h"
#include "vmm/control_socket.h"

#define WAIT_SECONDS 60 /* for an answer, at most */

static int send_all(int fd, const char *text, size_t size)
{
	while (size > 0) {
		ssize_t n = send(fd, text, size, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		text += n;
		size -= (size_t)n;
	}
	return 0;
}

static int send_request(int fd, const char *method, json_t *params)
{
	json_t *request = json_pack("{s:i, s:s}", "id", 1, "method", method);
	int error = request == NULL ? -ENOMEM : 0;
	char *text;

	if (error == 0 && params != NULL && json_object_set(request, "params", params) != 0)
		error = -ENOMEM;
	text = error == 0 ? json_dumps(request, JSON_COMPACT) : NULL;
	if (error == 0)
		error = text == NULL ? -ENOMEM : send_all(fd, text, strlen(text));
	if (error == 0)
		error = send_all(fd, "\n", 1);
	free(text);
	json_decref(request);
	return error;
}

static size_t receive(void *buffer, size_t size, void *context)
{
	ssize_t n;

	do
		n = recv(*(int *)context, buffer, size, 0);
	while (n < 0 && errno == EINTR);
	return n >= 0 ? (size_t)n : (size_t)-1;
}

json_t *control_ask(const char *path, const char *method, json_t *params)
{
	const struct timeval patience = { .tv_sec = WAIT_SECONDS };
	int fd = control_socket_connect(path), error = fd < 0 ? fd : 0;
	json_t *answer = NULL, *result;
	json_error_t where;

	if (error == 0) {
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
		error = send_request(fd, method, params);
	}
	if (error != 0) {
		log_error("%s: %s", path,
			  error == -ECONNREFUSED ? "nobody answers there: the guest has ended"
						 : strerror(-error));
	} else {
		answer = json_load_callback(receive, &fd, JSON_DISABLE_EOF_CHECK, &where);
		if (!json_is_object(answer))
			log_error("%s: no answer came: the guest has ended, or it is no control "
				  "socket",
				  path);
	}
	if (fd >= 0)
		close(fd);
	result = json_incref(json_object_get(answer, "result"));
	if (json_is_object(answer) && result == NULL) {
		const char *text = json_string_value(json_object_get(answer, "error"));

		log_error("%s", text != NULL ? text : "the answer is none");
	}
	json_decref(answer);
	return result;
}

int control_add_number(json_t *params, const char *name, const char *what, const char *value)
{
	char *end;

	errno = 0;
	strtoull(value, &end, 0);
	if (value[0] < '0' || value[0] > '9' || *end != '\0' || errno != 0) {
		log_error("%s '%s': expected a number such as 0x7fffc0de", what, value);
		return -EINVAL;
	}
	return json_object_set_new(params, name, json_string(value)) == 0 ? 0 : -ENOMEM;
}

int control_option(int option, const char *value, json_t *params, bool *json)
{
	switch (option) {
	case 'c':
		return control_add_number(params, "cr3", "--cr3", value);
	case 'v':
		return control_add_number(params, "vcpu", "--vcpu", value);
	case 'j':
		*json = true;
		return 0;
	default:
		return -EINVAL;
	}
}

void control_print_json(const json_t *result)
{
	json_dumpf(result, stdout, JSON_INDENT(2));
	putchar('\n');
}

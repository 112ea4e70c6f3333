/*
 * A request is read from guest memory once, into a copy of our own, and only the copy is looked at.
 * Data moves through a bounded buffer, so a segment's length, whatever it claims, costs no memory;
 * ept_read() and ept_write() check its address.
 */
#include "devices/quire_port.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "ept/access.h"
#include "guest/abi.h"

/* The part of a request that is written back: result, arg0, arg1. */
#define ANSWER_AT   offsetof(struct quire_request, result)
#define ANSWER_SIZE (offsetof(struct quire_request, segment) - ANSWER_AT)

#define BUFFER_SIZE 65536

#define VECTOR_MIN 576 /* x87, SSE and the header */

/* Waits until fd takes (or gives) bytes. 0, or -EINTR when the VM stops first. */
static int wait_ready(const struct quire_port *port, int fd, short events)
{
	for (;;) {
		struct pollfd poll_fds[] = {
			{ .fd = fd, .events = events },
			{ .fd = port->stop_fd, .events = POLLIN },
		};

		if (poll(poll_fds, 2, -1) < 0 && errno != EINTR)
			return -errno;
		if (poll_fds[1].revents != 0)
			return -EINTR;
		if (poll_fds[0].revents != 0)
			return 0;
	}
}

/*
 * A pipe that poll() calls writable takes PIPE_BUF bytes without blocking; more could block where a
 * stop would not reach us. Files take everything.
 */
static int write_all(const struct quire_port *port, int fd, const char *buffer, size_t length)
{
	struct stat status;
	size_t most = fstat(fd, &status) == 0 && S_ISREG(status.st_mode) ? SIZE_MAX : PIPE_BUF;

	while (length > 0) {
		int error = wait_ready(port, fd, POLLOUT);
		ssize_t n;

		if (error != 0)
			return error;
		n = write(fd, buffer, length < most ? length : most);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n < 0)
			return -errno;
		buffer += n;
		length -= (size_t)n;
	}
	return 0;
}

/* The bytes that a write has gathered, and how many of them are out. */
struct output {
	const struct quire_port *port;
	int fd;
	size_t used;
	int64_t written;
	char buffer[BUFFER_SIZE];
};

/* On standard error the monitor's status line may have to go. */
static int flush(struct output *output)
{
	bool yields = output->fd == STDERR_FILENO && output->used > 0;
	int error;

	if (yields)
		log_yield();
	error = write_all(output->port, output->fd, output->buffer, output->used);
	if (yields)
		log_return(output->buffer[output->used - 1] != '\n');
	if (error == 0)
		output->written += (int64_t)output->used;
	output->used = 0;
	return error;
}

static int gather(struct output *output, const struct quire_segment *segment)
{
	gpa_t at = gpa(segment->gpa);
	uint64_t left = segment->length;
	int error = 0;

	while (left > 0 && error == 0) {
		size_t room = BUFFER_SIZE - output->used;
		size_t piece = room < left ? room : left;

		error = ept_read(output->port->space, at, output->buffer + output->used, piece);
		if (error != 0)
			break;
		output->used += piece;
		at.v += piece;
		left -= piece;
		if (output->used == BUFFER_SIZE)
			error = flush(output);
	}
	return error;
}

static int64_t do_write(struct quire_port *port, const struct quire_request *request)
{
	struct output output; /* its buffer needs no clearing */
	int error = 0;

	output.port = port;
	output.fd = request->arg0 == 2 ? port->error_fd : port->output_fd;
	output.used = 0;
	output.written = 0;
	for (uint32_t i = 0; i < request->segment_count && error == 0; i++)
		error = gather(&output, &request->segment[i]);
	if (error == 0)
		error = flush(&output);
	return error == 0 || output.written > 0 ? output.written : error;
}

/* Copies what was read into as many segments as it fills. */
static int scatter(struct quire_port *port, const struct quire_request *request, const char *buffer,
		   size_t length)
{
	for (uint32_t i = 0; i < request->segment_count && length > 0; i++) {
		const struct quire_segment *segment = &request->segment[i];
		size_t piece = segment->length < length ? segment->length : length;
		int error = ept_write(port->space, gpa(segment->gpa), buffer, piece);

		if (error != 0)
			return error;
		buffer += piece;
		length -= piece;
	}
	return 0;
}

static int64_t do_read(struct quire_port *port, const struct quire_request *request)
{
	struct pollfd ready = { .fd = port->input_fd, .events = POLLIN };
	char buffer[BUFFER_SIZE];
	size_t wanted = 0;
	ssize_t n;
	int error;

	for (uint32_t i = 0; i < request->segment_count && wanted < BUFFER_SIZE; i++)
		wanted += request->segment[i].length < BUFFER_SIZE - wanted
				  ? request->segment[i].length
				  : BUFFER_SIZE - wanted;
	if (wanted == 0)
		return 0;
	if (poll(&ready, 1, 0) <= 0) {
		port->events->await_input(port->context);
		return -EAGAIN;
	}
	/* A standard input that was closed is an empty one. */
	if (ready.revents & POLLNVAL)
		return 0;
	do {
		n = read(port->input_fd, buffer, wanted);
	} while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		port->events->await_input(port->context);
	if (n < 0)
		return -errno;
	error = scatter(port, request, buffer, (size_t)n);
	return error != 0 ? error : n;
}

/* The first segment as a printable line. */
static void message_text(struct quire_port *port, const struct quire_request *request,
			 char text[QUIRE_LOG_MAX + 1])
{
	size_t length = 0;

	if (request->segment_count > 0) {
		length = request->segment[0].length < QUIRE_LOG_MAX ? request->segment[0].length
								    : QUIRE_LOG_MAX;
		if (ept_read(port->space, gpa(request->segment[0].gpa), text, length) != 0)
			length = (size_t)snprintf(text, QUIRE_LOG_MAX, "(unreadable message)");
	}
	text[length] = '\0';
	for (char *c = text; *c != '\0'; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
}

static int64_t do_log(struct quire_port *port, const struct quire_request *request)
{
	char text[QUIRE_LOG_MAX + 1];

	message_text(port, request, text);
	switch (request->arg0) {
	case QUIRE_LEVEL_ERROR:
		log_error("guest: %s", text);
		break;
	case QUIRE_LEVEL_INFO:
		log_info("guest: %s", text);
		break;
	default:
		log_debug("guest: %s", text);
		break;
	}
	return 0;
}

static int64_t do_hello(struct quire_port *port, struct quire_request *request)
{
	char text[96];

	if (request->arg0 == QUIRE_ABI_VERSION) {
		request->arg0 = port->cpu_count;
		request->arg1 = port->host_flags;
		return 0;
	}
	snprintf(text, sizeof(text), "the kernel speaks version %llu of the interface, not %d",
		 (unsigned long long)request->arg0, QUIRE_ABI_VERSION);
	port->events->failed(port->context, text);
	return -EPROTO;
}

static int64_t do_last_words(struct quire_port *port, const struct quire_request *request)
{
	char text[QUIRE_LOG_MAX + 1];

	message_text(port, request, text);
	if (request->op == QUIRE_OP_PANIC)
		port->events->failed(port->context, text);
	else
		port->events->no_init(port->context, (int)(request->arg0 & 4095), text);
	return 0;
}

/* Whole pages only; whether they are the guest's own is for the manager to say. */
static int64_t do_release(struct quire_port *port, const struct quire_request *request)
{
	for (uint32_t i = 0; i < request->segment_count; i++) {
		const struct quire_segment *segment = &request->segment[i];
		uint64_t count = segment->length >> PAGE_SHIFT;
		int error;

		if ((segment->gpa | segment->length) % PAGE_SIZE != 0 || count == 0 ||
		    count > UINT32_MAX)
			return -EINVAL;
		error = port->events->release(port->context, gpa_to_gfn(gpa(segment->gpa)),
					      (uint32_t)count);
		if (error != 0)
			return error;
	}
	return 0;
}

/* The console is one: what one CPU writes or reads is not mixed with another's. */
static int64_t do_console(struct quire_port *port, const struct quire_request *request)
{
	int64_t result;

	pthread_mutex_lock(&port->lock);
	result = request->op == QUIRE_OP_WRITE ? do_write(port, request) : do_read(port, request);
	pthread_mutex_unlock(&port->lock);
	return result;
}

static int64_t do_vector(struct quire_port *port, const struct quire_request *request)
{
	uint64_t length = request->segment[0].length;
	_Alignas(64) char state[QUIRE_VECTOR_MAX] = { 0 };
	int error = 0;

	if (request->segment_count != 1 || length < VECTOR_MIN || length > QUIRE_VECTOR_MAX)
		return -EINVAL;
	if (request->arg0 != 0)
		error = port->events->vector_get(port->context, state);
	if (error == 0 && request->arg0 != 0)
		error = ept_write(port->space, gpa(request->arg0), state, length);
	if (error != 0 || request->arg1 == 0)
		return error;
	memset(state, 0, sizeof(state));
	error = ept_read(port->space, gpa(request->arg1), state, length);
	return error == 0 ? port->events->vector_set(port->context, state) : error;
}

static int64_t dispatch(struct quire_port *port, struct quire_request *request)
{
	switch (request->op) {
	case QUIRE_OP_HELLO:
		return do_hello(port, request);
	case QUIRE_OP_WRITE:
	case QUIRE_OP_READ:
		return do_console(port, request);
	case QUIRE_OP_LOG:
		return do_log(port, request);
	case QUIRE_OP_USER_START:
		port->events->user_start(port->context);
		return 0;
	case QUIRE_OP_EXIT:
		port->events->exited(port->context, (int)(request->arg0 & 255),
				     (int)(request->arg1 & 127));
		return 0;
	case QUIRE_OP_PANIC:
	case QUIRE_OP_NO_INIT:
		return do_last_words(port, request);
	case QUIRE_OP_RELEASE:
		return do_release(port, request);
	case QUIRE_OP_WAIT:
		return port->events->wait(port->context);
	case QUIRE_OP_VECTOR:
		return do_vector(port, request);
	case QUIRE_OP_YIELD:
		sched_yield();
		return 0;
	default:
		log_debug("guest: unknown request %u", request->op);
		return -ENOSYS;
	}
}

static int ring(void *device, uint64_t offset, unsigned size, uint64_t value)
{
	struct quire_port *port = device;
	gpa_t at = gpa(value << QUIRE_REQUEST_SHIFT);
	struct quire_request request;
	int error;

	if (size != 4)
		return 0;
	error = ept_read(port->space, at, &request, sizeof(request));
	if (error == 0) {
		request.result = request.segment_count <= QUIRE_SEGMENT_MAX
					 ? dispatch(port, &request)
					 : -EINVAL;
		error = ept_write(port->space, gpa(at.v + ANSWER_AT), &request.result, ANSWER_SIZE);
	}
	if (error == -EFAULT) {
		port->events->failed(port->context, "a request lies outside guest memory");
		return 0;
	}
	return error;
}

const struct bus_ops quire_port_ops = {
	.name = "quire",
	.write = ring,
};

/*
 * Output is copied from the guest's chains into one buffer, and a chain is done once it lies there;
 * then the buffer is written. So a single write gets as much as the guest has sent, up to the
 * buffer's size, and a guest that sends small pieces gets its buffers back early. While the buffer
 * cannot be written to its end, output is *blocked*: chains wait in the ring and the loop watches
 * the descriptor.
 *
 * The descriptor must never block the loop's thread, so it is written to through an outlet.
 */
#include "devices/virtio/console.h"

#include <errno.h>
#include <linux/virtio_ids.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/outlet.h"
#include "devices/loop.h"
#include "devices/virtio/virtio.h"

enum { QUEUE_RECEIVE, QUEUE_TRANSMIT, QUEUE_COUNT };

#define F_SIZE (1ull << 0)

#define BUFFER_BYTES 65536
#define ROUND_CHAINS 1024 /* gathered for one write at most */
#define ROUNDS	     16	  /* writes before other devices have their turn */

/* The device's configuration space (section 5.3.4). */
struct space {
	uint16_t columns, rows;
	uint32_t port_count;
	uint32_t emergency_write;
};

/* (C) constant after creation; (L) virtio's lock */
struct virtio_console {
	struct virtio virtio;
	struct space space;			    /* (L) */
	const struct virtio_console_events *events; /* (C) */
	void *context;				    /* (C) */
	struct outlet output;			    /* (C) */
	bool is_watched;   /* (C) the loop knows output; otherwise it never blocks */
	bool is_blocked;   /* (L) the loop calls when output takes more */
	bool is_closed;	   /* (L) nobody reads any more */
	bool has_failed;   /* (L) and the user was told */
	bool wants_room;   /* (L) input waits for buffers */
	bool wants_page;   /* (L) the next of them has a page that has no room in memory */
	bool output_first; /* (C) */
	bool has_spoken;   /* (L) since the last reset */
	bool has_chain;	   /* (L) chain is being gathered, chain_at bytes of it are */
	uint64_t chain_at;
	struct virtio_chain chain;
	size_t used, sent; /* (L) bytes in the buffer; of these, written */
	uint8_t buffer[BUFFER_BYTES];
};

/* Output that cannot be written is dropped; a guest must not hang for want of a reader. */
static void give_up(struct virtio_console *console, int error)
{
	console->used = console->sent = 0;
	if (error == EPIPE) {
		console->is_closed = true;
	} else if (!console->has_failed) {
		log_warn("the guest's console output cannot be written: %s", strerror(error));
		console->has_failed = true;
	}
}

/* Writes the buffer; false: not all of it, for now. */
static bool flush(struct virtio_console *console)
{
	if (console->is_closed)
		console->used = 0;
	while (console->sent < console->used) {
		ssize_t n = outlet_put(&console->output, console->buffer + console->sent,
				       console->used - console->sent);

		if (n > 0)
			console->sent += (size_t)n;
		else if (n < 0 && errno == EAGAIN && console->is_watched)
			return false;
		else
			give_up(console, n == 0 ? EIO : errno);
	}
	console->used = console->sent = 0;
	return true;
}

/* Linux looks how large its console is only when it is told of a change. */
static void begin_speaking(struct virtio_console *console)
{
	console->has_spoken = true;
	if (console->output_first && console->space.columns != 0)
		virtio_config_changed(&console->virtio);
}

/* The next chain to gather from. False: there is none. */
static bool next_chain(struct virtio_console *console)
{
	if (console->has_chain && virtio_is_live(&console->virtio))
		return true;
	if (!virtio_pop(&console->virtio, QUEUE_TRANSMIT, &console->chain))
		return false;
	if (console->chain.writable_bytes > 0) {
		virtio_break(&console->virtio, "a buffer to be written in its transmit queue");
		return false;
	}
	if (!console->has_spoken)
		begin_speaking(console);
	console->has_chain = true;
	console->chain_at = 0;
	return true;
}

/* Fills the buffer from the ring. False: the ring is empty. */
static bool gather(struct virtio_console *console)
{
	for (unsigned i = 0; i < ROUND_CHAINS && console->used < BUFFER_BYTES; i++) {
		size_t n;

		if (!next_chain(console))
			return false;
		n = virtio_read(&console->virtio, &console->chain, console->chain_at,
				console->buffer + console->used, BUFFER_BYTES - console->used);
		console->used += n;
		console->chain_at += n;
		/* In a hurry a page without room is as good as the end. */
		if (!virtio_is_live(&console->virtio) ||
		    (n == 0 && console->chain_at < console->chain.readable_bytes))
			return false;
		if (console->chain_at == console->chain.readable_bytes) {
			virtio_push(&console->virtio, QUEUE_TRANSMIT, console->chain.head, 0);
			console->has_chain = false;
		}
	}
	return true;
}

static void transmit(struct virtio_console *console)
{
	bool more = true;

	for (unsigned i = 0; i < ROUNDS && more && !console->is_blocked; i++) {
		more = gather(console);
		if (!flush(console)) {
			console->is_blocked = true;
			loop_change(console->virtio.loop, console->output.fd, EPOLLOUT);
		}
	}
	virtio_signal(&console->virtio, QUEUE_TRANSMIT);
	if (more && !console->is_blocked)
		virtio_kick(&console->virtio, QUEUE_TRANSMIT);
}

static void on_output_ready(void *context, uint32_t events)
{
	struct virtio_console *console = context;

	virtio_lock(&console->virtio);
	if (console->is_blocked && flush(console)) {
		console->is_blocked = false;
		loop_change(console->virtio.loop, console->output.fd, 0);
		transmit(console);
	}
	virtio_unlock(&console->virtio);
}

static bool listens(const struct virtio_console *console)
{
	return console->has_spoken || !console->output_first;
}

/* On the loop's thread, which can wait for the page; the thread that has the input could not. */
static void tell_of_room(struct virtio_console *console)
{
	struct virtio_chain chain;

	if (!console->wants_room || !listens(console) ||
	    !virtio_pop(&console->virtio, QUEUE_RECEIVE, &chain))
		return;
	virtio_unpop(&console->virtio, QUEUE_RECEIVE);
	if (console->wants_page && chain.count > chain.readable &&
	    virtio_bring_in(&console->virtio, chain.segment[chain.readable].address) != 0)
		return;
	console->wants_page = false;
	console->wants_room = false;
	console->events->room(console->context);
}

static void notify(void *device, unsigned queue)
{
	struct virtio_console *console = device;

	if (queue == QUEUE_TRANSMIT)
		transmit(console);
	tell_of_room(console);
}

static void stop(void *device, unsigned queue)
{
	struct virtio_console *console = device;

	if (queue == QUEUE_TRANSMIT)
		console->has_chain = false;
}

static void reset(void *device)
{
	struct virtio_console *console = device;

	console->has_chain = false;
	console->has_spoken = false;
}

static const struct virtio_ops ops = {
	.name = "console",
	.id = VIRTIO_ID_CONSOLE,
	.queue_count = QUEUE_COUNT,
	.notify = notify,
	.stop = stop,
	.reset = reset,
};

size_t virtio_console_input(struct virtio_console *console, const void *bytes, size_t length)
{
	struct virtio_chain chain;
	size_t done = 0;

	if (!virtio_glance(&console->virtio)) {
		console->wants_room = console->virtio.missed = true;
		virtio_unlock(&console->virtio);
		return 0;
	}
	console->virtio.hurried = true;
	while (done < length && listens(console) &&
	       virtio_pop(&console->virtio, QUEUE_RECEIVE, &chain)) {
		size_t n;

		if (chain.readable_bytes > 0 || chain.writable_bytes == 0) {
			virtio_break(&console->virtio, "a buffer that nothing can be received in");
			break;
		}
		n = virtio_write(&console->virtio, &chain, 0, (const uint8_t *)bytes + done,
				 length - done);
		if (n == 0) {
			virtio_unpop(&console->virtio, QUEUE_RECEIVE);
			break;
		}
		virtio_push(&console->virtio, QUEUE_RECEIVE, chain.head, (uint32_t)n);
		done += n;
	}
	console->virtio.hurried = false;
	console->wants_room = done < length;
	if (console->virtio.missed) {
		console->virtio.missed = false;
		console->wants_page = true;
		virtio_kick(&console->virtio, QUEUE_RECEIVE);
	}
	virtio_signal(&console->virtio, QUEUE_RECEIVE);
	virtio_unlock(&console->virtio);
	return done;
}

void virtio_console_resize(struct virtio_console *console, uint16_t columns, uint16_t rows)
{
	virtio_glance(&console->virtio);
	if (console->space.columns != columns || console->space.rows != rows) {
		console->space.columns = columns;
		console->space.rows = rows;
		virtio_config_changed(&console->virtio);
	}
	virtio_unlock(&console->virtio);
}

void virtio_console_drain(struct virtio_console *console, unsigned timeout_ms)
{
	uint64_t end = clock_now_ns() + timeout_ms * 1000000ull, now;
	bool more;

	virtio_lock(&console->virtio);
	console->virtio.hurried = true;
	do {
		struct pollfd ready = { .fd = console->output.fd, .events = POLLOUT };

		more = gather(console);
		if (!flush(console)) {
			more = true;
			now = clock_now_ns();
			if (now < end)
				poll(&ready, 1, (int)((end - now) / 1000000 + 1));
		}
		now = clock_now_ns();
	} while (more && now < end);
	console->virtio.hurried = false;
	virtio_unlock(&console->virtio);
}

static int watch_output(struct virtio_console *console)
{
	int error = loop_add(console->virtio.loop, console->output.fd, 0, on_output_ready, console);

	console->is_watched = error == 0;
	return error == -EPERM ? 0 : error; /* a file, or /dev/null: never blocks */
}

int virtio_console_create(const struct virtio_console_config *config, struct virtio_console **out)
{
	struct virtio_console *console = calloc(1, sizeof(*console));
	struct virtio_config base = {
		.ops = &ops,
		.device = console,
		.space = config->space,
		.loop = config->loop,
		.features = F_SIZE,
	};
	int error;

	if (console == NULL)
		return -ENOMEM;
	console->events = config->events;
	console->output_first = config->output_first;
	console->context = config->context;
	console->space = (struct space){ config->columns, config->rows, 1, 0 };
	base.config = &console->space;
	base.config_size = sizeof(console->space);
	error = outlet_open(&console->output, config->output_fd);
	if (error != 0)
		goto free_console;
	error = virtio_init(&console->virtio, &base);
	if (error != 0)
		goto close_output;
	error = watch_output(console);
	if (error != 0)
		goto finish_virtio;
	*out = console;
	return 0;

finish_virtio:
	virtio_finish(&console->virtio);
close_output:
	outlet_close(&console->output);
free_console:
	free(console);
	return error;
}

void virtio_console_destroy(struct virtio_console *console)
{
	if (console == NULL)
		return;
	if (console->is_watched)
		loop_remove(console->virtio.loop, console->output.fd);
	virtio_finish(&console->virtio);
	outlet_close(&console->output);
	free(console);
}

struct virtio *virtio_console_virtio(struct virtio_console *console)
{
	return &console->virtio;
}

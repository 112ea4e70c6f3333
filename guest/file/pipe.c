/*
 * Pipes. A ring of PIPE_SIZE bytes in one block of pages; `head` and `tail` count bytes and never
 * wrap in practice. A write of up to PIPE_ATOMIC bytes goes in as one, or not yet.
 */
#include "guest/file/pipe.h"
#include "guest/lib/errno.h"
#include "guest/memory/page.h"
#include "guest/memory/slab.h"
#include "guest/memory/user.h"
#include "guest/process/process.h"

#define PIPE_ORDER  4
#define PIPE_SIZE   (PAGE_SIZE << PIPE_ORDER)
#define PIPE_PAGES  (1ull << PIPE_ORDER)
#define PIPE_ATOMIC PAGE_SIZE
#define PIPES_SHARE 4 /* a quarter of the memory, as nobody counts it against a process */

struct pipe {
	uint8_t *ring;
	uint64_t head, tail; /* bytes taken out, put in */
	unsigned readers, writers;
};

static uint64_t pipe_pages; /* of all pipes */

static struct pipe *pipe_of(struct file *file)
{
	return file->private;
}

static uint64_t used(const struct pipe *pipe)
{
	return pipe->tail - pipe->head;
}

static void changed(struct pipe *pipe)
{
	thread_wake(pipe);
	thread_wake(&poll_channel);
}

/* Moves up to `length` bytes between the ring and the program, at most to the ring's end. */
static int64_t copy_part(struct pipe *pipe, bool write, uint64_t address, uint64_t length)
{
	uint64_t at = (write ? pipe->tail : pipe->head) % PIPE_SIZE;
	uint64_t part =
		MIN(MIN(length, PIPE_SIZE - at), write ? PIPE_SIZE - used(pipe) : used(pipe));
	int error = write ? user_read(pipe->ring + at, address, part)
			  : user_write(address, pipe->ring + at, part);

	if (error)
		return error;
	if (write)
		pipe->tail += part;
	else
		pipe->head += part;
	return part;
}

/* Moves what the ring has, or has room for, now. */
static int64_t copy_all(struct pipe *pipe, bool write, struct vector_cursor *cursor)
{
	int64_t total = 0, part;

	while (cursor->count > 0 && (write ? used(pipe) < PIPE_SIZE : used(pipe) > 0)) {
		if (cursor->done == cursor->vector->length) {
			cursor->vector++;
			cursor->count--;
			cursor->done = 0;
			continue;
		}
		part = copy_part(pipe, write, cursor->vector->base + cursor->done,
				 cursor->vector->length - cursor->done);
		if (part < 0)
			return total > 0 ? total : part;
		cursor->done += part;
		total += part;
	}
	return total;
}

static uint64_t length_of(const struct io_vector *vector, unsigned count)
{
	uint64_t total = 0;

	for (; count > 0; vector++, count--)
		total += vector->length;
	return total;
}

static int64_t pipe_read(struct file *file, const struct io_vector *vector, unsigned count,
			 uint64_t *offset)
{
	struct vector_cursor cursor = { vector, count, 0 };
	struct pipe *pipe = pipe_of(file);
	int64_t total;

	if (length_of(vector, count) == 0)
		return 0;
	while (used(pipe) == 0) {
		if (pipe->writers == 0)
			return 0;
		if (file->flags & OPEN_NONBLOCK)
			return -EAGAIN;
		if (!thread_wait(pipe, WAIT_FOREVER))
			return -EINTR;
	}
	total = copy_all(pipe, false, &cursor);
	changed(pipe);
	return total;
}

/* Waits until `room` bytes fit. 0, or why not. */
static int64_t wait_for_room(struct file *file, struct pipe *pipe, uint64_t room)
{
	for (;;) {
		if (pipe->readers == 0) {
			signal_send(current_process(), SIGPIPE);
			return -EPIPE;
		}
		if (PIPE_SIZE - used(pipe) >= room)
			return 0;
		if (file->flags & OPEN_NONBLOCK)
			return -EAGAIN;
		if (!thread_wait(pipe, WAIT_FOREVER))
			return -EINTR;
	}
}

static int64_t pipe_write(struct file *file, const struct io_vector *vector, unsigned count,
			  uint64_t *offset)
{
	struct vector_cursor cursor = { vector, count, 0 };
	struct pipe *pipe = pipe_of(file);
	int64_t left = length_of(vector, count), total = 0, part;

	while (left > 0) {
		int64_t error = wait_for_room(file, pipe, left <= (int64_t)PIPE_ATOMIC ? left : 1);

		if (error)
			return total > 0 ? total : error;
		part = copy_all(pipe, true, &cursor);
		if (part < 0)
			return total > 0 ? total : part;
		changed(pipe);
		total += part;
		left -= part;
	}
	return total;
}

static unsigned reader_poll(struct file *file)
{
	struct pipe *pipe = pipe_of(file);

	return (used(pipe) > 0 ? POLL_IN : 0) | (pipe->writers == 0 ? POLL_HANGUP : 0);
}

static unsigned writer_poll(struct file *file)
{
	struct pipe *pipe = pipe_of(file);

	return (PIPE_SIZE - used(pipe) >= PIPE_ATOMIC ? POLL_OUT : 0) |
	       (pipe->readers == 0 ? POLL_ERROR : 0);
}

static void pipe_put(struct pipe *pipe)
{
	changed(pipe);
	if (pipe->readers + pipe->writers > 0)
		return;
	pipe_pages -= PIPE_PAGES;
	page_free(page_of_address(pipe->ring), PIPE_ORDER, false);
	memory_free(pipe);
}

static void reader_close(struct file *file)
{
	pipe_of(file)->readers--;
	pipe_put(pipe_of(file));
}

static void writer_close(struct file *file)
{
	pipe_of(file)->writers--;
	pipe_put(pipe_of(file));
}

static const struct file_ops reader_ops = { .read = pipe_read,
					    .poll = reader_poll,
					    .close = reader_close };
static const struct file_ops writer_ops = { .write = pipe_write,
					    .poll = writer_poll,
					    .close = writer_close };

int pipe_create(uint32_t flags, struct file **reader, struct file **writer)
{
	struct page *pages;
	struct pipe *pipe;

	if (pipe_pages + PIPE_PAGES > page_total / PIPES_SHARE)
		return -ENFILE;
	pages = page_alloc(PIPE_ORDER, PAGE_ANY);
	pipe = memory_alloc_zero(sizeof(*pipe));
	*reader = file_create(&reader_ops, NULL, (flags & OPEN_NONBLOCK) | OPEN_READ);
	*writer = file_create(&writer_ops, NULL, (flags & OPEN_NONBLOCK) | OPEN_WRITE);
	if (!pages || !pipe || !*reader || !*writer) {
		if (pages)
			page_free(pages, PIPE_ORDER, false);
		memory_free(pipe);
		memory_free(*reader);
		memory_free(*writer);
		return -ENOMEM;
	}
	pipe_pages += PIPE_PAGES;
	*pipe = (struct pipe){ .ring = page_address(pages), .readers = 1, .writers = 1 };
	(*reader)->private = (*writer)->private = pipe;
	return 0;
}

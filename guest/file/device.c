/*
 * /dev, the console among it. Console bytes travel between the monitor and the program's own pages:
 * the kernel passes physical addresses and copies nothing.
 */
#include "guest/file/file.h"
#include "guest/lib/errno.h"
#include "guest/lib/random.h"
#include "guest/lib/string.h"
#include "guest/memory/user.h"
#include "guest/monitor/doorbell.h"
#include "guest/process/process.h"
#include "guest/process/signal.h"

/* A read asks for so much at most, so that a large buffer is not brought in for a short line. */
#define CONSOLE_READ_MAX (128 << 10)

static int64_t console_write(unsigned output, const struct io_vector *vector, unsigned count)
{
	struct vector_cursor cursor = { vector, count, 0 };
	struct quire_segment segment[QUIRE_SEGMENT_MAX];
	int64_t total = 0, written;

	for (;;) {
		int segments =
			user_segments(&cursor, false, UINT64_MAX, segment, QUIRE_SEGMENT_MAX);

		if (segments <= 0)
			return total > 0 || segments == 0 ? total : segments;
		written = doorbell_write(output, segment, segments);
		if (written == -EPIPE)
			signal_send(current_process(), SIGPIPE);
		if (written < 0)
			return total > 0 ? total : written;
		total += written;
	}
}

static int64_t console_out_write(struct file *file, const struct io_vector *vector, unsigned count,
				 uint64_t *offset)
{
	return console_write(1, vector, count);
}

static int64_t console_error_write(struct file *file, const struct io_vector *vector,
				   unsigned count, uint64_t *offset)
{
	return console_write(2, vector, count);
}

static int64_t console_read(struct file *file, const struct io_vector *vector, unsigned count,
			    uint64_t *offset)
{
	struct quire_segment segment[QUIRE_SEGMENT_MAX];

	for (;;) {
		struct vector_cursor cursor = { vector, count, 0 };
		int segments =
			user_segments(&cursor, true, CONSOLE_READ_MAX, segment, QUIRE_SEGMENT_MAX);
		int64_t result;

		if (segments <= 0)
			return segments;
		result = doorbell_read(segment, segments);
		if (result != -EAGAIN || (file->flags & OPEN_NONBLOCK))
			return result;
		if (!thread_wait(&console_input, WAIT_FOREVER))
			return -EINTR;
	}
}

const struct file_ops console_in_ops = { .read = console_read };
const struct file_ops console_out_ops = { .write = console_out_write };
const struct file_ops console_error_ops = { .write = console_error_write };
const struct file_ops tty_ops = { .read = console_read, .write = console_out_write };

static int64_t sink_write(struct file *file, const struct io_vector *vector, unsigned count,
			  uint64_t *offset)
{
	int64_t total = 0;

	for (; count > 0; vector++, count--)
		total += vector->length;
	return total;
}

static int64_t null_read(struct file *file, const struct io_vector *vector, unsigned count,
			 uint64_t *offset)
{
	return 0;
}

static int64_t zero_read(struct file *file, const struct io_vector *vector, unsigned count,
			 uint64_t *offset)
{
	int64_t total = 0;

	for (; count > 0; vector++, count--) {
		if (user_clear(vector->base, vector->length))
			return total ? total : -EFAULT;
		total += vector->length;
	}
	return total;
}

static int64_t full_write(struct file *file, const struct io_vector *vector, unsigned count,
			  uint64_t *offset)
{
	return -ENOSPC;
}

static int64_t random_read(struct file *file, const struct io_vector *vector, unsigned count,
			   uint64_t *offset)
{
	int64_t total = 0;
	uint64_t word[32];

	for (; count > 0; vector++, count--) {
		for (uint64_t done = 0, part; done < vector->length; done += part, total += part) {
			part = MIN(vector->length - done, sizeof(word));
			for (unsigned i = 0; i < (part + 7) / 8; i++)
				word[i] = random_next();
			if (user_write(vector->base + done, word, part))
				return total ? total : -EFAULT;
		}
	}
	return total;
}

const struct file_ops null_ops = { .read = null_read, .write = sink_write, .seekable = true };
const struct file_ops zero_ops = {
	.read = zero_read, .write = sink_write, .seekable = true, .anonymous_map = true
};
const struct file_ops full_ops = { .read = zero_read, .write = full_write, .seekable = true };
const struct file_ops random_ops = { .read = random_read, .write = sink_write, .seekable = true };

static const struct device {
	const char *name;
	const struct file_ops *ops;
	uint32_t number;
} devices[] = {
	{ "null", &null_ops, 0x103 },	   { "zero", &zero_ops, 0x105 },
	{ "full", &full_ops, 0x107 },	   { "random", &random_ops, 0x108 },
	{ "urandom", &random_ops, 0x109 }, { "tty", &tty_ops, 0x500 },
	{ "console", &tty_ops, 0x501 },
};

static const struct link {
	const char *name, *target;
} links[] = {
	{ "fd", "/proc/self/fd" },
	{ "stdin", "/proc/self/fd/0" },
	{ "stdout", "/proc/self/fd/1" },
	{ "stderr", "/proc/self/fd/2" },
};

static struct node *directory_at(const char *name)
{
	struct node *node = node_child(node_root, name, strlen(name));

	return node ? node : node_add(node_root, name, MODE_DIRECTORY | 0755);
}

void device_init(void)
{
	struct node *directory = directory_at("dev"), *temporary = directory_at("tmp");

	if (temporary)
		temporary->mode = MODE_DIRECTORY | 01777;
	if (directory)
		node_add(directory, "shm", MODE_DIRECTORY | 01777);

	for (unsigned i = 0; directory && i < ARRAY_SIZE(devices); i++) {
		struct node *node = node_add(directory, devices[i].name, MODE_CHARACTER | 0666);

		if (!node)
			return;
		node->ops = devices[i].ops;
		node->device = devices[i].number;
	}
	for (unsigned i = 0; directory && i < ARRAY_SIZE(links); i++) {
		struct node *node = node_add(directory, links[i].name, MODE_SYMLINK | 0777);

		if (!node)
			return;
		node->content.data = (const uint8_t *)links[i].target;
		node->content.size = strlen(links[i].target);
	}
}

/*
 * Output: a ring of bytes. Each write is a chain of its own, over the ring's memory; the device
 * works through those there are while more come, and interrupts only when somebody waits for room.
 * Chains may be done in any order; bytes become room in theirs.
 *
 * Input: a few buffers that the device fills. One that is full of bytes waits in line until they
 * are read, and is given back then, so nothing is lost: the device waits.
 */
#include "guest/device/console.h"
#include "guest/cpu/clock.h"
#include "guest/device/driver.h"
#include "guest/file/file.h"
#include "guest/lib/errno.h"
#include "guest/lib/string.h"
#include "guest/memory/page.h"
#include "guest/memory/slab.h"
#include "guest/memory/user.h"
#include "guest/monitor/doorbell.h"
#include "guest/process/process.h"

#define F_SIZE 0 /* feature bit */

enum { CONFIG_COLUMNS = 0, CONFIG_ROWS = 2 };
enum { QUEUE_INPUT = 0, QUEUE_OUTPUT = 1 };

#define RING_ORDER   3
#define RING_BYTES   (PAGE_SIZE << RING_ORDER)
#define CHAIN_MAX    32
#define INPUT_MAX    4
#define CONSOLE_MAX  4
#define MAJOR	     229
#define TIOCGWINSZ   0x5413
#define LOG_PATIENCE 1000000000ull /* ns that a line of the kernel's waits for room */

/* A write under way, or done. */
struct chain {
	uint32_t bytes;
	bool done;
};

struct input {
	struct input *next; /* with bytes to be read */
	uint32_t length, read;
	uint8_t *bytes; /* a page */
};

struct console {
	struct virtio_device *device;
	struct node *node;
	char name[5];

	uint8_t *ring;
	uint64_t head, tail; /* bytes that left the ring, that were put into it */
	struct chain chain[CHAIN_MAX];
	unsigned chain_first, chain_next; /* counted on: modulo CHAIN_MAX */
	unsigned chain_most;		  /* that fit the queue */

	struct input input[INPUT_MAX];
	struct input *first, **end; /* the line of those with bytes */
};

static struct console *consoles[CONSOLE_MAX];
static struct console *kernel_console; /* console=; or NULL */

/* --- output --- */

static uint64_t room(const struct console *console)
{
	if (console->chain_next - console->chain_first == console->chain_most)
		return 0;
	return RING_BYTES - (console->tail - console->head);
}

static void collect_output(struct console *console)
{
	struct virtio_queue *queue = &console->device->queue[QUEUE_OUTPUT];
	uint64_t before = console->head;
	struct chain *chain;
	uint32_t length;

	while ((chain = virtio_take(queue, &length)))
		chain->done = true;
	while (console->chain_first != console->chain_next) {
		chain = &console->chain[console->chain_first % CHAIN_MAX];
		if (!chain->done)
			break;
		console->head += chain->bytes;
		console->chain_first++;
	}
	if (console->head == before)
		return;
	virtio_want_interrupts(queue, false);
	thread_wake(&console->ring);
	thread_wake(&poll_channel);
}

/* Whether there is room; if not, the device interrupts when there is. */
static bool has_room(struct console *console)
{
	if (room(console) > 0)
		return true;
	virtio_want_interrupts(&console->device->queue[QUEUE_OUTPUT], true);
	collect_output(console);
	return room(console) > 0;
}

/* Sends the bytes that were put behind the tail, at most room() of them. */
static void send(struct console *console, uint64_t length)
{
	struct virtio_queue *queue = &console->device->queue[QUEUE_OUTPUT];
	uint64_t at = console->tail % RING_BYTES, first = MIN(length, RING_BYTES - at);
	struct chain *chain = &console->chain[console->chain_next % CHAIN_MAX];
	struct quire_segment segment[2] = { virtio_segment(console->ring + at, first),
					    virtio_segment(console->ring, length - first) };

	*chain = (struct chain){ .bytes = length };
	console->chain_next++;
	console->tail += length;
	if (!virtio_add(queue, segment, length > first ? 2 : 1, 0, chain))
		chain->done = true;
	virtio_kick(queue);
}

/* As much as there is room for. Bytes, or -EFAULT. */
static int64_t put_user(struct console *console, uint64_t from, uint64_t length)
{
	uint64_t at = console->tail % RING_BYTES, first;

	length = MIN(length, room(console));
	first = MIN(length, RING_BYTES - at);
	if (user_read(console->ring + at, from, first) ||
	    user_read(console->ring, from + first, length - first))
		return -EFAULT;
	send(console, length);
	return length;
}

/* 0, or why there is no room. */
static int64_t wait_for_room(struct file *file, struct console *console)
{
	collect_output(console);
	while (!console->device->failed && !has_room(console)) {
		if (file->flags & OPEN_NONBLOCK)
			return -EAGAIN;
		if (!thread_wait(&console->ring, WAIT_FOREVER))
			return -EINTR;
	}
	return console->device->failed ? -EIO : 0;
}

static int64_t console_write(struct file *file, const struct io_vector *vector, unsigned count,
			     uint64_t *offset)
{
	struct console *console = file->private;
	int64_t total = 0, put;

	for (; count > 0; vector++, count--) {
		for (uint64_t done = 0; done < vector->length; done += put, total += put) {
			put = wait_for_room(file, console);
			if (!put)
				put = put_user(console, vector->base + done, vector->length - done);
			if (put < 0)
				return total > 0 ? total : put;
		}
	}
	return total;
}

/* --- the kernel's lines: nobody can sleep for them --- */

static void log_write(const char *text, size_t length)
{
	struct console *console = kernel_console;
	uint64_t deadline = clock_now() + LOG_PATIENCE;

	collect_output(console);
	while (room(console) < length && clock_now() < deadline) {
		doorbell_yield();
		virtio_poll(console->device);
	}
	if (room(console) < length)
		return;
	for (size_t i = 0; i < length; i++)
		console->ring[(console->tail + i) % RING_BYTES] = text[i];
	send(console, length);
}

/* Before the machine stops: all that was written must be seen. */
static void log_drain(bool patiently)
{
	struct console *console = kernel_console;
	uint64_t deadline = patiently ? WAIT_FOREVER : clock_now() + LOG_PATIENCE;

	while (console->head != console->tail && clock_now() < deadline) {
		virtio_poll(console->device);
		doorbell_yield();
	}
}

/* --- input --- */

/* False: the device has failed. */
static bool give_buffer(struct console *console, struct input *input)
{
	struct quire_segment segment = virtio_segment(input->bytes, PAGE_SIZE);

	return virtio_add(&console->device->queue[QUEUE_INPUT], &segment, 0, 1, input);
}

static void collect_input(struct console *console)
{
	struct virtio_queue *queue = &console->device->queue[QUEUE_INPUT];
	struct input *input;
	uint32_t length;

	while ((input = virtio_take(queue, &length))) {
		if (length == 0) {
			give_buffer(console, input);
			continue;
		}
		input->length = length;
		input->read = 0;
		input->next = NULL;
		*console->end = input;
		console->end = &input->next;
	}
	if (!console->first)
		return;
	thread_wake(console);
	thread_wake(&poll_channel);
}

/* Some bytes of the first buffer; an empty one goes back. Bytes or -EFAULT. */
static int64_t get_user(struct console *console, uint64_t to, uint64_t length)
{
	struct input *input = console->first;

	length = MIN(length, input->length - input->read);
	if (user_write(to, input->bytes + input->read, length))
		return -EFAULT;
	input->read += length;
	if (input->read == input->length) {
		console->first = input->next;
		if (!console->first)
			console->end = &console->first;
		give_buffer(console, input);
		virtio_kick(&console->device->queue[QUEUE_INPUT]);
	}
	return length;
}

static int64_t console_read(struct file *file, const struct io_vector *vector, unsigned count,
			    uint64_t *offset)
{
	struct console *console = file->private;
	int64_t total = 0, got;

	while (count > 0 && vector->length == 0) {
		vector++;
		count--;
	}
	while (count > 0 && !console->first) {
		if (console->device->failed)
			return -EIO;
		if (file->flags & OPEN_NONBLOCK)
			return -EAGAIN;
		if (!thread_wait(console, WAIT_FOREVER))
			return -EINTR;
	}
	for (; count > 0; vector++, count--) {
		for (uint64_t done = 0; done < vector->length && console->first; done += got) {
			got = get_user(console, vector->base + done, vector->length - done);
			if (got < 0)
				return total > 0 ? total : got;
			total += got;
		}
	}
	return total;
}

/* --- files --- */

static unsigned console_poll(struct file *file)
{
	struct console *console = file->private;

	if (console->device->failed)
		return POLL_IN | POLL_OUT | POLL_ERROR;
	return (console->first ? POLL_IN : 0) | (has_room(console) ? POLL_OUT : 0);
}

static int64_t console_control(struct file *file, uint32_t request, uint64_t argument)
{
	const struct console *console = file->private;
	/* Rows, columns, and twice pixels, which nobody knows. */
	uint16_t size[4] = { 0 };

	if (request != TIOCGWINSZ)
		return -ENOTTY;
	if (virtio_has(console->device, F_SIZE)) {
		size[0] = virtio_config_16(console->device, CONFIG_ROWS);
		size[1] = virtio_config_16(console->device, CONFIG_COLUMNS);
	}
	return user_write(argument, size, sizeof(size));
}

/* /dev/console and /dev/tty are the kernel's. */
static int64_t console_open(struct file *file)
{
	file->private = kernel_console;
	if (file->node->device >> 8 == MAJOR)
		file->private = consoles[file->node->device & 0xff];
	return 0;
}

static const struct file_ops hvc_ops = {
	.open = console_open,
	.read = console_read,
	.write = console_write,
	.poll = console_poll,
	.control = console_control,
};

struct node *console_choose(const char *name)
{
	static const char *const names[] = { "console", "tty" };

	for (unsigned i = 0; i < CONSOLE_MAX; i++) {
		if (consoles[i] && !strcmp(consoles[i]->name, name))
			kernel_console = consoles[i];
	}
	if (!kernel_console) {
		log_line(QUIRE_LEVEL_ERROR, "console=%s: there is none", name);
		return NULL;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		struct node *node =
			node_child(kernel_console->node->parent, names[i], strlen(names[i]));

		if (node)
			node->ops = &hvc_ops;
	}
	log_divert(log_write, log_drain);
	return kernel_console->node;
}

/* --- the driver --- */

static void console_interrupt(struct virtio_device *device)
{
	collect_output(device->state);
	collect_input(device->state);
}

/* Wakes all that wait, so that they find out. The content of the ring is lost; the kernel's words
 * go to the monitor. */
static void console_failed(struct virtio_device *device)
{
	struct console *console = device->state;

	console->head = console->tail;
	if (console == kernel_console)
		log_divert(NULL, NULL);
	thread_wake(&console->ring);
	thread_wake(console);
	thread_wake(&poll_channel);
}

static int console_begin(struct virtio_device *device)
{
	struct console *console = memory_alloc_zero(sizeof(*console));
	struct page *ring = page_alloc(RING_ORDER, PAGE_ANY);
	int error;

	if (!console || !ring || device->number >= CONSOLE_MAX)
		return -ENOMEM;
	device->state = console;
	console->device = device;
	console->ring = page_address(ring);
	console->end = &console->first;
	for (unsigned i = 0; i < INPUT_MAX; i++) {
		console->input[i].bytes = memory_alloc(PAGE_SIZE);
		if (!console->input[i].bytes)
			return -ENOMEM;
	}
	error = virtio_queue_init(device, QUEUE_INPUT);
	if (!error)
		error = virtio_queue_init(device, QUEUE_OUTPUT);
	/* Of two segments at most. */
	console->chain_most = MIN(CHAIN_MAX, device->queue[QUEUE_OUTPUT].size / 2);
	return !error && console->chain_most == 0 ? -EOPNOTSUPP : error;
}

static void console_start(struct virtio_device *device)
{
	struct node *directory = node_child(node_root, "dev", 3);
	struct console *console = device->state;

	memcpy(console->name, "hvc0", 5);
	console->name[3] += device->number;
	virtio_want_interrupts(&device->queue[QUEUE_OUTPUT], false);
	for (unsigned i = 0; i < INPUT_MAX && i < device->queue[QUEUE_INPUT].size; i++)
		give_buffer(console, &console->input[i]);
	virtio_kick(&device->queue[QUEUE_INPUT]);
	console->node =
		directory ? node_add(directory, console->name, MODE_CHARACTER | 0666) : NULL;
	if (!console->node)
		return;
	console->node->ops = &hvc_ops;
	console->node->device = MAJOR << 8 | device->number;
	consoles[device->number] = console;
}

const struct virtio_driver console_driver = {
	.name = "console",
	.id = 3,
	.features = 1 << F_SIZE,
	.begin = console_begin,
	.start = console_start,
	.interrupt = console_interrupt,
	.failed = console_failed,
};

/*
 * The virtio console and the entropy source: batches, back-pressure, a reader that goes away, and
 * drivers that break the rules.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "devices/virtio/console.h"
#include "devices/virtio/rng.h"
#include "driver.h"

enum { RECEIVE, TRANSMIT };

#define OUTPUT_MOST (1u << 20)

static struct driver driver;
static struct virtio_console *console;
static unsigned rooms;
static bool output_first;
static int ends[2]; /* to read, to write */

static void on_room(void *context)
{
	rooms++;
}

static const struct virtio_console_events events = { on_room };

static void make_console(int output_fd)
{
	struct virtio_console_config config = {
		.output_fd = output_fd,
		.output_first = output_first,
		.columns = 80,
		.rows = 24,
		.events = &events,
	};

	signal(SIGPIPE, SIG_IGN);
	driver_open(&driver, 0);
	config.space = driver.space;
	config.loop = driver.loop;
	cr_assert_eq(virtio_console_create(&config, &console), 0);
	driver.virtio = virtio_console_virtio(console);
}

static void start_console(void)
{
	driver_start(&driver, F_EVENT_IDX | F_INDIRECT, 2, 64);
}

static void close_console(void)
{
	virtio_console_destroy(console);
	virtio_console_destroy(NULL);
	driver_close(&driver);
}

static void open_on_pipe(void)
{
	cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
	make_console(ends[1]);
	start_console();
}

TestSuite(virtio_console, .init = open_on_pipe, .fini = close_console);
TestSuite(virtio_console_on, .fini = close_console);

/* Lets the guest send text from an address of its own. */
static void send_at(uint64_t at, const void *text, uint32_t length)
{
	const struct driver_segment segment = { DRIVER_DATA + at, length, false };

	memcpy(driver.memory + segment.address, text, length);
	driver_add(&driver, TRANSMIT, &segment, 1);
}

static unsigned take_all(unsigned queue)
{
	uint32_t head, written;
	unsigned count = 0;

	while (driver_take(&driver, queue, &head, &written))
		count++;
	return count;
}

/* The device has written this text and nothing more. */
static void expect_output(int fd, const char *text)
{
	struct pollfd ready = { .fd = fd, .events = POLLIN };
	char buffer[256] = "";

	cr_assert_eq(read(fd, buffer, sizeof(buffer) - 1), (ssize_t)strlen(text));
	cr_assert_str_eq(buffer, text);
	cr_assert_eq(poll(&ready, 1, 0), 0);
}

/* --- output --- */

Test(virtio_console, writes_what_the_guest_sends)
{
	static const struct driver_segment pieces[] = {
		{ DRIVER_DATA, 3, false },
		{ DRIVER_DATA + 100, 0, false },
		{ DRIVER_DATA + 200, 4, false },
	};

	memcpy(driver.memory + DRIVER_DATA, "one", 3);
	memcpy(driver.memory + DRIVER_DATA + 200, " two", 4);
	driver_add(&driver, TRANSMIT, pieces, 3);
	driver_add(&driver, TRANSMIT, &pieces[1], 1); /* nothing at all */
	driver_kick(&driver, TRANSMIT);
	expect_output(ends[0], "one two");
	cr_assert_eq(take_all(TRANSMIT), 2);
	cr_assert_eq(driver_interrupts(&driver), 1);
	cr_assert(!(fcntl(ends[1], F_GETFL) & O_NONBLOCK), "the descriptor's flags are not ours");
}

/* A socket of messages shows what one write is. */
Test(virtio_console_on, many_chains_are_one_write)
{
	char buffer[64] = "";
	int pair[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	make_console(pair[1]);
	start_console();
	for (unsigned i = 0; i < 20; i++)
		send_at(i * 8, "ab", 2);
	driver_kick(&driver, TRANSMIT);
	cr_assert_eq(recv(pair[0], buffer, sizeof(buffer), MSG_DONTWAIT), 40);
	cr_assert_eq(take_all(TRANSMIT), 20);
	cr_assert_eq(driver_interrupts(&driver), 1);
}

/* More than the pipe takes, and then some: nothing is lost, nothing blocks, and the guest has its
 * buffers back only as there is room. */
static void overfill(void)
{
	static uint8_t expected[OUTPUT_MOST], got[OUTPUT_MOST];
	size_t received = 0;
	unsigned done;

	fcntl(ends[1], F_SETPIPE_SZ, 4096);
	for (size_t i = 0; i < OUTPUT_MOST; i++)
		expected[i] = (uint8_t)(i * 7 + i / 4096);
	for (unsigned i = 0; i < 32; i++)
		send_at(i * 32768, expected + i * 32768, 32768);
	driver_kick(&driver, TRANSMIT);
	done = take_all(TRANSMIT);
	cr_assert_leq(done, 3, "a buffer's worth, and what the pipe holds");
	cr_assert_eq(loop_serve(driver.loop, 20), 0, "it waits");
	driver_kick(&driver, TRANSMIT);
	cr_assert_eq(take_all(TRANSMIT), 0);
	while (received < OUTPUT_MOST) {
		ssize_t n = read(ends[0], got + received, 1 + received % 5000);

		cr_assert_gt(n, 0);
		received += (size_t)n;
		driver_serve(&driver);
	}
	cr_assert_eq(memcmp(got, expected, OUTPUT_MOST), 0);
	cr_assert_eq(done + take_all(TRANSMIT), 32);
	cr_assert_eq(loop_serve(driver.loop, 20), 0, "nobody asks for a pipe to be writable now");
}

Test(virtio_console, a_full_pipe)
{
	overfill();
}

Test(virtio_console_on, a_full_pipe_that_cannot_be_opened_anew)
{
	cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
	if (geteuid() != 0) {
		make_console(ends[1]);
		cr_skip_test("only root can become another user");
	}
	fcntl(ends[1], F_SETPIPE_SZ, 4096);
	driver_open(&driver, 0);
	cr_assert_eq(seteuid(65534), 0);
	cr_assert_lt(open("/proc/self/fd/1", O_WRONLY | O_CLOEXEC), 0, "the test's own premise");
	cr_assert_eq(virtio_console_create(&(struct virtio_console_config){ .space = driver.space,
									    .loop = driver.loop,
									    .output_fd = ends[1],
									    .events = &events },
					   &console),
		     0);
	cr_assert_eq(seteuid(0), 0);
	driver.virtio = virtio_console_virtio(console);
	start_console();
	overfill();
}

Test(virtio_console_on, a_full_socket)
{
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	make_console(ends[1]);
	start_console();
	setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &(int){ 4096 }, sizeof(int));
	overfill();
}

Test(virtio_console, the_reader_goes_away)
{
	close(ends[0]);
	for (unsigned n = 0; n < 10; n++) {
		for (unsigned i = 0; i < 32; i++)
			send_at(i * 8, "lost", 4);
		driver_kick(&driver, TRANSMIT);
		cr_assert_eq(take_all(TRANSMIT), 32);
	}
	cr_assert(!driver_is_broken(&driver));
	cr_assert_eq(loop_serve(driver.loop, 20), 0);
}

Test(virtio_console, the_reader_goes_away_while_output_is_blocked)
{
	static uint8_t bytes[32768];

	fcntl(ends[1], F_SETPIPE_SZ, 4096);
	for (unsigned i = 0; i < 10; i++)
		send_at(i * sizeof(bytes), bytes, sizeof(bytes));
	driver_kick(&driver, TRANSMIT);
	cr_assert_lt(take_all(TRANSMIT), 10);
	close(ends[0]);
	driver_serve(&driver);
	cr_assert_eq(driver.queue[TRANSMIT].used->idx, 10);
	cr_assert_eq(loop_serve(driver.loop, 20), 0);
}

Test(virtio_console_on, a_file)
{
	char buffer[32] = "";
	FILE *file = tmpfile();

	make_console(fileno(file));
	start_console();
	cr_assert_eq(write(fileno(file), "before ", 7), 7);
	send_at(0, "guest ", 6);
	driver_kick(&driver, TRANSMIT);
	cr_assert_eq(write(fileno(file), "after", 5), 5);
	cr_assert_eq(pread(fileno(file), buffer, sizeof(buffer), 0), 18);
	cr_assert_str_eq(buffer, "before guest after", "one position for all who write");
}

Test(virtio_console_on, a_full_disk)
{
	make_console(open("/dev/full", O_WRONLY | O_CLOEXEC));
	start_console();
	for (unsigned i = 0; i < 10; i++)
		send_at(i * 8, "lost", 4);
	driver_kick(&driver, TRANSMIT);
	cr_assert_eq(take_all(TRANSMIT), 10);
	cr_assert(!driver_is_broken(&driver));
}

Test(virtio_console_on, a_terminal)
{
	int master, slave;

	cr_assert_eq(openpty(&master, &slave, NULL, NULL, NULL), 0);
	make_console(slave);
	start_console();
	send_at(0, "hello\n", 6);
	driver_kick(&driver, TRANSMIT);
	expect_output(master, "hello\r\n");
	cr_assert(!(fcntl(slave, F_GETFL) & O_NONBLOCK));
	/* Stopped, as with Ctrl-S; the loop goes on. */
	tcflow(slave, TCOOFF);
	send_at(0, "later\n", 6);
	driver_kick(&driver, TRANSMIT);
	tcflow(slave, TCOON);
	driver_serve(&driver);
	expect_output(master, "later\r\n");
}

/* The most a chain may hold, many times over: others have their turn in between. */
Test(virtio_console_on, much_output_in_rounds)
{
	struct vring_desc *table;
	unsigned rounds = 0;

	make_console(open("/dev/null", O_WRONLY | O_CLOEXEC));
	start_console();
	table = (void *)(driver.memory + DRIVER_DATA);
	for (unsigned i = 0; i < 64; i++)
		table[i] = (struct vring_desc){ 0, DRIVER_MEMORY, VRING_DESC_F_NEXT,
						(uint16_t)(i + 1) };
	table[63].flags = 0;
	driver.queue[TRANSMIT].descriptors[0] =
		(struct vring_desc){ DRIVER_DATA, 64 * 16, VRING_DESC_F_INDIRECT, 0 };
	driver_offer(&driver, TRANSMIT, 0);
	driver_set(&driver, VIRTIO_MMIO_QUEUE_NOTIFY, TRANSMIT);
	while (loop_serve(driver.loop, 0) > 0)
		rounds++;
	cr_assert_geq(rounds, 64 * DRIVER_MEMORY / (4u << 20));
	cr_assert_eq(take_all(TRANSMIT), 1);
}

Test(virtio_console, a_reset_forgets_chains_but_not_bytes)
{
	static uint8_t bytes[100000];
	static uint8_t got[100000];
	size_t received = 0;

	fcntl(ends[1], F_SETPIPE_SZ, 4096);
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 13);
	send_at(0, bytes, sizeof(bytes)); /* larger than the device's buffer */
	driver_kick(&driver, TRANSMIT);
	cr_assert_eq(take_all(TRANSMIT), 0);
	start_console();
	memset(driver.memory + DRIVER_DATA, 0xee, sizeof(bytes));
	send_at(0, "new", 3);
	driver_kick(&driver, TRANSMIT);
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	for (;;) {
		ssize_t n = read(ends[0], got + received, sizeof(got) - received);

		driver_serve(&driver);
		if (n <= 0)
			break;
		received += (size_t)n;
	}
	cr_assert_gt(received, 65536);
	cr_assert_eq(memcmp(got, bytes, received - 3), 0, "what was taken is written");
	cr_assert_eq(memcmp(got + received - 3, "new", 3), 0);
	cr_assert_eq(take_all(TRANSMIT), 1);
}

/* Half of a chain is written and the pipe full: the rest is forgotten with its queue. */
Test(virtio_console, a_stopped_queue_forgets_its_chain)
{
	static uint8_t bytes[100000];
	unsigned got = 0;
	ssize_t n;

	fcntl(ends[1], F_SETPIPE_SZ, 4096);
	send_at(0, bytes, sizeof(bytes));
	driver_kick(&driver, TRANSMIT);
	driver_set(&driver, VIRTIO_MMIO_QUEUE_SEL, TRANSMIT);
	driver_set(&driver, VIRTIO_MMIO_QUEUE_READY, 0);
	cr_assert_eq(driver_get(&driver, VIRTIO_MMIO_QUEUE_READY), 0);
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	while ((n = read(ends[0], bytes, sizeof(bytes))) > 0) {
		got += (unsigned)n;
		driver_serve(&driver);
	}
	cr_assert_eq(got, 65536, "%u", got);
	cr_assert_eq(take_all(TRANSMIT), 0);
	cr_assert(!driver_is_broken(&driver));
}

static void *read_slowly(void *context)
{
	size_t *received = context;
	char buffer[1000];
	ssize_t n;

	while ((n = read(ends[0], buffer, sizeof(buffer))) > 0)
		__atomic_fetch_add(received, (size_t)n, __ATOMIC_RELAXED);
	return NULL;
}

Test(virtio_console, drains_at_the_end)
{
	static uint8_t bytes[32768];
	size_t received = 0;
	pthread_t reader;
	uint64_t start;

	fcntl(ends[1], F_SETPIPE_SZ, 4096);
	for (unsigned i = 0; i < 10; i++)
		send_at(i * sizeof(bytes), bytes, sizeof(bytes));
	driver_kick(&driver, TRANSMIT);
	start = clock_now_ns();
	virtio_console_drain(console, 30);
	cr_assert_geq(clock_now_ns() - start, 30000000, "nobody reads: it waits that long");
	cr_assert_eq(pthread_create(&reader, NULL, read_slowly, &received), 0);
	send_at(0, "!", 1); /* and nobody kicks any more */
	virtio_console_drain(console, 20000);
	cr_assert_eq(take_all(TRANSMIT), 11);
	virtio_console_destroy(console);
	console = NULL;
	close(ends[1]);
	pthread_join(reader, NULL);
	cr_assert_eq(received, 10 * sizeof(bytes) + 1);
}

/* --- input --- */

static void post(uint64_t at, uint32_t length)
{
	driver_add(&driver, RECEIVE, &(struct driver_segment){ DRIVER_DATA + at, length, true }, 1);
}

Test(virtio_console, takes_input_as_far_as_there_is_room)
{
	uint32_t head, written;

	cr_assert_eq(virtio_console_input(console, "abc", 3), 0);
	driver_serve(&driver);
	cr_assert_eq(rooms, 0);
	post(0, 4);
	post(64, 4);
	driver_kick(&driver, RECEIVE);
	cr_assert_eq(rooms, 1);
	cr_assert_eq(virtio_console_input(console, "abcdef", 6), 6);
	cr_assert(driver_take(&driver, RECEIVE, &head, &written) && written == 4);
	cr_assert(driver_take(&driver, RECEIVE, &head, &written) && written == 2);
	cr_assert_arr_eq(driver.memory + DRIVER_DATA, "abcd", 4);
	cr_assert_arr_eq(driver.memory + DRIVER_DATA + 64, "ef", 2);
	cr_assert_eq(driver_interrupts(&driver), 1);
	post(0, 4);
	driver_kick(&driver, RECEIVE);
	cr_assert_eq(rooms, 1, "all of it was taken, nobody waits");
	cr_assert_eq(virtio_console_input(console, "ghijkl", 6), 4);
	post(0, 4);
	driver_kick(&driver, RECEIVE);
	cr_assert_eq(rooms, 2);
}

Test(virtio_console_on, input_before_the_driver_is_there)
{
	make_console(STDERR_FILENO);
	cr_assert_eq(virtio_console_input(console, "abc", 3), 0);
	driver_begin(&driver, F_EVENT_IDX);
	driver_queue(&driver, RECEIVE, 8);
	post(0, 16);
	cr_assert_eq(virtio_console_input(console, "abc", 3), 0);
	cr_assert_eq(rooms, 0);
	driver_ready(&driver);
	cr_assert_eq(rooms, 1);
	cr_assert_eq(virtio_console_input(console, "abc", 3), 3);
}

Test(virtio_console_on, input_before_the_guest_has_spoken)
{
	output_first = true;
	cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
	make_console(ends[1]);
	start_console();
	post(0, 16);
	driver_kick(&driver, RECEIVE);
	cr_assert_eq(virtio_console_input(console, "abc", 3), 0);
	cr_assert_eq(rooms, 0);
	send_at(64, "$ ", 2);
	driver_kick(&driver, TRANSMIT);
	cr_assert_eq(rooms, 1);
	cr_assert(driver_get(&driver, VIRTIO_MMIO_INTERRUPT_STATUS) & VIRTIO_MMIO_INT_CONFIG,
		  "it shall look at the size");
	cr_assert_eq(virtio_console_input(console, "abc", 3), 3);
	/* Another driver begins anew. */
	start_console();
	post(0, 16);
	driver_kick(&driver, RECEIVE);
	cr_assert_eq(virtio_console_input(console, "abc", 3), 0);
}

Test(virtio_console, buffers_of_the_wrong_kind)
{
	driver_add(&driver, RECEIVE, &(struct driver_segment){ DRIVER_DATA, 8, false }, 1);
	cr_assert_eq(virtio_console_input(console, "abc", 3), 0);
	cr_assert(driver_is_broken(&driver));
	start_console();
	driver_add(&driver, RECEIVE, &(struct driver_segment){ DRIVER_DATA, 0, true }, 1);
	cr_assert_eq(virtio_console_input(console, "abc", 3), 0);
	cr_assert(driver_is_broken(&driver));
	start_console();
	driver_add(&driver, TRANSMIT, &(struct driver_segment){ DRIVER_DATA, 8, true }, 1);
	driver_kick(&driver, TRANSMIT);
	cr_assert(driver_is_broken(&driver));
	start_console();
	send_at(0, "well again", 10);
	driver_kick(&driver, TRANSMIT);
	expect_output(ends[0], "well again");
}

Test(virtio_console, tells_of_its_size)
{
	cr_assert_eq(driver_config(&driver, 0, 4), 24u << 16 | 80);
	virtio_console_resize(console, 80, 24);
	cr_assert_eq(driver_interrupts(&driver), 0);
	virtio_console_resize(console, 132, 50);
	cr_assert_eq(driver_config(&driver, 0, 2), 132);
	cr_assert_eq(driver_config(&driver, 2, 2), 50);
	cr_assert_eq(driver_get(&driver, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_CONFIG);
	driver_set(&driver, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	cr_assert(driver_get(&driver, VIRTIO_MMIO_DEVICE_FEATURES) & 1);
}

/* Memory that cannot be had in the midst of a chain: broken, and no byte twice. */
Test(virtio_console, memory_that_cannot_be_had)
{
	static uint8_t bytes[100000];

	send_at(0, bytes, sizeof(bytes));
	driver.pin_error = -EIO;
	driver.pins_left = 1;
	driver_kick(&driver, TRANSMIT);
	driver.pin_error = 0;
	cr_assert(driver_is_broken(&driver));
	cr_assert_eq(driver.queue[TRANSMIT].used->idx, 0);
	virtio_console_drain(console, 1000);
	start_console();
}

/* --- entropy --- */

static struct virtio_rng *rng;

static void open_rng(void)
{
	driver_open(&driver, 0);
	cr_assert_eq(virtio_rng_create(driver.space, driver.loop, &rng), 0);
	driver.virtio = virtio_rng_virtio(rng);
	driver_start(&driver, F_EVENT_IDX, 1, 64);
}

static void close_rng(void)
{
	virtio_rng_destroy(rng);
	virtio_rng_destroy(NULL);
	driver_close(&driver);
}

TestSuite(virtio_rng, .init = open_rng, .fini = close_rng);

static bool is_zero(const uint8_t *bytes, size_t length)
{
	while (length > 0 && bytes[length - 1] == 0)
		length--;
	return length == 0;
}

Test(virtio_rng, gives_bytes)
{
	static const struct driver_segment pieces[] = {
		{ DRIVER_DATA, 16, true },
		{ DRIVER_DATA + 64, 32, true },
	};
	uint32_t head, written;

	driver_add(&driver, 0, pieces, 2);
	driver_kick(&driver, 0);
	cr_assert(driver_take(&driver, 0, &head, &written) && written == 48);
	cr_assert(!is_zero(driver.memory + DRIVER_DATA, 16));
	cr_assert(!is_zero(driver.memory + DRIVER_DATA + 64, 32));
	cr_assert(is_zero(driver.memory + DRIVER_DATA + 16, 48));
	cr_assert(is_zero(driver.memory + DRIVER_DATA + 96, 100));
	cr_assert_eq(driver_interrupts(&driver), 1);
}

Test(virtio_rng, gives_not_too_much_at_once)
{
	const struct driver_segment much = { DRIVER_DATA, 1u << 20, true };
	uint32_t head, written;
	unsigned rounds = 0;

	for (unsigned i = 0; i < 64; i++)
		driver_add(&driver, 0, &much, 1);
	driver_set(&driver, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	while (loop_serve(driver.loop, 0) > 0)
		rounds++;
	cr_assert_gt(rounds, 2);
	for (unsigned i = 0; i < 64; i++)
		cr_assert(driver_take(&driver, 0, &head, &written) && written == 4096);
}

Test(virtio_rng, buffers_of_the_wrong_kind)
{
	static const struct driver_segment wrong[] = {
		{ DRIVER_DATA, 16, false },
		{ DRIVER_DATA, 0, true },
	};

	for (unsigned i = 0; i < 2; i++) {
		driver_add(&driver, 0, &wrong[i], 1);
		driver_kick(&driver, 0);
		cr_assert(driver_is_broken(&driver));
		driver_start(&driver, F_EVENT_IDX, 1, 64);
	}
}

/*
 * The serial port and the power switch without a guest: registers as Linux' driver looks at them,
 * interrupts, output that is batched and not lost, input that is not lost either.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "devices/loop.h"
#include "devices/pm_timer.h"
#include "devices/power.h"
#include "devices/serial.h"

enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR, FCR = IIR };

#define RDI  1
#define THRI 2
#define NONE 0xc1 /* IIR, with FIFOs */

static struct loop *loop;
static struct serial *serial;
static pthread_t thread;
static int out[2], stop_fd, rooms;
static bool running;

static void input_room(void *context)
{
	rooms++;
}

static void *serve(void *argument)
{
	loop_run(loop);
	return NULL;
}

static void start(int output_fd)
{
	struct serial_config config = { .output_fd = output_fd, .input_room = input_room };

	signal(SIGPIPE, SIG_IGN);
	cr_assert_eq(loop_create(&loop), 0);
	config.loop = loop;
	config.stop_fd = stop_fd = eventfd(0, EFD_NONBLOCK);
	cr_assert_eq(serial_create(&config, &serial), 0);
	cr_assert_eq(pthread_create(&thread, NULL, serve, NULL), 0);
	running = true;
}

static void start_on_pipe(void)
{
	cr_assert_eq(pipe2(out, O_CLOEXEC), 0);
	start(out[1]);
}

static void end_loop(void)
{
	if (!running)
		return;
	loop_stop(loop);
	pthread_join(thread, NULL);
	running = false;
}

static void end(void)
{
	end_loop();
	serial_destroy(serial);
	loop_destroy(loop);
	close(stop_fd);
}

TestSuite(serial, .init = start_on_pipe, .fini = end, .timeout = 60);
TestSuite(serial_on, .fini = end, .timeout = 60);

static void put(unsigned number, uint8_t value)
{
	cr_assert_eq(serial_ops.write(serial, number, 1, value), 0);
}

static uint8_t get(unsigned number)
{
	uint64_t value;

	cr_assert_eq(serial_ops.read(serial, number, 1, &value), 0);
	return (uint8_t)value;
}

static unsigned interrupts(void)
{
	uint64_t count = 0;
	struct pollfd ready = { .fd = serial_interrupt_fd(serial), .events = POLLIN };

	if (poll(&ready, 1, 0) > 0)
		cr_assert_eq(read(ready.fd, &count, sizeof(count)), 8);
	return (unsigned)count;
}

static void put_text(const char *text)
{
	for (; *text != '\0'; text++)
		put(DATA, (uint8_t)*text);
}

/* Opens the line as Linux does. */
static void open_line(void)
{
	put(FCR, 0x01);
	put(FCR, 0x07);
	put(LCR, 0x03);
	put(MCR, 0x0b);
	put(IER, RDI);
}

/* --- what a driver finds --- */

Test(serial, is_a_16550)
{
	put(SCR, 0x5a);
	cr_assert_eq(get(SCR), 0x5a);
	put(IER, 0);
	cr_assert_eq(get(IER), 0);
	put(IER, 0xff);
	cr_assert_eq(get(IER), 0x0f);
	put(IER, 0);
	put(MCR, 0x1a); /* loop, OUT2, RTS */
	cr_assert_eq(get(MSR) & 0xf0, 0x90);
	put(MCR, 0x15); /* loop, OUT1, DTR */
	cr_assert_eq(get(MSR) & 0xf0, 0x60);
	put(MCR, 0xe3);
	cr_assert_eq(get(MCR), 0x03);
	cr_assert_eq(get(MSR) & 0xf0, 0xb0);
	cr_assert_eq(get(IIR), 0x01, "no FIFO yet");
	put(FCR, 1);
	cr_assert_eq(get(IIR), NONE);
	put(LCR, 0x80);
	put(DATA, 0x34);
	put(IER, 0x12);
	cr_assert_eq(get(DATA), 0x34);
	cr_assert_eq(get(IER), 0x12);
	put(LCR, 0x03);
	cr_assert_eq(get(LCR), 0x03);
	cr_assert_eq(get(IER), 0, "the divisor is not the interrupts' register");
	cr_assert_eq(get(LSR), 0x60);
	cr_assert_eq(get(DATA), 0);
}

Test(serial, loops_back)
{
	put(MCR, 0x10);
	put_text("ab");
	cr_assert_eq(get(LSR), 0x61);
	cr_assert_eq(get(DATA), 'a');
	cr_assert_eq(get(DATA), 'b');
	cr_assert_eq(get(LSR), 0x60);
	for (int i = 0; i < 20; i++)
		put(DATA, (uint8_t)i);
	put(FCR, 3);
	cr_assert_eq(get(LSR), 0x60, "the receiver was emptied");
	for (int i = 0; i < 20; i++)
		put(DATA, (uint8_t)i);
	for (int i = 0; i < 16; i++)
		cr_assert_eq(get(DATA), i);
	cr_assert_eq(get(LSR), 0x60, "the FIFO holds 16");
}

/* A wide access is for neighbours, and may reach past the last register. */
Test(serial, wide_accesses)
{
	uint64_t value;

	cr_assert_eq(serial_ops.write(serial, LCR, 4, 0x5a000b03 | 0x0b << 8), 0);
	cr_assert_eq(get(LCR), 0x03);
	cr_assert_eq(get(MCR), 0x0b);
	cr_assert_eq(serial_ops.write(serial, SCR, 4, 0xffffff77), 0);
	cr_assert_eq(serial_ops.read(serial, MSR, 4, &value), 0);
	cr_assert_eq(value, 0xffff77b0);
}

/* --- interrupts --- */

Test(serial, tells_that_it_can_transmit)
{
	put(FCR, 1);
	put(IER, THRI);
	cr_assert_eq(interrupts(), 1);
	cr_assert_eq(get(IIR), 0xc2);
	cr_assert_eq(get(IIR), NONE, "once told, it is told");
	put(IER, 0);
	put(IER, THRI);
	cr_assert_eq(interrupts(), 1);
	cr_assert_eq(get(IIR), 0xc2);
	put_text("sixteen of these");
	cr_assert_eq(interrupts(), 1, "a burst is one interrupt");
	cr_assert_eq(get(IIR), 0xc2);
	put(IER, 0);
	put_text("x");
	cr_assert_eq(interrupts(), 0);
	cr_assert_eq(get(IIR), NONE);
}

Test(serial, input_waits_until_the_guest_listens)
{
	const uint8_t text[] = "0123456789abcdefXYZ";

	cr_assert_eq(serial_input(serial, text, 19), 0);
	put(IER, 0x0f); /* a driver's probe */
	cr_assert_eq(serial_input(serial, text, 19), 0);
	put(IER, 0);
	cr_assert_eq(rooms, 0);
	open_line();
	cr_assert_eq(rooms, 1);
	interrupts();
	cr_assert_eq(serial_input(serial, text, 19), 16);
	cr_assert_eq(interrupts(), 1);
	cr_assert_eq(get(IIR), 0xc4);
	for (int i = 0; i < 15; i++) {
		cr_assert_eq(get(LSR) & 1, 1);
		cr_assert_eq(get(DATA), text[i]);
		cr_assert_eq(rooms, 1);
	}
	cr_assert_eq(get(DATA), 'f');
	cr_assert_eq(rooms, 2, "there is room once it is empty");
	cr_assert_eq(get(LSR) & 1, 0);
	cr_assert_eq(get(IIR), NONE);
	cr_assert_eq(serial_input(serial, text + 16, 3), 3);
	cr_assert_eq(interrupts(), 1);
	cr_assert_eq(get(DATA), 'X');
	cr_assert_eq(get(DATA), 'Y');
	cr_assert_eq(get(DATA), 'Z');
	cr_assert_eq(rooms, 2, "all was taken: nobody waits");
}

/* A kernel without interrupts looks and looks. */
Test(serial, input_for_who_polls)
{
	cr_assert_eq(serial_input(serial, (const uint8_t *)"a", 1), 0);
	for (int i = 0; i < 30; i++)
		get(LSR);
	put_text("."); /* it looked in order to transmit */
	for (int i = 0; i < 63; i++)
		get(LSR);
	cr_assert_eq(rooms, 0);
	get(LSR);
	cr_assert_eq(rooms, 1);
	cr_assert_eq(serial_input(serial, (const uint8_t *)"a", 1), 1);
	cr_assert_eq(get(LSR) & 1, 1);
	cr_assert_eq(get(DATA), 'a');
	cr_assert_eq(interrupts(), 0);
}

/* --- output --- */

/* Reads the output until length bytes are there; returns the number of reads. */
static unsigned read_all(char *text, size_t length)
{
	size_t used = 0;
	unsigned reads = 0;

	while (used < length) {
		ssize_t n = read(out[0], text + used, length - used);

		cr_assert(n > 0);
		used += (size_t)n;
		reads++;
	}
	return reads;
}

/* Packets of a pipe are the writes into it. */
Test(serial_on, few_writes)
{
	char text[4096];
	unsigned reads;

	cr_assert_eq(pipe2(out, O_DIRECT), 0);
	start(out[1]);
	for (size_t i = 0; i < sizeof(text); i++)
		put(DATA, (uint8_t)('a' + i % 26));
	reads = read_all(text, sizeof(text));
	for (size_t i = 0; i < sizeof(text); i++)
		cr_assert_eq(text[i], (char)('a' + i % 26));
	cr_assert_lt(reads, sizeof(text) / 16, "%u writes", reads);
}

/* No newline, no more bytes: the loop's timer writes it. */
Test(serial, a_prompt_comes_out)
{
	char text[3] = "";

	put_text("# ");
	read_all(text, 2);
	cr_assert_str_eq(text, "# ");
}

#define MUCH 300000

static void *print_much(void *argument)
{
	for (unsigned i = 0; i < MUCH; i++) {
		cr_assert_eq(serial_ops.write(serial, DATA, 1, i & 255), 0);
		__atomic_store_n((unsigned *)argument, i + 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

static void wait_until_full(void)
{
	while (get(LSR) & 0x20)
		usleep(1000);
}

/* Nothing is lost on a slow reader, and the transmitter says when it is busy. */
Test(serial, a_slow_reader_gets_everything)
{
	unsigned char *text = malloc(MUCH);
	unsigned printed = 0;
	pthread_t printer;

	put(IER, THRI);
	get(IIR);
	interrupts();
	pthread_create(&printer, NULL, print_much, &printed);
	wait_until_full();
	interrupts();
	get(IIR);
	for (size_t used = 0; used < MUCH;) {
		ssize_t n = read(out[0], text + used, 1000);

		cr_assert(n > 0);
		used += (size_t)n;
	}
	pthread_join(printer, NULL);
	for (unsigned i = 0; i < MUCH; i++)
		cr_assert_eq(text[i], i & 255);
	free(text);
	cr_assert_eq(get(LSR) & 0x60, 0x60);
}

/* Room again is an interrupt, for a driver that waits for it. */
Test(serial, room_again_interrupts)
{
	struct pollfd line = { .fd = serial_interrupt_fd(serial), .events = POLLIN };
	char text[1000];
	unsigned printed = 0;

	put(IER, THRI);
	/* Until the pipe is full as well. */
	do {
		for (; get(LSR) & 0x20; printed++)
			put(DATA, 'x');
		get(IIR);
		interrupts();
	} while (poll(&line, 1, 100) > 0);
	cr_assert_eq(get(LSR) & 0x60, 0, "nobody has read");
	for (unsigned used = 0; used < printed;) {
		ssize_t n = read(out[0], text, sizeof(text));

		cr_assert(n > 0);
		used += (unsigned)n;
	}
	cr_assert_eq(poll(&line, 1, 10000), 1);
	cr_assert_eq(get(IIR) & 15, 2);
	cr_assert_eq(get(LSR) & 0x60, 0x60);
}

/* The machine stops while a vCPU waits for the reader: the vCPU gets away. */
Test(serial, a_stop_frees_who_waits)
{
	unsigned printed = 0, before;
	pthread_t printer;
	uint64_t one = 1;

	pthread_create(&printer, NULL, print_much, &printed);
	do {
		before = __atomic_load_n(&printed, __ATOMIC_ACQUIRE);
		usleep(20000);
	} while (before == 0 || before != __atomic_load_n(&printed, __ATOMIC_ACQUIRE));
	cr_assert_lt(before, MUCH);
	cr_assert_eq(write(stop_fd, &one, 8), 8);
	pthread_join(printer, NULL);
	/* Bytes that are left do not hold the end up either. */
	end_loop();
	serial_drain(serial, stop_fd);
}

Test(serial, the_end_loses_nothing)
{
	char text[12001];

	end_loop();
	for (int i = 0; i < 1000; i++)
		put_text("hello world\n");
	serial_drain(serial, stop_fd);
	read_all(text, 12000);
	for (int i = 0; i < 1000; i++)
		cr_assert_eq(memcmp(text + 12 * i, "hello world\n", 12), 0);
}

Test(serial, nobody_reads)
{
	close(out[0]);
	for (int i = 0; i < 10000; i++)
		put_text("hello world\n");
	cr_assert_eq(get(LSR) & 0x60, 0x60);
	end_loop();
	serial_drain(serial, stop_fd);
}

Test(serial_on, a_file)
{
	char template[] = "/tmp/bifold-serial-XXXXXX", text[100001];
	int fd = mkstemp(template);

	unlink(template);
	start(fd);
	for (int i = 0; i < 10000; i++)
		put_text("0123456789");
	end_loop();
	serial_drain(serial, stop_fd);
	cr_assert_eq(pread(fd, text, sizeof(text), 0), 100000);
	close(fd);
}

Test(serial_on, a_closed_descriptor)
{
	start(-1);
	put_text("hello");
	end_loop();
	serial_drain(serial, stop_fd);
}

/* --- the power switch --- */

static int offs, resets;

static void on_off(void *context)
{
	offs++;
}

static void on_reset(void *context)
{
	resets++;
}

Test(power, registers)
{
	static const struct power_events events = { on_off, on_reset };
	struct power power = { .events = &events };
	uint64_t value;

	for (unsigned byte = 0; byte < 256; byte++) {
		power_ops.write(&power, 0, 1, byte);
		cr_assert_eq(offs, (byte & 0x3c) == 0x34, "%#x", byte);
		offs = 0;
		power_ops.write(&power, 1, 1, byte);
		cr_assert_eq(resets + offs, 0);
		power_ops.write(&power, 2, 1, byte);
		cr_assert_eq(resets, byte == 1, "%#x", byte);
		resets = 0;
		power_keyboard_ops.write(&power, 0, 1, byte);
		cr_assert_eq(resets, byte == 0xfe, "%#x", byte);
		resets = 0;
	}
	for (unsigned i = 0; i < 3; i++) {
		cr_assert_eq(power_ops.read(&power, i, 1, &value), 0);
		cr_assert_eq(value, 0);
	}
	cr_assert_eq(power_keyboard_ops.read(&power, 0, 1, &value), 0);
	cr_assert_eq(value, 0, "it takes commands");
}

/* --- the timer beside it --- */

static uint32_t timer(uint64_t offset, unsigned size)
{
	uint64_t value;

	cr_assert_eq(pm_timer_ops.read(NULL, offset, size, &value), 0);
	cr_assert_leq(value, UINT32_MAX);
	return (uint32_t)value;
}

/* Its count over a while is the clock's, and comes in any width. */
Test(pm_timer, goes_at_its_rate)
{
	uint64_t before = clock_now_ns(), after, ticks;
	uint32_t first = timer(0, 4), last;

	usleep(20000);
	cr_assert_eq(pm_timer_ops.write(NULL, 0, 4, 0), 0);
	last = timer(0, 4);
	after = clock_now_ns();
	ticks = (uint32_t)(last - first);
	cr_assert_geq(ticks, 20000ull * PM_TIMER_HZ / 1000000 - 1);
	cr_assert_leq(ticks, (after - before) * PM_TIMER_HZ / 1000000000 + 1);
	cr_assert_leq(timer(3, 1), 255);
	last = timer(0, 4);
	cr_assert_leq((uint32_t)((timer(2, 2) << 16) - (last & 0xffff0000)), 1u << 16);
}

/*
 * devices/ without a guest: the bus, and a doorbell rung by a hostile hand.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "devices/bus.h"
#include "devices/pci_host.h"
#include "devices/quire_port.h"
#include "ept/space.h"
#include "guest/abi.h"

#define MEMORY	   (1ul << 20)
#define REQUEST_AT 0x4000ul
#define DATA_AT	   0x8000ul

static struct {
	int starts, exits, failures, awaits;
	int status, signal;
	char message[600];
} seen;

struct bench {
	struct quire_port port;
	struct bus bus;
	int in[2], out[2];
};

static void on_start(void *context)
{
	seen.starts++;
}

static void on_exit_of_init(void *context, int status, int signal_number)
{
	seen.exits++;
	seen.status = status;
	seen.signal = signal_number;
}

static void on_no_init(void *context, int error, const char *message)
{
	seen.status = error;
	snprintf(seen.message, sizeof(seen.message), "%s", message);
}

static void on_failed(void *context, const char *message)
{
	seen.failures++;
	snprintf(seen.message, sizeof(seen.message), "%s", message);
}

static int on_release(void *context, gfn_t first, uint32_t count)
{
	struct bench *bench = context;

	return ept_space_discard(bench->port.space, first, count);
}

static int on_wait(void *context)
{
	return 0;
}

static char vector_of_cpu[QUIRE_VECTOR_MAX];

static int on_vector_get(void *context, void *state)
{
	memcpy(state, vector_of_cpu, sizeof(vector_of_cpu));
	return 0;
}

/* As KVM does, it refuses a header that it does not know. */
static int on_vector_set(void *context, const void *state)
{
	if (((const char *)state)[520] != 0)
		return -EINVAL;
	memcpy(vector_of_cpu, state, sizeof(vector_of_cpu));
	return 0;
}

static void on_await(void *context)
{
	seen.awaits++;
}

static const struct quire_port_events events = { on_start,	on_exit_of_init, on_no_init,
						 on_failed,	on_release,	 on_wait,
						 on_vector_get, on_vector_set,	 on_await };

static struct bench *open_bench(void)
{
	static struct bench bench;
	struct ept_config config = { .memory_bytes = MEMORY };

	signal(SIGPIPE, SIG_IGN);
	cr_assert(pipe2(bench.in, O_CLOEXEC) == 0 && pipe2(bench.out, O_CLOEXEC) == 0);
	bench.port = (struct quire_port){
		.events = &events,
		.context = &bench,
		.input_fd = bench.in[0],
		.output_fd = bench.out[1],
		.error_fd = bench.out[1],
		.stop_fd = eventfd(0, EFD_CLOEXEC),
	};
	cr_assert_eq(ept_space_create(&config, &bench.port.space), 0);
	cr_assert_eq(bus_add(&bench.bus, QUIRE_PORT_DOORBELL, 1, &quire_port_ops, &bench.port), 0);
	return &bench;
}

static int64_t ring(struct bench *bench, const struct quire_request *request)
{
	struct quire_request answer;

	cr_assert_eq(ept_write(bench->port.space, gpa(REQUEST_AT), request, sizeof(*request)), 0);
	cr_assert_eq(
		bus_write(&bench->bus, QUIRE_PORT_DOORBELL, 4, REQUEST_AT >> QUIRE_REQUEST_SHIFT),
		0);
	cr_assert_eq(ept_read(bench->port.space, gpa(REQUEST_AT), &answer, sizeof(answer)), 0);
	return answer.result;
}

Test(doorbell, bus_finds_its_devices)
{
	struct bus bus = { 0 };
	uint64_t value = 0;

	cr_assert_eq(bus_add(&bus, 0x100, 4, &quire_port_ops, NULL), 0);
	cr_assert_eq(bus_add(&bus, 0x103, 1, &quire_port_ops, NULL), -EEXIST);
	cr_assert_eq(bus_add(&bus, 0xff, 2, &quire_port_ops, NULL), -EEXIST);
	for (uint64_t i = 1; i < BUS_DEVICE_MAX; i++)
		cr_assert_eq(bus_add(&bus, 0x200 + i, 1, &quire_port_ops, NULL), 0);
	cr_assert_eq(bus_add(&bus, 0x300, 1, &quire_port_ops, NULL), -ENOSPC);
	cr_assert_eq(bus_read(&bus, 0x80, 1, &value), 0);
	cr_assert_eq(value, UINT64_MAX, "nobody answers: ones");
	cr_assert_eq(bus_write(&bus, 0x80, 1, 1), 0);
}

Test(doorbell, gathers_a_write)
{
	struct bench *bench = open_bench();
	struct quire_request request = { .op = QUIRE_OP_WRITE, .arg0 = 1, .segment_count = 2 };
	char text[16] = "";

	cr_assert_eq(ept_write(bench->port.space, gpa(DATA_AT), "hello, world", 12), 0);
	request.segment[0] = (struct quire_segment){ DATA_AT + 7, 5 };
	request.segment[1] = (struct quire_segment){ DATA_AT, 5 };
	cr_assert_eq(ring(bench, &request), 10);
	cr_assert_eq(read(bench->out[0], text, sizeof(text)), 10);
	cr_assert_str_eq(text, "worldhello");
}

Test(doorbell, hostile_segments)
{
	static const struct quire_segment cases[] = {
		{ MEMORY, 1 },		 { MEMORY - 1, 2 }, { UINT64_MAX, 1 },
		{ DATA_AT, UINT64_MAX }, { 0, MEMORY + 1 }, { UINT64_MAX - 10, 20 },
	};
	struct bench *bench = open_bench();

	bench->port.output_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct quire_request request = { .op = QUIRE_OP_WRITE,
						 .arg0 = 1,
						 .segment_count = 1 };
		int64_t result;

		request.segment[0] = cases[i];
		result = ring(bench, &request);
		cr_assert(result == -EFAULT || (result > 0 && result <= (int64_t)MEMORY),
			  "case %zu: %lld", i, (long long)result);
		request.op = QUIRE_OP_LOG;
		ring(bench, &request);
		request.op = QUIRE_OP_READ;
		cr_assert(write(bench->in[1], "x", 1) == 1);
		ring(bench, &request);
	}
}

Test(doorbell, hostile_requests)
{
	struct bench *bench = open_bench();
	struct quire_request request = { .op = QUIRE_OP_WRITE, .segment_count = UINT32_MAX };

	cr_assert_eq(ring(bench, &request), -EINVAL);
	request.segment_count = QUIRE_SEGMENT_MAX + 1;
	cr_assert_eq(ring(bench, &request), -EINVAL);
	request = (struct quire_request){ .op = 12345 };
	cr_assert_eq(ring(bench, &request), -ENOSYS);
	/* Another width is no ring; a request outside memory ends the machine. */
	cr_assert_eq(bus_write(&bench->bus, QUIRE_PORT_DOORBELL, 1, 1), 0);
	cr_assert_eq(seen.failures, 0);
	cr_assert_eq(bus_write(&bench->bus, QUIRE_PORT_DOORBELL, 4, UINT32_MAX), 0);
	cr_assert_eq(seen.failures, 1);
	cr_assert_eq(bus_write(&bench->bus, QUIRE_PORT_DOORBELL, 4,
			       (MEMORY - 64) >> QUIRE_REQUEST_SHIFT),
		     0);
	cr_assert_eq(seen.failures, 2);
}

Test(doorbell, other_words)
{
	struct bench *bench = open_bench();
	struct quire_request request = { .op = QUIRE_OP_HELLO, .arg0 = QUIRE_ABI_VERSION };

	cr_assert_eq(ring(bench, &request), 0);
	request.arg0 = 99;
	cr_assert_eq(ring(bench, &request), -EPROTO);
	cr_assert_eq(seen.failures, 1);
	request = (struct quire_request){ .op = QUIRE_OP_USER_START };
	cr_assert_eq(ring(bench, &request), 0);
	cr_assert_eq(seen.starts, 1);
	request = (struct quire_request){ .op = QUIRE_OP_EXIT, .arg0 = 7 };
	cr_assert_eq(ring(bench, &request), 0);
	cr_assert(seen.exits == 1 && seen.status == 7 && seen.signal == 0);
	cr_assert_eq(ept_write(bench->port.space, gpa(DATA_AT), "bad\033thing", 9), 0);
	request = (struct quire_request){ .op = QUIRE_OP_NO_INIT, .arg0 = 8, .segment_count = 1 };
	request.segment[0] = (struct quire_segment){ DATA_AT, 9 };
	cr_assert_eq(ring(bench, &request), 0);
	cr_assert_eq(seen.status, 8);
	cr_assert_str_eq(seen.message, "bad?thing", "what the guest says cannot steer a terminal");
}

Test(doorbell, releases_whole_pages)
{
	struct bench *bench = open_bench();
	struct quire_request request = { .op = QUIRE_OP_RELEASE, .segment_count = 1 };
	char text[4] = "abc";

	cr_assert_eq(ept_write(bench->port.space, gpa(DATA_AT), text, 4), 0);
	request.segment[0] = (struct quire_segment){ DATA_AT, 4096 };
	cr_assert_eq(ring(bench, &request), 0);
	cr_assert_eq(ept_read(bench->port.space, gpa(DATA_AT), text, 4), 0);
	cr_assert_eq(text[0], 0);
	request.segment[0] = (struct quire_segment){ DATA_AT + 8, 4096 };
	cr_assert_eq(ring(bench, &request), -EINVAL);
	request.segment[0] = (struct quire_segment){ DATA_AT, 100 };
	cr_assert_eq(ring(bench, &request), -EINVAL);
	request.segment[0] = (struct quire_segment){ DATA_AT, 0 };
	cr_assert_eq(ring(bench, &request), -EINVAL);
	request.segment[0] = (struct quire_segment){ DATA_AT, MEMORY };
	cr_assert_eq(ring(bench, &request), -ERANGE);
	request.segment[0] = (struct quire_segment){ UINT64_MAX & ~4095ul, 8192 };
	cr_assert_eq(ring(bench, &request), -ERANGE);
	request.segment[0] = (struct quire_segment){ 0, UINT64_MAX & ~4095ul };
	cr_assert_eq(ring(bench, &request), -EINVAL);
}

Test(doorbell, exchanges_vector_state)
{
	struct bench *bench = open_bench();
	struct quire_request request = { .op = QUIRE_OP_VECTOR,
					 .arg0 = DATA_AT + 8192,
					 .arg1 = DATA_AT,
					 .segment_count = 1,
					 .segment = { { 0, 640 } } };
	char state[QUIRE_VECTOR_MAX];

	memset(vector_of_cpu, 'o', sizeof(vector_of_cpu));
	memset(state, 'n', sizeof(state));
	state[520] = 0;
	cr_assert_eq(ept_write(bench->port.space, gpa(DATA_AT), state, sizeof(state)), 0);
	cr_assert_eq(ring(bench, &request), 0);
	cr_assert_eq(ept_read(bench->port.space, gpa(DATA_AT + 8192), state, 641), 0);
	cr_assert(state[0] == 'o' && state[639] == 'o' && state[640] == 0, "saved to its length");
	cr_assert(vector_of_cpu[639] == 'n' && vector_of_cpu[640] == 0, "and then loaded");
	request.arg1 = 0;
	request.segment[0].length = QUIRE_VECTOR_MAX;
	cr_assert_eq(ring(bench, &request), 0);
	cr_assert(vector_of_cpu[639] == 'n', "a half that is left out");
}

Test(doorbell, hostile_vector_state)
{
	static const uint64_t lengths[] = { 0, 575, QUIRE_VECTOR_MAX + 1, UINT64_MAX };
	static const uint64_t places[] = { MEMORY, MEMORY - 1, UINT64_MAX - 8 };
	struct bench *bench = open_bench();
	struct quire_request request = { .op = QUIRE_OP_VECTOR, .segment = { { 0, 576 } } };
	char bad = 1;

	for (unsigned count = 0; count < QUIRE_SEGMENT_MAX; count++) {
		request.segment_count = count;
		cr_assert_eq(ring(bench, &request), count == 1 ? 0 : -EINVAL);
	}
	request.segment_count = 1;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		request.arg0 = places[i];
		request.arg1 = 0;
		cr_assert_eq(ring(bench, &request), -EFAULT);
		request.arg0 = 0;
		request.arg1 = places[i];
		cr_assert_eq(ring(bench, &request), -EFAULT);
	}
	request.arg1 = DATA_AT;
	cr_assert_eq(ept_write(bench->port.space, gpa(DATA_AT + 520), &bad, 1), 0);
	cr_assert_eq(ring(bench, &request), -EINVAL, "what KVM refuses");
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		request.segment[0].length = lengths[i];
		cr_assert_eq(ring(bench, &request), -EINVAL);
	}
}

Test(doorbell, reads_input_when_there_is_some)
{
	struct bench *bench = open_bench();
	struct quire_request request = { .op = QUIRE_OP_READ, .segment_count = 2 };
	char text[8] = "";

	request.segment[0] = (struct quire_segment){ DATA_AT, 3 };
	request.segment[1] = (struct quire_segment){ DATA_AT + 100, 10 };
	cr_assert_eq(ring(bench, &request), -EAGAIN);
	cr_assert_eq(seen.awaits, 1);
	cr_assert(write(bench->in[1], "abcde", 5) == 5);
	cr_assert_eq(ring(bench, &request), 5);
	cr_assert_eq(ept_read(bench->port.space, gpa(DATA_AT + 100), text, 2), 0);
	cr_assert_str_eq(text, "de");
	close(bench->in[1]);
	cr_assert_eq(ring(bench, &request), 0, "the end of input");
}

Test(doorbell, output_closed)
{
	struct bench *bench = open_bench();
	struct quire_request request = { .op = QUIRE_OP_WRITE, .arg0 = 1, .segment_count = 1 };

	request.segment[0] = (struct quire_segment){ DATA_AT, 10 };
	close(bench->out[0]);
	cr_assert_eq(ring(bench, &request), -EPIPE);
}

/* A full pipe that nobody reads: the machine's stop ends the wait. */
Test(doorbell, stop_ends_a_blocked_write)
{
	struct bench *bench = open_bench();
	struct quire_request request = { .op = QUIRE_OP_WRITE, .arg0 = 1, .segment_count = 1 };
	uint64_t one = 1;

	request.segment[0] = (struct quire_segment){ DATA_AT, MEMORY - DATA_AT };
	cr_assert(write(bench->port.stop_fd, &one, sizeof(one)) == sizeof(one));
	cr_assert_eq(ring(bench, &request), -EINTR);
}

static uint32_t pci_read(struct bus *bus, uint32_t address, unsigned offset, unsigned size)
{
	uint64_t value = 0;

	cr_assert_eq(bus_write(bus, 0xcf8, 4, address), 0);
	cr_assert_eq(bus_read(bus, 0xcfc + offset, size, &value), 0);
	return (uint32_t)(size == 4 ? value : value & ((1u << size * 8) - 1));
}

/* A host bridge at 00:00.0, whatever the size of the access, and nothing elsewhere. */
Test(doorbell, pci_bus_is_empty)
{
	struct pci_host host = { 0 };
	struct bus bus = { 0 };
	uint64_t value;

	cr_assert_eq(bus_add(&bus, 0xcf8, PCI_HOST_PORTS, &pci_host_ops, &host), 0);
	cr_assert_eq(pci_read(&bus, 0x80000000, 0, 4), 0x00081b36);
	cr_assert_eq(pci_read(&bus, 0x80000000, 2, 2), 0x0008);
	cr_assert_eq(pci_read(&bus, 0x80000008, 2, 2), 0x0600, "a host bridge");
	cr_assert_eq(pci_read(&bus, 0x80000008, 3, 1), 0x06);
	cr_assert_eq(pci_read(&bus, 0x8000000c, 2, 1), 0, "one function");
	cr_assert_eq(pci_read(&bus, 0x80000010, 0, 4), 0, "no registers of its own");
	cr_assert_eq(pci_read(&bus, 0x00000000, 0, 4), UINT32_MAX, "not enabled");
	for (uint32_t at = 0x80000100; at < 0x81000000; at += 0x100)
		cr_assert_eq(pci_read(&bus, at, 0, 2), 0xffff, "%x", at);
	cr_assert_eq(bus_write(&bus, 0xcf8, 4, 0x80000008), 0);
	cr_assert_eq(bus_write(&bus, 0xcfb, 1, 1), 0, "not an address: Linux asks for mechanism 1");
	cr_assert_eq(bus_read(&bus, 0xcf8, 4, &value), 0);
	cr_assert_eq(value, 0x80000008);
}

/* Requests to the monitor: one a CPU, since a request ends before the instruction after its port
 * write. */
#include "guest/monitor/doorbell.h"
#include "guest/lib/asm.h"
#include "guest/lib/errno.h"
#include "guest/lib/format.h"
#include "guest/lib/layout.h"
#include "guest/lib/string.h"
#include "guest/monitor/serial.h"

#define RESULT_UNANSWERED INT64_MIN

/* wait.S: interrupts are let in until one came, in HLT or in a port write that ends with one. */
void wait_by_halt(void);
void wait_by_port(uint32_t value, uint16_t port);

/* Each CPU's requests and messages to the monitor. */
static struct line {
	struct quire_request request;
	char message[QUIRE_LOG_MAX];
} lines[QUIRE_CPU_MAX];

static bool verbose;
static bool alone; /* nobody answered: a plain PC */
static void (*divert_write)(const char *text, size_t length);
static void (*divert_drain)(bool patiently);

static uint64_t image_physical(const void *p)
{
	return (uint64_t)p - IMAGE_BASE;
}

static uint32_t prepare(struct quire_request *request, enum quire_op op)
{
	request->op = op;
	request->result = RESULT_UNANSWERED;
	return (uint32_t)(image_physical(request) >> QUIRE_REQUEST_SHIFT);
}

static int64_t ring(struct quire_request *request, enum quire_op op)
{
	out32(QUIRE_PORT_DOORBELL, prepare(request, op));
	return request->result;
}

/* This CPU's request, without segments. */
static struct quire_request *request_begin(void)
{
	struct quire_request *request = &lines[cpu_number()].request;

	request->segment_count = 0;
	request->arg0 = request->arg1 = 0;
	return request;
}

bool doorbell_init(struct doorbell_host *host)
{
	struct quire_request *request = request_begin();

	request->arg0 = QUIRE_ABI_VERSION;
	*host = (struct doorbell_host){ .cpu_count = 1 };
	if (ring(request, QUIRE_OP_HELLO) != RESULT_UNANSWERED) {
		host->cpu_count = MIN(MAX(request->arg0, 1), QUIRE_CPU_MAX);
		host->emulates = request->arg1 & QUIRE_HOST_EMULATES;
		host->keeps_vector = request->arg1 & QUIRE_HOST_KEEPS_VECTOR;
		return true;
	}
	alone = true;
	serial_init();
	return false;
}

void log_set_verbose(bool on)
{
	verbose = on;
}

bool log_is_verbose(void)
{
	return verbose;
}

void log_divert(void (*write)(const char *text, size_t length), void (*drain)(bool patiently))
{
	divert_write = write;
	divert_drain = drain;
}

static void drain(bool patiently)
{
	if (divert_drain)
		divert_drain(patiently);
}

/* A line of the kernel's where no monitor gives it a form. */
static void write_line(void (*write)(const char *text, size_t length), const char *message)
{
	char line[QUIRE_LOG_MAX + 16];

	write(line, format(line, sizeof(line), "quire: %s\n", message));
}

static void send_message(enum quire_op op, uint64_t arg0, const char *text, va_list list)
{
	struct quire_request *request = request_begin();
	char *message = lines[cpu_number()].message;
	size_t length = format_list(message, QUIRE_LOG_MAX, text, list);

	if (op == QUIRE_OP_LOG && divert_write)
		return write_line(divert_write, message);
	if (op != QUIRE_OP_LOG)
		drain(false);
	if (alone)
		return write_line(serial_write, message);
	request->segment_count = 1;
	request->segment[0] = (struct quire_segment){ image_physical(message), length };
	request->arg0 = arg0;
	ring(request, op);
}

void log_line(enum quire_level level, const char *text, ...)
{
	va_list list;

	if (level > QUIRE_LEVEL_ERROR && !verbose)
		return;
	va_start(list, text);
	send_message(QUIRE_OP_LOG, level, text, list);
	va_end(list);
}

static NORETURN void halt(void)
{
	if (alone)
		serial_power_off();
	for (;;)
		__asm__ volatile("cli; hlt");
}

void panic(const char *text, ...)
{
	va_list list;

	va_start(list, text);
	send_message(QUIRE_OP_PANIC, 0, text, list);
	va_end(list);
	halt();
}

void check_failed(const char *condition, const char *file, int line)
{
	panic("%s:%d: %s does not hold", file, line, condition);
}

void doorbell_wait(void)
{
	if (alone)
		wait_by_halt();
	else
		wait_by_port(prepare(request_begin(), QUIRE_OP_WAIT), QUIRE_PORT_DOORBELL);
}

void doorbell_yield(void)
{
	if (alone)
		pause();
	else
		ring(request_begin(), QUIRE_OP_YIELD);
}

int64_t doorbell_write(unsigned output, const struct quire_segment *segment, unsigned count)
{
	struct quire_request *request = request_begin();

	if (alone)
		return serial_write_segments(segment, count);
	memcpy(request->segment, segment, count * sizeof(*segment));
	request->segment_count = count;
	request->arg0 = output;
	return ring(request, QUIRE_OP_WRITE);
}

int64_t doorbell_read(const struct quire_segment *segment, unsigned count)
{
	struct quire_request *request = request_begin();

	if (alone)
		return 0;
	memcpy(request->segment, segment, count * sizeof(*segment));
	request->segment_count = count;
	return ring(request, QUIRE_OP_READ);
}

int64_t doorbell_release(uint64_t physical, uint64_t length)
{
	struct quire_request *request = request_begin();

	if (alone)
		return -ENOSYS;
	request->segment_count = 1;
	request->segment[0] = (struct quire_segment){ physical, length };
	return ring(request, QUIRE_OP_RELEASE);
}

uint32_t doorbell_vector_init(struct quire_request *request, uint32_t size)
{
	request->segment_count = 1;
	request->segment[0].length = size;
	return prepare(request, QUIRE_OP_VECTOR);
}

void doorbell_user_start(void)
{
	if (!alone)
		ring(request_begin(), QUIRE_OP_USER_START);
}

void doorbell_exit(int status, int signal)
{
	struct quire_request *request;

	drain(true);
	request = request_begin();
	if (!alone) {
		request->arg0 = status;
		request->arg1 = signal;
		ring(request, QUIRE_OP_EXIT);
	}
	halt();
}

void doorbell_no_init(int error, const char *text, ...)
{
	va_list list;

	va_start(list, text);
	send_message(QUIRE_OP_NO_INIT, error, text, list);
	va_end(list);
	halt();
}

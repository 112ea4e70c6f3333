/* Requests to the monitor: one static request, one at a time, since a request ends before the
 * instruction after its port write. */
#include "guest/monitor/doorbell.h"
#include "guest/cpu/asm.h"
#include "guest/cpu/layout.h"
#include "guest/lib/errno.h"
#include "guest/lib/format.h"
#include "guest/lib/string.h"
#include "guest/monitor/serial.h"

#define RESULT_UNANSWERED INT64_MIN

static struct quire_request request;
static char message[QUIRE_LOG_MAX];
static bool verbose;
static bool alone; /* nobody answered: a plain PC */

static uint64_t image_physical(const void *p)
{
	return (uint64_t)p - IMAGE_BASE;
}

static uint32_t prepare(enum quire_op op)
{
	request.op = op;
	request.result = RESULT_UNANSWERED;
	return (uint32_t)(image_physical(&request) >> QUIRE_REQUEST_SHIFT);
}

static int64_t ring(enum quire_op op)
{
	out32(QUIRE_PORT_DOORBELL, prepare(op));
	return request.result;
}

static void set_message(size_t length)
{
	request.segment_count = 1;
	request.segment[0] = (struct quire_segment){ image_physical(message), length };
}

bool doorbell_init(void)
{
	request.segment_count = 0;
	request.arg0 = QUIRE_ABI_VERSION;
	if (ring(QUIRE_OP_HELLO) != RESULT_UNANSWERED)
		return true;
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

static void send_message(enum quire_op op, uint64_t arg0, const char *text, va_list list)
{
	size_t length = format_list(message, sizeof(message), text, list);

	if (alone) {
		serial_write("quire: ", 7);
		serial_write(message, length);
		serial_write("\n", 1);
		return;
	}
	set_message(length);
	request.arg0 = arg0;
	request.arg1 = 0;
	ring(op);
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
	if (alone) {
		wait_for_interrupt();
		return;
	}
	request.segment_count = 0;
	out32_for_interrupt(QUIRE_PORT_DOORBELL, prepare(QUIRE_OP_WAIT));
}

int64_t doorbell_write(unsigned output, const struct quire_segment *segment, unsigned count)
{
	if (alone)
		return serial_write_segments(segment, count);
	memcpy(request.segment, segment, count * sizeof(*segment));
	request.segment_count = count;
	request.arg0 = output;
	return ring(QUIRE_OP_WRITE);
}

int64_t doorbell_read(const struct quire_segment *segment, unsigned count)
{
	if (alone)
		return 0;
	memcpy(request.segment, segment, count * sizeof(*segment));
	request.segment_count = count;
	return ring(QUIRE_OP_READ);
}

void doorbell_user_start(void)
{
	if (alone)
		return;
	request.segment_count = 0;
	ring(QUIRE_OP_USER_START);
}

void doorbell_exit(int status, int signal)
{
	if (!alone) {
		request.segment_count = 0;
		request.arg0 = status;
		request.arg1 = signal;
		ring(QUIRE_OP_EXIT);
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

/* The 16550, polled. */
#include "guest/monitor/serial.h"
#include "guest/lib/asm.h"
#include "guest/lib/layout.h"

#define PORT	     0x3f8
#define LINE_STATUS  (PORT + 5)
#define STATUS_EMPTY 0x20

void serial_init(void)
{
	out8(PORT + 1, 0);    /* no interrupts */
	out8(PORT + 3, 0x80); /* the divisor's registers */
	out8(PORT + 0, 1);
	out8(PORT + 1, 0);
	out8(PORT + 3, 3); /* 8 bits, no parity */
	out8(PORT + 2, 7); /* FIFOs on and empty */
}

void serial_write(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		while (!(in8(LINE_STATUS) & STATUS_EMPTY))
			;
		out8(PORT, (uint8_t)text[i]);
	}
}

int64_t serial_write_segments(const struct quire_segment *segment, unsigned count)
{
	int64_t total = 0;

	for (unsigned i = 0; i < count; i++) {
		serial_write((const char *)(DIRECT_BASE + segment[i].gpa), segment[i].length);
		total += segment[i].length;
	}
	return total;
}

/* The keyboard controller's reset line; a board without one resets when the processor cannot
 * deliver a trap, nor the trap of that. */
void serial_power_off(void)
{
	const struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) no_table = { 0, 0 };

	out8(0x64, 0xfe);
	__asm__ volatile("lidt %0; int3" : : "m"(no_table));
}

/* The I/O APIC: two registers, a number and a window to the register of that number. */
#include "guest/cpu/ioapic.h"

#define SELECT	      0x00
#define WINDOW	      0x10
#define REG_VERSION   1
#define REG_LINE(n)   (0x10 + 2 * (n)) /* low half; the high one follows */
#define LINE_MASKED   0x10000	       /* all else 0: fixed, edge, active high, physical, APIC 0 */
#define VERSION_EMPTY UINT32_MAX       /* nobody answers there */

static volatile uint32_t *registers;

static uint32_t read(unsigned reg)
{
	registers[SELECT / 4] = reg;
	return registers[WINDOW / 4];
}

static void write(unsigned reg, uint32_t value)
{
	registers[SELECT / 4] = reg;
	registers[WINDOW / 4] = value;
}

unsigned ioapic_init(volatile uint32_t *mapped)
{
	uint32_t version;

	registers = mapped;
	version = registers ? read(REG_VERSION) : VERSION_EMPTY;
	return version == VERSION_EMPTY ? 0 : (version >> 16 & 0xff) + 1;
}

void ioapic_route(unsigned line, unsigned vector)
{
	/* Masked while the two halves are of different lines. */
	ioapic_mask(line);
	write(REG_LINE(line) + 1, 0);
	write(REG_LINE(line), vector);
}

void ioapic_mask(unsigned line)
{
	write(REG_LINE(line), LINE_MASKED);
}

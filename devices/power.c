#include "devices/power.h"

/* Registers. */
#define SLEEP_CONTROL 0
#define SLEEP_STATUS  1
#define RESET	      2

#define SLEEP_ENABLE	 (1u << 5)
#define SLEEP_TYPE(byte) ((byte) >> 2 & 7)
#define SLEEP_TYPE_OFF	 5u
#define RESET_VALUE	 1u

#define KEYBOARD_PULSE_RESET 0xfe

static int write_register(void *device, uint64_t offset, unsigned size, uint64_t value)
{
	const struct power *power = device;

	if (offset == SLEEP_CONTROL && (value & SLEEP_ENABLE) &&
	    SLEEP_TYPE(value) == SLEEP_TYPE_OFF)
		power->events->off(power->context);
	else if (offset == RESET && (value & 255) == RESET_VALUE)
		power->events->reset(power->context);
	return 0;
}

/* The machine has not woken from any sleep. */
static int read_register(void *device, uint64_t offset, unsigned size, uint64_t *value)
{
	*value = 0;
	return 0;
}

const struct bus_ops power_ops = {
	.name = "power",
	.write = write_register,
	.read = read_register,
};

static int write_command(void *device, uint64_t offset, unsigned size, uint64_t value)
{
	const struct power *power = device;

	if ((value & 255) == KEYBOARD_PULSE_RESET)
		power->events->reset(power->context);
	return 0;
}

/* Its status reads as zeros: it takes commands, and there is no key. */
const struct bus_ops power_keyboard_ops = {
	.name = "keyboard controller",
	.write = write_command,
	.read = read_register,
};

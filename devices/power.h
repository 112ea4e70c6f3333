/*
 * The registers that switch a PC off and reset it: the sleep control, sleep status and reset
 * registers of hardware-reduced ACPI (ACPI 6.4, 4.8.3.7), and the one command of the keyboard
 * controller that old kernels reset a PC with.
 */
#ifndef DEVICES_POWER_H
#define DEVICES_POWER_H

#include "devices/bus.h"

/* Called on the thread of the vCPU that asked. All required. */
struct power_events {
	void (*off)(void *context);
	void (*reset)(void *context);
};

struct power {
	const struct power_events *events;
	void *context;
};

/* The device of both is a struct power. */
extern const struct bus_ops power_ops;		/* three ports */
extern const struct bus_ops power_keyboard_ops; /* one port */

#endif

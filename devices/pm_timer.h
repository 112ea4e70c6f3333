/*
 * ACPI's power management timer: a counter of 32 bits in one I/O port that runs at a fixed rate. A
 * kernel that does not know KVM's clock measures its own counters by it. It has no state: it is the
 * host's monotonic clock.
 */
#ifndef DEVICES_PM_TIMER_H
#define DEVICES_PM_TIMER_H

#include "devices/bus.h"

#define PM_TIMER_HZ    3579545u
#define PM_TIMER_PORTS 4 /* from its port on */

/* Its device is NULL. Writes change nothing. */
extern const struct bus_ops pm_timer_ops;

#endif

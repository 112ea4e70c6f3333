/*
 * The port bus: which device answers which I/O port. Devices are instances; the bus does not own
 * them. Filled before the first vCPU runs and constant from then on, so it needs no lock.
 */
#ifndef DEVICES_BUS_H
#define DEVICES_BUS_H

#include <stdint.h>

#define BUS_DEVICE_MAX 16

struct bus_ops {
	const char *name;
	/* The guest wrote size (1, 2 or 4) bytes. 0, or -errno: the VM stops. Required. */
	int (*out)(void *device, uint16_t port, unsigned size, uint32_t value);
	/* The guest reads size bytes into *value. NULL: reads as ones. */
	int (*in)(void *device, uint16_t port, unsigned size, uint32_t *value);
};

struct bus {
	struct {
		uint16_t first;
		uint16_t count;
		const struct bus_ops *ops;
		void *device;
	} entry[BUS_DEVICE_MAX];
	unsigned count;
};

/* 0, -ENOSPC (the table is full), -EEXIST (a port is taken). */
int bus_add(struct bus *bus, uint16_t first, uint16_t count, const struct bus_ops *ops,
	    void *device);

/* As on a PC, a port nobody answers swallows writes and reads as ones. */
int bus_out(struct bus *bus, uint16_t port, unsigned size, uint32_t value);
int bus_in(struct bus *bus, uint16_t port, unsigned size, uint32_t *value);

#endif

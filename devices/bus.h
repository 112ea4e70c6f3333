/*
 * A bus: which device answers which addresses. A machine has two, of I/O ports and of memory
 * addresses. Devices are instances; the bus does not own them. Filled before the first vCPU runs
 * and constant from then on, so it needs no lock.
 */
#ifndef DEVICES_BUS_H
#define DEVICES_BUS_H

#include <stdbool.h>
#include <stdint.h>

#define BUS_DEVICE_MAX 32

struct bus_ops {
	const char *name;
	/* The guest wrote size (1, 2, 4 or 8) bytes at offset from the device's first address; the
	 * access may reach past its last one. 0, or -errno: the VM stops. Required. */
	int (*write)(void *device, uint64_t offset, unsigned size, uint64_t value);
	/* The guest reads size bytes into *value. NULL: reads as ones. */
	int (*read)(void *device, uint64_t offset, unsigned size, uint64_t *value);
};

struct bus {
	struct {
		uint64_t first;
		uint64_t count;
		const struct bus_ops *ops;
		void *device;
	} entry[BUS_DEVICE_MAX];
	unsigned count;
};

/* 0, -ENOSPC (the table is full), -EEXIST (an address is taken). */
int bus_add(struct bus *bus, uint64_t first, uint64_t count, const struct bus_ops *ops,
	    void *device);

bool bus_has(const struct bus *bus, uint64_t address);

/* As on a PC, an address nobody answers swallows writes and reads as ones. */
int bus_write(struct bus *bus, uint64_t address, unsigned size, uint64_t value);
int bus_read(struct bus *bus, uint64_t address, unsigned size, uint64_t *value);

#endif

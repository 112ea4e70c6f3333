#include "devices/bus.h"

#include <errno.h>
#include <stddef.h>

int bus_add(struct bus *bus, uint64_t first, uint64_t count, const struct bus_ops *ops,
	    void *device)
{
	if (bus->count == BUS_DEVICE_MAX)
		return -ENOSPC;
	for (unsigned i = 0; i < bus->count; i++)
		if (first < bus->entry[i].first + bus->entry[i].count &&
		    bus->entry[i].first < first + count)
			return -EEXIST;
	bus->entry[bus->count].first = first;
	bus->entry[bus->count].count = count;
	bus->entry[bus->count].ops = ops;
	bus->entry[bus->count].device = device;
	bus->count++;
	return 0;
}

static int find(const struct bus *bus, uint64_t address)
{
	for (unsigned i = 0; i < bus->count; i++)
		if (address >= bus->entry[i].first &&
		    address - bus->entry[i].first < bus->entry[i].count)
			return (int)i;
	return -1;
}

bool bus_has(const struct bus *bus, uint64_t address)
{
	return find(bus, address) >= 0;
}

int bus_write(struct bus *bus, uint64_t address, unsigned size, uint64_t value)
{
	int i = find(bus, address);

	if (i < 0)
		return 0;
	return bus->entry[i].ops->write(bus->entry[i].device, address - bus->entry[i].first, size,
					value);
}

int bus_read(struct bus *bus, uint64_t address, unsigned size, uint64_t *value)
{
	int i = find(bus, address);

	*value = UINT64_MAX;
	if (i < 0 || bus->entry[i].ops->read == NULL)
		return 0;
	return bus->entry[i].ops->read(bus->entry[i].device, address - bus->entry[i].first, size,
				       value);
}

#include "devices/bus.h"

#include <errno.h>
#include <stddef.h>

int bus_add(struct bus *bus, uint16_t first, uint16_t count, const struct bus_ops *ops,
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

static int find(const struct bus *bus, uint16_t port)
{
	for (unsigned i = 0; i < bus->count; i++)
		if (port >= bus->entry[i].first && port - bus->entry[i].first < bus->entry[i].count)
			return (int)i;
	return -1;
}

int bus_out(struct bus *bus, uint16_t port, unsigned size, uint32_t value)
{
	int i = find(bus, port);

	return i < 0 ? 0 : bus->entry[i].ops->out(bus->entry[i].device, port, size, value);
}

int bus_in(struct bus *bus, uint16_t port, unsigned size, uint32_t *value)
{
	int i = find(bus, port);

	*value = UINT32_MAX;
	if (i < 0 || bus->entry[i].ops->in == NULL)
		return 0;
	return bus->entry[i].ops->in(bus->entry[i].device, port, size, value);
}

/*
 * An empty PCI bus: the configuration ports of a PC (mechanism 1: an address at the first, data in
 * the second four), and a host bridge that has nothing behind it. A kernel that expects a PC looks
 * for a bus, and complains where there is none.
 */
#ifndef DEVICES_PCI_HOST_H
#define DEVICES_PCI_HOST_H

#include <stdatomic.h>
#include <stdint.h>

#include "devices/bus.h"

#define PCI_HOST_PORTS 8

struct pci_host {
	_Atomic uint32_t address; /* as last written */
};

extern const struct bus_ops pci_host_ops; /* its device is a struct pci_host */

#endif

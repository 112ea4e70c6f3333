/*
 * A stock guest: a kernel that expects a PC and knows nothing of bifold. It has a serial port, a
 * power switch and ACPI tables, and no doorbell.
 */
#ifndef VMM_MACHINE_STOCK_H
#define VMM_MACHINE_STOCK_H

#include <stddef.h>
#include <stdint.h>

struct loader_guest;
struct machine;

/* Status of a run that the guest ended by resetting its machine. */
#define MACHINE_STATUS_REBOOTED 123

/* 0 or -errno, logged. Before the machine starts. */
int machine_add_stock_devices(struct machine *machine);
void machine_remove_stock_devices(struct machine *machine);

/* Puts the kernel in, with ACPI tables, and sets the first vCPU's registers. guest->rsdp and
 * guest->stock are filled in. 0 or -errno, logged. */
int machine_load_stock(struct machine *machine, const struct loader_guest *guest);

/* After machine_join(): what the guest printed and is not out yet, as in devices/output.h. */
void machine_drain(struct machine *machine, int give_up_fd);

#endif

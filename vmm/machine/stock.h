/*
 * A stock guest: a kernel that expects a PC and knows nothing of bifold. It has a serial port, a
 * power switch and ACPI tables, and no doorbell.
 */
#ifndef VMM_MACHINE_STOCK_H
#define VMM_MACHINE_STOCK_H

#include <stdbool.h>
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

/*
 * Bytes for the serial port: returns how many it took. Once it takes more, input_fd is readable.
 * From any thread.
 */
size_t machine_serial_input(struct machine *machine, const uint8_t *bytes, size_t length);

/* Whether Linux, with this command line (or NULL), has its console on virtio and not on the serial
 * port: the last console= says. */
bool machine_console_is_virtio(const char *command_line);

/* After machine_join(): what the guest printed and is not out yet, as in devices/output.h. */
void machine_drain(struct machine *machine, int give_up_fd);

#endif

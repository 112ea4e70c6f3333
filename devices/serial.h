/*
 * A 16550 UART, as on a PC's COM1: a kernel prints to it first, and has it as its console until it
 * finds a better one. Its line is infinitely fast, and always connected.
 */
#ifndef DEVICES_SERIAL_H
#define DEVICES_SERIAL_H

#include <stddef.h>

#include "devices/bus.h"

#define SERIAL_PORTS 8

struct loop;
struct serial;

struct serial_config {
	struct loop *loop;
	int output_fd; /* as in devices/output.h */
	int stop_fd;   /* as there */
	/* serial_input() would take bytes again, after it took less than it was given. On the
	 * vCPU's thread, with no lock held. Required. */
	void (*input_room)(void *context);
	void *context;
};

/* 0 or -errno. */
int serial_create(const struct serial_config *config, struct serial **serial);
/* Takes NULL. Neither the vCPUs nor the loop run any more. */
void serial_destroy(struct serial *serial);

/* Its device is a struct serial: SERIAL_PORTS ports. */
extern const struct bus_ops serial_ops;

/* An eventfd: one more on it is one edge of the interrupt line. Stays the device's. */
int serial_interrupt_fd(const struct serial *serial);

/*
 * Bytes for the guest: returns how many were taken. None before the guest listens, so that input
 * that is typed (or piped) too early waits outside instead of being lost.
 */
size_t serial_input(struct serial *serial, const uint8_t *bytes, size_t length);

/* As output_drain(). The vCPUs and the loop have ended. */
void serial_drain(struct serial *serial, int give_up_fd);

#endif

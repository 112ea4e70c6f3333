/*
 * The doorbell of guest/abi.h: quire's console, its log and its last words.
 */
#ifndef DEVICES_QUIRE_PORT_H
#define DEVICES_QUIRE_PORT_H

#include <pthread.h>
#include <stdbool.h>

#include "base/addr.h"
#include "devices/bus.h"

struct ept_space;

/* Calls to the machine, on the thread of the vCPU that rang. All required. */
struct quire_port_events {
	void (*user_start)(void *context);
	/* Init ended: with status 0..255, or by signal (then signal is not 0). */
	void (*exited)(void *context, int status, int signal);
	/* The kernel could not run init; error is an errno of the guest. */
	void (*no_init)(void *context, int error, const char *message);
	/* The kernel failed, or breaks the protocol. */
	void (*failed)(void *context, const char *message);
	/* The guest needs the content of these pages no more: they read as zeros. 0 or -errno. */
	int (*release)(void *context, gfn_t first, uint32_t count);
	/* The vCPU that rang sleeps from its next entry on, until an interrupt is pending. 0 or
	 * -errno. */
	int (*wait)(void *context);
	/* The vector state of the vCPU that rang, QUIRE_VECTOR_MAX bytes in XSAVE's standard form.
	 * 0 or -errno. */
	int (*vector_get)(void *context, void *state);
	int (*vector_set)(void *context, const void *state);
	/* Input was asked for and there is none: call quire_port_input_ready() when there is. */
	void (*await_input)(void *context);
};

struct quire_port {
	struct ept_space *space;
	const struct quire_port_events *events;
	void *context;
	int input_fd;
	int output_fd;
	int error_fd;
	int stop_fd;	      /* readable once the VM stops: ends a write that would block */
	unsigned cpu_count;   /* what HELLO answers */
	uint64_t host_flags;  /* QUIRE_HOST_* */
	pthread_mutex_t lock; /* one request of the console at a time; the owner's to initialise */
};

extern const struct bus_ops quire_port_ops; /* its device is a struct quire_port */

#endif

/*
 * The virtio devices of a machine: made, put on the bus of memory addresses, wired to KVM (an
 * ioeventfd for each queue, an irqfd for each device), and served by one thread, the loop's.
 *
 * A device's place and interrupt line follow from its number (vmm/boot/platform.h): console,
 * balloon, entropy source, then the disks in the order given; an absent device takes no number.
 */
#ifndef VMM_MACHINE_DEVICES_H
#define VMM_MACHINE_DEVICES_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "devices/virtio/balloon.h"
#include "devices/virtio/block.h"
#include "devices/virtio/console.h"
#include "devices/virtio/rng.h"
#include "vmm/boot/platform.h"

#define DEVICES_DISK_MAX 13u /* places that the other kinds leave */

struct auto_balloon;
struct loop;
struct machine;

struct devices_disk {
	const char *path;
	bool read_only;
};

/* The devices to make. */
struct devices_config {
	bool balloon, reporting, rng, console;
	bool auto_balloon; /* vmm/machine/auto_balloon.h */
	const struct devices_disk *disk;
	size_t disk_count; /* at most DEVICES_DISK_MAX */
	int console_fd;	   /* where the console's output goes */
};

/* (C) constant after create; (O) the thread that creates, starts and stops */
struct devices {
	struct machine *machine;		     /* (C) */
	struct loop *loop;			     /* (C) */
	struct virtio_console *console;		     /* (C) or NULL */
	struct virtio_balloon *balloon;		     /* (C) or NULL */
	struct auto_balloon *pilot;		     /* (C) or NULL */
	struct virtio_rng *rng;			     /* (C) or NULL */
	struct virtio_block *disk[DEVICES_DISK_MAX]; /* (C) */
	size_t disk_count;			     /* (C) */
	unsigned count;				     /* (C) of all virtio devices */
	pthread_t thread;			     /* (O) */
	bool started;				     /* (O) */
};

/* After the machine's VM and memory have been made. 0 or -errno, logged; then devices_destroy() is
 * still due for what was made. */
int devices_create(struct devices *devices, struct machine *machine,
		   const struct devices_config *config);

/* Starts the loop's thread. 0 or -errno. */
int devices_start(struct devices *devices);

/* Ends it, and writes out all that the guest has printed. No vCPU may run any more. */
void devices_stop(struct devices *devices);

/* Stops, and frees all. For zeroed devices too. */
void devices_destroy(struct devices *devices);

/* Sets the target of the balloon, if there is one. From any thread. */
void devices_set_balloon(struct devices *devices, uint32_t pages);

/* Words for a kernel's command line that tell of the devices, as Linux has them:
 * "virtio_mmio.device=4K@0xd0000000:5 ...". */
void devices_write_words(const struct devices *devices, FILE *out);

#endif

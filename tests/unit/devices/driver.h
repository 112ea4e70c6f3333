/*
 * The guest's side of a virtio-mmio device, for tests: it speaks through the registers and through
 * rings in the memory of a space, and can be made to lie. The loop is served by the caller's
 * thread. The space's manager keeps everything in memory; it counts pins, and refuses them when
 * told to. A fault makes room, or is the end of the VM.
 */
#ifndef TESTS_UNIT_DEVICES_DRIVER_H
#define TESTS_UNIT_DEVICES_DRIVER_H

#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/loop.h"
#include "devices/virtio/virtio.h"
#include "ept/space.h"

#define DRIVER_MEMORY	 (4ul << 20)
#define DRIVER_RINGS	 0x10000ul /* a queue's rings: DRIVER_RING_BYTES from here, by its number */
#define DRIVER_RING_STEP 0x4000ul
#define DRIVER_DATA	 0x100000ul /* free from here on */

#define F_VERSION_1 (1ull << VIRTIO_F_VERSION_1)
#define F_EVENT_IDX (1ull << VIRTIO_RING_F_EVENT_IDX)
#define F_INDIRECT  (1ull << VIRTIO_RING_F_INDIRECT_DESC)

struct driver_queue {
	uint16_t size;
	struct vring_desc *descriptors;
	struct vring_avail *available;
	struct vring_used *used;
	uint16_t next_descriptor; /* given out round and round */
	uint16_t seen;		  /* used entries taken */
};

struct driver {
	struct ept_space *space;
	struct loop *loop;
	uint8_t *memory;
	struct virtio *virtio;
	uint64_t rings; /* where the queues' are: DRIVER_RINGS, unless the test says otherwise */
	bool served_elsewhere; /* a thread runs the loop: driver_serve() has nothing to do */
	uint64_t features;     /* accepted */
	struct driver_queue queue[VIRTIO_QUEUES];
	int pins;	    /* (A) frames that are pinned now, each time counted */
	int pin_error;	    /* what a pin answers instead of succeeding, when not 0 */
	unsigned pins_left; /* how many succeed before that */
	gfn_t refused;	    /* a frame of the pin that was refused */
	bool gets_room;	    /* a fault succeeds, and so do pins from then on; otherwise it fails */
	void (*on_fault)(struct driver *driver); /* NULL, or called first */
	unsigned faults, refusals;
};

/* A space of bytes (0: DRIVER_MEMORY) and a loop; then the device, whose virtio is to be set. */
void driver_open(struct driver *driver, uint64_t bytes);
/* After the device is finished: nothing may be pinned. */
void driver_close(struct driver *driver);

uint32_t driver_get(struct driver *driver, unsigned offset);
void driver_set(struct driver *driver, unsigned offset, uint32_t value);
uint64_t driver_config(struct driver *driver, unsigned offset, unsigned size);

/* Reset, and on to FEATURES_OK, with features and VERSION_1. */
void driver_begin(struct driver *driver, uint64_t features);
/* Makes a queue ready, in its place. */
void driver_queue(struct driver *driver, unsigned number, uint16_t size);
/* DRIVER_OK. */
void driver_ready(struct driver *driver);
/* All of it, with queues [0, count) of size entries. */
void driver_start(struct driver *driver, uint64_t features, unsigned count, uint16_t size);

bool driver_is_broken(struct driver *driver);

struct driver_segment {
	uint64_t address;
	uint32_t length;
	bool writable;
};
/* Writes a chain into the descriptor table and makes it available. Returns its head. */
uint16_t driver_add(struct driver *driver, unsigned number, const struct driver_segment *segments,
		    unsigned count);
/* Makes a head available, whatever it is. */
void driver_offer(struct driver *driver, unsigned number, uint16_t head);
/* Notifies, and serves the loop until nothing is left to do. */
void driver_kick(struct driver *driver, unsigned number);
void driver_serve(struct driver *driver);
/* The next used entry: true. */
bool driver_take(struct driver *driver, unsigned number, uint32_t *head, uint32_t *written);
/* How many interrupts came since the last call (0, or some), and acknowledges them. */
unsigned driver_interrupts(struct driver *driver);

#endif

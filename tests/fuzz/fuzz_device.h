/*
 * A virtio device under a driver that does anything. The input is a sequence of operations, each a
 * byte and what belongs to it: the low three bits say which, the other five are its argument.
 * Everything happens on one thread; a loop that a device keeps busy for ever is left after a while.
 *
 *   0 write    value (4 bytes) to the register that the argument picks
 *   1 access   offset (2), value (8): of the argument's low two bits the width, then whether to
 * write 2 memory   address (3), length (1), that many bytes: into guest memory 3 kick     the
 * argument's queue, and serve 4 event    value (4): the argument is the device's to interpret 5
 * start    features (8), size (1): reset, take of the offered features those that are given, make
 *              the argument's number of queues ready, each with its rings in a page of its own
 *   6 chain    count (1), each segment: flags (1), address (3), length (2): make a chain available
 * in the argument's queue, as 'start' has laid it out 7 serve    the loop
 *
 * At the end the device is reset and must start as if nothing had been.
 *
 * With BIFOLD_FUZZ_RACE set, a second thread changes the queues' pages all the while, as another
 * vCPU may: what the device has checked is no longer so when it looks again. Such a run does not
 * repeat, and is not asked for a fresh start at the end; what it finds is a fault all the same.
 */
#ifndef TESTS_FUZZ_DEVICE_H
#define TESTS_FUZZ_DEVICE_H

#include <stddef.h>
#include <stdint.h>

#include "devices/loop.h"
#include "devices/virtio/virtio.h"
#include "ept/space.h"

#define FUZZ_MEMORY (64 * PAGE_SIZE)

struct fuzz_device {
	struct ept_space *space; /* unmanaged, zeroed before each input */
	struct loop *loop;
	uint8_t *memory;
	struct virtio *virtio;
};

struct fuzz_device_ops {
	/* Make the device over space and loop, and set virtio. */
	void (*open)(struct fuzz_device *device);
	/* An event of the host: input comes, a terminal changes. NULL: there are none. */
	void (*event)(struct fuzz_device *device, unsigned what, uint32_t value);
	/* The input is over, the device was reset and has started again. */
	void (*close)(struct fuzz_device *device);
};

/* One input. Returns 0. */
int fuzz_device_run(const struct fuzz_device_ops *ops, const uint8_t *data, size_t size);

/* Serves the loop until it is idle, or has been busy for long. */
void fuzz_device_serve(struct fuzz_device *device);

#endif

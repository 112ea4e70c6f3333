/*
 * Virtio devices over MMIO (VIRTIO 1.2, version 2 of the registers, split queues): what a driver
 * needs of its device.
 *
 * The command line says where devices are (guest/abi.h). Each has a line of the I/O APIC and a
 * vector of its own; its interrupts are handled on the first CPU, under the kernel lock, between
 * two instructions of a program or of the idle thread. So a driver needs no lock, and a thread that
 * waits for a device sleeps.
 *
 * The host's word is checked: a device that says something impossible, or asks to be reset, has
 * failed. It is reset, so that it leaves memory alone, and its driver told; nothing is asked of it
 * again.
 */
#ifndef GUEST_DEVICE_VIRTIO_H
#define GUEST_DEVICE_VIRTIO_H

#include "guest/abi.h"
#include "guest/lib/types.h"

#define VIRTIO_QUEUE_MAX 128 /* entries of a queue: it fits a page */
#define VIRTIO_QUEUES	 5

struct page_range;
struct virtio_device;
struct virtq_descriptor;
struct virtq_available;
struct virtq_used;
struct virtq_slot;

struct virtio_queue {
	struct virtio_device *device;
	uint16_t number, size;
	uint16_t available_next, used_next; /* as the rings count: modulo 2^16 */
	uint16_t free_first, free_count;    /* descriptors */
	struct virtq_descriptor *descriptor;
	volatile struct virtq_available *available;
	volatile struct virtq_used *used;
	struct virtq_slot *slot; /* what we know of each descriptor */
};

struct virtio_driver {
	const char *name;
	uint32_t id;	   /* section 5 */
	uint64_t features; /* that it can use; VIRTIO_F_VERSION_1 is always asked for */
	/* Makes the queues; the device is not to be used yet. 0 or -errno. */
	int (*begin)(struct virtio_device *device);
	/* Now it is. Optional. */
	void (*start)(struct virtio_device *device);
	/* It may be done with something, and its configuration may have changed. */
	void (*interrupt)(struct virtio_device *device);
	/* It has failed: nothing that it was given comes back. */
	void (*failed)(struct virtio_device *device);
};

struct virtio_device {
	volatile uint32_t *registers;
	const struct virtio_driver *driver; /* NULL: nobody's */
	unsigned line, number;		    /* of the I/O APIC; among those of its driver */
	uint64_t offered, features;	    /* by the device; used */
	bool failed;
	void *state; /* the driver's */
	struct virtio_queue queue[VIRTIO_QUEUES];
};

#define VIRTIO_F_VERSION_1 (1ull << 32)

/* Finds the devices at the places that the command line names, beside `memory`, and starts their
 * drivers. Wrong words are logged and left. */
void virtio_init(const char *const place_of[], unsigned count, const struct page_range *memory,
		 unsigned memory_count);

/* For each bit n that is set: vector VECTOR_DEVICE + n was raised. */
void virtio_interrupts(uint32_t devices);

/* As if it had interrupted: for the few callers that cannot sleep. */
void virtio_poll(struct virtio_device *device);

static inline bool virtio_has(const struct virtio_device *device, unsigned bit)
{
	return device->features >> bit & 1;
}

/* Of the configuration space, by bytes; of more than 4 the two halves are of one moment. */
uint8_t virtio_config_8(const struct virtio_device *device, unsigned offset);
uint16_t virtio_config_16(const struct virtio_device *device, unsigned offset);
uint32_t virtio_config_32(const struct virtio_device *device, unsigned offset);
uint64_t virtio_config_64(const struct virtio_device *device, unsigned offset);
void virtio_config_set_32(struct virtio_device *device, unsigned offset, uint32_t value);

/* In begin(): readies the queue, with at most VIRTIO_QUEUE_MAX entries. 0, -ENOENT, -ENOMEM. */
int virtio_queue_init(struct virtio_device *device, unsigned number);

/*
 * Makes a chain available: `out` segments that the device reads, then `in` that it writes, one at
 * least in all. virtio_take() gives token, not NULL, back. False: there is no room, or the device
 * has failed. It need not look before virtio_kick().
 */
bool virtio_add(struct virtio_queue *queue, const struct quire_segment *segment, unsigned out,
		unsigned in, void *token);
void virtio_kick(struct virtio_queue *queue);

/* The token of the next chain that the device is done with; *length is the number of bytes it
 * wrote, at most the chain's writable part. NULL: none is, or the device has failed. */
void *virtio_take(struct virtio_queue *queue, uint32_t *length);

/* Whether an interrupt is wanted when the device is done with something; it is, at first. Chains
 * done before it is turned on again raise none. */
void virtio_want_interrupts(struct virtio_queue *queue, bool wanted);

/* The device broke a rule, which the text tells. */
PRINTF(2, 3) void virtio_fail(struct virtio_device *device, const char *text, ...);

/* Kernel memory as a segment: memory that was allocated, neither the image nor a stack. */
struct quire_segment virtio_segment(const void *memory, uint64_t length);

#endif

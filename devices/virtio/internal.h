/* Shared by mmio.c, virtio.c and ring.c. All with the lock held. */
#ifndef DEVICES_VIRTIO_INTERNAL_H
#define DEVICES_VIRTIO_INTERNAL_H

#include "devices/virtio/virtio.h"

/* The driver writes the status register; 0 resets. */
void virtio_set_status(struct virtio *virtio, uint32_t status);

/* Half (0: low) of the feature bits, as the driver accepts them. */
void virtio_accept_features(struct virtio *virtio, uint32_t half, uint32_t bits);

/* The driver makes a queue ready: checks and pins its parts, or breaks the device. */
void virtio_queue_enable(struct virtio *virtio, struct virtio_queue *queue);
/* Unpins, if it is ready, and begins anew with its rings; the device knows no chain of it. */
void virtio_queue_disable(struct virtio *virtio, struct virtio_queue *queue);

/* Sets a bit of the interrupt status and interrupts. */
void virtio_interrupt(struct virtio *virtio, uint32_t bit);

static inline bool virtio_is_broken(const struct virtio *virtio)
{
	return (virtio->status & 0x40) != 0; /* VIRTIO_CONFIG_S_NEEDS_RESET */
}

#endif

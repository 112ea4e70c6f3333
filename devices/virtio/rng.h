/*
 * The virtio entropy source (VIRTIO 1.2, section 5.4): the host's getrandom(), a few KiB a buffer.
 */
#ifndef DEVICES_VIRTIO_RNG_H
#define DEVICES_VIRTIO_RNG_H

struct ept_space;
struct loop;
struct virtio;
struct virtio_rng;

/* 0 or -errno. */
int virtio_rng_create(struct ept_space *space, struct loop *loop, struct virtio_rng **rng);
/* Takes NULL. The loop must not run any more, vCPUs neither. */
void virtio_rng_destroy(struct virtio_rng *rng);

struct virtio *virtio_rng_virtio(struct virtio_rng *rng);

#endif

/*
 * The virtio block device (VIRTIO 1.2, section 5.2) over a raw file or a block device of the host.
 *
 * Data moves between the file and guest memory with no copy of the monitor's: the frames of a
 * request are pinned while the kernel reads or writes them. The memory pinned at a time is bounded,
 * and a request that does not fit is done in pieces, or later. Many requests are in flight; one
 * kick of the guest's is one submission, and all requests done by then are one interrupt.
 *
 * Writes are in the host's page cache until the guest flushes, as with a real disk's cache; a
 * driver that has not negotiated to flush gets each write on the disk before it is done. A failure
 * of the file is that request's failure. A request that is no request breaks the device.
 */
#ifndef DEVICES_VIRTIO_BLOCK_H
#define DEVICES_VIRTIO_BLOCK_H

#include <stdint.h>

#include "devices/virtio/block_file.h"

struct ept_space;
struct loop;
struct virtio;
struct virtio_block;

#define VIRTIO_BLOCK_PIN_BYTES (1u << 20)

struct virtio_block_config {
	struct block_file file; /* becomes the device's, also where creating it fails */
	unsigned number;	/* among the disks: for messages and for the name the guest asks */
	struct ept_space *space;
	struct loop *loop;
	/* The most that requests in flight may pin together, in whole pages; 0:
	 * VIRTIO_BLOCK_PIN_BYTES. All devices' together should leave half of what the manager
	 * allows to be pinned (mm_pin()) to rings and other short accesses. */
	uint64_t pin_bytes;
	const struct block_io_ops *io; /* NULL: &block_io_file */
};

/* 0 or -errno. */
int virtio_block_create(const struct virtio_block_config *config, struct virtio_block **block);
/* Takes NULL. Waits for the requests in flight. The loop must not run any more, vCPUs neither. */
void virtio_block_destroy(struct virtio_block *block);

/* For the bus, and for its interrupt and its queue's kicks. */
struct virtio *virtio_block_virtio(struct virtio_block *block);

/* Requests by their outcome, and the bytes they moved. */
struct virtio_block_counts {
	uint64_t reads, writes, flushes, discards, zeroes; /* that went well */
	uint64_t read_bytes, written_bytes, discarded_bytes, zeroed_bytes;
	uint64_t errors;  /* of the file, or of what was asked for */
	uint64_t waits;	  /* times that a request had to wait for frames to be pinned */
	unsigned pending; /* requests in flight or waiting, now */
};
/* From any thread, without waiting for anybody, not even for a reset: each count by itself is
 * right.
 */
void virtio_block_counts_get(struct virtio_block *block, struct virtio_block_counts *counts);

#endif

/*
 * A disk of the guest's, for tests: an image in a temporary file, the device over it, the driver,
 * and in between what makes operations fail, come back short, or not come back for a while.
 */
#ifndef TESTS_UNIT_DEVICES_DISK_H
#define TESTS_UNIT_DEVICES_DISK_H

#include <linux/virtio_blk.h>

#include "devices/virtio/block.h"
#include "driver.h"

#define DISK_BYTES (2u << 20)
#define DISK_QUEUE 256	     /* entries */
#define DISK_DATA  0x200000u /* in the guest's memory, for the requests' data: free from here on */
#define DISK_FLAGS                                                                                 \
	(1ull << VIRTIO_BLK_F_FLUSH | 1ull << VIRTIO_BLK_F_DISCARD |                               \
	 1ull << VIRTIO_BLK_F_WRITE_ZEROES)
#define DISK_FOREVER UINT32_MAX
#define DISK_SHORT   INT64_MAX /* a fault: half of what was asked is moved, at least a byte */

/* A fault of the operations of one kind: after skip of them, times of them give result; but each
 * spare-th, unless that is 0, is spared. */
struct disk_fault {
	bool armed;
	enum block_operation_kind kind;
	uint32_t skip, times;
	int64_t result; /* or DISK_SHORT */
	uint32_t spare;
};

struct disk {
	struct driver driver;
	struct virtio_block *block;
	char path[64];
	int fd;		  /* the image, as the test sees it */
	uint32_t written; /* by the request that disk_take() took last */

	/* The operations in between. */
	const struct block_io_ops *below;
	struct disk_fault fault;
	bool hold; /* none is begun until it is false and disk_release() was called, or a reset
		      waits */
	unsigned submissions, operations[BLOCK_ZERO + 1];

	int submit_error; /* of io_uring_submit(); 0: none */
	uint32_t submit_errors;
	uint32_t submits;

	/* ept_pin() in between, of the device. */
	int pin_error;		      /* 0: none */
	uint64_t pin_error_above;     /* bytes that may be pinned at once without it */
	uint32_t pin_errors;	      /* how many of them are left */
	uint64_t pinned, pinned_most; /* bytes */
};

extern struct disk disk;

struct disk_options {
	bool read_only;
	bool plain;	    /* no io_uring */
	uint64_t pin_bytes; /* 0: the default */
	uint64_t features;  /* accepted */
};

/* An image of random bytes, all of it ready. */
void disk_open(const struct disk_options *options);
void disk_close(void);
/* A reset, and all of the driver's side anew. */
void disk_restart(uint64_t features);

/* Makes a request of a header, data and a status available. Returns its slot. */
unsigned disk_add(uint32_t type, uint64_t sector, uint64_t data_at, uint32_t length);
/* The same, with the segments that the test has made; header and status are those of the slot. */
unsigned disk_add_segments(uint32_t type, uint64_t sector, const struct driver_segment *segments,
			   unsigned count);
unsigned disk_next_slot(void);
uint64_t disk_header_at(unsigned slot);
uint64_t disk_status_at(unsigned slot);
/* Waits for the next that is done: its slot. */
unsigned disk_take(void);
/* Kicks and waits for count to be done. */
void disk_finish(unsigned count);
uint8_t disk_status(unsigned slot);
/* One request from begin to end: its status. */
uint8_t disk_do(uint32_t type, uint64_t sector, uint64_t data_at, uint32_t length);
void disk_release(void);
/* From now on the host refuses to make the eventfd readable. */
void disk_refuse_events(void);

uint8_t *disk_memory(uint64_t at);
/* Whether the image has these bytes at an offset. */
void disk_expect(uint64_t offset, const void *bytes, size_t length);
void disk_fill(void *bytes, size_t length, unsigned seed);

#endif

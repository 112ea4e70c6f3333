/*
 * A request of the guest's to a disk: the operation it asks for, checked, and the guest memory for
 * it.
 */
#ifndef DEVICES_VIRTIO_BLOCK_REQUEST_H
#define DEVICES_VIRTIO_BLOCK_REQUEST_H

#include <linux/virtio_blk.h>

#include "devices/virtio/block_file.h"
#include "devices/virtio/virtio.h"

#define BLOCK_VECTORS_MAX 64 /* of one operation */
#define BLOCK_RANGES_MAX  32 /* of one request */

/* Results of block_request_read() beside VIRTIO_BLK_S_*. */
#define BLOCK_GOES_ON	0x100 /* there is something to do */
#define BLOCK_MALFORMED 0x101 /* it cannot even be answered: the device is broken */

struct block_range {
	uint64_t offset, length; /* bytes */
	bool unmap;
};

struct block_request {
	struct block_operation operation; /* the one under way. First: it leads back here */
	struct block_request *next;	  /* that waits */
	struct virtio_chain chain;
	uint32_t type;	  /* VIRTIO_BLK_T_*: IN, OUT, FLUSH, DISCARD, WRITE_ZEROES, or it is done */
	uint64_t offset;  /* of the data in the file; bytes */
	uint64_t data_at; /* where in the chain's part the data begin */
	uint64_t data_bytes;
	uint64_t done; /* of the data, or of the range at hand; bytes */
	struct block_range range[BLOCK_RANGES_MAX];
	unsigned range_count, range_at;
	bool by_hand; /* the file cannot be told to zero a range: zeros are written */
	bool synced;
	unsigned retries;
	struct iovec vectors[BLOCK_VECTORS_MAX]; /* of the operation under way */
	gpa_t pinned_at[BLOCK_VECTORS_MAX];	 /* where the first pinned_count of them are */
	unsigned pinned_count;
	uint64_t pinned_bytes; /* whole pages */
	gpa_t refused;	       /* what could not be pinned when it last had to wait, */
	int refusal;	       /* and why: -ENOMEM or -EBUSY */
};

/*
 * Reads the request from its chain, which was popped: BLOCK_GOES_ON, BLOCK_MALFORMED, or the status
 * to answer it with at once. With BLOCK_GOES_ON everything is in range. number: of the disk, for
 * its name. With the lock held.
 */
unsigned block_request_read(struct virtio *virtio, const struct block_file *file, unsigned number,
			    struct block_request *request);

/*
 * Pins the next piece of the data, as much as max_bytes of whole pages (at least one) and the
 * manager allow, and makes the operation that moves it. -ENOMEM, -EBUSY: not even a page, now, and
 * refused and refusal say which and why. Others: see virtio_vm_ends().
 */
int block_request_pin(struct ept_space *space, struct block_request *request, uint64_t max_bytes);
void block_request_unpin(struct ept_space *space, struct block_request *request);

#endif

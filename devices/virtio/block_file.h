/*
 * The store behind a disk of the guest: a raw file, or a block device of the host, and asynchronous
 * operations on it. Guest memory is known here only as the caller's iovecs.
 */
#ifndef DEVICES_VIRTIO_BLOCK_FILE_H
#define DEVICES_VIRTIO_BLOCK_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#define BLOCK_SECTOR	    512u
#define BLOCK_IN_FLIGHT_MAX 64u /* operations */

struct block_file {
	int fd;
	uint64_t bytes; /* a multiple of BLOCK_SECTOR */
	bool read_only;
};

/*
 * Opens and locks it (an OFD lock: readers share it). 0 or -errno, with a line logged that names
 * path.
 */
int block_file_open(const char *path, bool read_only, struct block_file *file);
void block_file_close(struct block_file *file);

enum block_operation_kind {
	BLOCK_READ,
	BLOCK_WRITE,
	BLOCK_SYNC,  /* all writes that are done are on the disk */
	BLOCK_PUNCH, /* the range reads as zeros, and takes no room */
	BLOCK_ZERO,  /* the range reads as zeros, and takes room */
};

struct block_operation {
	enum block_operation_kind kind;
	uint64_t offset;       /* bytes */
	struct iovec *vectors; /* READ, WRITE; as the memory, the kernel's until it is done */
	unsigned vector_count;
	uint64_t length;	      /* PUNCH, ZERO; bytes */
	int64_t result;		      /* out: bytes moved (may be short), or 0; -errno */
	struct block_operation *next; /* of the implementation */
};

/*
 * The operations. Tests put their own in between to inject failures; the device resubmits
 * operations that come back short, with -EINTR or with -EAGAIN. Calls are made by one thread at a
 * time.
 */
struct block_io_ops {
	/* *io for file, which stays the caller's. Completions make event_fd readable. 0 or -errno.
	 */
	int (*open)(const struct block_file *file, int event_fd, void **io);
	/* With nothing in flight. */
	void (*close)(void *io);
	/* Begins them, all together; BLOCK_IN_FLIGHT_MAX may be in flight. 0, or -errno: they are
	 * to be reaped all the same, but the host has refused to make event_fd readable. */
	int (*submit)(void *io, struct block_operation *const *operations, unsigned count);
	/* Returns an operation that is done, in any order. NULL: none is, and wait is false or none
	 * is in flight. */
	struct block_operation *(*reap)(void *io, bool wait);
};

/* io_uring, or plain calls where the host refuses it. */
extern const struct block_io_ops block_io_file;

/* Plain calls, which are carried out in submit(). */
extern const struct block_io_ops block_io_plain;

#endif

/* A disk and its requests, for the device's own files. */
#ifndef GUEST_DEVICE_BLOCK_H
#define GUEST_DEVICE_BLOCK_H

#include "guest/device/driver.h"
#include "guest/file/file.h"
#include "guest/memory/page.h"

#define SECTOR 512ul

/* Feature bits. */
enum {
	F_SEGMENT_MAX = 2,
	F_READ_ONLY = 5,
	F_BLOCK_SIZE = 6,
	F_FLUSH = 9,
	F_DISCARD = 13,
	F_WRITE_ZEROES = 14,
};

/* Offsets in the configuration space. */
enum {
	CONFIG_CAPACITY = 0,
	CONFIG_SEGMENT_MAX = 12,
	CONFIG_BLOCK_SIZE = 20,
	CONFIG_DISCARD_SECTORS = 36,
	CONFIG_ZEROES_SECTORS = 48,
};

enum request_type {
	TYPE_READ = 0,
	TYPE_WRITE = 1,
	TYPE_FLUSH = 4,
	TYPE_DISCARD = 11,
	TYPE_WRITE_ZEROES = 13,
};

enum { STATUS_OK = 0, STATUS_UNSUPPORTED = 2, STATUS_UNSET = 0xff };

#define REQUEST_MAX   8		    /* of a disk, at the same time */
#define REQUEST_BYTES (128ul << 10) /* of one */
#define SEGMENT_MAX   (unsigned)(REQUEST_BYTES / PAGE_SIZE + 1)
#define BUFFER_ORDER  4
#define DISK_MAX      DEVICE_MAX
#define DISK_MAJOR    254
#define DISK_MINORS   16 /* of each */

struct header {
	uint32_t type, reserved;
	uint64_t sector;
};

/* The sectors of a discard, as the device reads them. */
struct range {
	uint64_t sector;
	uint32_t sectors, flags;
};

struct request {
	struct header header; /* the device reads this, */
	struct range range;   /* perhaps this, */
	uint8_t status;	      /* and writes this */
	bool done;
	bool in_flight;
	struct request *next; /* free; or of a run, in the disk's order */
	uint64_t bytes;
	unsigned count; /* segments of data, from [1] on */
	struct quire_segment segment[1 + SEGMENT_MAX + 1];
};

/* A write under way, on its thread's stack. */
struct write {
	struct write *next;
	uint64_t start, end; /* of whole blocks */
};

struct disk {
	struct virtio_device *device;
	uint64_t size;	/* bytes */
	uint64_t block; /* bytes that are read and written together */
	uint64_t request_bytes;
	bool read_only;
	struct request request[REQUEST_MAX];
	struct request *free;
	struct write *writes;
	char name[4];
};

/* The disk of a number, or NULL. */
struct disk *block_disk(unsigned number);

/* A free request: NULL, or waiting for one. */
struct request *block_request_try(struct disk *disk);
struct request *block_request_take(struct disk *disk);
void block_request_give(struct disk *disk, struct request *request);

/* Its data is in place. Waits for room in the queue, which there is when all others are done. 0 or
 * -EIO. */
int block_request_send(struct disk *disk, struct request *request, enum request_type type,
		       uint64_t sector);

/* Waits until it is done. 0, -EIO, -EOPNOTSUPP. */
int block_request_wait(const struct request *request);

/* One request with `length` bytes of the kernel's, or none. */
int block_request_do(struct disk *disk, enum request_type type, uint64_t sector, void *memory,
		     uint64_t length);

/* block_file.c: /dev/vda and on. */
extern const struct file_ops block_file_ops;

#endif

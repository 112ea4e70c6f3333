/*
 * The virtio block device (VIRTIO 1.2, section 5.2): its requests, and its start. The files that
 * programs see are in block_file.c.
 */
#include "guest/device/block.h"
#include "guest/lib/errno.h"
#include "guest/lib/string.h"
#include "guest/memory/slab.h"
#include "guest/process/process.h"

static struct disk *disks[DISK_MAX];

struct disk *block_disk(unsigned number)
{
	return number < DISK_MAX ? disks[number] : NULL;
}

/* --- requests --- */

struct request *block_request_try(struct disk *disk)
{
	struct request *request = disk->free;

	if (!request)
		return NULL;
	disk->free = request->next;
	request->next = NULL;
	request->count = 0;
	request->bytes = 0;
	return request;
}

struct request *block_request_take(struct disk *disk)
{
	while (!disk->free)
		thread_wait_deaf(&disk->free);
	return block_request_try(disk);
}

void block_request_give(struct disk *disk, struct request *request)
{
	request->next = disk->free;
	disk->free = request;
	thread_wake(&disk->free);
}

int block_request_send(struct disk *disk, struct request *request, enum request_type type,
		       uint64_t sector)
{
	struct virtio_queue *queue = &disk->device->queue[0];
	bool reads = type == TYPE_READ;
	unsigned out = reads ? 1 : 1 + request->count;

	request->header = (struct header){ .type = type, .sector = sector };
	request->status = STATUS_UNSET;
	request->done = false;
	request->segment[0] = virtio_segment(&request->header, sizeof(request->header));
	request->segment[1 + request->count] = virtio_segment(&request->status, 1);
	while (!virtio_add(queue, request->segment, out, 2 + request->count - out, request)) {
		if (disk->device->failed)
			return -EIO;
		thread_wait_deaf(queue);
	}
	request->in_flight = true;
	virtio_kick(queue);
	return 0;
}

int block_request_wait(const struct request *request)
{
	while (!request->done)
		thread_wait_deaf(request);
	return request->status == STATUS_OK	       ? 0
	       : request->status == STATUS_UNSUPPORTED ? -EOPNOTSUPP
						       : -EIO;
}

int block_request_do(struct disk *disk, enum request_type type, uint64_t sector, void *memory,
		     uint64_t length)
{
	struct request *request = block_request_take(disk);
	int error;

	if (length > 0)
		request->segment[++request->count] = virtio_segment(memory, length);
	error = block_request_send(disk, request, type, sector);
	if (!error)
		error = block_request_wait(request);
	block_request_give(disk, request);
	return error;
}

static void block_interrupt(struct virtio_device *device)
{
	struct virtio_queue *queue = &device->queue[0];
	struct request *request;
	uint32_t length;

	while ((request = virtio_take(queue, &length))) {
		request->in_flight = false;
		request->done = true;
		thread_wake(request);
		thread_wake(queue);
	}
}

static void block_failed(struct virtio_device *device)
{
	struct disk *disk = device->state;

	for (unsigned i = 0; i < REQUEST_MAX; i++) {
		struct request *request = &disk->request[i];

		if (!request->in_flight)
			continue;
		request->in_flight = false;
		request->status = STATUS_UNSET;
		request->done = true;
		thread_wake(request);
	}
	thread_wake(&device->queue[0]);
}

/* --- starting --- */

static void read_config(struct disk *disk)
{
	const struct virtio_device *device = disk->device;
	uint64_t segments = SEGMENT_MAX, block = SECTOR;

	if (virtio_has(device, F_SEGMENT_MAX))
		segments = virtio_config_32(device, CONFIG_SEGMENT_MAX);
	segments = MIN(MIN(segments, SEGMENT_MAX), device->queue[0].size - 2);
	if (virtio_has(device, F_BLOCK_SIZE))
		block = virtio_config_32(device, CONFIG_BLOCK_SIZE);
	disk->block = block;
	disk->size = ROUND_DOWN(virtio_config_64(device, CONFIG_CAPACITY) * SECTOR, block);
	disk->request_bytes = segments > 1 ? (segments - 1) * PAGE_SIZE : 0;
	disk->read_only = virtio_has(device, F_READ_ONLY);
}

/* Disks with blocks larger than a page, or whose requests cannot hold a page, are not usable. */
static bool is_usable(const struct disk *disk)
{
	return disk->block >= SECTOR && disk->block <= PAGE_SIZE &&
	       !(disk->block & (disk->block - 1)) && disk->request_bytes >= PAGE_SIZE;
}

static int block_begin(struct virtio_device *device)
{
	struct disk *disk = memory_alloc_zero(sizeof(*disk));
	int error = disk ? virtio_queue_init(device, 0) : -ENOMEM;

	if (error)
		return error;
	disk->device = device;
	device->state = disk;
	read_config(disk);
	if (!is_usable(disk))
		return -EOPNOTSUPP;
	for (unsigned i = 0; i < REQUEST_MAX; i++)
		block_request_give(disk, &disk->request[i]);
	return 0;
}

static void block_start(struct virtio_device *device)
{
	struct node *directory = node_child(node_root, "dev", 3), *node;
	struct disk *disk = device->state;

	memcpy(disk->name, "vda", 4);
	disk->name[2] += device->number;
	node = directory ? node_add(directory, disk->name, MODE_BLOCK | 0660) : NULL;
	if (!node)
		return;
	disks[device->number] = disk;
	node->ops = &block_file_ops;
	node->device = DISK_MAJOR << 8 | device->number * DISK_MINORS;
}

const struct virtio_driver block_driver = {
	.name = "block",
	.id = 2,
	.features = 1 << F_SEGMENT_MAX | 1 << F_READ_ONLY | 1 << F_BLOCK_SIZE | 1 << F_FLUSH |
		    1 << F_DISCARD | 1 << F_WRITE_ZEROES,
	.begin = block_begin,
	.start = block_start,
	.interrupt = block_interrupt,
	.failed = block_failed,
};

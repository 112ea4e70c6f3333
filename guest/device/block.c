/*
 * The virtio block device (VIRTIO 1.2, section 5.2): /dev/vda, /dev/vdb and on.
 *
 * There is no cache: a read or a write is done when the device is done with it. Whole blocks travel
 * between the disk and the program's own pages, several requests at a time, where nothing can
 * become of these pages meanwhile: the program has one thread, which waits here, and nobody shares
 * its memory. A page is held (page_get()) from before its request is made until it is done, so
 * that it does not move, nor go to the swap. For all else - parts of blocks, programs of several
 * threads - bytes are copied through a buffer of the kernel's; a block that is written in part is
 * read first.
 *
 * Writes that overlap go one after the other, so that what is written between such a read and its
 * write is not lost.
 */
#include "guest/device/driver.h"
#include "guest/file/file.h"
#include "guest/lib/errno.h"
#include "guest/lib/string.h"
#include "guest/memory/page.h"
#include "guest/memory/slab.h"
#include "guest/memory/user.h"
#include "guest/process/process.h"

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

/* What a discard is about. */
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

static struct disk *disks[DISK_MAX];

/* --- requests --- */

static struct request *request_try(struct disk *disk)
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

static struct request *request_take(struct disk *disk)
{
	while (!disk->free)
		thread_wait_deaf(&disk->free);
	return request_try(disk);
}

static void request_give(struct disk *disk, struct request *request)
{
	request->next = disk->free;
	disk->free = request;
	thread_wake(&disk->free);
}

/* Its data is in place. Waits for room in the queue, which there is when all others are done. */
static int request_send(struct disk *disk, struct request *request, enum request_type type,
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

/* Waits until it is done. 0, -EIO, -EOPNOTSUPP. */
static int request_wait(const struct request *request)
{
	while (!request->done)
		thread_wait_deaf(request);
	return request->status == STATUS_OK	       ? 0
	       : request->status == STATUS_UNSUPPORTED ? -EOPNOTSUPP
						       : -EIO;
}

/* One request with `length` bytes of the kernel's, or none. */
static int request_do(struct disk *disk, enum request_type type, uint64_t sector, void *memory,
		      uint64_t length)
{
	struct request *request = request_take(disk);
	int error;

	if (length > 0)
		request->segment[++request->count] = virtio_segment(memory, length);
	error = request_send(disk, request, type, sector);
	if (!error)
		error = request_wait(request);
	request_give(disk, request);
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

/* --- between the disk and the program's pages --- */

/* Holds the segment's pages, or lets go of them. The archive's are nobody's. */
static void hold(const struct quire_segment *segment, bool on)
{
	uint64_t end = (segment->gpa + segment->length - 1) >> PAGE_SHIFT;

	for (uint64_t frame = segment->gpa >> PAGE_SHIFT; frame <= end; frame++) {
		if (!page_is_used(frame))
			continue;
		if (on)
			page_get(frame);
		else
			page_put(frame);
	}
}

static void let_go(const struct request *request)
{
	for (unsigned i = 1; i <= request->count; i++)
		hold(&request->segment[i], false);
}

/* The next bytes of the program's, held: 0 or -EFAULT, and then none are. */
static int gather(struct request *request, struct vector_cursor *cursor, bool read, uint64_t bytes)
{
	while (request->bytes < bytes) {
		struct quire_segment *next = &request->segment[1 + request->count];
		int more = user_segments(cursor, read, bytes - request->bytes, next,
					 SEGMENT_MAX - request->count);

		if (more <= 0) {
			let_go(request);
			return -EFAULT;
		}
		for (int i = 0; i < more; i++) {
			hold(&next[i], true);
			request->bytes += next[i].length;
		}
		request->count += more;
	}
	return 0;
}

/* Requests under way of one run of the disk's bytes. */
struct run {
	struct disk *disk;
	struct request *first, **end;
	int64_t bytes; /* that are done, up to the first error */
	int error;
};

/* The oldest one ends. */
static void land(struct run *run)
{
	struct request *request = run->first;
	int error = request_wait(request);

	run->first = request->next;
	if (!run->first)
		run->end = &run->first;
	if (!run->error)
		run->error = error;
	if (!run->error)
		run->bytes += request->bytes;
	let_go(request);
	request_give(run->disk, request);
}

/* Starts one request. 0 or -errno. */
static int launch(struct run *run, bool write, struct vector_cursor *cursor, uint64_t bytes,
		  uint64_t offset)
{
	struct request *request;
	int error;

	while (!(request = request_try(run->disk)) && run->first)
		land(run);
	if (!request)
		request = request_take(run->disk);
	error = gather(request, cursor, !write, bytes);
	if (!error) {
		error = request_send(run->disk, request, write ? TYPE_WRITE : TYPE_READ,
				     offset / SECTOR);
		if (error)
			let_go(request);
	}
	if (error) {
		request_give(run->disk, request);
		return error;
	}
	*run->end = request;
	run->end = &request->next;
	return 0;
}

/* Whole blocks. Bytes or -errno. */
static int64_t move_pages(struct disk *disk, bool write, uint64_t address, uint64_t length,
			  uint64_t offset)
{
	struct io_vector vector = { address, length };
	struct vector_cursor cursor = { &vector, 1, 0 };
	struct run run = { .disk = disk, .end = &run.first };
	int error = 0;

	current_space()->transfers++;
	for (uint64_t at = 0, part; at < length && !error && !run.error; at += part) {
		part = MIN(length - at, disk->request_bytes);
		error = launch(&run, write, &cursor, part, offset + at);
	}
	while (run.first)
		land(&run);
	current_space()->transfers--;
	return run.bytes > 0 ? run.bytes : run.error ? run.error : error;
}

/* --- through a buffer --- */

/* What of the blocks in the buffer will not be written over is read. */
static int read_edges(struct disk *disk, uint8_t *buffer, uint64_t from, uint64_t to,
		      uint64_t offset)
{
	uint64_t last = ROUND_DOWN(to - 1, disk->block);
	bool head = from % disk->block, tail = to % disk->block;
	int error = 0;

	if (head || (tail && last == 0))
		error = request_do(disk, TYPE_READ, offset / SECTOR, buffer, disk->block);
	if (!error && tail && last > 0)
		error = request_do(disk, TYPE_READ, (offset + last) / SECTOR, buffer + last,
				   disk->block);
	return error;
}

/* Bytes [from, to) of the blocks at `offset`, which fit the buffer. */
static int move_in_buffer(struct disk *disk, bool write, uint64_t address, uint64_t from,
			  uint64_t to, uint64_t offset, uint8_t *buffer)
{
	uint64_t all = ROUND_UP(to, disk->block);
	int error;

	if (!write) {
		error = request_do(disk, TYPE_READ, offset / SECTOR, buffer, all);
		return error ? error : user_write(address, buffer + from, to - from);
	}
	error = read_edges(disk, buffer, from, to, offset);
	if (!error)
		error = user_read(buffer + from, address, to - from);
	return error ? error : request_do(disk, TYPE_WRITE, offset / SECTOR, buffer, all);
}

/* As much as fits the buffer. Bytes or -errno. */
static int64_t move_bytes(struct disk *disk, bool write, uint64_t address, uint64_t length,
			  uint64_t offset)
{
	uint64_t from = offset % disk->block, to;
	unsigned order = from + length <= PAGE_SIZE ? 0 : BUFFER_ORDER;
	struct page *pages = page_alloc(order, PAGE_ANY);
	int error;

	if (!pages && order > 0)
		pages = page_alloc(order = 0, PAGE_ANY);
	if (!pages)
		return -ENOMEM;
	to = MIN(from + length, PAGE_SIZE << order);
	error = move_in_buffer(disk, write, address, from, to, offset - from, page_address(pages));
	page_free(pages, order, false);
	return error ? error : (int64_t)(to - from);
}

/* --- files --- */

static struct disk *disk_of(const struct file *file)
{
	return file->private;
}

/* Nobody else can touch its memory while its thread waits. */
static bool is_alone(void)
{
	return current_process()->thread_count == 1 && current_space()->refs == 1;
}

static int64_t move(struct disk *disk, bool write, uint64_t address, uint64_t length,
		    uint64_t offset)
{
	uint64_t within = offset % disk->block;

	if (!is_alone())
		return move_bytes(disk, write, address, length, offset);
	if (within || length < disk->block)
		return move_bytes(disk, write, address, MIN(length, disk->block - within), offset);
	return move_pages(disk, write, address, ROUND_DOWN(length, disk->block), offset);
}

static int64_t move_all(struct disk *disk, bool write, const struct io_vector *vector,
			unsigned count, uint64_t left, uint64_t *offset)
{
	int64_t total = 0, moved;

	for (; count > 0; vector++, count--) {
		for (uint64_t done = 0; done < vector->length && left > 0; done += moved) {
			moved = move(disk, write, vector->base + done,
				     MIN(vector->length - done, left), *offset);
			if (moved < 0)
				return total > 0 ? total : moved;
			*offset += moved;
			total += moved;
			left -= moved;
		}
	}
	return total;
}

static uint64_t length_of(const struct io_vector *vector, unsigned count)
{
	uint64_t total = 0;

	for (; count > 0; vector++, count--)
		total += vector->length;
	return total;
}

static int64_t block_read(struct file *file, const struct io_vector *vector, unsigned count,
			  uint64_t *offset)
{
	struct disk *disk = disk_of(file);

	if (*offset >= disk->size)
		return 0;
	return move_all(disk, false, vector, count, disk->size - *offset, offset);
}

static bool is_written(const struct disk *disk, const struct write *write)
{
	for (const struct write *other = disk->writes; other; other = other->next) {
		if (other->start < write->end && other->end > write->start)
			return true;
	}
	return false;
}

static void write_begin(struct disk *disk, struct write *write)
{
	while (is_written(disk, write))
		thread_wait_deaf(&disk->writes);
	write->next = disk->writes;
	disk->writes = write;
}

static void write_end(struct disk *disk, struct write *write)
{
	struct write **link = &disk->writes;

	while (*link != write)
		link = &(*link)->next;
	*link = write->next;
	thread_wake(&disk->writes);
}

static int64_t block_write(struct file *file, const struct io_vector *vector, unsigned count,
			   uint64_t *offset)
{
	struct disk *disk = disk_of(file);
	uint64_t length = length_of(vector, count);
	struct write write;
	int64_t result;

	if (disk->read_only)
		return -EPERM;
	if (length == 0)
		return 0;
	if (*offset >= disk->size)
		return -ENOSPC;
	length = MIN(length, disk->size - *offset);
	write.start = ROUND_DOWN(*offset, disk->block);
	write.end = ROUND_UP(*offset + length, disk->block);
	write_begin(disk, &write);
	result = move_all(disk, true, vector, count, length, offset);
	write_end(disk, &write);
	return result;
}

static int64_t block_sync(struct file *file)
{
	struct disk *disk = disk_of(file);

	if (disk->read_only || !virtio_has(disk->device, F_FLUSH))
		return disk->device->failed ? -EIO : 0;
	return request_do(disk, TYPE_FLUSH, 0, NULL, 0);
}

static int discard_part(struct disk *disk, enum request_type type, uint64_t sector,
			uint64_t sectors)
{
	struct request *request = request_take(disk);
	int error;

	request->range = (struct range){ .sector = sector, .sectors = sectors };
	request->segment[++request->count] =
		virtio_segment(&request->range, sizeof(request->range));
	error = request_send(disk, request, type, 0);
	if (!error)
		error = request_wait(request);
	request_give(disk, request);
	return error;
}

/* BLKDISCARD and BLKZEROOUT: the program's two words, start and length. */
static int64_t block_discard(struct file *file, enum request_type type, uint64_t argument)
{
	bool zeroes = type == TYPE_WRITE_ZEROES;
	struct disk *disk = disk_of(file);
	uint64_t range[2], most;
	struct write write;
	int error = 0;

	if ((file->flags & OPEN_ACCESS) == OPEN_READ)
		return -EBADF;
	if (!virtio_has(disk->device, zeroes ? F_WRITE_ZEROES : F_DISCARD))
		return -EOPNOTSUPP;
	if (user_read(range, argument, sizeof(range)))
		return -EFAULT;
	if ((range[0] | range[1]) % disk->block || range[0] > disk->size ||
	    range[1] > disk->size - range[0])
		return -EINVAL;
	if (disk->read_only)
		return -EPERM;
	most = virtio_config_32(disk->device,
				zeroes ? CONFIG_ZEROES_SECTORS : CONFIG_DISCARD_SECTORS);
	most = MAX(ROUND_DOWN(most, disk->block / SECTOR), disk->block / SECTOR);
	write = (struct write){ .start = range[0], .end = range[0] + range[1] };
	write_begin(disk, &write);
	for (uint64_t at = range[0] / SECTOR, end = write.end / SECTOR; at < end && !error;
	     at += most)
		error = discard_part(disk, type, at, MIN(most, end - at));
	write_end(disk, &write);
	return error;
}

/* Linux's. */
enum {
	BLKROGET = 0x125e,
	BLKGETSIZE = 0x1260,
	BLKFLSBUF = 0x1261,
	BLKSSZGET = 0x1268,
	BLKDISCARD = 0x1277,
	BLKPBSZGET = 0x127b,
	BLKZEROOUT = 0x127f,
	BLKGETSIZE64 = 0x80081272,
};

static int64_t block_control(struct file *file, uint32_t request, uint64_t argument)
{
	struct disk *disk = disk_of(file);
	uint32_t block = disk->block, read_only = disk->read_only;
	uint64_t sectors = disk->size / SECTOR;

	switch (request) {
	case BLKROGET:
		return user_write(argument, &read_only, sizeof(read_only));
	case BLKGETSIZE:
		return user_write(argument, &sectors, sizeof(sectors));
	case BLKGETSIZE64:
		return user_write(argument, &disk->size, sizeof(disk->size));
	case BLKSSZGET:
	case BLKPBSZGET:
		return user_write(argument, &block, sizeof(block));
	case BLKFLSBUF:
		return block_sync(file);
	case BLKDISCARD:
		return block_discard(file, TYPE_DISCARD, argument);
	case BLKZEROOUT:
		return block_discard(file, TYPE_WRITE_ZEROES, argument);
	default:
		return -ENOTTY;
	}
}

static int64_t block_open(struct file *file)
{
	file->private = disks[(file->node->device & 0xff) / DISK_MINORS];
	return 0;
}

static uint64_t block_size(const struct file *file)
{
	return disk_of(file)->size;
}

static const struct file_ops block_ops = {
	.open = block_open,
	.read = block_read,
	.write = block_write,
	.control = block_control,
	.sync = block_sync,
	.size = block_size,
	.seekable = true,
};

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

/* What cannot be used: blocks larger than a page, a page that does not fit a request. */
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
		request_give(disk, &disk->request[i]);
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
	node->ops = &block_ops;
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

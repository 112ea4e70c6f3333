/*
 * Disks as files: /dev/vda, /dev/vdb and on.
 *
 * There is no cache: a read or a write is done when the device is done with it. Whole blocks travel
 * between the disk and the program's own pages, several requests at a time, where nothing can
 * happen to these pages meanwhile: the program has one thread, which waits here, and nobody shares
 * its memory. A page is held (page_get()) from before its request is made until it is done, so that
 * it does not move, nor go to the swap. For all else - parts of blocks, programs of several threads
 * - bytes are copied through a buffer of the kernel's; a block that is written in part is read
 * first.
 *
 * Writes that overlap go one after the other, so that no data written between such a read and its
 * write is lost.
 */
#include "guest/device/block.h"
#include "guest/lib/errno.h"
#include "guest/lib/string.h"
#include "guest/memory/slab.h"
#include "guest/memory/user.h"
#include "guest/process/process.h"

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
	int error = block_request_wait(request);

	run->first = request->next;
	if (!run->first)
		run->end = &run->first;
	if (!run->error)
		run->error = error;
	if (!run->error)
		run->bytes += request->bytes;
	let_go(request);
	block_request_give(run->disk, request);
}

/* Starts one request. 0 or -errno. */
static int launch(struct run *run, bool write, struct vector_cursor *cursor, uint64_t bytes,
		  uint64_t offset)
{
	struct request *request;
	int error;

	while (!(request = block_request_try(run->disk)) && run->first)
		land(run);
	if (!request)
		request = block_request_take(run->disk);
	error = gather(request, cursor, !write, bytes);
	if (!error) {
		error = block_request_send(run->disk, request, write ? TYPE_WRITE : TYPE_READ,
					   offset / SECTOR);
		if (error)
			let_go(request);
	}
	if (error) {
		block_request_give(run->disk, request);
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

/* Reads the first and the last block into the buffer where they will not be overwritten as a
 * whole. */
static int read_edges(struct disk *disk, uint8_t *buffer, uint64_t from, uint64_t to,
		      uint64_t offset)
{
	uint64_t last = ROUND_DOWN(to - 1, disk->block);
	bool head = from % disk->block, tail = to % disk->block;
	int error = 0;

	if (head || (tail && last == 0))
		error = block_request_do(disk, TYPE_READ, offset / SECTOR, buffer, disk->block);
	if (!error && tail && last > 0)
		error = block_request_do(disk, TYPE_READ, (offset + last) / SECTOR, buffer + last,
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
		error = block_request_do(disk, TYPE_READ, offset / SECTOR, buffer, all);
		return error ? error : user_write(address, buffer + from, to - from);
	}
	error = read_edges(disk, buffer, from, to, offset);
	if (!error)
		error = user_read(buffer + from, address, to - from);
	return error ? error : block_request_do(disk, TYPE_WRITE, offset / SECTOR, buffer, all);
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
	return block_request_do(disk, TYPE_FLUSH, 0, NULL, 0);
}

static int discard_part(struct disk *disk, enum request_type type, uint64_t sector,
			uint64_t sectors)
{
	struct request *request = block_request_take(disk);
	int error;

	request->range = (struct range){ .sector = sector, .sectors = sectors };
	request->segment[++request->count] =
		virtio_segment(&request->range, sizeof(request->range));
	error = block_request_send(disk, request, type, 0);
	if (!error)
		error = block_request_wait(request);
	block_request_give(disk, request);
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
	file->private = block_disk((file->node->device & 0xff) / DISK_MINORS);
	return 0;
}

static uint64_t block_size(const struct file *file)
{
	return disk_of(file)->size;
}

const struct file_ops block_file_ops = {
	.open = block_open,
	.read = block_read,
	.write = block_write,
	.control = block_control,
	.sync = block_sync,
	.size = block_size,
	.seekable = true,
};

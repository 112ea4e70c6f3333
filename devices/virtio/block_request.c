#include "devices/virtio/block_request.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ept/access.h"

/* Whether these sectors are on the disk. */
static bool is_inside(const struct block_file *file, uint64_t sector, uint64_t sectors)
{
	uint64_t capacity = file->bytes / BLOCK_SECTOR;

	return sector <= capacity && sectors <= capacity - sector;
}

static unsigned read_transfer(const struct block_file *file, struct block_request *r,
			      uint64_t sector)
{
	bool out = r->type == VIRTIO_BLK_T_OUT;

	r->data_at = out ? sizeof(struct virtio_blk_outhdr) : 0;
	r->data_bytes = out ? r->chain.readable_bytes - r->data_at : r->chain.writable_bytes - 1;
	if ((out && file->read_only) || r->data_bytes % BLOCK_SECTOR != 0 ||
	    !is_inside(file, sector, r->data_bytes / BLOCK_SECTOR))
		return VIRTIO_BLK_S_IOERR;
	r->offset = sector * BLOCK_SECTOR;
	return BLOCK_GOES_ON;
}

/* The ranges of a DISCARD or WRITE_ZEROES: none is begun unless all are good. */
static unsigned read_ranges(struct virtio *virtio, const struct block_file *file,
			    struct block_request *r)
{
	struct virtio_blk_discard_write_zeroes raw[BLOCK_RANGES_MAX];
	uint64_t at = sizeof(struct virtio_blk_outhdr), bytes = r->chain.readable_bytes - at;
	uint32_t known = r->type == VIRTIO_BLK_T_DISCARD ? 0 : VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;

	if (file->read_only || bytes == 0 || bytes % sizeof(raw[0]) != 0 || bytes > sizeof(raw))
		return VIRTIO_BLK_S_IOERR;
	if (virtio_read(virtio, &r->chain, at, raw, bytes) != bytes)
		return BLOCK_MALFORMED;
	r->range_count = (unsigned)(bytes / sizeof(raw[0]));
	for (unsigned i = 0; i < r->range_count; i++) {
		if (raw[i].flags & ~known)
			return VIRTIO_BLK_S_UNSUPP;
		if (!is_inside(file, raw[i].sector, raw[i].num_sectors))
			return VIRTIO_BLK_S_IOERR;
		r->range[i] = (struct block_range){
			.offset = raw[i].sector * BLOCK_SECTOR,
			.length = (uint64_t)raw[i].num_sectors * BLOCK_SECTOR,
			.unmap = raw[i].flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP,
		};
	}
	return BLOCK_GOES_ON;
}

static unsigned answer_name(struct virtio *virtio, unsigned number, struct block_request *r)
{
	char name[VIRTIO_BLK_ID_BYTES] = "";
	uint64_t room = r->chain.writable_bytes - 1;
	size_t length = room < sizeof(name) ? room : sizeof(name);

	snprintf(name, sizeof(name), "bifold-disk-%u", number);
	r->done = virtio_write(virtio, &r->chain, 0, name, length);
	return r->done == length ? VIRTIO_BLK_S_OK : BLOCK_MALFORMED;
}

static bool has_feature(const struct virtio *virtio, unsigned bit)
{
	return virtio_has(virtio, 1ull << bit);
}

static unsigned read_type(struct virtio *virtio, const struct block_file *file, unsigned number,
			  struct block_request *r, uint64_t sector)
{
	switch (r->type) {
	case VIRTIO_BLK_T_IN:
	case VIRTIO_BLK_T_OUT:
		return read_transfer(file, r, sector);
	case VIRTIO_BLK_T_FLUSH:
		return BLOCK_GOES_ON;
	case VIRTIO_BLK_T_GET_ID:
		return answer_name(virtio, number, r);
	case VIRTIO_BLK_T_DISCARD:
		return has_feature(virtio, VIRTIO_BLK_F_DISCARD) ? read_ranges(virtio, file, r)
								 : VIRTIO_BLK_S_UNSUPP;
	case VIRTIO_BLK_T_WRITE_ZEROES:
		return has_feature(virtio, VIRTIO_BLK_F_WRITE_ZEROES) ? read_ranges(virtio, file, r)
								      : VIRTIO_BLK_S_UNSUPP;
	default:
		return VIRTIO_BLK_S_UNSUPP;
	}
}

unsigned block_request_read(struct virtio *virtio, const struct block_file *file, unsigned number,
			    struct block_request *r)
{
	struct virtio_blk_outhdr header;

	r->done = r->data_bytes = 0;
	r->range_count = r->range_at = 0;
	r->by_hand = r->synced = false;
	r->retries = r->pinned_count = 0;
	r->pinned_bytes = 0;
	if (r->chain.readable_bytes < sizeof(header)) {
		virtio_break(virtio, "a request without a whole header");
		return BLOCK_MALFORMED;
	}
	if (r->chain.writable_bytes == 0) {
		virtio_break(virtio, "a request with no room for its status");
		return BLOCK_MALFORMED;
	}
	if (virtio_read(virtio, &r->chain, 0, &header, sizeof(header)) != sizeof(header))
		return BLOCK_MALFORMED;
	r->type = header.type;
	return read_type(virtio, file, number, r, header.sector);
}

static uint64_t page_bytes(gpa_t address, uint64_t length)
{
	return (address.v + length + PAGE_SIZE - 1) / PAGE_SIZE * PAGE_SIZE -
	       address.v / PAGE_SIZE * PAGE_SIZE;
}

/* About half of a range, that ends at a page's end; all of a range that lies in one page. */
static uint64_t halve(gpa_t address, uint64_t length)
{
	uint64_t end = (address.v + length / 2) / PAGE_SIZE * PAGE_SIZE;
	uint64_t first = PAGE_SIZE - address.v % PAGE_SIZE;

	if (end > address.v)
		return end - address.v;
	return length < first ? length : first;
}

/* Pins a range, or as much of its beginning as can be: how much, or -errno. */
static int64_t pin_beginning(struct ept_space *space, gpa_t address, uint64_t length, void **at)
{
	int error;

	while ((error = ept_pin(space, address, length, at)) == -ENOMEM || error == -EBUSY) {
		uint64_t less = halve(address, length);

		if (less == length)
			break;
		length = less;
	}
	return error == 0 ? (int64_t)length : error;
}

/* Adds the beginning of one segment to the piece: true if it was all of it. */
static bool pin_segment(struct ept_space *space, struct block_request *r, gpa_t address,
			uint64_t length, uint64_t max_bytes, int *error)
{
	uint64_t room = max_bytes - r->pinned_bytes;
	uint64_t most = room > address.v % PAGE_SIZE ? room - address.v % PAGE_SIZE : 0;
	int64_t pinned;
	void *at;

	if (r->pinned_count == BLOCK_VECTORS_MAX || most == 0)
		return false;
	pinned = pin_beginning(space, address, length < most ? length : most, &at);
	if (pinned < 0) {
		r->refused = address;
		r->refusal = *error = (int)pinned;
		return false;
	}
	r->pinned_at[r->pinned_count] = address;
	r->vectors[r->pinned_count++] = (struct iovec){ at, (size_t)pinned };
	r->pinned_bytes += page_bytes(address, (uint64_t)pinned);
	return (uint64_t)pinned == length;
}

int block_request_pin(struct ept_space *space, struct block_request *r, uint64_t max_bytes)
{
	bool in = r->type == VIRTIO_BLK_T_IN;
	const struct virtio_segment *segment = r->chain.segment + (in ? r->chain.readable : 0);
	uint64_t skip = r->data_at + r->done, left = r->data_bytes - r->done;
	int error = 0;

	for (; left > 0; segment++) {
		uint64_t length;

		if (skip >= segment->length) {
			skip -= segment->length;
			continue;
		}
		length = segment->length - skip < left ? segment->length - skip : left;
		if (!pin_segment(space, r, gpa(segment->address.v + skip), length, max_bytes,
				 &error))
			break;
		skip = 0;
		left -= length;
	}
	r->operation = (struct block_operation){
		.kind = in ? BLOCK_READ : BLOCK_WRITE,
		.offset = r->offset + r->done,
		.vectors = r->vectors,
		.vector_count = r->pinned_count,
	};
	return r->pinned_count > 0 ? 0 : error;
}

void block_request_unpin(struct ept_space *space, struct block_request *r)
{
	for (unsigned i = 0; i < r->pinned_count; i++)
		ept_unpin(space, r->pinned_at[i], r->vectors[i].iov_len);
	r->pinned_count = 0;
	r->pinned_bytes = 0;
}

/*
 * Split rings (VIRTIO 1.2, section 2.7) from the device's side.
 *
 * The three parts of a ready queue are pinned, and shared with vCPUs that run: every field is read
 * or written by one atomic access, and a value is in a variable of ours before it is checked.
 *
 * Order: an entry is read after the index that published it (acquire) and written before the index
 * that publishes it (release). A side that asks to be notified, or to be interrupted, and then
 * finds nothing to do relies on a full barrier between its asking and its looking; so does the
 * other side, between publishing an entry and looking whether a notice was asked for.
 */
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <string.h>

#include "base/check.h"
#include "devices/virtio/internal.h"
#include "ept/access.h"

#define LOAD(from)	  __atomic_load_n(&(from), __ATOMIC_RELAXED)
#define STORE(to, value)  __atomic_store_n(&(to), value, __ATOMIC_RELAXED)
#define FULL_BARRIER()	  __sync_synchronize()
#define CHAIN_BYTES_MAX	  (1ull << 32)
#define RING_PARTS	  3
#define HAS_EVENT_IDX(of) virtio_has(of, 1ull << VIRTIO_RING_F_EVENT_IDX)
#define HAS_INDIRECT(of)  virtio_has(of, 1ull << VIRTIO_RING_F_INDIRECT_DESC)

/* The driver's wish when to be interrupted, and ours when to be notified, lie behind the rings. */
static uint16_t *used_event(struct virtio_queue *queue)
{
	return &queue->available->ring[queue->size];
}

static uint16_t *available_event(struct virtio_queue *queue)
{
	return (uint16_t *)&queue->used->ring[queue->size];
}

/* A queue's parts: descriptors, available ring, used ring. */
struct part {
	gpa_t at;
	size_t bytes, alignment;
	void **pinned;
};

static void list_parts(const struct virtio *virtio, struct virtio_queue *queue,
		       struct part parts[RING_PARTS])
{
	size_t event = HAS_EVENT_IDX(virtio) ? sizeof(uint16_t) : 0;

	parts[0] = (struct part){ queue->descriptors_at, queue->size * sizeof(struct vring_desc),
				  VRING_DESC_ALIGN_SIZE, (void **)&queue->descriptors };
	parts[1] =
		(struct part){ queue->available_at,
			       sizeof(struct vring_avail) + queue->size * sizeof(uint16_t) + event,
			       VRING_AVAIL_ALIGN_SIZE, (void **)&queue->available };
	parts[2] = (struct part){ queue->used_at,
				  sizeof(struct vring_used) +
					  queue->size * sizeof(struct vring_used_elem) + event,
				  VRING_USED_ALIGN_SIZE, (void **)&queue->used };
}

static int pin_part(struct virtio *virtio, const struct part *part)
{
	int error;

	if (part->at.v % part->alignment != 0)
		return -EINVAL;
	while ((error = ept_pin(virtio->space, part->at, part->bytes, part->pinned)) == -ENOMEM) {
		const uint64_t last = part->at.v + part->bytes - 1;

		/* A part is no longer than two pages. */
		error = virtio_bring_in(virtio, part->at);
		if (error == 0)
			error = virtio_bring_in(virtio, gpa(last));
		if (error != 0)
			return -EIO;
	}
	return error;
}

void virtio_queue_enable(struct virtio *virtio, struct virtio_queue *queue)
{
	unsigned number = (unsigned)(queue - virtio->queue);
	struct part parts[RING_PARTS];
	int error = 0, i;

	if (queue->size == 0) {
		virtio_break(virtio, "queue %u has no size", number);
		return;
	}
	list_parts(virtio, queue, parts);
	for (i = 0; i < RING_PARTS; i++) {
		error = pin_part(virtio, &parts[i]);
		if (error != 0)
			break;
	}
	if (error == 0) {
		queue->ready = true;
		return;
	}
	if (virtio_vm_ends(error))
		virtio_end(virtio);
	virtio_break(virtio, "the rings of queue %u, at %#llx: %s", number,
		     (unsigned long long)parts[i].at.v,
		     error == -EFAULT ? "not in its memory" : strerror(-error));
	while (i-- > 0)
		ept_unpin(virtio->space, parts[i].at, parts[i].bytes);
}

void virtio_queue_disable(struct virtio *virtio, struct virtio_queue *queue)
{
	struct part parts[RING_PARTS];

	if (!queue->ready)
		return;
	list_parts(virtio, queue, parts);
	for (unsigned i = 0; i < RING_PARTS; i++)
		ept_unpin(virtio->space, parts[i].at, parts[i].bytes);
	queue->ready = false;
	queue->quiet = false;
	queue->next_available = queue->next_used = queue->signalled = 0;
}

/* Any number that a driver wrote: how far its index is ahead of ours. */
static uint16_t count_waiting(struct virtio_queue *queue)
{
	uint16_t index = __atomic_load_n(&queue->available->idx, __ATOMIC_ACQUIRE);

	return (uint16_t)(index - queue->next_available);
}

/* With EVENT_IDX a driver notifies only when it reaches the index it was told last, so there is
 * nothing to be done to keep it quiet. */
static void set_quiet(struct virtio *virtio, struct virtio_queue *queue, bool quiet)
{
	if (HAS_EVENT_IDX(virtio)) {
		if (!quiet)
			STORE(*available_event(queue), queue->next_available);
	} else if (queue->quiet != quiet) {
		queue->quiet = quiet;
		STORE(queue->used->flags, quiet ? VRING_USED_F_NO_NOTIFY : 0);
	}
}

static bool is_available(struct virtio *virtio, struct virtio_queue *queue)
{
	uint16_t waiting = count_waiting(queue);

	if (waiting == 0) {
		set_quiet(virtio, queue, false);
		FULL_BARRIER();
		waiting = count_waiting(queue);
	}
	if (waiting > queue->size) {
		virtio_break(virtio, "queue %u has %u entries available, more than its size",
			     (unsigned)(queue - virtio->queue), waiting);
		return false;
	}
	if (waiting > 0)
		set_quiet(virtio, queue, true);
	return waiting > 0;
}

static bool is_ram(struct virtio *virtio, uint64_t address, uint32_t length)
{
	uint64_t last = address + length - 1;

	return last >= address &&
	       ept_space_has(virtio->space, gpa_to_gfn(gpa(address)),
			     (uint32_t)((last >> PAGE_SHIFT) - (address >> PAGE_SHIFT) + 1));
}

static bool add_segment(struct virtio *virtio, const struct vring_desc *descriptor,
			struct virtio_chain *chain)
{
	bool writable = (descriptor->flags & VRING_DESC_F_WRITE) != 0;

	if (!writable && chain->count > chain->readable) {
		virtio_break(virtio, "a readable segment behind a writable one");
		return false;
	}
	if (descriptor->len == 0)
		return true;
	if (!is_ram(virtio, descriptor->addr, descriptor->len)) {
		virtio_break(virtio, "a segment of %u bytes at %#llx, not in its memory",
			     descriptor->len, (unsigned long long)descriptor->addr);
		return false;
	}
	if (writable)
		chain->writable_bytes += descriptor->len;
	else
		chain->readable_bytes += descriptor->len;
	if (chain->count == VIRTIO_QUEUE_SIZE ||
	    chain->readable_bytes + chain->writable_bytes > CHAIN_BYTES_MAX) {
		virtio_break(virtio, "a chain that is too long");
		return false;
	}
	chain->segment[chain->count++] =
		(struct virtio_segment){ gpa(descriptor->addr), descriptor->len };
	chain->readable += !writable;
	return true;
}

/*
 * Copies some bytes, page by page; how many. Fewer: the device is broken, or the lock's holder is
 * in a hurry and a page has no room.
 */
static size_t access_memory(struct virtio *virtio, gpa_t at, uint8_t *bytes, size_t length,
			    bool write)
{
	size_t done = 0;

	while (done < length) {
		size_t piece = PAGE_SIZE - at.v % PAGE_SIZE;
		int error;

		if (piece > length - done)
			piece = length - done;
		error = write ? ept_try_write(virtio->space, at, bytes, piece)
			      : ept_try_read(virtio->space, at, bytes, piece);
		if (error == -ENOMEM && virtio->hurried) {
			virtio->missed = true;
			break;
		}
		if (error == -ENOMEM) {
			if (virtio_bring_in(virtio, at) != 0)
				break;
			continue;
		}
		if (virtio_vm_ends(error)) {
			virtio_end(virtio);
			break;
		}
		if (error != 0) {
			virtio_break(virtio, "%zu bytes at %#llx: %s", piece,
				     (unsigned long long)at.v, strerror(-error));
			break;
		}
		at.v += piece;
		bytes += piece;
		done += piece;
	}
	return done;
}

static bool walk_indirect(struct virtio *virtio, const struct vring_desc *descriptor,
			  struct virtio_chain *chain);

/* Gathers what is linked from entry 'at' of a table of count. */
static bool walk(struct virtio *virtio, const struct vring_desc *table, unsigned count, unsigned at,
		 bool is_indirect, struct virtio_chain *chain)
{
	for (unsigned seen = 0; seen < count; seen++) {
		struct vring_desc descriptor;

		if (at >= count) {
			virtio_break(virtio, "descriptor %u of %u", at, count);
			return false;
		}
		descriptor.addr = LOAD(table[at].addr);
		descriptor.len = LOAD(table[at].len);
		descriptor.flags = LOAD(table[at].flags);
		descriptor.next = LOAD(table[at].next);
		if (descriptor.flags & VRING_DESC_F_INDIRECT) {
			if (!is_indirect && HAS_INDIRECT(virtio) &&
			    !(descriptor.flags & VRING_DESC_F_NEXT))
				return walk_indirect(virtio, &descriptor, chain);
			virtio_break(virtio, "an indirect descriptor where none may be");
			return false;
		}
		if (!add_segment(virtio, &descriptor, chain))
			return false;
		if (!(descriptor.flags & VRING_DESC_F_NEXT))
			return true;
		at = descriptor.next;
	}
	virtio_break(virtio, "a chain in a loop");
	return false;
}

static bool walk_indirect(struct virtio *virtio, const struct vring_desc *descriptor,
			  struct virtio_chain *chain)
{
	struct vring_desc table[VIRTIO_QUEUE_SIZE];
	uint32_t bytes = descriptor->len;

	if (bytes == 0 || bytes % sizeof(table[0]) != 0 || bytes > sizeof(table)) {
		virtio_break(virtio, "an indirect table of %u bytes", bytes);
		return false;
	}
	return access_memory(virtio, gpa(descriptor->addr), (uint8_t *)table, bytes, false) ==
		       bytes &&
	       walk(virtio, table, bytes / sizeof(table[0]), 0, true, chain);
}

bool virtio_pop(struct virtio *virtio, unsigned number, struct virtio_chain *chain)
{
	struct virtio_queue *queue = &virtio->queue[number];

	if (!virtio_is_live(virtio) || !queue->ready || !is_available(virtio, queue))
		return false;
	chain->head = LOAD(queue->available->ring[queue->next_available % queue->size]);
	chain->count = chain->readable = 0;
	chain->readable_bytes = chain->writable_bytes = 0;
	if (!walk(virtio, queue->descriptors, queue->size, chain->head, false, chain))
		return false;
	queue->next_available++;
	return true;
}

void virtio_unpop(struct virtio *virtio, unsigned number)
{
	virtio->queue[number].next_available--;
}

void virtio_push(struct virtio *virtio, unsigned number, uint16_t head, uint32_t written)
{
	struct virtio_queue *queue = &virtio->queue[number];
	struct vring_used_elem *entry;

	if (!virtio_is_live(virtio) || !queue->ready)
		return;
	CHECK(head < queue->size);
	entry = &queue->used->ring[queue->next_used % queue->size];
	STORE(entry->id, head);
	STORE(entry->len, written);
	queue->next_used++;
	__atomic_store_n(&queue->used->idx, queue->next_used, __ATOMIC_RELEASE);
}

void virtio_signal(struct virtio *virtio, unsigned number)
{
	struct virtio_queue *queue = &virtio->queue[number];
	bool wanted;

	if (!virtio_is_live(virtio) || !queue->ready || queue->signalled == queue->next_used)
		return;
	FULL_BARRIER();
	if (HAS_EVENT_IDX(virtio))
		wanted = vring_need_event(LOAD(*used_event(queue)), queue->next_used,
					  queue->signalled);
	else
		wanted = (LOAD(queue->available->flags) & VRING_AVAIL_F_NO_INTERRUPT) == 0;
	queue->signalled = queue->next_used;
	if (wanted)
		virtio_interrupt(virtio, VIRTIO_MMIO_INT_VRING);
}

/* Copies from or to segments [first, end), offset bytes into them. */
static size_t copy(struct virtio *virtio, const struct virtio_segment *segments, unsigned count,
		   uint64_t offset, uint8_t *buffer, size_t length, bool write)
{
	size_t done = 0;

	for (unsigned i = 0; i < count && done < length; i++) {
		gpa_t at = gpa(segments[i].address.v + offset);
		size_t piece, got;

		if (offset >= segments[i].length) {
			offset -= segments[i].length;
			continue;
		}
		piece = segments[i].length - offset;
		if (piece > length - done)
			piece = length - done;
		got = access_memory(virtio, at, buffer + done, piece, write);
		done += got;
		if (got < piece)
			break;
		offset = 0;
	}
	return done;
}

size_t virtio_read(struct virtio *virtio, const struct virtio_chain *chain, uint64_t offset,
		   void *buffer, size_t length)
{
	return copy(virtio, chain->segment, chain->readable, offset, buffer, length, false);
}

size_t virtio_write(struct virtio *virtio, const struct virtio_chain *chain, uint64_t offset,
		    const void *buffer, size_t length)
{
	return copy(virtio, chain->segment + chain->readable, chain->count - chain->readable,
		    offset, (uint8_t *)(uintptr_t)buffer, length, true);
}

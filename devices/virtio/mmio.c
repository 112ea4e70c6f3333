/*
 * The virtio-mmio registers, version 2 (VIRTIO 1.2, section 4.2.2). Registers are 32 bits wide and
 * accessed as such; other accesses to them read as zero and change nothing. The configuration space
 * behind them takes any width; past its end are zeros.
 */
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <string.h>

#include "devices/virtio/internal.h"

#define MAGIC	0x74726976u /* "virt" */
#define VERSION 2u
#define VENDOR	0x444c4642u /* "BFLD" */

/* The queue whose registers are shown; NULL: there is none of that number. */
static struct virtio_queue *selected(struct virtio *virtio)
{
	if (virtio->queue_select >= virtio->ops->queue_count)
		return NULL;
	return &virtio->queue[virtio->queue_select];
}

static uint32_t read_register(struct virtio *virtio, uint64_t offset)
{
	struct virtio_queue *queue = selected(virtio);

	switch (offset) {
	case VIRTIO_MMIO_MAGIC_VALUE:
		return MAGIC;
	case VIRTIO_MMIO_VERSION:
		return VERSION;
	case VIRTIO_MMIO_DEVICE_ID:
		return virtio->ops->id;
	case VIRTIO_MMIO_VENDOR_ID:
		return VENDOR;
	case VIRTIO_MMIO_DEVICE_FEATURES:
		if (virtio->feature_select[0] > 1)
			return 0;
		return (uint32_t)(virtio->offered >> virtio->feature_select[0] * 32);
	case VIRTIO_MMIO_QUEUE_NUM_MAX:
		return queue != NULL ? VIRTIO_QUEUE_SIZE : 0;
	case VIRTIO_MMIO_QUEUE_READY:
		return queue != NULL && queue->ready;
	case VIRTIO_MMIO_STATUS:
		return virtio->status;
	case VIRTIO_MMIO_CONFIG_GENERATION:
		return virtio->config_generation;
	case VIRTIO_MMIO_SHM_LEN_LOW: /* there is no shared memory */
	case VIRTIO_MMIO_SHM_LEN_HIGH:
	case VIRTIO_MMIO_SHM_BASE_LOW:
	case VIRTIO_MMIO_SHM_BASE_HIGH:
		return UINT32_MAX;
	default:
		return 0;
	}
}

static void set_half(gpa_t *address, bool high, uint32_t value)
{
	unsigned shift = high ? 32 : 0;

	address->v = (address->v & ~((uint64_t)UINT32_MAX << shift)) | (uint64_t)value << shift;
}

static void set_size(struct virtio *virtio, struct virtio_queue *queue, uint32_t size)
{
	if (size == 0 || size > VIRTIO_QUEUE_SIZE || (size & (size - 1)) != 0)
		virtio_break(virtio, "a queue of %u entries", size);
	else
		queue->size = (uint16_t)size;
}

/* Of a queue that is not ready too, at any time: a driver that leaves resets the device, and then
 * takes back what it had set up. */
static void stop_queue(struct virtio *virtio, struct virtio_queue *queue)
{
	if (queue->ready && (virtio->status & VIRTIO_CONFIG_S_DRIVER_OK) &&
	    virtio->ops->stop != NULL)
		virtio->ops->stop(virtio->device, (unsigned)(queue - virtio->queue));
	virtio_queue_disable(virtio, queue);
}

static void make_ready(struct virtio *virtio, struct virtio_queue *queue)
{
	if (!(virtio->status & VIRTIO_CONFIG_S_FEATURES_OK))
		virtio_break(virtio, "a queue before the features were settled");
	else if (!queue->ready)
		virtio_queue_enable(virtio, queue);
}

/* The registers of the selected queue. */
static void write_queue(struct virtio *virtio, uint64_t offset, uint32_t value)
{
	struct virtio_queue *queue = selected(virtio);

	if (queue == NULL)
		return;
	if (offset == VIRTIO_MMIO_QUEUE_READY && !(value & 1)) {
		stop_queue(virtio, queue);
		return;
	}
	if (virtio_is_broken(virtio))
		return;
	if ((virtio->status & VIRTIO_CONFIG_S_DRIVER_OK) ||
	    (queue->ready && offset != VIRTIO_MMIO_QUEUE_READY)) {
		virtio_break(virtio, "it changed queue %u while that was live",
			     virtio->queue_select);
		return;
	}
	switch (offset) {
	case VIRTIO_MMIO_QUEUE_NUM:
		set_size(virtio, queue, value);
		break;
	case VIRTIO_MMIO_QUEUE_READY:
		make_ready(virtio, queue);
		break;
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:
		set_half(&queue->descriptors_at, offset == VIRTIO_MMIO_QUEUE_DESC_HIGH, value);
		break;
	case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
	case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
		set_half(&queue->available_at, offset == VIRTIO_MMIO_QUEUE_AVAIL_HIGH, value);
		break;
	case VIRTIO_MMIO_QUEUE_USED_LOW:
	case VIRTIO_MMIO_QUEUE_USED_HIGH:
		set_half(&queue->used_at, offset == VIRTIO_MMIO_QUEUE_USED_HIGH, value);
		break;
	}
}

/* A broken device can be reset and its queues be stopped, and listens to nothing else. */
static void write_register(struct virtio *virtio, uint64_t offset, uint32_t value)
{
	switch (offset) {
	case VIRTIO_MMIO_STATUS:
		virtio_set_status(virtio, value);
		break;
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		virtio->feature_select[0] = value;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		virtio->feature_select[1] = value;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES:
		if (!virtio_is_broken(virtio))
			virtio_accept_features(virtio, virtio->feature_select[1], value);
		break;
	case VIRTIO_MMIO_QUEUE_SEL:
		virtio->queue_select = value;
		break;
	case VIRTIO_MMIO_QUEUE_NUM:
	case VIRTIO_MMIO_QUEUE_READY:
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:
	case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
	case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
	case VIRTIO_MMIO_QUEUE_USED_LOW:
	case VIRTIO_MMIO_QUEUE_USED_HIGH:
		write_queue(virtio, offset, value);
		break;
	}
}

/* How many of size bytes at offset the configuration space has. */
static unsigned config_part(const struct virtio *virtio, uint64_t offset, unsigned size)
{
	if (offset >= virtio->config_size)
		return 0;
	return size < virtio->config_size - offset ? size
						   : (unsigned)(virtio->config_size - offset);
}

static void read_config(struct virtio *virtio, uint64_t offset, unsigned size, uint64_t *value)
{
	unsigned part = config_part(virtio, offset, size);

	if (part > 0)
		memcpy(value, virtio->config + offset, part);
}

static void write_config(struct virtio *virtio, uint64_t offset, unsigned size, uint64_t value)
{
	unsigned part = config_part(virtio, offset, size);

	if (part == 0 || virtio->ops->configured == NULL || virtio_is_broken(virtio))
		return;
	memcpy(virtio->config + offset, &value, part);
	virtio->ops->configured(virtio->device, (unsigned)offset, part);
}

static int mmio_read(void *device, uint64_t offset, unsigned size, uint64_t *value)
{
	struct virtio *virtio = device;

	*value = 0;
	if (offset == VIRTIO_MMIO_INTERRUPT_STATUS && size == 4) {
		*value = __atomic_load_n(&virtio->interrupt_status, __ATOMIC_SEQ_CST);
		return 0;
	}
	virtio_lock(virtio);
	if (offset >= VIRTIO_MMIO_CONFIG)
		read_config(virtio, offset - VIRTIO_MMIO_CONFIG, size, value);
	else if (size == 4)
		*value = read_register(virtio, offset);
	virtio_unlock(virtio);
	return 0;
}

static int mmio_write(void *device, uint64_t offset, unsigned size, uint64_t value)
{
	struct virtio *virtio = device;

	if (offset < VIRTIO_MMIO_CONFIG && size != 4)
		return 0;
	switch (offset) {
	case VIRTIO_MMIO_QUEUE_NOTIFY:
		if ((uint32_t)value < virtio->ops->queue_count)
			virtio_kick(virtio, (uint32_t)value);
		return 0;
	case VIRTIO_MMIO_INTERRUPT_ACK:
		__atomic_fetch_and(&virtio->interrupt_status, ~(uint32_t)value, __ATOMIC_SEQ_CST);
		return 0;
	}
	virtio_lock(virtio);
	if (offset >= VIRTIO_MMIO_CONFIG)
		write_config(virtio, offset - VIRTIO_MMIO_CONFIG, size, value);
	else
		write_register(virtio, offset, (uint32_t)value);
	virtio_unlock(virtio);
	return 0;
}

const struct bus_ops virtio_mmio_ops = {
	.name = "virtio-mmio",
	.write = mmio_write,
	.read = mmio_read,
};

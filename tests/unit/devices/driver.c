#include "driver.h"

#ifdef UNIT_NO_CRITERION
#include "tests/unit/no_criterion.h"
#else
#include <criterion/criterion.h>
#endif
#include <errno.h>
#include <string.h>
#include <unistd.h>

static int serve_fault(void *manager, gfn_t frame, bool write, int thread)
{
	struct driver *driver = manager;

	driver->faults++;
	if (driver->on_fault != NULL)
		driver->on_fault(driver);
	if (!driver->gets_room)
		return -EIO;
	driver->pin_error = 0;
	return 0;
}

static int bring_in(void *manager, gfn_t frame)
{
	return serve_fault(manager, frame, false, 0);
}

static int pin(void *manager, gfn_t first, uint32_t count)
{
	struct driver *driver = manager;

	if (driver->pin_error != 0 && driver->pins_left-- == 0) {
		driver->pins_left = 0;
		driver->refused = first;
		driver->refusals++;
		return driver->pin_error;
	}
	__atomic_fetch_add(&driver->pins, (int)count, __ATOMIC_RELAXED);
	return 0;
}

static void unpin(void *manager, gfn_t first, uint32_t count)
{
	__atomic_fetch_sub(&((struct driver *)manager)->pins, (int)count, __ATOMIC_RELAXED);
}

static int look(void *manager, gfn_t frame, void *page)
{
	return -EIO;
}

static void died(void *manager, int error, const char *what)
{
}

static const struct ept_manager_ops manager_ops = { serve_fault, bring_in, pin, unpin, look, died };

void driver_open(struct driver *driver, uint64_t bytes)
{
	struct ept_config config = {
		.memory_bytes = bytes != 0 ? bytes : DRIVER_MEMORY,
		.manager_ops = &manager_ops,
		.manager = driver,
	};
	int error = ept_probe_userfaultfd();
	void *at;

	if (error != 0)
		cr_skip_test("SKIP: userfaultfd is refused here: %s", strerror(-error));
	*driver = (struct driver){ .rings = DRIVER_RINGS };
	cr_assert_eq(ept_space_create(&config, &driver->space), 0);
	cr_assert_eq(ept_pin(driver->space, gpa(0), config.memory_bytes, &at), 0);
	driver->pins = 0;
	driver->memory = at;
	cr_assert_eq(loop_create(&driver->loop), 0);
}

void driver_close(struct driver *driver)
{
	cr_assert_eq(driver->pins, 0);
	loop_destroy(driver->loop);
	ept_space_destroy(driver->space);
}

uint32_t driver_get(struct driver *driver, unsigned offset)
{
	uint64_t value = 0;

	cr_assert_eq(virtio_mmio_ops.read(driver->virtio, offset, 4, &value), 0);
	return (uint32_t)value;
}

void driver_set(struct driver *driver, unsigned offset, uint32_t value)
{
	cr_assert_eq(virtio_mmio_ops.write(driver->virtio, offset, 4, value), 0);
}

uint64_t driver_config(struct driver *driver, unsigned offset, unsigned size)
{
	uint64_t value = 0;

	cr_assert_eq(
		virtio_mmio_ops.read(driver->virtio, VIRTIO_MMIO_CONFIG + offset, size, &value), 0);
	return value;
}

void driver_begin(struct driver *driver, uint64_t features)
{
	const uint32_t known = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;

	driver->features = features | F_VERSION_1;
	driver_set(driver, VIRTIO_MMIO_STATUS, 0);
	driver_set(driver, VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	driver_set(driver, VIRTIO_MMIO_STATUS, known);
	for (unsigned half = 0; half < 2; half++) {
		driver_set(driver, VIRTIO_MMIO_DRIVER_FEATURES_SEL, half);
		driver_set(driver, VIRTIO_MMIO_DRIVER_FEATURES,
			   (uint32_t)(driver->features >> half * 32));
	}
	driver_set(driver, VIRTIO_MMIO_STATUS, known | VIRTIO_CONFIG_S_FEATURES_OK);
}

void driver_queue(struct driver *driver, unsigned number, uint16_t size)
{
	struct driver_queue *queue = &driver->queue[number];
	uint64_t at = driver->rings + number * DRIVER_RING_STEP;

	memset(driver->memory + at, 0, DRIVER_RING_STEP);
	*queue = (struct driver_queue){
		.size = size,
		.descriptors = (void *)(driver->memory + at),
		.available = (void *)(driver->memory + at + 0x1000),
		.used = (void *)(driver->memory + at + 0x2000),
	};
	driver_set(driver, VIRTIO_MMIO_QUEUE_SEL, number);
	driver_set(driver, VIRTIO_MMIO_QUEUE_NUM, size);
	driver_set(driver, VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)at);
	driver_set(driver, VIRTIO_MMIO_QUEUE_AVAIL_LOW, (uint32_t)at + 0x1000);
	driver_set(driver, VIRTIO_MMIO_QUEUE_USED_LOW, (uint32_t)at + 0x2000);
	driver_set(driver, VIRTIO_MMIO_QUEUE_READY, 1);
}

void driver_ready(struct driver *driver)
{
	driver_set(driver, VIRTIO_MMIO_STATUS,
		   driver_get(driver, VIRTIO_MMIO_STATUS) | VIRTIO_CONFIG_S_DRIVER_OK);
	driver_serve(driver);
}

void driver_start(struct driver *driver, uint64_t features, unsigned count, uint16_t size)
{
	driver_begin(driver, features);
	cr_assert(driver_get(driver, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_FEATURES_OK);
	for (unsigned i = 0; i < count; i++)
		driver_queue(driver, i, size);
	driver_ready(driver);
	cr_assert(!driver_is_broken(driver));
}

bool driver_is_broken(struct driver *driver)
{
	return (driver_get(driver, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET) != 0;
}

void driver_offer(struct driver *driver, unsigned number, uint16_t head)
{
	struct driver_queue *queue = &driver->queue[number];
	uint16_t index = queue->available->idx;

	queue->available->ring[index % queue->size] = head;
	__atomic_store_n(&queue->available->idx, (uint16_t)(index + 1), __ATOMIC_RELEASE);
}

uint16_t driver_add(struct driver *driver, unsigned number, const struct driver_segment *segments,
		    unsigned count)
{
	struct driver_queue *queue = &driver->queue[number];
	uint16_t head = queue->next_descriptor % queue->size;

	for (unsigned i = 0; i < count; i++) {
		uint16_t at = queue->next_descriptor++ % queue->size;
		struct vring_desc *descriptor = &queue->descriptors[at];

		*descriptor = (struct vring_desc){
			.addr = segments[i].address,
			.len = segments[i].length,
			.flags = (uint16_t)((segments[i].writable ? VRING_DESC_F_WRITE : 0) |
					    (i + 1 < count ? VRING_DESC_F_NEXT : 0)),
			.next = (uint16_t)((at + 1) % queue->size),
		};
	}
	driver_offer(driver, number, head);
	return head;
}

void driver_serve(struct driver *driver)
{
	while (!driver->served_elsewhere && loop_serve(driver->loop, 0) > 0)
		;
}

void driver_kick(struct driver *driver, unsigned number)
{
	driver_set(driver, VIRTIO_MMIO_QUEUE_NOTIFY, number);
	driver_serve(driver);
}

bool driver_take(struct driver *driver, unsigned number, uint32_t *head, uint32_t *written)
{
	struct driver_queue *queue = &driver->queue[number];
	uint16_t index = __atomic_load_n(&queue->used->idx, __ATOMIC_ACQUIRE);

	if (index == queue->seen)
		return false;
	*head = queue->used->ring[queue->seen % queue->size].id;
	*written = queue->used->ring[queue->seen % queue->size].len;
	queue->seen++;
	return true;
}

unsigned driver_interrupts(struct driver *driver)
{
	uint64_t count = 0;

	if (read(driver->virtio->interrupt_fd, &count, sizeof(count)) != sizeof(count))
		return 0;
	driver_set(driver, VIRTIO_MMIO_INTERRUPT_ACK,
		   driver_get(driver, VIRTIO_MMIO_INTERRUPT_STATUS));
	return (unsigned)count;
}

#include "fuzz_device.h"

#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"

#define SERVE_MOST   64	   /* rounds of the loop */
#define AVAILABLE_AT 0x400 /* in a queue's page; descriptors are at its start */
#define USED_AT	     0x500
#define SIZE_MOST    64 /* entries of a queue that is laid out in a page */

static const uint16_t registers[] = {
	VIRTIO_MMIO_DEVICE_FEATURES_SEL,
	VIRTIO_MMIO_DRIVER_FEATURES,
	VIRTIO_MMIO_DRIVER_FEATURES_SEL,
	VIRTIO_MMIO_QUEUE_SEL,
	VIRTIO_MMIO_QUEUE_NUM,
	VIRTIO_MMIO_QUEUE_READY,
	VIRTIO_MMIO_QUEUE_NOTIFY,
	VIRTIO_MMIO_INTERRUPT_ACK,
	VIRTIO_MMIO_STATUS,
	VIRTIO_MMIO_QUEUE_DESC_LOW,
	VIRTIO_MMIO_QUEUE_DESC_HIGH,
	VIRTIO_MMIO_QUEUE_AVAIL_LOW,
	VIRTIO_MMIO_QUEUE_AVAIL_HIGH,
	VIRTIO_MMIO_QUEUE_USED_LOW,
	VIRTIO_MMIO_QUEUE_USED_HIGH,
	VIRTIO_MMIO_CONFIG,
	VIRTIO_MMIO_CONFIG + 4,
	VIRTIO_MMIO_CONFIG + 8,
	VIRTIO_MMIO_CONFIG + 12,
};

/* The input that is left; past its end are zeros. */
struct input {
	const uint8_t *at, *end;
};

static uint64_t take(struct input *input, unsigned bytes)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < bytes && input->at < input->end; i++)
		value |= (uint64_t)*input->at++ << i * 8;
	return value;
}

/* The driver's side of the queues that 'start' lays out. */
struct driver {
	struct fuzz_device *device;
	const struct fuzz_device_ops *ops;
	uint16_t size;
	uint16_t next_descriptor[VIRTIO_QUEUES];
};

static void set(struct fuzz_device *device, unsigned offset, uint32_t value)
{
	CHECK(virtio_mmio_ops.write(device->virtio, offset, 4, value) == 0);
}

static uint32_t get(struct fuzz_device *device, unsigned offset)
{
	uint64_t value = 0;

	CHECK(virtio_mmio_ops.read(device->virtio, offset, 4, &value) == 0);
	return (uint32_t)value;
}

void fuzz_device_serve(struct fuzz_device *device)
{
	for (unsigned i = 0; i < SERVE_MOST && loop_serve(device->loop, 0) > 0; i++)
		;
}

static void start(struct driver *driver, unsigned count, uint64_t features, uint8_t size)
{
	struct fuzz_device *device = driver->device;

	driver->size = (uint16_t)(1u << size % 7);
	memset(driver->next_descriptor, 0, sizeof(driver->next_descriptor));
	features = (features & device->virtio->offered) | 1ull << VIRTIO_F_VERSION_1;
	set(device, VIRTIO_MMIO_STATUS, 0);
	set(device, VIRTIO_MMIO_STATUS, 3);
	for (unsigned half = 0; half < 2; half++) {
		set(device, VIRTIO_MMIO_DRIVER_FEATURES_SEL, half);
		set(device, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(features >> half * 32));
	}
	set(device, VIRTIO_MMIO_STATUS, 0xb);
	for (unsigned i = 0; i < count && i < VIRTIO_QUEUES; i++) {
		uint32_t page = (uint32_t)(i * PAGE_SIZE);

		memset(device->memory + page, 0, PAGE_SIZE);
		set(device, VIRTIO_MMIO_QUEUE_SEL, i);
		set(device, VIRTIO_MMIO_QUEUE_NUM, driver->size);
		set(device, VIRTIO_MMIO_QUEUE_DESC_LOW, page);
		set(device, VIRTIO_MMIO_QUEUE_AVAIL_LOW, page + AVAILABLE_AT);
		set(device, VIRTIO_MMIO_QUEUE_USED_LOW, page + USED_AT);
		set(device, VIRTIO_MMIO_QUEUE_READY, 1);
	}
	set(device, VIRTIO_MMIO_STATUS, 0xf);
}

static void access_register(struct fuzz_device *device, unsigned how, unsigned offset,
			    uint64_t value)
{
	unsigned size = 1u << (how & 3);

	offset %= VIRTIO_MMIO_BYTES;
	if (how & 4)
		CHECK(virtio_mmio_ops.write(device->virtio, offset, size, value) == 0);
	else
		CHECK(virtio_mmio_ops.read(device->virtio, offset, size, &value) == 0);
}

static void write_memory(struct fuzz_device *device, struct input *input)
{
	uint64_t at = take(input, 3) % FUZZ_MEMORY;
	size_t length = take(input, 1);

	if (length > (size_t)(input->end - input->at))
		length = (size_t)(input->end - input->at);
	if (length > FUZZ_MEMORY - at)
		length = FUZZ_MEMORY - at;
	memcpy(device->memory + at, input->at, length);
	input->at += length;
}

static void make_available(struct driver *driver, unsigned queue, uint16_t head)
{
	struct vring_avail *available =
		(void *)(driver->device->memory + queue * PAGE_SIZE + AVAILABLE_AT);

	available->ring[available->idx % driver->size] = head;
	available->idx++;
}

static void add_chain(struct driver *driver, unsigned queue, struct input *input)
{
	unsigned count = 1 + take(input, 1) % SIZE_MOST;
	struct vring_desc *table;
	uint16_t head;

	queue %= VIRTIO_QUEUES;
	table = (void *)(driver->device->memory + queue * PAGE_SIZE);
	head = driver->next_descriptor[queue] % driver->size;
	for (unsigned i = 0; i < count; i++) {
		uint16_t at = driver->next_descriptor[queue]++ % driver->size;
		uint16_t flags =
			(uint16_t)(take(input, 1) & (VRING_DESC_F_WRITE | VRING_DESC_F_INDIRECT));

		table[at].addr = take(input, 3);
		table[at].len = (uint32_t)take(input, 2);
		table[at].next = (uint16_t)((at + 1) % driver->size);
		table[at].flags = (uint16_t)(flags | (i + 1 < count ? VRING_DESC_F_NEXT : 0));
	}
	make_available(driver, queue, head);
}

static void do_operation(struct driver *driver, struct input *input)
{
	struct fuzz_device *device = driver->device;
	uint8_t byte = (uint8_t)take(input, 1), argument = byte >> 3;
	uint64_t first;

	switch (byte & 7) {
	case 0:
		set(device, registers[argument % (sizeof(registers) / sizeof(registers[0]))],
		    (uint32_t)take(input, 4));
		break;
	case 1:
		first = take(input, 2);
		access_register(device, argument, (unsigned)first, take(input, 8));
		break;
	case 2:
		write_memory(device, input);
		break;
	case 3:
		set(device, VIRTIO_MMIO_QUEUE_NOTIFY, argument);
		fuzz_device_serve(device);
		break;
	case 4:
		first = take(input, 4);
		if (driver->ops->event != NULL)
			driver->ops->event(device, argument, (uint32_t)first);
		break;
	case 5:
		first = take(input, 8);
		start(driver, argument, first, (uint8_t)take(input, 1));
		break;
	case 6:
		add_chain(driver, argument, input);
		break;
	case 7:
		fuzz_device_serve(device);
		break;
	}
}

/* Nothing that a driver did may outlast a reset. */
static void expect_a_fresh_start(struct driver *driver)
{
	struct fuzz_device *device = driver->device;

	set(device, VIRTIO_MMIO_STATUS, 0);
	CHECK(get(device, VIRTIO_MMIO_STATUS) == 0);
	CHECK(get(device, VIRTIO_MMIO_INTERRUPT_STATUS) == 0);
	for (unsigned i = 0; i < VIRTIO_QUEUES; i++) {
		set(device, VIRTIO_MMIO_QUEUE_SEL, i);
		CHECK(get(device, VIRTIO_MMIO_QUEUE_READY) == 0);
	}
	start(driver, VIRTIO_QUEUES, UINT64_MAX, 3);
	fuzz_device_serve(device);
	CHECK(get(device, VIRTIO_MMIO_STATUS) == 0xf);
}

/* --- the other vCPU --- */

#define PAGES_RACED VIRTIO_QUEUES

static uint8_t *raced; /* guest memory; NULL: nobody races */

/* A plausible index, an address in memory or a little past it, or anything. */
static uint64_t raced_value(uint64_t random)
{
	switch (random >> 20 & 3) {
	case 0:
		return random >> 32;
	case 1:
		return (random >> 32) % SIZE_MOST;
	default:
		return (random >> 32) % (2 * FUZZ_MEMORY);
	}
}

/* One field of the rings or descriptors, as wide as those are. */
static void change_something(uint64_t random)
{
	uint64_t value = raced_value(random);
	uint8_t *at = raced + random % PAGES_RACED * PAGE_SIZE + (random >> 8 & 0x7f8);

	switch (random >> 22 & 3) {
	case 0:
		__atomic_store_n((uint64_t *)(void *)at, value, __ATOMIC_RELAXED);
		break;
	case 1:
		at += random >> 24 & 4;
		__atomic_store_n((uint32_t *)(void *)at, (uint32_t)value, __ATOMIC_RELAXED);
		break;
	default:
		at += random >> 24 & 6;
		__atomic_store_n((uint16_t *)(void *)at, (uint16_t)value, __ATOMIC_RELAXED);
		break;
	}
}

static void *run_racer(void *unused)
{
	uint64_t random = 88172645463325252ull;

	for (;;) {
		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		change_something(random);
	}
	return NULL;
}

static void start_racer(uint8_t *memory)
{
	pthread_t thread;

	if (getenv("BIFOLD_FUZZ_RACE") == NULL)
		return;
	raced = memory;
	CHECK(pthread_create(&thread, NULL, run_racer, NULL) == 0);
	pthread_detach(thread);
}

int fuzz_device_run(const struct fuzz_device_ops *ops, const uint8_t *data, size_t size)
{
	static struct fuzz_device device; /* its space serves all inputs */
	struct input input = { data, data + size };
	struct driver driver = { .device = &device, .ops = ops, .size = 8 };

	if (device.space == NULL) {
		const struct ept_config config = { .memory_bytes = FUZZ_MEMORY };
		void *at;

		log_set_verbosity(-1); /* not even of devices that break */
		CHECK(ept_space_create(&config, &device.space) == 0);
		CHECK(ept_pin(device.space, gpa(0), FUZZ_MEMORY, &at) == 0);
		device.memory = at;
		start_racer(device.memory);
	}
	memset(device.memory, 0, FUZZ_MEMORY);
	CHECK(loop_create(&device.loop) == 0);
	ops->open(&device);
	while (input.at < input.end)
		do_operation(&driver, &input);
	/* There is no fresh start while somebody races. */
	if (raced != NULL)
		set(&device, VIRTIO_MMIO_STATUS, 0);
	else
		expect_a_fresh_start(&driver);
	ops->close(&device);
	loop_destroy(device.loop);
	return 0;
}

#include "toy.h"

#include <criterion/criterion.h>
#include <string.h>

struct driver driver;
struct toy toy;

static void on_notify(void *device, unsigned queue)
{
	struct virtio_chain chain;
	uint8_t buffer[256];

	while (!toy.hold && virtio_pop(&toy.virtio, queue, &chain)) {
		size_t n = virtio_read(&toy.virtio, &chain, 0, buffer, sizeof(buffer));

		toy.served++;
		n = virtio_write(&toy.virtio, &chain, 0, buffer, n);
		virtio_push(&toy.virtio, queue, chain.head, (uint32_t)n);
	}
	virtio_signal(&toy.virtio, queue);
}

static void on_start(void *device)
{
	toy.starts++;
}

static void on_stop(void *device, unsigned queue)
{
	toy.stops++;
	toy.stopped = queue;
}

static void on_reset(void *device)
{
	toy.resets++;
}

static void on_configured(void *device, unsigned offset, unsigned size)
{
	toy.configured++;
	cr_assert_leq(offset + size, sizeof(toy.config));
}

static const struct virtio_ops toy_ops = {
	.name = "toy",
	.id = 42,
	.queue_count = 2,
	.notify = on_notify,
	.start = on_start,
	.stop = on_stop,
	.reset = on_reset,
	.configured = on_configured,
};

void toy_open(uint64_t bytes)
{
	struct virtio_config config = {
		.ops = &toy_ops,
		.device = &toy,
		.number = 3,
		.features = F_TOY,
		.config = toy.config,
		.config_size = sizeof(toy.config),
	};

	driver_open(&driver, bytes);
	config.space = driver.space;
	config.loop = driver.loop;
	cr_assert_eq(virtio_init(&toy.virtio, &config), 0);
	driver.virtio = &toy.virtio;
}

void toy_close(void)
{
	virtio_finish(&toy.virtio);
	driver_close(&driver);
}

const struct driver_segment echo_segments[3] = {
	{ DRIVER_DATA, 6, false },
	{ DRIVER_DATA + 0x1000, 3, true },
	{ DRIVER_DATA + 0x2000, 100, true },
};

void expect_echo(unsigned queue, uint16_t expected)
{
	uint32_t head, written;

	cr_assert(driver_take(&driver, queue, &head, &written));
	cr_assert_eq(head, expected);
	cr_assert_eq(written, 6);
	cr_assert_arr_eq(driver.memory + DRIVER_DATA + 0x1000, "abc", 4);
	cr_assert_arr_eq(driver.memory + DRIVER_DATA + 0x2000, "def", 4);
}

void echo(unsigned queue)
{
	uint16_t head;

	memcpy(driver.memory + DRIVER_DATA, "abcdef", 6);
	memset(driver.memory + DRIVER_DATA + 0x1000, 0, 0x2000);
	head = driver_add(&driver, queue, echo_segments, 3);
	driver_kick(&driver, queue);
	expect_echo(queue, head);
}

void expect_broken_then_reset(const char *what)
{
	unsigned served;

	cr_assert(driver_is_broken(&driver), "%s", what);
	served = toy.served;
	driver_kick(&driver, 0);
	cr_assert_eq(toy.served, served, "%s: its queues are left alone", what);
	driver_interrupts(&driver);
	driver_start(&driver, F_EVENT_IDX | F_INDIRECT | F_TOY, 2, 8);
	echo(0);
	driver_interrupts(&driver);
}

void set_up(const struct setting *setting)
{
	driver_set(&driver, VIRTIO_MMIO_QUEUE_SEL, 0);
	driver_set(&driver, VIRTIO_MMIO_QUEUE_NUM, setting->size);
	driver_set(&driver, VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)setting->descriptors);
	driver_set(&driver, VIRTIO_MMIO_QUEUE_DESC_HIGH, (uint32_t)(setting->descriptors >> 32));
	driver_set(&driver, VIRTIO_MMIO_QUEUE_AVAIL_LOW, (uint32_t)setting->available);
	driver_set(&driver, VIRTIO_MMIO_QUEUE_AVAIL_HIGH, (uint32_t)(setting->available >> 32));
	driver_set(&driver, VIRTIO_MMIO_QUEUE_USED_LOW, (uint32_t)setting->used);
	driver_set(&driver, VIRTIO_MMIO_QUEUE_USED_HIGH, (uint32_t)(setting->used >> 32));
	driver_set(&driver, VIRTIO_MMIO_QUEUE_READY, 1);
}

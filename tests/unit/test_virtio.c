/*
 * virtio's core through a toy device that echoes what it can read into what it can write: the
 * registers, the rings, and every lie that a driver may tell.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "driver.h"

struct toy {
	struct virtio virtio;
	uint8_t config[6];
	unsigned served, starts, resets, configured;
	unsigned hold; /* chains to leave unanswered */
};

static void on_notify(void *device, unsigned queue)
{
	struct toy *toy = device;
	struct virtio_chain chain;
	uint8_t buffer[256];

	while (virtio_pop(&toy->virtio, queue, &chain)) {
		size_t n = virtio_read(&toy->virtio, &chain, 0, buffer, sizeof(buffer));

		toy->served++;
		n = virtio_write(&toy->virtio, &chain, 0, buffer, n);
		virtio_push(&toy->virtio, queue, chain.head, (uint32_t)n);
	}
	virtio_signal(&toy->virtio, queue);
}

static void on_start(void *device)
{
	((struct toy *)device)->starts++;
}

static void on_reset(void *device)
{
	((struct toy *)device)->resets++;
}

static void on_configured(void *device, unsigned offset, unsigned size)
{
	struct toy *toy = device;

	toy->configured++;
	cr_assert_leq(offset + size, sizeof(toy->config));
}

static const struct virtio_ops toy_ops = {
	.name = "toy",
	.id = 42,
	.queue_count = 2,
	.notify = on_notify,
	.start = on_start,
	.reset = on_reset,
	.configured = on_configured,
};

#define F_TOY (1ull << 5)

static struct driver driver;
static struct toy toy;

static void open_toy(void)
{
	struct virtio_config config = {
		.ops = &toy_ops,
		.device = &toy,
		.number = 3,
		.features = F_TOY,
		.config = toy.config,
		.config_size = sizeof(toy.config),
	};

	driver_open(&driver);
	config.space = driver.space;
	config.loop = driver.loop;
	cr_assert_eq(virtio_init(&toy.virtio, &config), 0);
	driver.virtio = &toy.virtio;
}

static void close_toy(void)
{
	virtio_finish(&toy.virtio);
	driver_close(&driver);
}

TestSuite(virtio, .init = open_toy, .fini = close_toy);

static const struct driver_segment echo_segments[] = {
	{ DRIVER_DATA, 6, false },
	{ DRIVER_DATA + 0x1000, 3, true },
	{ DRIVER_DATA + 0x2000, 100, true },
};

static void echo(unsigned queue)
{
	uint32_t head, written;
	uint16_t expected;

	memcpy(driver.memory + DRIVER_DATA, "abcdef", 6);
	memset(driver.memory + DRIVER_DATA + 0x1000, 0, 0x2000);
	expected = driver_add(&driver, queue, echo_segments, 3);
	driver_kick(&driver, queue);
	cr_assert(driver_take(&driver, queue, &head, &written));
	cr_assert_eq(head, expected);
	cr_assert_eq(written, 6);
	cr_assert_arr_eq(driver.memory + DRIVER_DATA + 0x1000, "abc", 4);
	cr_assert_arr_eq(driver.memory + DRIVER_DATA + 0x2000, "def", 4);
}

Test(virtio, echoes)
{
	driver_start(&driver, F_EVENT_IDX | F_INDIRECT, 2, 8);
	for (unsigned i = 0; i < 100; i++) {
		echo(i % 2);
		cr_assert_eq(toy.served, i + 1);
	}
}

/*
 * virtio's core through a toy device: registers, status, the setting up of queues, resets, and what
 * a driver must not do with them. Rings are test_virtio_rings.c's.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "toy.h"

static void open_toy(void)
{
	toy_open(0);
}

TestSuite(virtio, .init = open_toy, .fini = toy_close);

/* --- registers --- */

Test(virtio, says_what_it_is)
{
	uint64_t value;

	cr_assert_eq(driver_get(&driver, VIRTIO_MMIO_MAGIC_VALUE), 0x74726976);
	cr_assert_eq(driver_get(&driver, VIRTIO_MMIO_VERSION), 2);
	cr_assert_eq(driver_get(&driver, VIRTIO_MMIO_DEVICE_ID), 42);
	cr_assert_eq(driver_get(&driver, VIRTIO_MMIO_STATUS), 0);
	cr_assert_eq(driver_get(&driver, VIRTIO_MMIO_SHM_LEN_LOW), UINT32_MAX);
	cr_assert_eq(driver_get(&driver, 0x0fc - 4), 0, "no register");
	for (unsigned size = 1; size <= 8; size += size == 2 ? 6 : 1) {
		value = 99;
		cr_assert_eq(virtio_mmio_ops.read(&toy.virtio, VIRTIO_MMIO_DEVICE_ID, size, &value),
			     0);
		cr_assert_eq(value, 0, "a register is 32 bits wide");
		virtio_mmio_ops.write(&toy.virtio, VIRTIO_MMIO_STATUS, size, 1);
		cr_assert_eq(driver_get(&driver, VIRTIO_MMIO_STATUS), 0);
	}
}

Test(virtio, offers_features_by_halves)
{
	driver_set(&driver, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	cr_assert_eq(driver_get(&driver, VIRTIO_MMIO_DEVICE_FEATURES),
		     F_TOY | F_EVENT_IDX | F_INDIRECT);
	driver_set(&driver, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	cr_assert_eq(driver_get(&driver, VIRTIO_MMIO_DEVICE_FEATURES), 1);
	driver_set(&driver, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 2);
	cr_assert_eq(driver_get(&driver, VIRTIO_MMIO_DEVICE_FEATURES), 0);
}

Test(virtio, refuses_features_that_it_does_not_offer)
{
	static const uint64_t bad[] = { 1ull << 0, F_TOY | 1ull << 63, 1ull << 33 };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		driver_begin(&driver, bad[i]);
		cr_assert(!(driver_get(&driver, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_FEATURES_OK));
		cr_assert(!driver_is_broken(&driver), "it is told so politely");
		driver_ready(&driver);
		expect_broken_then_reset("DRIVER_OK all the same");
	}
	/* Without VERSION_1 this is a legacy driver. */
	driver_set(&driver, VIRTIO_MMIO_STATUS, 0);
	driver_set(&driver, VIRTIO_MMIO_STATUS, 0xb);
	cr_assert_eq(driver_get(&driver, VIRTIO_MMIO_STATUS), 0x3);
	driver_set(&driver, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 2);
	driver_set(&driver, VIRTIO_MMIO_DRIVER_FEATURES, 1);
	cr_assert(driver_is_broken(&driver));
}

Test(virtio, status_goes_forward_only)
{
	driver_begin(&driver, F_TOY);
	driver_set(&driver, VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	expect_broken_then_reset("bits cleared");
	driver_set(&driver, VIRTIO_MMIO_DRIVER_FEATURES, 0);
	expect_broken_then_reset("features changed after DRIVER_OK");
	driver_begin(&driver, F_TOY);
	driver_set(&driver, VIRTIO_MMIO_DRIVER_FEATURES, 1);
	expect_broken_then_reset("features changed after FEATURES_OK");
	/* A driver that fails is left alone. */
	driver_set(&driver, VIRTIO_MMIO_STATUS, 0xf | VIRTIO_CONFIG_S_FAILED);
	driver_add(&driver, 0, echo_segments, 3);
	toy.served = 0;
	driver_kick(&driver, 0);
	cr_assert_eq(toy.served, 0);
}

Test(virtio, config_space_of_any_width)
{
	memcpy(toy.config, "\x01\x02\x03\x04\x05\x06", 6);
	cr_assert_eq(driver_config(&driver, 0, 8), 0x060504030201);
	cr_assert_eq(driver_config(&driver, 1, 4), 0x05040302);
	cr_assert_eq(driver_config(&driver, 3, 2), 0x0504);
	cr_assert_eq(driver_config(&driver, 5, 1), 0x06);
	cr_assert_eq(driver_config(&driver, 5, 8), 0x06, "past the end: zeros");
	cr_assert_eq(driver_config(&driver, 6, 4), 0);
	cr_assert_eq(driver_config(&driver, VIRTIO_MMIO_BYTES - VIRTIO_MMIO_CONFIG - 1, 8), 0);
	virtio_mmio_ops.write(&toy.virtio, VIRTIO_MMIO_CONFIG + 4, 8, 0x8877665544332211);
	cr_assert_eq(toy.configured, 1);
	cr_assert_arr_eq(toy.config, "\x01\x02\x03\x04\x11\x22", 6);
	virtio_mmio_ops.write(&toy.virtio, VIRTIO_MMIO_CONFIG + 6, 1, 1);
	cr_assert_eq(toy.configured, 1, "nothing was written");
}

Test(virtio, config_changes_are_told)
{
	uint32_t before = driver_get(&driver, VIRTIO_MMIO_CONFIG_GENERATION);

	virtio_lock(&toy.virtio);
	virtio_config_changed(&toy.virtio);
	virtio_unlock(&toy.virtio);
	cr_assert_neq(driver_get(&driver, VIRTIO_MMIO_CONFIG_GENERATION), before);
	cr_assert_eq(driver_interrupts(&driver), 0, "nobody is there yet");
	driver_start(&driver, 0, 1, 8);
	virtio_lock(&toy.virtio);
	virtio_config_changed(&toy.virtio);
	virtio_unlock(&toy.virtio);
	cr_assert_eq(driver_get(&driver, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_CONFIG);
	cr_assert_eq(driver_interrupts(&driver), 1);
	cr_assert_eq(driver_get(&driver, VIRTIO_MMIO_INTERRUPT_STATUS), 0);
}

Test(virtio, queues_that_there_are)
{
	for (unsigned i = 0; i < 5; i++) {
		driver_set(&driver, VIRTIO_MMIO_QUEUE_SEL, i);
		cr_assert_eq(driver_get(&driver, VIRTIO_MMIO_QUEUE_NUM_MAX),
			     i < 2 ? VIRTIO_QUEUE_SIZE : 0);
	}
	driver_set(&driver, VIRTIO_MMIO_QUEUE_SEL, UINT32_MAX);
	driver_set(&driver, VIRTIO_MMIO_QUEUE_NUM, 3);
	driver_set(&driver, VIRTIO_MMIO_QUEUE_READY, 1);
	cr_assert_eq(driver_get(&driver, VIRTIO_MMIO_QUEUE_READY), 0);
	driver_set(&driver, VIRTIO_MMIO_QUEUE_NOTIFY, UINT32_MAX);
	cr_assert(!driver_is_broken(&driver));
}

/* --- making queues ready --- */

static const struct setting bad_settings[] = {
	{ "size 0", 0, 0x1000, 0x2000, 0x3000 },
	{ "size no power of two", 12, 0x1000, 0x2000, 0x3000 },
	{ "too large", 512, 0x1000, 0x2000, 0x3000 },
	{ "too large for 16 bits", 0x10008, 0x1000, 0x2000, 0x3000 },
	{ "descriptors outside", 8, DRIVER_MEMORY, 0x2000, 0x3000 },
	{ "descriptors half outside", 8, DRIVER_MEMORY - 64, 0x2000, 0x3000 },
	{ "available outside", 8, 0x1000, 1ull << 40, 0x3000 },
	{ "available's event outside", 8, 0x1000, DRIVER_MEMORY - 20, 0x3000 },
	{ "used outside", 8, 0x1000, 0x2000, EPT_HOLE_START },
	{ "used's event outside", 8, 0x1000, 0x2000, DRIVER_MEMORY - 68 },
	{ "descriptors wrap around", 8, UINT64_MAX - 15, 0x2000, 0x3000 },
	{ "available wraps around", 8, 0x1000, UINT64_MAX - 1, 0x3000 },
	{ "used wraps around", 8, 0x1000, 0x2000, UINT64_MAX - 3 },
	{ "descriptors not aligned", 8, 0x1008, 0x2000, 0x3000 },
	{ "available not aligned", 8, 0x1000, 0x2001, 0x3000 },
	{ "used not aligned", 8, 0x1000, 0x2000, 0x3002 },
};

Test(virtio, hostile_queue_settings)
{
	for (size_t i = 0; i < sizeof(bad_settings) / sizeof(bad_settings[0]); i++) {
		driver_begin(&driver, F_EVENT_IDX);
		set_up(&bad_settings[i]);
		cr_assert_eq(driver_get(&driver, VIRTIO_MMIO_QUEUE_READY), 0, "%s",
			     bad_settings[i].what);
		cr_assert_eq(driver.pins, 0, "%s", bad_settings[i].what);
		expect_broken_then_reset(bad_settings[i].what);
	}
}

Test(virtio, rings_may_end_where_memory_ends)
{
	static const struct setting tight = { "tight", 8, 0x1000, DRIVER_MEMORY - 20,
					      DRIVER_MEMORY - 20 - 68 };

	driver_begin(&driver, 0);
	set_up(&tight);
	cr_assert_eq(driver_get(&driver, VIRTIO_MMIO_QUEUE_READY), 1);
	driver_begin(&driver, 0);
	cr_assert_eq(driver_get(&driver, VIRTIO_MMIO_QUEUE_READY), 0, "not after a reset");
}

Test(virtio, queues_at_the_wrong_time)
{
	static const unsigned registers[] = {
		VIRTIO_MMIO_QUEUE_NUM,	      VIRTIO_MMIO_QUEUE_DESC_LOW,
		VIRTIO_MMIO_QUEUE_DESC_HIGH,  VIRTIO_MMIO_QUEUE_AVAIL_LOW,
		VIRTIO_MMIO_QUEUE_AVAIL_HIGH, VIRTIO_MMIO_QUEUE_USED_LOW,
		VIRTIO_MMIO_QUEUE_USED_HIGH,
	};

	driver_set(&driver, VIRTIO_MMIO_STATUS, 3);
	set_up(&(struct setting){ "early", 8, 0x1000, 0x2000, 0x3000 });
	expect_broken_then_reset("before FEATURES_OK");
	for (size_t i = 0; i < sizeof(registers) / sizeof(registers[0]); i++) {
		driver_set(&driver, VIRTIO_MMIO_QUEUE_SEL, 0);
		driver_set(&driver, registers[i], 0);
		expect_broken_then_reset("changed while live");
		driver_begin(&driver, 0);
		driver_queue(&driver, 0, 8);
		driver_set(&driver, registers[i], 8);
		expect_broken_then_reset("changed while ready");
	}
	driver_start(&driver, 0, 1, 8);
	driver_set(&driver, VIRTIO_MMIO_QUEUE_SEL, 1);
	driver_set(&driver, VIRTIO_MMIO_QUEUE_READY, 1);
	expect_broken_then_reset("made ready after DRIVER_OK");
	/* Before DRIVER_OK a driver may think again. */
	driver_begin(&driver, 0);
	driver_queue(&driver, 0, 8);
	driver_set(&driver, VIRTIO_MMIO_QUEUE_READY, 0);
	cr_assert_eq(driver.pins, 0);
	driver_queue(&driver, 0, 16);
	driver_ready(&driver);
	echo(0);
}

/* --- queues that are stopped --- */

static void stop_queue(unsigned number)
{
	driver_set(&driver, VIRTIO_MMIO_QUEUE_SEL, number);
	driver_set(&driver, VIRTIO_MMIO_QUEUE_READY, 0);
	cr_assert_eq(driver_get(&driver, VIRTIO_MMIO_QUEUE_READY), 0);
}

/* As a driver leaves: Linux' resets, and then stops every queue that it had. */
Test(virtio, a_driver_leaves_and_another_comes)
{
	for (unsigned i = 0; i < 3; i++) {
		driver_start(&driver, F_EVENT_IDX, 2, 8);
		echo(0);
		driver_set(&driver, VIRTIO_MMIO_STATUS, 0);
		stop_queue(0);
		stop_queue(1);
		cr_assert_eq(driver_get(&driver, VIRTIO_MMIO_STATUS), 0);
		cr_assert_eq(driver.pins, 0);
		/* Once more, on the way back to where it was before a driver came. */
		driver_set(&driver, VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE);
		stop_queue(0);
		cr_assert_eq(driver_get(&driver, VIRTIO_MMIO_STATUS), VIRTIO_CONFIG_S_ACKNOWLEDGE);
	}
}

/* After DRIVER_OK: its rings and its chains are let go, and the other queue goes on. */
Test(virtio, a_live_queue_is_stopped)
{
	int pins;

	driver_start(&driver, 0, 2, 8);
	pins = driver.pins;
	toy.hold = true;
	driver_add(&driver, 0, echo_segments, 3);
	driver_kick(&driver, 0);
	toy.hold = false;
	stop_queue(0);
	cr_assert_eq(toy.stops, 1);
	cr_assert_eq(toy.stopped, 0);
	cr_assert_eq(driver.pins, pins / 2);
	stop_queue(0);
	cr_assert_eq(toy.stops, 1, "there is nothing to stop");
	driver_kick(&driver, 0);
	cr_assert_eq(driver.queue[0].used->idx, 0);
	echo(1);
	/* To begin again is for a reset. */
	driver_set(&driver, VIRTIO_MMIO_QUEUE_SEL, 0);
	driver_set(&driver, VIRTIO_MMIO_QUEUE_READY, 1);
	expect_broken_then_reset("made ready after DRIVER_OK");
}

Test(virtio, a_broken_device_lets_its_queues_go)
{
	driver_start(&driver, 0, 2, 8);
	driver_offer(&driver, 0, 99);
	driver_kick(&driver, 0);
	cr_assert(driver_is_broken(&driver));
	stop_queue(0);
	stop_queue(1);
	cr_assert_eq(driver.pins, 0);
	expect_broken_then_reset("a bad descriptor");
}

/* --- being broken, and resets --- */

Test(virtio, a_broken_device_takes_no_more)
{
	struct virtio_chain chain;

	driver_start(&driver, 0, 1, 8);
	toy.hold = true;
	driver_add(&driver, 0, echo_segments, 1);
	cr_assert(virtio_pop(&toy.virtio, 0, &chain));
	virtio_lock(&toy.virtio);
	virtio_break(&toy.virtio, "a test says so");
	virtio_push(&toy.virtio, 0, chain.head, 0);
	virtio_signal(&toy.virtio, 0);
	cr_assert(!virtio_pop(&toy.virtio, 0, &chain));
	virtio_unlock(&toy.virtio);
	cr_assert_eq(driver.queue[0].used->idx, 0);
	cr_assert_eq(driver_get(&driver, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_CONFIG);
	/* It listens to nothing but a reset. */
	driver_set(&driver, VIRTIO_MMIO_QUEUE_SEL, 1);
	virtio_mmio_ops.write(&toy.virtio, VIRTIO_MMIO_CONFIG, 1, 1);
	driver_set(&driver, VIRTIO_MMIO_STATUS, 0xff);
	cr_assert_eq(toy.configured, 0);
	cr_assert_eq(driver_get(&driver, VIRTIO_MMIO_STATUS), 0x4f);
	cr_assert_eq(toy.resets, 0);
	driver_set(&driver, VIRTIO_MMIO_STATUS, 0);
	cr_assert_eq(toy.resets, 1);
	cr_assert_eq(driver_get(&driver, VIRTIO_MMIO_STATUS), 0);
	cr_assert_eq(driver_get(&driver, VIRTIO_MMIO_INTERRUPT_STATUS), 0);
	driver_set(&driver, VIRTIO_MMIO_STATUS, 0);
	cr_assert_eq(toy.resets, 1, "there was nothing to reset");
	cr_assert_eq(driver.pins, 0);
}

static unsigned count_lines(int fd)
{
	char text[4096];
	unsigned lines = 0;
	ssize_t n;

	while ((n = read(fd, text, sizeof(text))) > 0)
		for (ssize_t i = 0; i < n; i++)
			lines += text[i] == '\n';
	return lines;
}

Test(virtio, breaking_in_a_loop_does_not_flood_the_log)
{
	int log[2], saved = dup(STDERR_FILENO);

	cr_assert_eq(pipe2(log, O_CLOEXEC | O_NONBLOCK), 0);
	dup2(log[1], STDERR_FILENO);
	for (unsigned i = 0; i < 1000; i++) {
		driver_start(&driver, 0, 1, 8);
		driver_offer(&driver, 0, 99);
		driver_kick(&driver, 0);
		driver_kick(&driver, 0);
	}
	dup2(saved, STDERR_FILENO);
	cr_assert_eq(count_lines(log[0]), 1);
	/* Ten seconds on, so to speak. */
	toy.virtio.told_ns -= 11000000000ull;
	dup2(log[1], STDERR_FILENO);
	driver_start(&driver, 0, 1, 8);
	driver_offer(&driver, 0, 99);
	driver_kick(&driver, 0);
	dup2(saved, STDERR_FILENO);
	cr_assert_eq(count_lines(log[0]), 1);
}

/* The machine is about to stop, or has no room: pages cannot be had. */
Test(virtio, memory_that_cannot_be_had)
{
	static const int errors[] = { -EIO, -ENOMEM, -EBUSY };

	for (size_t i = 0; i < 3; i++) {
		for (unsigned good = 0; good < 3; good++) {
			driver_begin(&driver, 0);
			driver.pin_error = errors[i];
			driver.pins_left = good;
			driver_queue(&driver, 0, 8);
			driver.pin_error = 0;
			cr_assert_eq(driver.pins, 0);
			expect_broken_then_reset("rings");
		}
		for (unsigned good = 0; good < 3; good++) {
			driver_start(&driver, 0, 1, 8);
			driver_add(&driver, 0, echo_segments, 3);
			driver.pin_error = errors[i];
			driver.pins_left = good;
			driver_kick(&driver, 0);
			driver.pin_error = 0;
			cr_assert_eq(driver.queue[0].used->idx, 0);
			expect_broken_then_reset("data");
		}
	}
}

/*
 * Pages that have no room in memory, as when the disk of the swap file is full: a device waits for
 * them as the guest does, and nobody who can end the VM waits for the device.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <string.h>
#include <unistd.h>

#include "devices/virtio/balloon.h"
#include "devices/virtio/console.h"
#include "toy.h"

enum { RECEIVE, TRANSMIT };

#define TABLE_AT (DRIVER_DATA + 0x10000)

static unsigned rooms;
static sem_t is_away, may_return;
static bool has_returned; /* who was away is on his way back */

static void refuse_after(unsigned pins)
{
	driver.pin_error = -ENOMEM;
	driver.pins_left = pins;
}

/* ---- every page in turn has no room */

/* The echo's chain in an indirect table that lies on two pages. */
static void offer_indirectly(void)
{
	struct vring_desc *table = (void *)(driver.memory + TABLE_AT - sizeof(*table));

	for (unsigned i = 0; i < 3; i++)
		table[i] = (struct vring_desc){
			.addr = echo_segments[i].address,
			.len = echo_segments[i].length,
			.flags = (uint16_t)((i > 0 ? VRING_DESC_F_WRITE : 0) |
					    (i < 2 ? VRING_DESC_F_NEXT : 0)),
			.next = (uint16_t)(i + 1),
		};
	driver.queue[0].descriptors[0] = (struct vring_desc){
		.addr = TABLE_AT - sizeof(*table),
		.len = 3 * sizeof(*table),
		.flags = VRING_DESC_F_INDIRECT,
	};
	driver_offer(&driver, 0, 0);
}

static void echo_with_a_refusal(unsigned pins)
{
	driver_begin(&driver, F_INDIRECT);
	refuse_after(pins);
	driver_queue(&driver, 0, 8);
	driver_ready(&driver);
	memcpy(driver.memory + DRIVER_DATA, "abcdef", 6);
	offer_indirectly();
	driver_kick(&driver, 0);
	cr_assert(!driver_is_broken(&driver), "pin %u", pins);
	expect_echo(0, 0);
}

Test(virtio_room, is_waited_for)
{
	unsigned pins = 0;

	toy_open(0);
	driver.gets_room = true;
	do {
		driver.faults = 0;
		echo_with_a_refusal(pins++);
	} while (driver.faults > 0);
	cr_assert_eq(pins, 3 + 2 + 3 + 1, "rings, table, segments: each once, and none");
	driver.pin_error = 0;
	toy_close();
}

/* The VM ends meanwhile, and says so by itself. */
Test(virtio_room, is_not_to_be_had)
{
	for (unsigned pins = 0; pins < 3 + 2 + 3; pins++) {
		toy_open(0);
		driver_begin(&driver, F_INDIRECT);
		refuse_after(pins);
		driver_queue(&driver, 0, 8);
		driver_ready(&driver);
		if (!driver_is_broken(&driver))
			offer_indirectly();
		driver_kick(&driver, 0);
		cr_assert(driver_is_broken(&driver), "pin %u", pins);
		cr_assert_eq(driver.faults, 1);
		cr_assert_eq(driver.queue[0].used->idx, 0);
		toy_close();
	}
}

/* A caller outside of any device, such as quire's port: it accesses several pages, one of which is
 * missing. */
Test(virtio_room, is_waited_for_by_the_monitor)
{
	static uint8_t written[5 * PAGE_SIZE], read[sizeof(written)];

	for (size_t i = 0; i < sizeof(written); i++)
		written[i] = (uint8_t)(i >> 7);
	driver_open(&driver, 0);
	driver.gets_room = true;
	refuse_after(0);
	cr_assert_eq(ept_try_write(driver.space, gpa(DRIVER_DATA + 7), written, sizeof(written)),
		     -ENOMEM);
	cr_assert_eq(driver.faults, 0);
	cr_assert_eq(ept_write(driver.space, gpa(DRIVER_DATA + 7), written, sizeof(written)), 0);
	cr_assert_eq(driver.faults, 1);
	cr_assert_eq(ept_read(driver.space, gpa(DRIVER_DATA + 7), read, sizeof(read)), 0);
	cr_assert_arr_eq(read, written, sizeof(read));
	driver_close(&driver);
}

/* ---- others, while one is away for a page */

static void stay_away(struct driver *self)
{
	self->on_fault = NULL;
	sem_post(&is_away);
	sem_wait(&may_return);
	__atomic_store_n(&has_returned, true, __ATOMIC_SEQ_CST);
}

static void *serve_once(void *argument)
{
	driver_serve(&driver);
	return NULL;
}

/* Kicks a queue; when this returns the loop's thread waits for a page. */
static pthread_t go_away(unsigned queue)
{
	pthread_t thread;

	sem_init(&is_away, 0, 0);
	sem_init(&may_return, 0, 0);
	driver.gets_room = true;
	driver.on_fault = stay_away;
	driver_set(&driver, VIRTIO_MMIO_QUEUE_NOTIFY, queue);
	cr_assert_eq(pthread_create(&thread, NULL, serve_once, NULL), 0);
	sem_wait(&is_away);
	return thread;
}

static void come_back(pthread_t thread)
{
	sem_post(&may_return);
	pthread_join(thread, NULL);
}

static void *look_at_status(void *argument)
{
	cr_assert(!driver_is_broken(&driver));
	/* It lets the other one return first. */
	return (void *)(uintptr_t)__atomic_load_n(&has_returned, __ATOMIC_SEQ_CST);
}

/* A register's access waits; a kick of another queue is not lost. */
Test(virtio_room, the_driver_waits)
{
	pthread_t loop, vcpu;
	void *behind;

	toy_open(0);
	driver_start(&driver, 0, 2, 8);
	memcpy(driver.memory + DRIVER_DATA, "abcdef", 6);
	driver_add(&driver, 0, echo_segments, 3);
	refuse_after(0);
	loop = go_away(0);
	cr_assert(!virtio_glance(&toy.virtio));
	virtio_unlock(&toy.virtio);
	driver_add(&driver, 1, echo_segments, 3);
	driver_set(&driver, VIRTIO_MMIO_QUEUE_NOTIFY, 1);
	cr_assert_eq(pthread_create(&vcpu, NULL, look_at_status, NULL), 0);
	come_back(loop);
	pthread_join(vcpu, &behind);
	cr_assert(behind != NULL);
	cr_assert_eq(toy.served, 2);
	toy_close();
}

/* A kick that the loop meets while a vCPU is away: it comes again. */
static void *make_ready(void *argument)
{
	driver_queue(&driver, 0, 8);
	return NULL;
}

Test(virtio_room, kicks_are_not_lost)
{
	pthread_t vcpu;

	toy_open(0);
	driver_begin(&driver, 0);
	sem_init(&is_away, 0, 0);
	sem_init(&may_return, 0, 0);
	driver.gets_room = true;
	driver.on_fault = stay_away;
	refuse_after(0);
	cr_assert_eq(pthread_create(&vcpu, NULL, make_ready, NULL), 0);
	sem_wait(&is_away);
	virtio_kick(&toy.virtio, 1);
	driver_serve(&driver);
	cr_assert(toy.virtio.missed);
	come_back(vcpu);
	cr_assert(!toy.virtio.missed);
	cr_assert_eq(loop_serve(driver.loop, 0), 2, "both queues");
	driver_ready(&driver);
	toy_close();
}

/* ---- the console's input, which comes from the main thread */

static void on_room(void *context)
{
	rooms++;
}

static struct virtio_console *open_console(void)
{
	static const struct virtio_console_events events = { on_room };
	struct virtio_console_config config = { .output_fd = STDERR_FILENO, .events = &events };
	struct virtio_console *console;

	driver_open(&driver, 0);
	config.space = driver.space;
	config.loop = driver.loop;
	cr_assert_eq(virtio_console_create(&config, &console), 0);
	driver.virtio = virtio_console_virtio(console);
	driver_start(&driver, 0, 2, 8);
	return console;
}

static void close_console(struct virtio_console *console)
{
	virtio_console_destroy(console);
	driver_close(&driver);
}

Test(virtio_room, input_comes_again)
{
	struct virtio_console *console = open_console();

	driver_add(&driver, RECEIVE, &(struct driver_segment){ DRIVER_DATA, 16, true }, 1);
	refuse_after(0);
	cr_assert_eq(virtio_console_input(console, "abc", 3), 0);
	cr_assert_eq(driver.faults, 0, "the main thread waits for nothing");
	driver.gets_room = true;
	driver_serve(&driver);
	cr_assert_eq(driver.faults, 1);
	cr_assert_eq(rooms, 1);
	cr_assert_eq(virtio_console_input(console, "abc", 3), 3);
	cr_assert_arr_eq(driver.memory + DRIVER_DATA, "abc", 3);
	cr_assert(!driver_is_broken(&driver));
	close_console(console);
}

/* As much input as there is room for is taken; the rest comes again. And a drain does not try for
 * ever. */
Test(virtio_room, input_as_far_as_there_is_room)
{
	struct virtio_console *console = open_console();
	const uint64_t end = DRIVER_DATA + 0x1000;
	uint32_t head, written;

	driver_add(&driver, RECEIVE, &(struct driver_segment){ end - 2, 16, true }, 1);
	refuse_after(1);
	cr_assert_eq(virtio_console_input(console, "abc", 3), 2);
	cr_assert(driver_take(&driver, RECEIVE, &head, &written) && written == 2);
	cr_assert_arr_eq(driver.memory + end - 2, "ab", 2);
	driver_add(&driver, TRANSMIT, &(struct driver_segment){ DRIVER_DATA, 4, false }, 1);
	refuse_after(0);
	driver.refusals = 0;
	virtio_console_drain(console, 100000);
	cr_assert_eq(driver.refusals, 1);
	driver.pin_error = 0;
	close_console(console);
}

Test(virtio_room, input_while_the_device_waits)
{
	struct virtio_console *console = open_console();
	pthread_t loop;

	memcpy(driver.memory + DRIVER_DATA, "out\n", 4);
	driver_add(&driver, TRANSMIT, &(struct driver_segment){ DRIVER_DATA, 4, false }, 1);
	driver_add(&driver, RECEIVE, &(struct driver_segment){ DRIVER_DATA + 64, 16, true }, 1);
	refuse_after(0);
	loop = go_away(TRANSMIT);
	cr_assert_eq(virtio_console_input(console, "abc", 3), 0);
	virtio_console_resize(console, 80, 24);
	cr_assert_eq(rooms, 0);
	come_back(loop);
	cr_assert_eq(rooms, 1);
	cr_assert_eq(virtio_console_input(console, "abc", 3), 3);
	close_console(console);
}

/* ---- the balloon, which 'stat' and the control socket ask */

static int take(void *context, gfn_t first, uint32_t count)
{
	return 0;
}

static int take_report(void *context, gfn_t first, uint32_t count, uint32_t poison)
{
	return 0;
}

Test(virtio_room, the_balloon_is_looked_at_while_it_waits)
{
	static const struct virtio_balloon_events events = { take, take, take_report, NULL, NULL };
	struct virtio_balloon_config config = { .events = &events };
	struct virtio_balloon_state state;
	struct virtio_balloon *balloon;
	const uint32_t page = 7;
	pthread_t loop;

	driver_open(&driver, 0);
	config.space = driver.space;
	config.loop = driver.loop;
	cr_assert_eq(virtio_balloon_create(&config, &balloon), 0);
	driver.virtio = virtio_balloon_virtio(balloon);
	driver_start(&driver, 0, 2, 8);
	memcpy(driver.memory + DRIVER_DATA, &page, sizeof(page));
	driver_add(&driver, 0, &(struct driver_segment){ DRIVER_DATA, sizeof(page), false }, 1);
	refuse_after(0);
	loop = go_away(0);
	virtio_balloon_get(balloon, &state);
	cr_assert(state.ready && state.held == 0);
	virtio_balloon_set_target(balloon, 10);
	cr_assert_eq(virtio_balloon_ask_statistics(balloon), -EAGAIN);
	come_back(loop);
	virtio_balloon_get(balloon, &state);
	cr_assert_eq(state.held, 1);
	cr_assert(!driver_is_broken(&driver));
	virtio_balloon_destroy(balloon);
	driver_close(&driver);
}

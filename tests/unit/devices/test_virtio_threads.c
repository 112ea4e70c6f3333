/*
 * Two virtio devices under several threads: one runs the loop, a vCPU each drives a device and
 * resets it at any moment, and the monitor steers both meanwhile.
 */
#ifdef UNIT_NO_CRITERION
#include "tests/unit/no_criterion.h"
#else
#include <criterion/criterion.h>
#endif
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "devices/virtio/balloon.h"
#include "devices/virtio/console.h"
#include "driver.h"

enum { RECEIVE, TRANSMIT };
enum { INFLATE, DEFLATE, STATISTICS };

#define FRAMES	      (DRIVER_MEMORY >> PAGE_SHIFT)
#define LIVES	      120 /* of a driver, from one reset to the next */
#define QUEUE_SIZE    16
#define F_STATISTICS  (1ull << 1)
#define BALLOON_RINGS (DRIVER_RINGS + 0x40000)
#define BALLOON_DATA  (DRIVER_DATA + 0x100000)

struct world {
	struct driver console_driver, balloon_driver;
	struct virtio_console *console;
	struct virtio_balloon *balloon;
	int output[2];
	bool held[FRAMES]; /* the hooks', under the balloon's lock */
	bool over;	   /* (A) the drivers are done */
	uint64_t received; /* (A) bytes of output */
};

static void on_room(void *context)
{
}

static const struct virtio_console_events console_events = { on_room };

static int move(struct world *world, gfn_t first, uint32_t count, bool in)
{
	for (uint64_t i = first.v; i < first.v + count; i++) {
		cr_assert(world->held[i] != in);
		world->held[i] = in;
	}
	return 0;
}

static int on_inflate(void *context, gfn_t first, uint32_t count)
{
	return move(context, first, count, true);
}

static int on_deflate(void *context, gfn_t first, uint32_t count)
{
	return move(context, first, count, false);
}

static int on_report(void *context, gfn_t first, uint32_t count, uint32_t poison)
{
	return 0;
}

static void on_event(void *context)
{
}

static const struct virtio_balloon_events balloon_events = { on_inflate, on_deflate, on_report,
							     on_event, on_event };

static void *run_loop(void *context)
{
	struct world *world = context;

	cr_assert_eq(loop_run(world->console_driver.loop), 0);
	return NULL;
}

static void *read_output(void *context)
{
	struct world *world = context;
	char bytes[1024];
	ssize_t n;

	while ((n = read(world->output[0], bytes, sizeof(bytes))) > 0)
		__atomic_fetch_add(&world->received, (uint64_t)n, __ATOMIC_RELAXED);
	return NULL;
}

/* Adds what there is room for, kicks, takes what is done: returns how much that was. */
static unsigned exchange(struct driver *driver, unsigned queue, unsigned *in_flight,
			 const struct driver_segment *segment)
{
	uint32_t head, written;
	unsigned taken = 0;

	while (driver_take(driver, queue, &head, &written))
		taken++;
	*in_flight -= taken;
	if (*in_flight < QUEUE_SIZE) {
		driver_add(driver, queue, segment, 1);
		++*in_flight;
		driver_kick(driver, queue);
	} else {
		sched_yield();
	}
	driver_interrupts(driver);
	return taken;
}

static void *drive_console(void *context)
{
	static const struct driver_segment sent = { DRIVER_DATA, 3000, false };
	static const struct driver_segment room = { DRIVER_DATA + 0x10000, 100, true };
	struct world *world = context;
	struct driver *driver = &world->console_driver;

	for (unsigned life = 0; life < LIVES; life++) {
		unsigned sending = 0, receiving = 0;

		driver_start(driver, life % 2 ? F_EVENT_IDX : 0, 2, QUEUE_SIZE);
		for (unsigned taken = 0; taken < life % 97;) {
			taken += exchange(driver, TRANSMIT, &sending, &sent);
			exchange(driver, RECEIVE, &receiving, &room);
			driver_config(driver, 0, 4);
		}
		cr_assert(!driver_is_broken(driver));
	}
	return NULL;
}

static void *drive_balloon(void *context)
{
	static const struct driver_segment pages = { BALLOON_DATA, 4 * 16, false };
	static const struct driver_segment statistics = { BALLOON_DATA + 4096, 20, false };
	struct world *world = context;
	struct driver *driver = &world->balloon_driver;
	uint32_t *list = (void *)(driver->memory + BALLOON_DATA);

	for (unsigned i = 0; i < 16; i++)
		list[i] = i * 5 % 16 + 100;
	for (unsigned life = 0; life < LIVES; life++) {
		unsigned in_flight[3] = { 0 };

		driver_start(driver, F_STATISTICS | (life % 2 ? F_EVENT_IDX : 0), 3, QUEUE_SIZE);
		for (unsigned i = 0, taken = 0; taken < life % 89; i++) {
			taken += exchange(driver, i % 2, &in_flight[i % 2], &pages);
			exchange(driver, STATISTICS, &in_flight[STATISTICS], &statistics);
			virtio_mmio_ops.write(driver->virtio, VIRTIO_MMIO_CONFIG + 4, 4, i);
		}
		cr_assert(!driver_is_broken(driver));
	}
	return NULL;
}

static void *steer(void *context)
{
	struct world *world = context;
	struct virtio_balloon_state state;

	for (uint32_t i = 0; !__atomic_load_n(&world->over, __ATOMIC_ACQUIRE); i++) {
		cr_assert_leq(virtio_console_input(world->console, "typed", 5), 5);
		virtio_console_resize(world->console, (uint16_t)i, 25);
		virtio_balloon_set_target(world->balloon, i);
		virtio_balloon_ask_statistics(world->balloon);
		virtio_balloon_get(world->balloon, &state);
		cr_assert_leq(state.held, 16);
		virtio_balloon_has(world->balloon, gfn(i % FRAMES));
	}
	return NULL;
}

static void open_world(struct world *world)
{
	struct driver *driver = &world->console_driver;

	driver_open(driver, 0);
	cr_assert_eq(pipe2(world->output, O_CLOEXEC), 0);
	cr_assert_eq(virtio_console_create(
			     &(struct virtio_console_config){ .space = driver->space,
							      .loop = driver->loop,
							      .output_fd = world->output[1],
							      .events = &console_events },
			     &world->console),
		     0);
	cr_assert_eq(
		virtio_balloon_create(&(struct virtio_balloon_config){ .space = driver->space,
								       .loop = driver->loop,
								       .events = &balloon_events,
								       .context = world },
				      &world->balloon),
		0);
	driver->served_elsewhere = true;
	world->balloon_driver = *driver;
	world->balloon_driver.rings = BALLOON_RINGS;
	driver->virtio = virtio_console_virtio(world->console);
	world->balloon_driver.virtio = virtio_balloon_virtio(world->balloon);
}

static void close_world(struct world *world)
{
	struct virtio_balloon_state state;

	driver_set(&world->balloon_driver, VIRTIO_MMIO_STATUS, 0);
	virtio_balloon_get(world->balloon, &state);
	cr_assert_gt(state.inflated, 16 * LIVES / 4);
	cr_assert_gt(__atomic_load_n(&world->received, __ATOMIC_RELAXED), 3000 * LIVES / 4);
	for (unsigned i = 0; i < FRAMES; i++)
		cr_assert(!world->held[i]);
	virtio_console_destroy(world->console);
	virtio_balloon_destroy(world->balloon);
	driver_close(&world->console_driver);
}

Test(virtio_threads, resets_at_any_moment)
{
	void *(*const drivers[])(void *) = { drive_console, drive_balloon };
	void *(*const others[])(void *) = { run_loop, read_output, steer };
	struct world *world = calloc(1, sizeof(*world));
	pthread_t driving[2], running[3];

	open_world(world);
	for (unsigned i = 0; i < 3; i++)
		cr_assert_eq(pthread_create(&running[i], NULL, others[i], world), 0);
	for (unsigned i = 0; i < 2; i++)
		cr_assert_eq(pthread_create(&driving[i], NULL, drivers[i], world), 0);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(driving[i], NULL);
	__atomic_store_n(&world->over, true, __ATOMIC_RELEASE);
	pthread_join(running[2], NULL);
	loop_stop(world->console_driver.loop);
	pthread_join(running[0], NULL);
	close_world(world);
	close(world->output[1]);
	pthread_join(running[1], NULL);
	close(world->output[0]);
	free(world);
}

#ifdef UNIT_NO_CRITERION
int main(void)
{
	virtio_threads_resets_at_any_moment();
	return 0;
}
#endif

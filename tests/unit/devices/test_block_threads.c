/*
 * A disk under several threads: one runs the loop, a vCPU drives the device and resets it with
 * requests in flight, and the monitor counts meanwhile. What is read is right, and once a reset has
 * returned nobody writes the guest's memory.
 */
#ifdef UNIT_NO_CRITERION
#include "tests/unit/no_criterion.h"
#else
#include <criterion/criterion.h>
#endif
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <linux/virtio_blk.h>
#include <sys/mman.h>
#include <unistd.h>

#include "devices/virtio/block.h"
#include "driver.h"

#define LIVES	   150 /* of the driver, from one reset to the next */
#define QUEUE_SIZE 64
#define SLOTS	   16
#define PIECE	   8192u
#define IMAGE	   (SLOTS * PIECE)
#define PIN_BYTES  (6 * PAGE_SIZE) /* not enough for all */
#define HEADERS	   DRIVER_DATA
#define DATA	   (DRIVER_DATA + 0x10000)

struct world {
	struct driver driver;
	struct virtio_block *block;
	bool over; /* (A) */
	unsigned slot_of[QUEUE_SIZE];
};

/* Each sector of the image says which it is. */
static void make_image(int fd)
{
	for (uint32_t sector = 0; sector < IMAGE / BLOCK_SECTOR; sector++) {
		uint32_t words[BLOCK_SECTOR / 4];

		for (unsigned i = 0; i < BLOCK_SECTOR / 4; i++)
			words[i] = sector * 1000 + i;
		cr_assert_eq(write(fd, words, sizeof(words)), (ssize_t)sizeof(words));
	}
}

static uint32_t *data_of(struct world *world, unsigned slot)
{
	return (uint32_t *)(world->driver.memory + DATA + slot * PIECE);
}

static void expect_piece(struct world *world, unsigned slot)
{
	for (unsigned i = 0; i < PIECE / 4; i++)
		cr_assert_eq(data_of(world, slot)[i],
			     (slot * PIECE / BLOCK_SECTOR + i / 128) * 1000 + i % 128);
}

/* Reads its piece of the image, or writes what is there already. */
static void ask(struct world *world, unsigned slot, bool out)
{
	uint64_t header_at = HEADERS + slot * 64;
	struct virtio_blk_outhdr header = { .type = out ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN,
					    .sector = slot * PIECE / BLOCK_SECTOR };
	const struct driver_segment segments[] = {
		{ header_at, sizeof(header), false },
		{ DATA + slot * PIECE, PIECE, !out },
		{ header_at + 32, 1, true },
	};

	if (!out)
		memset(data_of(world, slot), 0x55, PIECE);
	memcpy(world->driver.memory + header_at, &header, sizeof(header));
	world->driver.memory[header_at + 32] = 0xee;
	world->slot_of[driver_add(&world->driver, 0, segments, 3)] = slot;
}

static unsigned take(struct world *world, unsigned *in_flight)
{
	uint32_t head, written;
	unsigned taken = 0;

	for (; driver_take(&world->driver, 0, &head, &written); taken++) {
		unsigned slot = world->slot_of[head];

		cr_assert_eq(world->driver.memory[HEADERS + slot * 64 + 32], VIRTIO_BLK_S_OK);
		expect_piece(world, slot);
		*in_flight &= ~(1u << slot);
	}
	return taken;
}

/* One life: rounds of requests, and an end in the middle of some. */
static void live(struct world *world, unsigned life, unsigned *seed)
{
	unsigned in_flight = 0, done = 0, seen = 0;

	driver_start(&world->driver,
		     (life % 2 ? F_EVENT_IDX : 0) | (life % 3 ? 1ull << VIRTIO_BLK_F_FLUSH : 0), 1,
		     QUEUE_SIZE);
	while (done < life % 61) {
		for (unsigned slot = 0; slot < SLOTS; slot++) {
			if (in_flight & 1u << slot || rand_r(seed) % 2)
				continue;
			ask(world, slot, seen & 1u << slot && rand_r(seed) % 3 == 0);
			in_flight |= 1u << slot;
			seen |= 1u << slot;
		}
		driver_kick(&world->driver, 0);
		done += take(world, &in_flight);
		driver_interrupts(&world->driver);
	}
	cr_assert(!driver_is_broken(&world->driver));
}

static void *drive(void *context)
{
	struct world *world = context;
	unsigned seed = 1;

	for (unsigned life = 0; life < LIVES; life++) {
		live(world, life, &seed);
		driver_set(&world->driver, VIRTIO_MMIO_STATUS, 0);
		memset(data_of(world, 0), 0x77, IMAGE);
		for (unsigned i = 0; i < 20; i++)
			driver_get(&world->driver, VIRTIO_MMIO_STATUS);
		for (unsigned i = 0; i < IMAGE / 4; i++)
			cr_assert_eq(data_of(world, 0)[i], 0x77777777);
	}
	return NULL;
}

static void *run_loop(void *context)
{
	struct world *world = context;

	cr_assert_eq(loop_run(world->driver.loop), 0);
	return NULL;
}

static void *look(void *context)
{
	struct world *world = context;
	struct virtio_block_counts counts;

	while (!__atomic_load_n(&world->over, __ATOMIC_ACQUIRE)) {
		virtio_block_counts_get(world->block, &counts);
		cr_assert_leq(counts.pending, BLOCK_IN_FLIGHT_MAX);
		usleep(100);
	}
	return NULL;
}

Test(block_threads, resets_at_any_moment)
{
	struct virtio_block_config config = { .file = { .bytes = IMAGE }, .pin_bytes = PIN_BYTES };
	struct world *world = calloc(1, sizeof(*world));
	struct virtio_block_counts counts;
	pthread_t threads[3];

	config.file.fd = memfd_create("disk", MFD_CLOEXEC);
	make_image(config.file.fd);
	driver_open(&world->driver, 0);
	config.space = world->driver.space;
	config.loop = world->driver.loop;
	cr_assert_eq(virtio_block_create(&config, &world->block), 0);
	world->driver.virtio = virtio_block_virtio(world->block);
	world->driver.served_elsewhere = true;
	cr_assert_eq(pthread_create(&threads[0], NULL, run_loop, world), 0);
	cr_assert_eq(pthread_create(&threads[1], NULL, look, world), 0);
	cr_assert_eq(pthread_create(&threads[2], NULL, drive, world), 0);
	pthread_join(threads[2], NULL);
	__atomic_store_n(&world->over, true, __ATOMIC_RELEASE);
	pthread_join(threads[1], NULL);
	loop_stop(world->driver.loop);
	pthread_join(threads[0], NULL);
	virtio_block_counts_get(world->block, &counts);
	cr_assert(counts.reads > LIVES && counts.writes > LIVES && counts.errors == 0);
	cr_assert(counts.waits > 0 && counts.pending == 0);
	virtio_block_destroy(world->block);
	driver_close(&world->driver);
	free(world);
}

#ifdef UNIT_NO_CRITERION
int main(void)
{
	block_threads_resets_at_any_moment();
	return 0;
}
#endif

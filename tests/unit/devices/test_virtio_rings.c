/*
 * virtio's rings through a toy device: chains and tables, every lie that they may hold, and who
 * wakes whom.
 */
#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "toy.h"

static void open_toy(void)
{
	toy_open(0);
}

TestSuite(virtio_rings, .init = open_toy, .fini = toy_close);

Test(virtio_rings, echoes)
{
	driver_start(&driver, F_EVENT_IDX | F_INDIRECT | F_TOY, 2, 8);
	cr_assert_eq(toy.starts, 1);
	for (unsigned i = 0; i < 100; i++)
		echo(i % 2);
	cr_assert_eq(toy.served, 100);
}

/* The ring's indices go over 65535 more than once. */
Test(virtio_rings, indices_wrap_around)
{
	static const uint64_t features[] = { 0, F_EVENT_IDX };

	for (size_t i = 0; i < 2; i++) {
		driver_start(&driver, features[i], 1, 4);
		for (unsigned n = 0; n < 140000; n++) {
			driver.queue[0].available->ring[4] = driver.queue[0].seen;
			echo(0);
			cr_assert_eq(driver_interrupts(&driver), 1);
		}
	}
}

Test(virtio_rings, size_of_one_and_of_the_most)
{
	const struct driver_segment one = { DRIVER_DATA, 10, false };

	driver_start(&driver, F_EVENT_IDX, 1, 1);
	for (unsigned i = 0; i < 10; i++) {
		driver_add(&driver, 0, &one, 1);
		driver_kick(&driver, 0);
	}
	cr_assert_eq(toy.served, 10);
	driver_start(&driver, F_EVENT_IDX, 1, VIRTIO_QUEUE_SIZE);
	for (unsigned i = 0; i < VIRTIO_QUEUE_SIZE; i++)
		driver_add(&driver, 0, &one, 1);
	driver_kick(&driver, 0);
	cr_assert_eq(toy.served, 10 + VIRTIO_QUEUE_SIZE);
}

Test(virtio_rings, what_was_offered_before_DRIVER_OK_is_served)
{
	uint16_t head;

	driver_begin(&driver, F_EVENT_IDX);
	driver_queue(&driver, 0, 8);
	memcpy(driver.memory + DRIVER_DATA, "abcdef", 6);
	head = driver_add(&driver, 0, echo_segments, 3);
	driver_kick(&driver, 0);
	cr_assert_eq(toy.served, 0);
	driver_ready(&driver);
	expect_echo(0, head);
}

Test(virtio_rings, unpop_leaves_the_chain)
{
	struct virtio_chain chain;
	uint16_t head;

	driver_start(&driver, F_EVENT_IDX, 1, 8);
	toy.hold = true;
	memcpy(driver.memory + DRIVER_DATA, "abcdef", 6);
	head = driver_add(&driver, 0, echo_segments, 3);
	driver_kick(&driver, 0);
	for (unsigned i = 0; i < 3; i++) {
		cr_assert(virtio_pop(&toy.virtio, 0, &chain));
		cr_assert_eq(chain.head, head);
		cr_assert(chain.count == 3 && chain.readable == 1);
		cr_assert(chain.readable_bytes == 6 && chain.writable_bytes == 103);
		virtio_unpop(&toy.virtio, 0);
	}
	toy.hold = false;
	driver_kick(&driver, 0);
	expect_echo(0, head);
}

Test(virtio_rings, reads_and_writes_anywhere_in_a_chain)
{
	static const struct driver_segment segments[] = {
		{ DRIVER_DATA, 3, false },	   { DRIVER_DATA + 16, 0, false },
		{ DRIVER_DATA + 32, 4, false },	   { DRIVER_DATA + 64, 2, true },
		{ DRIVER_DATA + 0x1ffe, 5, true },
	};
	struct virtio_chain chain;
	char text[16] = "";

	driver_start(&driver, 0, 1, 8);
	toy.hold = true;
	memcpy(driver.memory + DRIVER_DATA, "abc", 3);
	memcpy(driver.memory + DRIVER_DATA + 32, "defg", 4);
	driver_add(&driver, 0, segments, 5);
	cr_assert(virtio_pop(&toy.virtio, 0, &chain));
	cr_assert(chain.count == 4 && chain.readable == 2, "empty segments are left out");
	cr_assert_eq(virtio_read(&toy.virtio, &chain, 2, text, sizeof(text)), 5);
	cr_assert_str_eq(text, "cdefg");
	cr_assert_eq(virtio_read(&toy.virtio, &chain, 7, text, sizeof(text)), 0);
	cr_assert_eq(virtio_read(&toy.virtio, &chain, UINT64_MAX, text, sizeof(text)), 0);
	cr_assert_eq(virtio_write(&toy.virtio, &chain, 1, "xyzuvw", 6), 6);
	cr_assert_eq(driver.memory[DRIVER_DATA + 65], 'x');
	cr_assert_arr_eq(driver.memory + DRIVER_DATA + 0x1ffe, "yzuvw", 5);
	cr_assert_eq(virtio_write(&toy.virtio, &chain, 6, "12", 2), 1);
}

/* --- lies in rings --- */

#define OUT(address, length)                                                                       \
	{                                                                                          \
		address, length, 0, 0                                                              \
	}
#define OUT_NEXT(address, length, next)                                                            \
	{                                                                                          \
		address, length, VRING_DESC_F_NEXT, next                                           \
	}
#define IN(address, length)                                                                        \
	{                                                                                          \
		address, length, VRING_DESC_F_WRITE, 0                                             \
	}
#define IN_NEXT(address, length, next)                                                             \
	{                                                                                          \
		address, length, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, next                      \
	}
#define TABLE(address, length)                                                                     \
	{                                                                                          \
		address, length, VRING_DESC_F_INDIRECT, 0                                          \
	}
#define TABLE_AT (DRIVER_DATA + 0x8000)

struct lie {
	const char *what;
	struct vring_desc direct[4], indirect[4]; /* the latter lie at TABLE_AT */
};

static const struct lie lies[] = {
	{ "a segment outside", { OUT(DRIVER_MEMORY, 1) }, {} },
	{ "a segment half outside", { IN(DRIVER_MEMORY - 1, 2) }, {} },
	{ "a huge length", { OUT(DRIVER_DATA, UINT32_MAX) }, {} },
	{ "a segment that wraps around", { OUT(UINT64_MAX - 5, 6) }, {} },
	{ "a segment over the end of addresses", { OUT(UINT64_MAX - 5, 100) }, {} },
	{ "a segment in the hole", { IN(EPT_HOLE_START, 4096) }, {} },
	{ "a next outside the table", { OUT_NEXT(DRIVER_DATA, 1, 8) }, {} },
	{ "a far next", { OUT_NEXT(DRIVER_DATA, 1, UINT16_MAX) }, {} },
	{ "a chain that is its own next", { OUT_NEXT(DRIVER_DATA, 1, 0) }, {} },
	{ "a loop", { OUT_NEXT(DRIVER_DATA, 1, 1), OUT_NEXT(DRIVER_DATA, 1, 0) }, {} },
	{ "a loop of empty segments", { OUT_NEXT(0, 0, 1), OUT_NEXT(0, 0, 0) }, {} },
	{ "readable behind writable", { IN_NEXT(DRIVER_DATA, 1, 1), OUT(DRIVER_DATA, 1) }, {} },
	{ "an empty table", { TABLE(TABLE_AT, 0) }, {} },
	{ "a table of half an entry", { TABLE(TABLE_AT, 24) }, {} },
	{ "a huge table", { TABLE(0, 16 * (VIRTIO_QUEUE_SIZE + 1)) }, {} },
	{ "a table of 4 GiB", { TABLE(0, UINT32_MAX & ~15u) }, {} },
	{ "a table outside", { TABLE(DRIVER_MEMORY, 16) }, {} },
	{ "a table half outside", { TABLE(DRIVER_MEMORY - 16, 32) }, {} },
	{ "a table that goes on",
	  { { TABLE_AT, 16, VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT, 1 }, OUT(DRIVER_DATA, 1) },
	  { OUT(DRIVER_DATA, 1) } },
	{ "a table in a table", { TABLE(TABLE_AT, 16) }, { TABLE(TABLE_AT, 16) } },
	{ "a next outside its table", { TABLE(TABLE_AT, 16) }, { OUT_NEXT(DRIVER_DATA, 1, 1) } },
	{ "a loop in a table",
	  { TABLE(TABLE_AT, 32) },
	  { OUT_NEXT(DRIVER_DATA, 1, 1), OUT_NEXT(DRIVER_DATA, 1, 0) } },
	{ "a table's segment outside", { TABLE(TABLE_AT, 16) }, { OUT(DRIVER_MEMORY, 1) } },
	{ "readable in a table behind writable",
	  { IN_NEXT(DRIVER_DATA, 1, 1), TABLE(TABLE_AT, 16) },
	  { OUT(DRIVER_DATA, 1) } },
};

Test(virtio_rings, hostile_chains)
{
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		driver_start(&driver, F_INDIRECT | F_EVENT_IDX, 1, 8);
		memcpy(driver.queue[0].descriptors, lies[i].direct, sizeof(lies[i].direct));
		memcpy(driver.memory + TABLE_AT, lies[i].indirect, sizeof(lies[i].indirect));
		toy.served = 0;
		driver_offer(&driver, 0, 0);
		driver_kick(&driver, 0);
		cr_assert_eq(toy.served, 0, "%s", lies[i].what);
		cr_assert_eq(driver.queue[0].used->idx, 0, "%s", lies[i].what);
		cr_assert(driver_get(&driver, VIRTIO_MMIO_INTERRUPT_STATUS) &
			  VIRTIO_MMIO_INT_CONFIG);
		expect_broken_then_reset(lies[i].what);
	}
}

Test(virtio_rings, hostile_indices)
{
	driver_start(&driver, 0, 1, 8);
	driver_offer(&driver, 0, 8);
	driver_kick(&driver, 0);
	expect_broken_then_reset("a head outside the table");
	driver_start(&driver, 0, 1, 8);
	driver_offer(&driver, 0, UINT16_MAX);
	driver_kick(&driver, 0);
	expect_broken_then_reset("a head far outside");
	driver_start(&driver, 0, 1, 8);
	driver.queue[0].available->idx = 9;
	driver_kick(&driver, 0);
	expect_broken_then_reset("more entries than there are");
	driver_start(&driver, 0, 1, 8);
	driver.queue[0].available->idx = UINT16_MAX;
	driver_kick(&driver, 0);
	expect_broken_then_reset("an index that goes back");
}

Test(virtio_rings, no_table_without_its_feature)
{
	driver_start(&driver, F_EVENT_IDX, 1, 8);
	driver.queue[0].descriptors[0] = (struct vring_desc)TABLE(TABLE_AT, 16);
	driver_offer(&driver, 0, 0);
	driver_kick(&driver, 0);
	expect_broken_then_reset("INDIRECT was not accepted");
}

Test(virtio_rings, tables)
{
	struct vring_desc *table = (void *)(driver.memory + TABLE_AT);
	struct vring_desc *direct;

	memcpy(driver.memory + DRIVER_DATA, "abcdef", 6);
	driver_start(&driver, F_INDIRECT, 1, 2);
	direct = driver.queue[0].descriptors;
	/* Longer than the queue, in any order, its own write flag ignored, behind another segment.
	 */
	direct[0] = (struct vring_desc)OUT_NEXT(DRIVER_DATA, 2, 1);
	direct[1] = (struct vring_desc){ TABLE_AT, 5 * 16,
					 VRING_DESC_F_INDIRECT | VRING_DESC_F_WRITE, 77 };
	table[0] = (struct vring_desc)OUT_NEXT(DRIVER_DATA + 2, 1, 4);
	table[4] = (struct vring_desc)OUT_NEXT(DRIVER_DATA + 3, 3, 2);
	table[2] = (struct vring_desc)IN_NEXT(DRIVER_DATA + 0x1000, 3, 1);
	table[1] = (struct vring_desc)IN(DRIVER_DATA + 0x2000, 50);
	driver_offer(&driver, 0, 0);
	driver_kick(&driver, 0);
	expect_echo(0, 0);
}

/* Allowed: it is the guest's own memory. Whatever comes of it, only this device may notice. */
Test(virtio_rings, rings_on_top_of_each_other)
{
	static const struct setting piles[] = {
		{ "all on one", 8, 0x1000, 0x1000, 0x1000 },
		{ "used on descriptors", 8, 0x1000, 0x2000, 0x1000 },
		{ "used on available", 8, 0x1000, 0x2000, 0x2000 },
		{ "used on data", 8, 0x1000, 0x2000, DRIVER_DATA },
	};

	for (size_t i = 0; i < sizeof(piles) / sizeof(piles[0]); i++) {
		driver_begin(&driver, F_EVENT_IDX | F_INDIRECT);
		set_up(&piles[i]);
		driver.queue[0].size = 8;
		driver.queue[0].descriptors = (void *)(driver.memory + piles[i].descriptors);
		driver.queue[0].available = (void *)(driver.memory + piles[i].available);
		driver_ready(&driver);
		for (unsigned n = 0; n < 1000; n++) {
			driver_add(&driver, 0, echo_segments, 1 + n % 3);
			driver_kick(&driver, 0);
		}
	}
	driver_start(&driver, F_EVENT_IDX, 1, 8);
	echo(0);
}

/* A chain of more than 4 GiB: every segment good, all together not. */
Test(virtio_large, chains_too_long)
{
	toy_open(64ul << 20);
	driver_start(&driver, 0, 1, 128);
	for (unsigned i = 0; i < 128; i++)
		driver.queue[0].descriptors[i] = (struct vring_desc)IN_NEXT(
			0, i == 0 ? (64u << 20) - 1 : 64u << 20, (uint16_t)(i + 1));
	driver.queue[0].descriptors[63].flags &= (uint16_t)~VRING_DESC_F_NEXT;
	driver_offer(&driver, 0, 0);
	driver_kick(&driver, 0);
	cr_assert_eq(toy.served, 1, "just short of 4 GiB");
	driver.queue[0].descriptors[63].flags |= VRING_DESC_F_NEXT;
	driver.queue[0].descriptors[64] = (struct vring_desc)IN(0, 2);
	driver_offer(&driver, 0, 0);
	driver_kick(&driver, 0);
	cr_assert(driver_is_broken(&driver));
	toy_close();
}

Test(virtio_rings, more_segments_than_a_chain_may_have)
{
	struct vring_desc *table = (void *)(driver.memory + TABLE_AT);

	driver_start(&driver, F_INDIRECT, 1, 4);
	for (unsigned i = 0; i < VIRTIO_QUEUE_SIZE; i++)
		table[i] = (struct vring_desc)IN_NEXT(DRIVER_DATA, 1, (uint16_t)(i + 1));
	table[VIRTIO_QUEUE_SIZE - 1].flags &= (uint16_t)~VRING_DESC_F_NEXT;
	driver.queue[0].descriptors[0] = (struct vring_desc)TABLE(TABLE_AT, VIRTIO_QUEUE_SIZE * 16);
	driver.queue[0].descriptors[1] = (struct vring_desc)OUT_NEXT(DRIVER_DATA, 1, 0);
	driver_offer(&driver, 0, 0);
	driver_kick(&driver, 0);
	cr_assert_eq(toy.served, 1);
	driver_offer(&driver, 0, 1);
	driver_kick(&driver, 0);
	cr_assert_eq(toy.served, 1);
	expect_broken_then_reset("one segment more");
}

/* --- notifications and interrupts --- */

Test(virtio_rings, interrupts_when_wanted_without_event_idx)
{
	driver_start(&driver, 0, 1, 8);
	echo(0);
	cr_assert_eq(driver_interrupts(&driver), 1);
	driver_kick(&driver, 0);
	cr_assert_eq(driver_interrupts(&driver), 0, "nothing was done");
	driver.queue[0].available->flags = VRING_AVAIL_F_NO_INTERRUPT;
	echo(0);
	cr_assert_eq(driver_interrupts(&driver), 0);
	driver.queue[0].available->flags = 0;
	echo(0);
	cr_assert_eq(driver_interrupts(&driver), 1);
}

Test(virtio_rings, interrupts_when_wanted_with_event_idx)
{
	uint16_t *used_event;

	driver_start(&driver, F_EVENT_IDX, 1, 8);
	used_event = &driver.queue[0].available->ring[8];
	driver.queue[0].available->flags = VRING_AVAIL_F_NO_INTERRUPT; /* means nothing now */
	*used_event = 4;
	for (unsigned i = 0; i < 10; i++) {
		echo(0);
		cr_assert_eq(driver_interrupts(&driver), i == 4, "entry %u", i);
	}
	*used_event = 12; /* in the midst of a batch */
	for (unsigned i = 0; i < 5; i++)
		driver_add(&driver, 0, echo_segments, 1);
	driver_kick(&driver, 0);
	cr_assert_eq(driver_interrupts(&driver), 1);
}

Test(virtio_rings, asks_to_be_notified_when_it_runs_dry)
{
	uint16_t *available_event;

	driver_start(&driver, F_EVENT_IDX, 1, 8);
	available_event = (uint16_t *)&driver.queue[0].used->ring[8];
	for (unsigned i = 0; i < 5; i++) {
		cr_assert_eq(*available_event, i);
		echo(0);
	}
	toy.hold = true;
	driver_add(&driver, 0, echo_segments, 1);
	driver_kick(&driver, 0);
	cr_assert_eq(*available_event, 5, "it has not run dry");

	toy.hold = false;
	driver_start(&driver, 0, 1, 8);
	cr_assert_eq(driver.queue[0].used->flags, 0);
	driver_add(&driver, 0, echo_segments, 1);
	driver_add(&driver, 0, echo_segments, 1);
	virtio_lock(&toy.virtio);
	cr_assert(virtio_pop(&toy.virtio, 0, &(struct virtio_chain){ 0 }));
	virtio_unlock(&toy.virtio);
	cr_assert_eq(driver.queue[0].used->flags, VRING_USED_F_NO_NOTIFY, "it is at work");
	driver_kick(&driver, 0);
	cr_assert_eq(driver.queue[0].used->flags, 0);
}

/*
 * The driver acts at the worst moment: when the device first writes to the used ring's page, which
 * is write-protected until then.
 */
static void (*at_worst)(void);

static void protect_used(int protection)
{
	cr_assert_eq(mprotect(driver.queue[0].used, PAGE_SIZE, protection), 0);
}

static void on_fault(int number, siginfo_t *info, void *context)
{
	protect_used(PROT_READ | PROT_WRITE);
	at_worst();
}

static void at_first_write(void (*act)(void))
{
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };

	cr_assert_eq(sigaction(SIGSEGV, &action, NULL), 0);
	at_worst = act;
	protect_used(PROT_READ);
}

static void add_one(void)
{
	driver_add(&driver, 0, echo_segments, 1);
}

static void want_interrupt(void)
{
	driver.queue[0].available->ring[8] = 0;
}

Test(virtio_rings, looks_again_once_it_has_asked)
{
	driver_start(&driver, F_EVENT_IDX, 1, 8);
	at_first_write(add_one);
	driver_kick(&driver, 0);
	cr_assert_eq(toy.served, 1, "what came between looking and asking is not forgotten");
	driver_start(&driver, 0, 1, 8);
	driver.queue[0].used->flags = VRING_USED_F_NO_NOTIFY;
	toy.virtio.queue[0].quiet = true;
	at_first_write(add_one);
	driver_kick(&driver, 0);
	cr_assert_eq(toy.served, 2);
}

Test(virtio_rings, learns_what_is_wanted_once_it_has_published)
{
	driver_start(&driver, F_EVENT_IDX, 1, 8);
	driver.queue[0].available->ring[8] = 1000;
	add_one();
	at_first_write(want_interrupt);
	driver_kick(&driver, 0);
	cr_assert_eq(driver_interrupts(&driver), 1);
}

/*
 * Driver and device on threads of their own. The driver notifies only when the device wants it to,
 * and sleeps until it is interrupted: a wake-up that is lost on either side is waited for in vain.
 */
struct race {
	unsigned rounds;
	bool event_idx;
};

static bool must_notify(const struct race *race, uint16_t old)
{
	struct driver_queue *queue = &driver.queue[0];

	__sync_synchronize();
	if (race->event_idx)
		return vring_need_event(__atomic_load_n((uint16_t *)&queue->used->ring[queue->size],
							__ATOMIC_RELAXED),
					queue->available->idx, old);
	return (__atomic_load_n(&queue->used->flags, __ATOMIC_RELAXED) & VRING_USED_F_NO_NOTIFY) ==
	       0;
}

/* Asks for an interrupt at the next used entry, and waits unless there is one already. */
static void await_used(const struct race *race)
{
	struct driver_queue *queue = &driver.queue[0];
	struct pollfd interrupt = { .fd = toy.virtio.interrupt_fd, .events = POLLIN };

	if (race->event_idx)
		__atomic_store_n(&queue->available->ring[queue->size], queue->seen,
				 __ATOMIC_RELAXED);
	else
		__atomic_store_n(&queue->available->flags, 0, __ATOMIC_RELAXED);
	__sync_synchronize();
	while (__atomic_load_n(&queue->used->idx, __ATOMIC_ACQUIRE) == queue->seen) {
		cr_assert_eq(poll(&interrupt, 1, 20000), 1, "a wake-up was lost");
		driver_interrupts(&driver);
	}
	if (!race->event_idx)
		__atomic_store_n(&queue->available->flags, VRING_AVAIL_F_NO_INTERRUPT,
				 __ATOMIC_RELAXED);
}

static void *run_loop(void *loop)
{
	cr_assert_eq(loop_run(loop), 0);
	return NULL;
}

static void run_race(const struct race *race)
{
	unsigned added = 0, taken = 0;
	uint32_t head, written;
	pthread_t thread;

	driver_start(&driver, race->event_idx ? F_EVENT_IDX : 0, 1, 4);
	toy.served = 0;
	cr_assert_eq(pthread_create(&thread, NULL, run_loop, driver.loop), 0);
	while (taken < race->rounds) {
		/* One to three chains at once, so that both sides run dry and do not, by turns. */
		unsigned burst = 1 + (added * 2654435761u >> 16) % 3;
		uint16_t old = driver.queue[0].available->idx;

		for (unsigned i = 0; i < burst; i++)
			driver_add(&driver, 0, echo_segments, 1);
		added += burst;
		if (must_notify(race, old))
			virtio_kick(&toy.virtio, 0);
		while (taken < added) {
			if (driver_take(&driver, 0, &head, &written))
				taken++;
			else
				await_used(race);
		}
	}
	loop_stop(driver.loop);
	pthread_join(thread, NULL);
	cr_assert_eq(toy.served, added);
}

Test(virtio_rings, no_wakeup_is_lost)
{
	run_race(&(struct race){ .rounds = 60000, .event_idx = true });
	run_race(&(struct race){ .rounds = 60000, .event_idx = false });
}

/*
 * The virtio balloon: runs of pages, what is counted, statistics, free page reports, resets, and
 * drivers that break the rules.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "devices/virtio/balloon.h"
#include "driver.h"

enum { INFLATE, DEFLATE, STATISTICS };

#define MEMORY	      (64ul << 20)
#define FRAMES	      (MEMORY >> PAGE_SHIFT)
#define F_STATISTICS  (1ull << 1)
#define F_PAGE_POISON (1ull << 4)
#define F_REPORTING   (1ull << 5)
#define CONFIG_ACTUAL 4
#define CONFIG_POISON 12
#define EVENTS_MOST   20000
#define OF_INFLATION  'i'
#define OF_DEFLATION  'd'
#define OF_REPORT     'r'

struct event {
	char kind;
	uint64_t first;
	uint32_t count, poison;
};

static struct driver driver;
static struct virtio_balloon *balloon;
static struct event seen[EVENTS_MOST];
static unsigned seen_count, changes, statistics;
static int answer; /* what the hooks say */

static int note(char kind, gfn_t first, uint32_t count, uint32_t poison)
{
	cr_assert_lt(seen_count, EVENTS_MOST);
	seen[seen_count++] = (struct event){ kind, first.v, count, poison };
	return answer;
}

static int on_inflate(void *context, gfn_t first, uint32_t count)
{
	return note(OF_INFLATION, first, count, 0);
}

static int on_deflate(void *context, gfn_t first, uint32_t count)
{
	return note(OF_DEFLATION, first, count, 0);
}

static int on_report(void *context, gfn_t first, uint32_t count, uint32_t poison)
{
	return note(OF_REPORT, first, count, poison);
}

static void on_statistics(void *context)
{
	statistics++;
}

static void on_changed(void *context)
{
	changes++;
}

static const struct virtio_balloon_events events = { on_inflate, on_deflate, on_report,
						     on_statistics, on_changed };

static void open_balloon(void)
{
	struct virtio_balloon_config config = { .reporting = true, .events = &events };

	driver_open(&driver, MEMORY);
	config.space = driver.space;
	config.loop = driver.loop;
	cr_assert_eq(virtio_balloon_create(&config, &balloon), 0);
	driver.virtio = virtio_balloon_virtio(balloon);
}

static void start_balloon(void)
{
	driver_start(&driver, F_EVENT_IDX | F_INDIRECT | F_STATISTICS | F_REPORTING, 4, 64);
	seen_count = changes = statistics = 0;
}

static void open_and_start(void)
{
	open_balloon();
	start_balloon();
}

static void close_balloon(void)
{
	virtio_balloon_destroy(balloon);
	virtio_balloon_destroy(NULL);
	driver_close(&driver);
}

TestSuite(virtio_balloon, .init = open_and_start, .fini = close_balloon);

static struct virtio_balloon_state get_state(void)
{
	struct virtio_balloon_state state;

	virtio_balloon_get(balloon, &state);
	return state;
}

/* Sends a list of pages. */
static void send(unsigned queue, const uint32_t *pages, uint32_t count)
{
	const struct driver_segment list = { DRIVER_DATA, count * 4, false };

	memcpy(driver.memory + DRIVER_DATA, pages, count * 4ul);
	driver_add(&driver, queue, &list, 1);
	driver_kick(&driver, queue);
}

#define SEND(queue, ...)                                                                           \
	send(queue, (const uint32_t[]){ __VA_ARGS__ }, sizeof((uint32_t[]){ __VA_ARGS__ }) / 4)

static void expect_event(unsigned number, char kind, uint64_t first, uint32_t count)
{
	cr_assert_gt(seen_count, number);
	cr_assert(seen[number].kind == kind && seen[number].first == first &&
			  seen[number].count == count,
		  "event %u: %c %#lx %u", number, seen[number].kind, seen[number].first,
		  seen[number].count);
}

Test(virtio_balloon, pages_come_in_the_longest_runs)
{
	struct virtio_balloon_state state;

	SEND(INFLATE, 5, 3, 64, 4, 101, 7, 100, 63, 65);
	cr_assert_eq(seen_count, 4);
	expect_event(0, OF_INFLATION, 3, 3);
	expect_event(1, OF_INFLATION, 7, 1);
	expect_event(2, OF_INFLATION, 63, 3);
	expect_event(3, OF_INFLATION, 100, 2);
	SEND(DEFLATE, 4, 3, 101);
	cr_assert_eq(seen_count, 6);
	expect_event(4, OF_DEFLATION, 3, 2);
	expect_event(5, OF_DEFLATION, 101, 1);
	state = get_state();
	cr_assert(state.held == 6 && state.inflated == 9 && state.deflated == 3);
	cr_assert(virtio_balloon_has(balloon, gfn(5)) && !virtio_balloon_has(balloon, gfn(4)));
	cr_assert(!virtio_balloon_has(balloon, gfn(FRAMES)));
	cr_assert(!virtio_balloon_has(balloon, gfn(UINT64_MAX)));
	cr_assert_eq(driver_interrupts(&driver), 2);
}

/* All of memory backwards, over many words of the maps and several reads of the list. */
Test(virtio_balloon, all_of_memory_is_one_run)
{
	static uint32_t pages[FRAMES];

	for (uint32_t i = 0; i < FRAMES; i++)
		pages[i] = FRAMES - 1 - i;
	send(INFLATE, pages, FRAMES);
	cr_assert_eq(seen_count, 1);
	expect_event(0, OF_INFLATION, 0, FRAMES);
	send(DEFLATE, pages, FRAMES);
	expect_event(1, OF_DEFLATION, 0, FRAMES);
	cr_assert_eq(get_state().held, 0);
	send(INFLATE, pages, 0);
	cr_assert_eq(seen_count, 2, "an empty list");
}

/* A model says for each page whether it is in the balloon. */
static bool model[FRAMES];

static void check_runs(unsigned from, bool inflate, const bool *moved)
{
	uint64_t at = 0;

	for (unsigned i = from; i < seen_count; i++) {
		cr_assert_eq(seen[i].kind, inflate ? OF_INFLATION : OF_DEFLATION);
		for (; at < seen[i].first; at++)
			cr_assert(!moved[at]);
		for (uint32_t n = 0; n < seen[i].count; n++)
			cr_assert(moved[at++]);
		cr_assert(at == FRAMES || !moved[at], "the run could be longer");
	}
	for (; at < FRAMES; at++)
		cr_assert(!moved[at]);
}

static void random_step(bool inflate)
{
	static uint32_t pages[FRAMES];
	static bool listed[FRAMES], moved[FRAMES];
	uint32_t count = 0, wanted = (uint32_t)rand() % 600, base = (uint32_t)rand() % FRAMES;
	uint32_t span = 1 + (uint32_t)rand() % 1200;

	memset(listed, 0, sizeof(listed));
	memset(moved, 0, sizeof(moved));
	for (uint32_t i = 0; i < wanted; i++) {
		uint32_t page = (base + (uint32_t)rand() % span) % FRAMES;

		if (listed[page])
			continue;
		listed[page] = true;
		moved[page] = model[page] != inflate;
		model[page] = inflate;
		pages[count++] = page;
	}
	seen_count = 0;
	send(inflate ? INFLATE : DEFLATE, pages, count);
	check_runs(0, inflate, moved);
}

Test(virtio_balloon, random_pages)
{
	const char *given = getenv("BIFOLD_SEED");
	unsigned seed = given != NULL ? (unsigned)strtoul(given, NULL, 0) : (unsigned)time(NULL);
	uint32_t held = 0;

	fprintf(stderr, "BIFOLD_SEED=%u\n", seed);
	srand(seed);
	for (unsigned i = 0; i < 1000; i++) {
		uint32_t head, written;

		random_step(rand() % 3 != 0);
		cr_assert(driver_take(&driver, INFLATE, &head, &written) ||
			  driver_take(&driver, DEFLATE, &head, &written));
	}
	for (uint32_t i = 0; i < FRAMES; i++) {
		cr_assert_eq(virtio_balloon_has(balloon, gfn(i)), model[i]);
		held += model[i];
	}
	cr_assert_eq(get_state().held, held);
}

Test(virtio_balloon, pages_that_need_no_moving_are_counted)
{
	SEND(DEFLATE, 10, 11);
	cr_assert_eq(seen_count, 0);
	SEND(INFLATE, 10, 11, 12);
	SEND(INFLATE, 11, 12, 13);
	cr_assert_eq(seen_count, 2);
	expect_event(1, OF_INFLATION, 13, 1);
	cr_assert_eq(get_state().deflated_absent, 2);
	cr_assert_eq(get_state().inflated_twice, 2);
	cr_assert_eq(get_state().held, 4);
	cr_assert(!driver_is_broken(&driver));
}

static void expect_broken(const char *what)
{
	cr_assert(driver_is_broken(&driver), "%s", what);
	start_balloon();
	/* The scratch map is clear again: all of these are new. */
	SEND(INFLATE, 7, 8, 9, FRAMES - 1);
	cr_assert_eq(seen_count, 2, "%s", what);
	SEND(DEFLATE, 7, 8, 9, FRAMES - 1);
	seen_count = 0;
}

Test(virtio_balloon, lists_that_break_it)
{
	static uint32_t pages[3000];
	static const struct driver_segment odd = { DRIVER_DATA, 10, false };
	static const struct driver_segment writable = { DRIVER_DATA, 8, true };
	static const struct driver_segment huge = { 0, MEMORY, false };

	SEND(INFLATE, 7, 8, 9, 8);
	cr_assert_eq(seen_count, 0, "nothing of such a list is done");
	expect_broken("a page twice");
	SEND(DEFLATE, 7, 7);
	expect_broken("a page twice on its way out");
	for (uint32_t i = 0; i < 3000; i++)
		pages[i] = i;
	pages[2999] = 5;
	send(INFLATE, pages, 3000);
	expect_broken("a page twice, far apart");
	SEND(INFLATE, 8, FRAMES);
	cr_assert_eq(seen_count, 0);
	expect_broken("a page behind memory");
	SEND(INFLATE, UINT32_MAX);
	expect_broken("a page far outside");
	driver_add(&driver, INFLATE, &odd, 1);
	driver_kick(&driver, INFLATE);
	expect_broken("half a number");
	driver_add(&driver, DEFLATE, &writable, 1);
	driver_kick(&driver, DEFLATE);
	expect_broken("nothing to be read");
	driver_add(&driver, INFLATE, &huge, 1);
	driver_kick(&driver, INFLATE);
	expect_broken("more numbers than there are pages");
}

Test(virtio_balloon, a_hook_that_fails_breaks_it)
{
	answer = -EIO;
	SEND(INFLATE, 1, 3, 5);
	cr_assert_eq(seen_count, 1, "the rest is left alone");
	answer = 0;
	expect_broken("inflation");
	answer = -EIO;
	driver_add(&driver, 3, &(struct driver_segment){ 0x200000, 4096, true }, 1);
	driver_kick(&driver, 3);
	answer = 0;
	expect_broken("a report");
	/* A reset does all that it can. */
	SEND(INFLATE, 1, 3, 5);
	driver_set(&driver, VIRTIO_MMIO_STATUS, 0);
	cr_assert_eq(seen_count, 6);
	cr_assert_eq(get_state().held, 0);
}

Test(virtio_balloon, long_work_is_done_in_rounds)
{
	static uint32_t pages[FRAMES];
	unsigned rounds = 0;

	for (uint32_t i = 0; i < FRAMES; i++)
		pages[i] = i;
	memcpy(driver.memory + DRIVER_DATA, pages, sizeof(pages));
	for (uint32_t i = 0; i < 16; i++)
		driver_add(&driver, INFLATE,
			   &(struct driver_segment){ DRIVER_DATA + i * 4096, 4096, false }, 1);
	driver_set(&driver, VIRTIO_MMIO_QUEUE_NOTIFY, INFLATE);
	while (loop_serve(driver.loop, 0) > 0)
		rounds++;
	cr_assert_geq(rounds, 4);
	cr_assert_eq(get_state().held, FRAMES);
	cr_assert_eq(driver.queue[INFLATE].used->idx, 16);
}

Test(virtio_balloon, target_and_actual)
{
	uint32_t generation = driver_get(&driver, VIRTIO_MMIO_CONFIG_GENERATION);

	virtio_balloon_set_target(balloon, 1000);
	cr_assert_eq(driver_config(&driver, 0, 4), 1000);
	cr_assert_neq(driver_get(&driver, VIRTIO_MMIO_CONFIG_GENERATION), generation);
	cr_assert_eq(driver_get(&driver, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_CONFIG);
	driver_interrupts(&driver);
	virtio_balloon_set_target(balloon, 1000);
	cr_assert_eq(driver_interrupts(&driver), 0);
	virtio_mmio_ops.write(driver.virtio, VIRTIO_MMIO_CONFIG + CONFIG_ACTUAL, 4, 300);
	cr_assert_eq(changes, 1);
	cr_assert_eq(get_state().actual, 300);
	cr_assert_eq(get_state().target, 1000);
	/* Not the driver's to write. */
	virtio_mmio_ops.write(driver.virtio, VIRTIO_MMIO_CONFIG, 8, 0x12cdeadbeef);
	virtio_mmio_ops.write(driver.virtio, VIRTIO_MMIO_CONFIG + 8, 4, 7);
	cr_assert_eq(driver_config(&driver, 0, 8), 300ull << 32 | 1000);
	cr_assert_eq(driver_config(&driver, 8, 4), 0);
	cr_assert_eq(changes, 1);
	driver_set(&driver, VIRTIO_MMIO_STATUS, 0);
	cr_assert_eq(changes, 2);
	cr_assert_eq(driver_config(&driver, 0, 8), 1000, "the target stays, nothing is there");
	cr_assert(!get_state().ready);
}

Test(virtio_balloon, a_reset_gives_pages_back)
{
	SEND(INFLATE, 1, 2, 3, 64, 65, FRAMES - 1);
	seen_count = 0;
	driver_set(&driver, VIRTIO_MMIO_STATUS, 0);
	cr_assert_eq(seen_count, 3);
	expect_event(0, OF_DEFLATION, 1, 3);
	expect_event(1, OF_DEFLATION, 64, 2);
	expect_event(2, OF_DEFLATION, FRAMES - 1, 1);
	cr_assert_eq(get_state().held, 0);
	cr_assert_eq(get_state().deflated, 6);
	cr_assert(!virtio_balloon_has(balloon, gfn(2)));
}

/* --- statistics --- */

struct entry {
	uint16_t tag;
	uint64_t value;
} __attribute__((packed));

static void post_statistics(const struct entry *entries, unsigned count, uint32_t extra)
{
	const struct driver_segment list = { DRIVER_DATA,
					     (uint32_t)(count * sizeof(*entries)) + extra, false };

	memcpy(driver.memory + DRIVER_DATA, entries, count * sizeof(*entries));
	driver_add(&driver, STATISTICS, &list, 1);
	driver_kick(&driver, STATISTICS);
}

Test(virtio_balloon, statistics_come_when_asked_for)
{
	static const struct entry first[] = { { VIRTIO_BALLOON_FREE, 5 << 20 },
					      { VIRTIO_BALLOON_TOTAL, 64 << 20 },
					      { 999, 1 },
					      { VIRTIO_BALLOON_STATISTICS, 2 } };
	static const struct entry second[] = { { VIRTIO_BALLOON_FREE, 3 << 20 },
					       { VIRTIO_BALLOON_OOM_KILL, 1 } };
	struct virtio_balloon_state state;
	uint32_t head, written;
	uint64_t before = clock_now_ns();

	cr_assert_eq(virtio_balloon_ask_statistics(balloon), -EAGAIN);
	cr_assert_eq(get_state().statistics_ns, 0);
	post_statistics(first, 4, 5); /* and half an entry */
	cr_assert_eq(statistics, 1);
	state = get_state();
	cr_assert_eq(state.known, 1u << VIRTIO_BALLOON_FREE | 1u << VIRTIO_BALLOON_TOTAL);
	cr_assert_eq(state.statistic[VIRTIO_BALLOON_TOTAL], 64 << 20);
	cr_assert(state.statistics_ns >= before && state.statistics_ns <= clock_now_ns());
	cr_assert(!driver_take(&driver, STATISTICS, &head, &written), "the buffer is kept");
	cr_assert_eq(virtio_balloon_ask_statistics(balloon), 0);
	cr_assert(driver_take(&driver, STATISTICS, &head, &written));
	cr_assert_eq(driver_interrupts(&driver), 1);
	cr_assert_eq(virtio_balloon_ask_statistics(balloon), -EAGAIN, "they are on their way");
	post_statistics(second, 2, 0);
	cr_assert_eq(statistics, 2);
	state = get_state();
	cr_assert_eq(state.known, 1u << VIRTIO_BALLOON_FREE | 1u << VIRTIO_BALLOON_OOM_KILL);
	cr_assert_eq(state.statistic[VIRTIO_BALLOON_FREE], 3 << 20);
	/* A second buffer waits its turn. */
	post_statistics(first, 4, 0);
	cr_assert_eq(statistics, 2);
	cr_assert_eq(virtio_balloon_ask_statistics(balloon), 0);
	driver_serve(&driver);
	cr_assert_eq(statistics, 3);
}

Test(virtio_balloon, statistics_are_forgotten_at_a_reset)
{
	post_statistics(&(struct entry){ VIRTIO_BALLOON_FREE, 1 }, 1, 0);
	start_balloon();
	cr_assert_eq(virtio_balloon_ask_statistics(balloon), -EAGAIN);
	cr_assert_eq(driver.queue[STATISTICS].used->idx, 0);
	cr_assert_eq(get_state().known, 0);
	post_statistics(&(struct entry){ 0, 0 }, 0, 0);
	cr_assert_eq(statistics, 1, "an empty one is one");
}

Test(virtio_balloon, statistics_end_with_their_queue)
{
	post_statistics(&(struct entry){ VIRTIO_BALLOON_FREE, 1 }, 1, 0);
	driver_set(&driver, VIRTIO_MMIO_QUEUE_SEL, STATISTICS);
	driver_set(&driver, VIRTIO_MMIO_QUEUE_READY, 0);
	cr_assert_eq(driver_get(&driver, VIRTIO_MMIO_QUEUE_READY), 0);
	cr_assert_eq(virtio_balloon_ask_statistics(balloon), -EAGAIN,
		     "there is no buffer to return");
	cr_assert(!driver_is_broken(&driver));
}

/* --- reports --- */

Test(virtio_balloon, reports_on_any_queue_a_driver_may_take)
{
	static const struct driver_segment pages[] = {
		{ 0x200000, 0x200000, true },
		{ 0x400000, 0x100000, true },
		{ 0x800000, 0x1000, true },
	};
	static const struct {
		uint64_t features;
		unsigned queue;
	} ways[] = {
		{ F_REPORTING | F_STATISTICS, 3 },
		{ F_REPORTING, 2 },
		{ F_REPORTING | F_STATISTICS, 4 },
		{ F_REPORTING, 4 },
	};

	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		driver_begin(&driver, ways[i].features);
		driver_queue(&driver, INFLATE, 8);
		driver_queue(&driver, ways[i].queue, 8);
		driver_ready(&driver);
		seen_count = 0;
		driver_add(&driver, ways[i].queue, pages, 3);
		driver_kick(&driver, ways[i].queue);
		cr_assert_eq(seen_count, 2, "queue %u", ways[i].queue);
		expect_event(0, OF_REPORT, 0x200, 0x300);
		expect_event(1, OF_REPORT, 0x800, 1);
		cr_assert_eq(seen[0].poison, 0);
		cr_assert_eq(driver.queue[ways[i].queue].used->idx, 1);
	}
	cr_assert_eq(get_state().reported, 4 * 0x301);
	cr_assert_eq(get_state().held, 0, "a report is no inflation");
	cr_assert(get_state().can_report);
}

Test(virtio_balloon, reports_tell_the_poison)
{
	const struct driver_segment page = { 0x200000, 4096, true };

	driver_begin(&driver, F_REPORTING | F_PAGE_POISON);
	virtio_mmio_ops.write(driver.virtio, VIRTIO_MMIO_CONFIG + CONFIG_POISON, 4, 0xaaaaaaaa);
	driver_queue(&driver, 2, 8);
	driver_ready(&driver);
	seen_count = 0;
	driver_add(&driver, 2, &page, 1);
	driver_kick(&driver, 2);
	expect_event(0, OF_REPORT, 0x200, 1);
	cr_assert_eq(seen[0].poison, 0xaaaaaaaa);
	cr_assert_eq(get_state().poison, 0xaaaaaaaa);
	/* A driver that did not take the feature has no poison, whatever lies there; a reset clears
	 * it. */
	driver_begin(&driver, F_REPORTING);
	cr_assert_eq(driver_config(&driver, CONFIG_POISON, 4), 0);
	virtio_mmio_ops.write(driver.virtio, VIRTIO_MMIO_CONFIG + CONFIG_POISON, 4, 0xaaaaaaaa);
	driver_queue(&driver, 2, 8);
	driver_ready(&driver);
	seen_count = 0;
	driver_add(&driver, 2, &page, 1);
	driver_kick(&driver, 2);
	cr_assert_eq(seen[0].poison, 0);
	cr_assert_eq(get_state().poison, 0);
}

Test(virtio_balloon, reports_that_break_it)
{
	static const struct driver_segment wrong[] = {
		{ 0x200800, 4096, true },
		{ 0x200000, 2048, true },
		{ 0x200000, 4097, true },
		{ 0x200000, 4096, false },
	};

	for (unsigned i = 0; i < 4; i++) {
		driver_add(&driver, 3, &wrong[i], 1);
		driver_kick(&driver, 3);
		cr_assert_eq(seen_count, 0);
		expect_broken("a report");
	}
}

Test(virtio_balloon, no_reports_where_none_are_offered)
{
	struct virtio_balloon_config config = { .space = driver.space,
						.loop = driver.loop,
						.events = &events };

	virtio_balloon_destroy(balloon);
	cr_assert_eq(virtio_balloon_create(&config, &balloon), 0);
	driver.virtio = virtio_balloon_virtio(balloon);
	driver_begin(&driver, F_REPORTING);
	cr_assert(!(driver_get(&driver, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_FEATURES_OK));
	driver_start(&driver, F_STATISTICS, 5, 8);
	seen_count = 0;
	driver_add(&driver, 4, &(struct driver_segment){ 0x200000, 4096, true }, 1);
	driver_kick(&driver, 4);
	cr_assert_eq(seen_count, 0);
	cr_assert(!get_state().can_report);
}

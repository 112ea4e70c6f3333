/*
 * The events around translation, each timed by itself: what a program feels, from the instruction
 * before to the one after. The time of an empty measurement is taken off.
 */
#include "guest/programs/bench/chase.h"
#include "guest/programs/runtime/tasks.h"
#include "guest/programs/bench/translation.h"

#define CEILING	     "/proc/sys/vm/tlb_flush_ceiling"
#define FLUSH_PAGES  16
#define NO_CEILING   "no /proc/sys/vm/tlb_flush_ceiling here: quire alone has it"
#define FORK_PAGES   512u
#define NO_MEMORY    "no memory"
#define EMPTY_ROUNDS 1000

static uint64_t empty_ticks;

/* Ticks since `start`, less those of measuring. */
static uint64_t since(uint64_t start)
{
	uint64_t took = chase_ticks() - start;

	return took > empty_ticks ? took - empty_ticks : 0;
}

static void measure_empty(void)
{
	empty_ticks = UINT64_MAX;
	for (unsigned i = 0; i < EMPTY_ROUNDS; i++) {
		uint64_t start = chase_ticks(), took = chase_ticks() - start;

		empty_ticks = took < empty_ticks ? took : empty_ticks;
	}
}

static volatile char *anonymous(uint64_t pages)
{
	return map(NULL, pages * PAGE, RW, PRIVATE_ANONYMOUS, -1);
}

/* A first write to a page. Downward, so that no page is mapped with the one before. */
static const char *first_touch(uint64_t *sample, unsigned count)
{
	volatile char *memory = anonymous(count);

	if (!memory)
		return NO_MEMORY;
	for (unsigned i = 0; i < count; i++) {
		uint64_t start = chase_ticks();

		memory[(uint64_t)(count - 1 - i) * PAGE] = 1;
		sample[i] = since(start);
	}
	call(MUNMAP, memory, count * PAGE);
	return NULL;
}

/* A touch of a page that is in memory, and only not mapped here: a file's. */
static const char *minor_fault(uint64_t *sample, unsigned count)
{
	long fd = call(MEMFD_CREATE, "translation", 0);

	if (fd < 0 || call(WRITE, fd, "x", 1) != 1)
		return "no memfd";
	for (unsigned i = 0; i < count; i++) {
		volatile char *page = map(NULL, PAGE, PROT_READ, MAP_SHARED, (int)fd);
		uint64_t start = chase_ticks();

		expect(page && *page == 'x', "a file's page is not as written");
		sample[i] = since(start);
		call(MUNMAP, page, PAGE);
	}
	call(CLOSE, fd);
	return NULL;
}

static int leave(void *unused)
{
	return 0;
}

/* A write to a page that is mapped read-only since a fork, by the only process that has it left:
 * the kernel gives the right back, and copies nothing. */
static const char *permission_fault(uint64_t *sample, unsigned count)
{
	for (unsigned done = 0; done < count;) {
		unsigned pages = count - done < FORK_PAGES ? count - done : FORK_PAGES;
		volatile char *memory = anonymous(pages);

		if (!memory)
			return NO_MEMORY;
		for (unsigned i = 0; i < pages; i++)
			memory[i * PAGE] = 1;
		if (in_child(leave, NULL) != 0)
			return "no fork";
		for (unsigned i = 0; i < pages; i++) {
			uint64_t start = chase_ticks();

			memory[i * PAGE] = 2;
			sample[done++] = since(start);
		}
		call(MUNMAP, memory, pages * PAGE);
	}
	return NULL;
}

/* A page given back, mapped anew in its place, and touched. */
static const char *remap(uint64_t *sample, unsigned count)
{
	volatile char *page = anonymous(1);

	if (!page)
		return NO_MEMORY;
	for (unsigned i = 0; i < count; i++) {
		uint64_t start;

		*page = 1;
		start = chase_ticks();
		call(MUNMAP, page, PAGE);
		map((void *)page, PAGE, RW, PRIVATE_ANONYMOUS | MAP_FIXED, -1);
		expect(*page == 0, "a page mapped anew has content");
		sample[i] = since(start);
	}
	call(MUNMAP, page, PAGE);
	return NULL;
}

/* `pages` entries changed and, by that, flushed; then a read of each. */
static void protect(volatile char *memory, unsigned pages, uint64_t *sample, unsigned count)
{
	for (unsigned i = 0; i < pages; i++)
		memory[i * PAGE] = 5;
	for (unsigned i = 0; i < count; i++) {
		uint64_t start = chase_ticks();

		call(MPROTECT, memory, pages * PAGE, i % 2 ? RW : PROT_READ);
		for (unsigned page = 0; page < pages; page++)
			expect(memory[page * PAGE] == 5, "mprotect changes content");
		sample[i] = since(start);
	}
	call(MUNMAP, memory, pages * PAGE);
}

static const char *table_update(uint64_t *sample, unsigned count)
{
	volatile char *memory = anonymous(1);

	if (!memory)
		return NO_MEMORY;
	protect(memory, 1, sample, count);
	return NULL;
}

static const char *flush(const char *ceiling, uint64_t *sample, unsigned count)
{
	volatile char *memory;

	if (!write_text(CEILING, ceiling))
		return NO_CEILING;
	memory = anonymous(FLUSH_PAGES);
	if (memory)
		protect(memory, FLUSH_PAGES, sample, count);
	must_write(CEILING, "32");
	return memory ? NULL : NO_MEMORY;
}

static const char *flush_single(uint64_t *sample, unsigned count)
{
	return flush("16", sample, count);
}

static const char *flush_all(uint64_t *sample, unsigned count)
{
	return flush("15", sample, count);
}

/* --- a switch: a byte goes there and back through pipes; half of it is one way --- */

struct court {
	int there[2], back[2];
	unsigned count;
};

static int return_balls(void *argument)
{
	const struct court *court = argument;
	char ball;

	for (unsigned i = 0; i < court->count; i++) {
		if (call(READ, court->there[0], &ball, 1) != 1 ||
		    call(WRITE, court->back[1], &ball, 1) != 1)
			return 1;
	}
	return 0;
}

static void play(const struct court *court, uint64_t *sample)
{
	char ball = 'b';

	for (unsigned i = 0; i < court->count; i++) {
		uint64_t start = chase_ticks();

		expect(call(WRITE, court->there[1], &ball, 1) == 1 &&
			       call(READ, court->back[0], &ball, 1) == 1,
		       "a pipe fails");
		sample[i] = since(start) / 2;
	}
}

static bool open_court(struct court *court, unsigned count)
{
	court->count = count;
	return call(PIPE, court->there) == 0 && call(PIPE, court->back) == 0;
}

static void close_court(const struct court *court)
{
	for (unsigned i = 0; i < 2; i++) {
		call(CLOSE, court->there[i]);
		call(CLOSE, court->back[i]);
	}
}

/* From process to process: another CR3. */
static const char *process_switch(uint64_t *sample, unsigned count)
{
	struct court court;
	long child;

	if (!open_court(&court, count))
		return "no pipe";
	child = call(FORK);
	if (child == 0)
		exit(return_balls(&court));
	if (child > 0) {
		play(&court, sample);
		expect(wait_for(child) == 0, "the other process fails");
	}
	close_court(&court);
	return child > 0 ? NULL : "no fork";
}

static void return_balls_in_thread(void *argument)
{
	return_balls(argument);
}

/* From thread to thread: the same but for CR3. */
static const char *thread_switch(uint64_t *sample, unsigned count)
{
	struct court court;
	struct task task;
	long thread;

	if (!open_court(&court, count))
		return "no pipe";
	thread = task_start(&task, return_balls_in_thread, &court);
	if (thread > 0) {
		play(&court, sample);
		task_join(&task);
	}
	close_court(&court);
	return thread > 0 ? NULL : "no thread";
}

/* ---- */

static const struct event {
	const char *name;
	/* Puts so many measurements into sample, in ticks. NULL, or why not. */
	const char *(*measure)(uint64_t *sample, unsigned count);
} events[] = {
	{ "first-touch", first_touch },		  { "minor-fault", minor_fault },
	{ "permission-fault", permission_fault }, { "unmap-and-map", remap },
	{ "table-update", table_update },	  { "flush-16-single", flush_single },
	{ "flush-16-whole", flush_all },	  { "thread-switch", thread_switch },
	{ "process-switch", process_switch },
};

/* Shell's sort, gaps of 3k + 1. */
static void sort(uint64_t *value, unsigned count)
{
	unsigned gap = 1;

	while (gap < count / 3)
		gap = 3 * gap + 1;
	for (; gap > 0; gap /= 3) {
		for (unsigned i = gap; i < count; i++) {
			uint64_t held = value[i];
			unsigned at = i;

			for (; at >= gap && value[at - gap] > held; at -= gap)
				value[at] = value[at - gap];
			value[at] = held;
		}
	}
}

/* Whether the processes kept their TLB entries at the switches, where the kernel counts it. */
static void say_pcid(long kept_before)
{
	long kept = file_number("/proc/vmstat", "nr_tlb_switch_kept");

	if (kept >= 0)
		print("pcid %s\n", kept > kept_before ? "kept" : "none");
}

void events_run(unsigned count)
{
	static uint64_t sample[EVENTS_MOST];
	long kept = file_number("/proc/vmstat", "nr_tlb_switch_kept");

	measure_empty();
	for (unsigned i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
		const char *reason;

		memset(sample, 0, sizeof(sample)); /* no first touch of its own between two ticks */
		reason = events[i].measure(sample, count);
		if (reason) {
			print("absent %s %s\n", events[i].name, reason);
			continue;
		}
		sort(sample, count);
		print("event %s %u %lu %lu\n", events[i].name, count,
		      picoseconds(sample[count / 2]), picoseconds(sample[count * 99 / 100]));
	}
	say_pcid(kept);
}

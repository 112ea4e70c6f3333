/*
 * Measures the cost of translation for a program: chases and other loops over working sets of
 * growing size, on pages of one size, and the events around translation. `bifold bench translation`
 * runs it in a guest and, the same file, as an ordinary process of the host, and reads what it
 * prints:
 *
 *   start LOOP BYTES                         the rounds of this set begin
 *   set LOOP BYTES NODES ACCESSES PS@PACE... accesses a round; then, by round, picoseconds an
 *                                            access, and the processor's pace: those of a load that
 *                                            the first cache has, just before or after
 *   mapped                                   all memory is in use, and stays so until a byte is
 *                                            read, or the end of input: the reader may look
 *   tick FEMTOSECONDS                        of the processor's counter: at the start, and at the
 *                                            end
 *   event NAME COUNT P50 P99                 picoseconds
 *   absent NAME REASON...                    not to be had here (NAME "page": all that follows, or
 *                                            all that came before)
 *   pcid kept|none                           what process switches did
 *   right                                    the last line: all content was as it must be
 *
 * Content is checked beside the clock: every chase visits each node once and comes back, each round
 * ends where it must, and the sums of the other loops are right.
 */
#include "guest/programs/bench/translation.h"
#include "guest/programs/bench/calibrate.h"
#include "guest/programs/bench/chase.h"
#include "guest/programs/runtime/check.h"

#define HUGE		2097152ul
#define GIB		(1ul << 30)
#define MAP_HUGETLB	0x40000
#define MAP_HUGE_1GB	(30 << 26)
#define MADV_HUGEPAGE	14
#define MADV_NOHUGEPAGE 15
#define ROUNDS_MOST	64
#define PACE_NODES	CHASE_UNROLL
#define PACE_LAPS	1024

struct request {
	uint64_t page, least, most; /* bytes */
	uint64_t rounds, accesses;  /* of each set; the least of a round */
	uint64_t events;
	const char *loops; /* names between commas */
};

static double ps_per_tick;

uint64_t picoseconds(uint64_t ticks)
{
	return (uint64_t)((double)ticks * ps_per_tick);
}

static uint64_t read_now(void *context)
{
	return now();
}

static uint64_t read_ticks(void *context)
{
	return chase_ticks();
}

/* Femtoseconds a tick; 0: refused, and said. */
static uint64_t take_tick(void)
{
	const struct calibrate_clock clock = { read_now, read_ticks, NULL };
	uint64_t tick = calibrate(&clock);

	if (tick != 0)
		print("tick %lu\n", tick);
	else
		print("absent page the processor's counter and the clock do not agree on how long "
		      "a "
		      "tick is\n");
	return tick;
}

/* Where the tick at the end differs from the one at the start, no time between them is valid. */
static bool check_tick(uint64_t tick)
{
	uint64_t after = take_tick();

	if (after != 0 && !calibrate_agree(tick, after))
		print("absent page a tick of the processor's counter was %lu fs at the start, and "
		      "%lu at the end\n",
		      tick, after);
	return after != 0 && calibrate_agree(tick, after);
}

/* --- the loops: ticks of so many laps --- */

static uint64_t run_chase(const struct chase *chase, uint64_t laps)
{
	uint64_t start = chase_ticks(), took;
	const void *end = chase_run(chase->memory, laps * chase->count);

	took = chase_ticks() - start;
	expect(end == chase->memory, "a round of the chase ends elsewhere");
	return took;
}

static uint64_t run_stride(const struct chase *chase, uint64_t laps)
{
	uint64_t start = chase_ticks(), took, sum = 0;

	for (uint64_t lap = 0; lap < laps; lap++)
		sum += chase_stride(chase);
	took = chase_ticks() - start;
	expect(sum == laps * chase_stride_sum(chase), "a stride reads what was not written");
	return took;
}

static uint64_t run_scan(const struct chase *chase, uint64_t laps)
{
	uint64_t start = chase_ticks(), took, sum = 0;

	for (uint64_t lap = 0; lap < laps; lap++)
		sum += chase_scan(chase->memory, chase_bytes(chase));
	took = chase_ticks() - start;
	expect(sum == 0, "a scan reads what was not written");
	return took;
}

static uint64_t run_touch(const struct chase *chase, uint64_t laps)
{
	static uint64_t value;
	uint64_t start = chase_ticks(), took;

	for (uint64_t lap = 0; lap < laps; lap++)
		chase_touch(chase, ++value);
	took = chase_ticks() - start;
	expect(chase_touched(chase, value), "a touch does not hold");
	return took;
}

static const struct loop {
	const char *name;
	enum chase_layout layout;
	unsigned node_bytes; /* an access each */
	uint64_t (*run)(const struct chase *chase, uint64_t laps);
} loops[] = {
	{ "chase", CHASE_SPREAD, CHASE_PAGE, run_chase },
	{ "stride", CHASE_SPREAD, CHASE_PAGE, run_stride },
	{ "touch", CHASE_SPREAD, CHASE_PAGE, run_touch },
	{ "scan", CHASE_SPREAD, CHASE_LINE, run_scan },
	{ "packed", CHASE_PACKED, CHASE_PAGE, run_chase },
};
#define LOOP_COUNT (sizeof(loops) / sizeof(loops[0]))

static bool is_named(const char *names, const char *name)
{
	for (; *names; names++) {
		if (begins(names, name) && (names[strlen(name)] == ',' || names[strlen(name)] == 0))
			return true;
		while (names[1] && *names != ',')
			names++;
	}
	return false;
}

/* --- a working set --- */

/* How fast the processor itself is now: who shares it makes it slower. */
static uint64_t pace(void)
{
	static char memory[PACE_NODES * CHASE_PAGE];
	const struct chase own = { memory, PACE_NODES, CHASE_SPREAD };
	uint64_t start = chase_ticks(), sum = 0;

	for (unsigned lap = 0; lap < PACE_LAPS; lap++)
		sum += chase_stride(&own);
	expect(sum == 0, "memory that nobody wrote");
	return picoseconds(chase_ticks() - start) / (PACE_LAPS * PACE_NODES);
}

static void measure(const struct request *request, const struct loop *loop,
		    const struct chase *chase, uint64_t bytes)
{
	uint64_t lap = bytes / loop->node_bytes, laps = (request->accesses + lap - 1) / lap;
	uint64_t took[ROUNDS_MOST], paces[ROUNDS_MOST + 1];

	loop->run(chase, 1);
	print("start %s %lu\n", loop->name, bytes);
	paces[0] = pace();
	for (unsigned i = 0; i < request->rounds; i++) {
		took[i] = loop->run(chase, laps);
		paces[i + 1] = pace();
	}
	print("set %s %lu %lu %lu", loop->name, bytes, chase->count, laps * lap);
	for (unsigned i = 0; i < request->rounds; i++)
		print(" %lu@%lu", picoseconds(took[i]) / (laps * lap),
		      paces[i] > paces[i + 1] ? paces[i] : paces[i + 1]);
	print("\n");
}

static void sweep(const struct request *request, char *memory, uint32_t *order)
{
	for (uint64_t bytes = request->least; bytes <= request->most; bytes *= 2) {
		int built = -1;

		for (unsigned i = 0; i < LOOP_COUNT; i++) {
			struct chase chase = { memory, bytes / CHASE_PAGE, loops[i].layout };

			if (!is_named(request->loops, loops[i].name))
				continue;
			if (built != (int)loops[i].layout) {
				chase_build(&chase, order, bytes);
				expect(chase_check(&chase), "a chase does not visit every line");
				built = (int)loops[i].layout;
			}
			measure(request, &loops[i], &chase, bytes);
		}
	}
}

/* --- memory on pages of a size --- */

static bool is_huge(const char *memory, uint64_t bytes)
{
	return area_number(memory, "AnonHugePages:") >= (long)(bytes / 1024);
}

/* Pages of 2 MiB without MAP_HUGETLB, for a host that has none set aside. */
static char *map_transparent(uint64_t bytes)
{
	char *memory = map(NULL, bytes + HUGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	if (!memory)
		return NULL;
	memory = (char *)(((uint64_t)memory + HUGE - 1) & ~(HUGE - 1));
	syscall3(SYS_MADVISE, memory, bytes, MADV_HUGEPAGE);
	for (uint64_t at = 0; at < bytes; at += HUGE)
		memory[at] = 0;
	return is_huge(memory, bytes) ? memory : NULL;
}

static char *map_pages(uint64_t page, uint64_t bytes)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS;
	char *memory;

	bytes = (bytes + page - 1) & ~(page - 1);
	if (page != PAGE)
		flags |= MAP_HUGETLB | (page == GIB ? MAP_HUGE_1GB : 0);
	memory = map(NULL, bytes, RW, flags, -1);
	if (memory && page == PAGE)
		syscall3(SYS_MADVISE, memory, bytes, MADV_NOHUGEPAGE);
	return memory || page != HUGE ? memory : map_transparent(bytes);
}

/* --- */

static bool parse(struct request *request, int argc, char **argv)
{
	const struct {
		const char *name;
		uint64_t *value;
	} numbers[] = {
		{ "--page", &request->page },	  { "--least", &request->least },
		{ "--most", &request->most },	  { "--rounds", &request->rounds },
		{ "--events", &request->events }, { "--accesses", &request->accesses },
	};

	for (int i = 1; i < argc; i += 2) {
		unsigned which = 0;

		while (which < sizeof(numbers) / sizeof(numbers[0]) &&
		       !equal(argv[i], numbers[which].name))
			which++;
		if (i + 1 >= argc)
			return false;
		if (equal(argv[i], "--loops"))
			request->loops = argv[i + 1];
		else if (which == sizeof(numbers) / sizeof(numbers[0]) ||
			 !parse_size(argv[i + 1], numbers[which].value))
			return false;
	}
	return (request->page == PAGE || request->page == HUGE || request->page == GIB) &&
	       request->least >= CHASE_UNROLL * PAGE && !(request->least & (request->least - 1)) &&
	       request->rounds > 0 && request->rounds <= ROUNDS_MOST && request->accesses > 0 &&
	       request->events <= EVENTS_MOST;
}

int main(int argc, char **argv)
{
	struct request request = { PAGE, 64 << 10, 16 * MIB, 9, 1 << 16, 0, "chase,packed" };
	uint32_t *order;
	char *memory, go;
	uint64_t tick;

	if (!parse(&request, argc, argv)) {
		print_error("translation [--page 4K|2M|1G] [--least SIZE] [--most SIZE] "
			    "[--loops NAME,...] [--rounds N] [--accesses N] [--events N]\n");
		return 2;
	}
	tick = take_tick();
	if (tick == 0)
		return 0;
	ps_per_tick = (double)tick / 1000;
	/* Before there is much memory that a fork has to share. */
	if (request.events > 0)
		events_run((unsigned)request.events);
	if (request.most >= request.least) {
		memory = map_pages(request.page, request.most);
		order = map_memory(request.most / PAGE * sizeof(*order), RW);
		if (!memory || !order) {
			print("absent page %s (pages of %lu KiB)\n",
			      request.page == GIB
				      ? "this processor, as its kernel sees it, has none, or "
					"memory has no such piece"
				      : "no memory",
			      request.page >> 10);
			return 0;
		}
		sweep(&request, memory, order);
	}
	if (!check_tick(tick))
		return 0;
	print("mapped\n");
	syscall3(SYS_READ, 0, &go, 1);
	if (failures == 0)
		print("right\n");
	return failures != 0;
}

/*
 * Physical memory as /proc shows it: /proc/buddyinfo sums to MemFree, /proc/slabinfo to what is in
 * use; memory that is cut to pieces has no huge page, until it is compacted, by a write to
 * /proc/sys/vm/compact_memory or by the allocation itself; and every page keeps its content, one
 * that a fork shared too. "physical storm": compaction again and again while another process,
 * on another CPU where there is one, writes its pages.
 */
#include "guest/programs/runtime/check.h"

#define HUGE	     (2 * MIB)
#define MAP_HUGETLB  0x40000
#define ORDER	     9	  /* of a huge page */
#define LEFT_KB	     2500 /* of memory that counts as full: too little for a huge page */
#define SEED	     1000
#define FILES	     300
#define WORKER_PAGES 200
#define STORMS	     3
#define ORDERS	     19

#define MEMINFO	  "/proc/meminfo"
#define VMSTAT	  "/proc/vmstat"
#define THRESHOLD "/proc/sys/vm/extfrag_threshold"
#define COMPACT	  "/proc/sys/vm/compact_memory"

static char *memory;
static size_t pages; /* touched */

/* --- what /proc says --- */

static long free_blocks_sum(void)
{
	const char *at = read_text("/proc/buddyinfo");
	long sum = 0;

	while ((at = line_of(at, "Node 0, zone"))) {
		at += 8; /* the node's number is none of these */
		for (unsigned order = 0; order < ORDERS; order++)
			sum += parse_number(&at) << order;
	}
	return sum;
}

/* Reading takes memory itself, and differently the first time. */
static void check_buddyinfo(void)
{
	long sum = 0, kilobytes = -1;

	for (unsigned i = 0; i < 5 && sum * 4 != kilobytes; i++) {
		kilobytes = file_number(MEMINFO, "MemFree:");
		sum = free_blocks_sum();
	}
	print("  buddyinfo: %ld pages in blocks, MemFree %ld kB\n", sum, kilobytes);
	expect(sum * 4 == kilobytes, "buddyinfo does not sum to MemFree");
}

/* Thousandths, for a huge page; -1: it would not fail. */
static long fragmentation(void)
{
	const char *at = read_text("/proc/extfrag_index");
	long whole = 0;
	bool minus = false;

	at += strlen("Node 0,");
	for (unsigned order = 0; order <= ORDER; order++) {
		whole = parse_number(&at);
		minus = at[-2] == '-';
		whole = whole * 1000 + parse_number(&at);
	}
	return minus ? -whole : whole;
}

struct slabs {
	long active, objects, asked, given, pages;
};

/* One line of slabinfo; its sums must agree. */
static void add_slabs(struct slabs *sum, const char *at)
{
	long active, objects, size, each, pages_each, slabs;

	while (*at != ' ')
		at++;
	active = parse_number(&at);
	objects = parse_number(&at);
	size = parse_number(&at);
	each = parse_number(&at);
	pages_each = parse_number(&at);
	for (unsigned i = 0; i < 3; i++)
		parse_number(&at); /* tunables */
	slabs = parse_number(&at);
	parse_number(&at);
	parse_number(&at);
	sum->asked += parse_number(&at);
	sum->given += parse_number(&at);
	sum->active += active;
	sum->objects += objects;
	sum->pages += slabs * pages_each;
	expect(active <= objects && objects == slabs * each, "a slab cache has objects too many");
	expect(size * each <= pages_each * (long)PAGE &&
		       size * (each + 1) > pages_each * (long)PAGE,
	       "a slab's objects do not fit its pages");
}

static struct slabs read_slabs(void)
{
	struct slabs sum = { 0 };
	const char *at = read_text("/proc/slabinfo");

	for (unsigned line = 0; *at; line++) {
		if (line >= 2)
			add_slabs(&sum, at);
		while (*at && *at++ != '\n')
			;
	}
	return sum;
}

static void check_slabinfo(void)
{
	static long fd[FILES];
	struct slabs before = read_slabs(), open, after;

	for (unsigned i = 0; i < FILES; i++)
		fd[i] = syscall3(SYS_OPEN, "/proc/vmstat", 0, 0);
	open = read_slabs();
	for (unsigned i = 0; i < FILES; i++)
		syscall3(SYS_CLOSE, fd[i], 0, 0);
	after = read_slabs();
	print("  slabinfo: %ld objects of %ld in %ld pages; %ld bytes asked for, %ld given, %ld%% "
	      "waste\n",
	      after.active, after.objects, after.pages, after.asked, after.given,
	      (after.given - after.asked) * 100 / after.given);
	/* The table of descriptors grows, too, out of the slabs' sizes. */
	expect(open.active >= before.active + FILES - 4, "slabinfo does not see open files");
	expect(after.active <= before.active + 4, "slabinfo does not see that files are closed");
	expect(after.asked <= after.given, "a slab gives less than it is asked for");
	expect(after.asked > before.asked + FILES * 16, "slabinfo does not count allocations");
}

/* --- fragments --- */

static void fill(void)
{
	size_t most = (size_t)file_number(MEMINFO, "MemTotal:") * 1024;

	if (!memory) {
		memory =
			map(NULL, most + HUGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
		memory = (char *)(((uintptr_t)memory + HUGE - 1) & ~(HUGE - 1));
	}
	/* First the pages that were freed, then more, as far as memory goes. */
	mark(memory, pages, SEED);
	while (file_number(MEMINFO, "MemFree:") > LEFT_KB && (pages + 64) * PAGE < most) {
		mark(memory + pages * PAGE, 64, SEED + pages);
		pages += 64;
	}
}

static bool is_freed(size_t page, unsigned round)
{
	return round == 0 ? page % 2 : mix(page ^ (uint64_t)round << 32) % 2;
}

static void punch(unsigned round)
{
	for (size_t i = 0; i < pages; i++) {
		if (is_freed(i, round))
			syscall3(SYS_MADVISE, memory + i * PAGE, PAGE, 4);
	}
}

static bool is_whole(unsigned round)
{
	for (size_t i = 0; i < pages; i++) {
		if (!is_freed(i, round) && !marked(memory + i * PAGE, 1, SEED + i))
			return false;
	}
	return true;
}

/* Whether memory has a huge page. */
static bool get_huge(void)
{
	char *huge = map(NULL, HUGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1);
	bool got;

	if (!huge)
		return false;
	huge[5 * PAGE] = 1;
	got = area_number(huge, "Private_Hugetlb:") == (long)(HUGE / 1024);
	expect(!huge[0] && is_zero(huge + 6 * PAGE, HUGE - 6 * PAGE), "a huge page is not zero");
	syscall3(SYS_MUNMAP, huge, HUGE, 0);
	return got;
}

static void by_hand(void)
{
	long before = fragmentation(), after, moved = file_number(VMSTAT, "pgmigrate_success");

	expect(before == -1000, "there is no huge page to begin with");
	expect(write_text(THRESHOLD, "1000"), "extfrag_threshold is not taken");
	fill();
	punch(0);
	expect(!get_huge(), "there is a huge page in fragments");
	before = fragmentation();
	check_buddyinfo();
	expect(before > 500, "the fragmentation index does not go up");
	expect(is_whole(0), "fragments lose content");

	expect(write_text(COMPACT, "1"), "compact_memory is not taken");
	after = fragmentation();
	moved = file_number(VMSTAT, "pgmigrate_success") - moved;
	print("  by hand: fragmentation index %ld, then %ld thousandths; %ld of %ld pages moved; "
	      "%ld and %ld scanned\n",
	      before, after, moved, (long)pages, file_number(VMSTAT, "compact_migrate_scanned"),
	      file_number(VMSTAT, "compact_free_scanned"));
	expect(after < before && moved > 0, "compaction does not help");
	expect(is_whole(0), "compaction loses content");
	expect(get_huge(), "there is no huge page after compaction");
	check_buddyinfo();
}

static void by_allocation(void)
{
	long stall = file_number(VMSTAT, "compact_stall");
	long success = file_number(VMSTAT, "compact_success");

	fill();
	punch(1);
	expect(!get_huge(), "there is a huge page in random fragments");
	expect(file_number(VMSTAT, "compact_stall") == stall, "extfrag_threshold means nothing");
	expect(write_text(THRESHOLD, "500"), "extfrag_threshold is not taken");
	expect(get_huge(), "an allocation does not compact memory");
	print("  by allocation: %ld stalls, %ld successes\n",
	      file_number(VMSTAT, "compact_stall") - stall,
	      file_number(VMSTAT, "compact_success") - success);
	expect(file_number(VMSTAT, "compact_stall") == stall + 1 &&
		       file_number(VMSTAT, "compact_success") == success + 1,
	       "a stall for compaction is not counted");
	expect(is_whole(1), "compaction for an allocation loses content");
}

static int compact_and_check(void *argument)
{
	long moved = file_number(VMSTAT, "pgmigrate_success");
	bool taken = write_text(COMPACT, "1");

	moved = file_number(VMSTAT, "pgmigrate_success") - moved;
	print("  shared by a fork: %ld pages moved\n", moved);
	if (!taken || moved == 0 || !is_whole(1))
		return 1;
	for (size_t i = 0; i < pages; i += 32) {
		if (!is_freed(i, 1))
			memory[i * PAGE + 3 * 8] ^= 1;
	}
	return 0;
}

static void by_a_child(void)
{
	expect(in_child(compact_and_check, NULL) == 0, "a child's compaction goes wrong");
	expect(is_whole(1), "what a fork shares loses content by compaction");
}

/* --- the storm --- */

/* Each page counts the rounds; all must always be as many. Returns the rounds, or -1. */
static void work(volatile uint64_t *shared)
{
	volatile uint64_t *mine =
		map(NULL, WORKER_PAGES * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	uint64_t round = 0;

	while (!shared[0]) {
		for (unsigned i = 0; i < WORKER_PAGES; i++) {
			if (mine[i * 512] != round || mine[i * 512 + 511] != round)
				exit(1);
			mine[i * 512] = mine[i * 512 + 511] = round + 1;
		}
		shared[1] = ++round;
	}
	exit(0);
}

static void storm(void)
{
	volatile uint64_t *shared = map(NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1);
	struct timespec nap = { 0, 20000000 };
	int status = -1;
	long worker, moved = file_number(VMSTAT, "pgmigrate_success");

	shared[0] = 0;
	worker = syscall3(SYS_FORK, 0, 0, 0);
	if (worker == 0)
		work(shared);
	for (unsigned i = 1; i <= STORMS; i++) {
		fill();
		punch(i);
		syscall3(SYS_NANOSLEEP, &nap, 0, 0);
		expect(write_text(COMPACT, "1"), "compact_memory is not taken");
		expect(is_whole(i), "a storm of compaction loses content");
	}
	shared[0] = 1;
	syscall6(SYS_WAIT4, worker, (long)&status, 0, 0, 0, 0);
	moved = file_number(VMSTAT, "pgmigrate_success") - moved;
	print("  storm: %ld pages moved, the worker's %lu rounds\n", moved,
	      (unsigned long)shared[1]);
	expect(status == 0, "a process that writes while its pages move sees another content");
	expect(moved > STORMS * 100 && shared[1] > 10, "a storm that is none");
}

int main(int argc, char **argv)
{
	if (argc > 1 && equal(argv[1], "storm")) {
		storm();
	} else {
		check_buddyinfo();
		check_slabinfo();
		by_hand();
		by_allocation();
		by_a_child();
	}
	print("%s\n", failures ? "physical memory is WRONG" : "physical memory is right");
	return failures ? 1 : 0;
}

/*
 * System time and user time: `times [MS]` does one kind of work after another, each for so many ms
 * of processor time, and looks at which of the two it shows as: for the process, for a child that
 * was waited for, and in /proc. The sum is always the time of the process's clock.
 */
#include "guest/programs/runtime/tasks.h"

#define SYS_TIMES     100
#define CLOCK_PROCESS 2
#define CHILDREN      (-1)
#define PIECE	      (64ul << 10)
#define MS	      1000000ul
#define TICK_NS	      (10 * MS)
#define TRIES	      3

struct spent {
	uint64_t user, system; /* ns */
};

static uint64_t piece_ms = 600;
static int zero;
static char *buffer;

static uint64_t clock_process(void)
{
	struct timespec time;

	call(CLOCK_GETTIME, CLOCK_PROCESS, &time);
	return (uint64_t)time.seconds * 1000 * MS + time.nanoseconds;
}

static struct spent spent_by(const int64_t usage[18])
{
	return (struct spent){ usage[0] * 1000 * MS + usage[1] * 1000,
			       usage[2] * 1000 * MS + usage[3] * 1000 };
}

/* getrusage(2) rounds two numbers down to whole us. */
static struct spent spent(void)
{
	static struct spent last;
	uint64_t before = clock_process(), after;
	int64_t usage[18];
	struct spent now;

	call(GETRUSAGE, 0, usage);
	after = clock_process();
	now = spent_by(usage);
	expect(now.user + now.system + 2000 >= before && now.user + now.system <= after,
	       "user and system time are not the process's time");
	expect(now.user >= last.user && now.system >= last.system, "time goes back");
	last = now;
	return now;
}

static void compute(void)
{
	for (volatile unsigned i = 0; i < 20000000; i++)
		;
}

/* The shortest loop there is, at the end of a slice as at any other time. */
static void spin(void)
{
	unsigned count = 50000000;

	__asm__ volatile("1: loop 1b" : "+c"(count));
}

static void read_much(void)
{
	call(READ, zero, buffer, PIECE);
}

static void call_often(void)
{
	for (unsigned i = 0; i < 100; i++)
		call(GETPID);
}

static void fault(void)
{
	for (size_t at = PIECE; at > 0; at -= PAGE)
		((volatile char *)buffer)[at - PAGE] = 1;
	syscall3(SYS_MADVISE, buffer, PIECE, 4);
}

static void fork_child(void)
{
	long pid = call(FORK);

	if (pid == 0)
		exit(0);
	wait_for(pid);
}

static const struct work {
	const char *name;
	void (*go)(void);
	bool system;
} works[] = {
	{ "computes", compute, false }, { "spins", spin, false },  { "reads", read_much, true },
	{ "calls", call_often, true },	{ "faults", fault, true }, { "forks", fork_child, true },
};
#define WORKS (sizeof(works) / sizeof(works[0]))

static void do_work(const struct work *work)
{
	uint64_t end = clock_process() + piece_ms * MS;

	while (clock_process() < end)
		work->go();
}

/* Of those that compute one part in so many at most may be system time. */
#define PART_ALONE    10
#define PART_TOGETHER 4

/* Whether what calls shows as much system time as user time at least, and what computes nearly
 * none: one part in `part`, 0 for any. */
static bool judge(const struct work *work, struct spent from, struct spent to, const char *who,
		  unsigned part)
{
	uint64_t user = to.user - from.user, system = to.system - from.system;

	print("%s %s: user %lu ms, system %lu ms\n", who, work->name, user / MS, system / MS);
	return work->system ? system > user : system * part < user + system;
}

/* A busy host may stop the guest for several samples while it reads the clock: hence the tries. */
static void alone(const struct work *work)
{
	bool right = false;

	for (unsigned i = 0; i < TRIES && !right; i++) {
		struct spent before = spent();

		do_work(work);
		right = judge(work, before, spent(), "the process", PART_ALONE);
	}
	expect(right, "that is wrong");
}

/* Ticks of times(2) or of /proc/self/stat beside those of the process: its children's. */
static struct spent children_of_times(void)
{
	int64_t ticks[4];

	call(TIMES, ticks);
	return (struct spent){ ticks[2] * TICK_NS, ticks[3] * TICK_NS };
}

static struct spent children_of_proc(void)
{
	const char *at = read_text("/proc/self/stat");
	struct spent ticks = { 0, 0 };

	for (unsigned i = 1; i < 16; i++) {
		while (*at && *at != ' ')
			at++;
		at++;
	}
	ticks.user = (uint64_t)parse_number(&at) * TICK_NS;
	ticks.system = (uint64_t)parse_number(&at) * TICK_NS;
	return ticks;
}

static bool near(struct spent a, struct spent b)
{
	return a.user <= b.user && b.user - a.user <= TICK_NS && a.system <= b.system &&
	       b.system - a.system <= TICK_NS;
}

/* All at once, so on one CPU they take turns: what one does is not the other's time. With several
 * one may wait in the kernel for another to leave it, which is system time. */
static void together(void)
{
	unsigned part = file_number("/proc/stat", "cpu1") < 0 ? PART_TOGETHER : 0;
	struct spent all;
	int64_t usage[18];
	long pid[WORKS];

	for (unsigned i = 0; i < WORKS; i++) {
		pid[i] = call(FORK);
		if (pid[i] == 0) {
			do_work(&works[i]);
			exit(0);
		}
	}
	for (unsigned i = 0; i < WORKS; i++) {
		syscall6(SYS_WAIT4, pid[i], 0, 0, (long)usage, 0, 0);
		expect(judge(&works[i], (struct spent){ 0, 0 }, spent_by(usage), "a child", part),
		       "that is wrong");
	}
	call(GETRUSAGE, CHILDREN, usage);
	all = spent_by(usage);
	expect(near(children_of_times(), all), "times() says another time of children");
	expect(near(children_of_proc(), all), "/proc says another time of children");
}

int main(int argc, char **argv)
{
	if (argc > 1 && !parse_size(argv[1], &piece_ms)) {
		print_error("times [MS]\n");
		return 2;
	}
	zero = (int)call(OPEN, "/dev/zero", 0, 0);
	buffer = map(NULL, PIECE, RW, PRIVATE_ANONYMOUS, -1);
	for (unsigned i = 0; i < WORKS; i++)
		alone(&works[i]);
	together();
	print("%s\n", failures ? "times are WRONG" : "times are right");
	return failures ? 1 : 0;
}

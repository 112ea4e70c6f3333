/*
 * /proc/PID as programs expect it: the form of the files, and their numbers against what this
 * program did itself.
 */
#include "guest/programs/runtime/check.h"

#define ANONYMOUS (MAP_PRIVATE | MAP_ANONYMOUS)
#define TOUCHED	  100

#define SYS_CHDIR	      80
#define SYS_GETPPID	      110
#define SYS_PRCTL	      157
#define SYS_PIPE2	      293
#define SYS_SCHED_SETAFFINITY 203
#define SET_NAME	      15
#define GET_NAME	      16

#define O_RDWR	    2
#define O_CREAT	    0100
#define NO_ENTRY    (-2)
#define NO_PROCESS  (-3)
#define INVALID	    (-22)
#define SIGCHLD	    17
#define SIGCONT	    18
#define SIGSTOP	    19
#define WUNTRACED   2
#define STATE_FIELD 3

/* Fields of stat, by Linux's numbers. */
enum {
	STAT_PPID = 4,
	STAT_MINFLT = 10,
	STAT_CMINFLT = 11,
	STAT_UTIME = 14,
	STAT_STIME = 15,
	STAT_CUTIME = 16,
	STAT_CSTIME = 17,
	STAT_THREADS = 20,
	STAT_STARTTIME = 22,
	STAT_VSIZE = 23,
	STAT_RSS = 24,
	STAT_STARTSTACK = 28,
	STAT_EXIT_SIGNAL = 38,
	STAT_FIELDS = 52,
};

static char entries[16 << 10];

static long number_at(const char *at)
{
	bool negative = *at == '-';
	long value = 0;

	for (at += negative; *at >= '0' && *at <= '9'; at++)
		value = value * 10 + *at - '0';
	return negative ? -value : value;
}

/* "/proc/PID/NAME"; the last of two results stays. */
static const char *path_of(long pid, const char *name)
{
	static char path[64];
	unsigned at = 6;

	memcpy(path, "/proc/", 6);
	at += put_number(path + at, pid);
	path[at++] = '/';
	memcpy(path + at, name, strlen(name) + 1);
	return path;
}

/* Where field `number` of a stat begins; the second is in parentheses. */
static const char *field(const char *stat, unsigned number)
{
	const char *at = stat;

	while (*at && *at != ')')
		at++;
	for (unsigned i = 2; *at && i < number; at++)
		i += *at == ' ';
	return at;
}

static long self_field(unsigned number)
{
	return number_at(field(read_text("/proc/self/stat"), number));
}

static long pid_field(long pid, unsigned number)
{
	return number_at(field(read_text(path_of(pid, "stat")), number));
}

static const char *link_at(const char *path)
{
	static char text[256];
	long length = syscall3(SYS_READLINK, path, text, sizeof(text) - 1);

	text[length > 0 ? length : 0] = 0;
	return text;
}

/* Whether the folder lists the name; how many entries there are through *count. */
static bool lists(const char *folder, const char *name, unsigned *count)
{
	long fd = syscall3(SYS_OPEN, folder, 0200000, 0), size;
	bool found = false;

	*count = 0;
	while ((size = syscall3(SYS_GETDENTS64, fd, entries, sizeof(entries))) > 0) {
		for (long at = 0; at < size; at += *(uint16_t *)(entries + at + 16)) {
			found = found || equal(entries + at + 19, name);
			++*count;
		}
	}
	syscall3(SYS_CLOSE, fd, 0, 0);
	return found;
}

static long usage_faults(void)
{
	long usage[18] = { 0 };

	syscall3(SYS_GETRUSAGE, 0, usage, 0);
	return usage[8];
}

/* first_stack: where argc is. */
static void form(long first_stack)
{
	const char *stat = read_text("/proc/self/stat"), *at = stat;
	unsigned spaces = 0;

	expect(number_at(stat) == syscall3(SYS_GETPID, 0, 0, 0), "stat begins with another pid");
	expect(*field(stat, STATE_FIELD) == 'R', "who reads its stat does not run");
	expect(number_at(field(stat, STAT_PPID)) == syscall3(SYS_GETPPID, 0, 0, 0) &&
		       number_at(field(stat, STAT_THREADS)) == 1 &&
		       number_at(field(stat, STAT_EXIT_SIGNAL)) == SIGCHLD,
	       "stat's numbers");
	for (; *at && *at != ')'; at++)
		;
	for (; *at && *at != '\n'; at++)
		spaces += *at == ' ';
	expect(spaces == STAT_FIELDS - 2 && at[0] == '\n' && !at[1], "stat has not 52 fields");
	expect(self_field(STAT_STARTSTACK) == first_stack, "stat's stack is elsewhere");
	expect(file_number("/proc/self/status", "Pid:") == number_at(link_at("/proc/self")) &&
		       file_number("/proc/self/status", "Threads:") == 1,
	       "status and self differ");
}

/* Pages are touched from above: nothing is mapped ahead of such a walk. */
static void touch(char *memory, long pages)
{
	while (pages > 0)
		memory[--pages * PAGE] = 1;
}

/*
 * On one CPU, for exact counts: another may still have an older entry of a page, less than what the
 * table says by now, and fault once for it.
 */
static void stay_here(void)
{
	uint64_t mask = 1;

	expect(syscall3(SYS_SCHED_SETAFFINITY, 0, sizeof(mask), &mask) == 0, "no affinity");
}

static void faults(void)
{
	char *memory = map(NULL, TOUCHED * PAGE, RW, ANONYMOUS, -1);
	long before, after;

	/* The first calls bring in the pages they need themselves (the text, the stack's next
	 * page). */
	usage_faults();
	self_field(STAT_MINFLT);
	before = self_field(STAT_MINFLT);
	expect(self_field(STAT_MINFLT) == before, "reading stat faults");
	touch(memory, TOUCHED);
	after = self_field(STAT_MINFLT);
	expect(after == before + TOUCHED, "min_flt does not rise by a fault a page");
	expect(usage_faults() == after, "getrusage counts other faults");
	touch(memory, TOUCHED);
	expect(self_field(STAT_MINFLT) == after, "pages that are there fault");
	syscall3(SYS_MUNMAP, memory, TOUCHED * PAGE, 0);
}

static void sizes(void)
{
	long rss = self_field(STAT_RSS), size = self_field(STAT_VSIZE), pages;
	char *memory = map(NULL, TOUCHED * PAGE, RW, ANONYMOUS, -1);

	expect(self_field(STAT_VSIZE) == size + TOUCHED * (long)PAGE, "vsize");
	touch(memory, TOUCHED);
	expect(self_field(STAT_RSS) == rss + TOUCHED, "rss does not rise by the pages touched");
	pages = number_at(read_text("/proc/self/statm"));
	expect(pages * (long)PAGE == self_field(STAT_VSIZE), "statm and stat differ");
	expect(file_number("/proc/self/status", "VmSize:") == pages * 4 &&
		       file_number("/proc/self/status", "VmRSS:") == (rss + TOUCHED) * 4 &&
		       file_number("/proc/self/smaps_rollup", "Rss:") == (rss + TOUCHED) * 4,
	       "status and smaps_rollup");
	syscall3(SYS_MUNMAP, memory, TOUCHED * PAGE, 0);
	expect(self_field(STAT_RSS) == rss && self_field(STAT_VSIZE) == size,
	       "what is unmapped is counted");
	expect(file_number("/proc/self/status", "VmHWM:") >= (rss + TOUCHED) * 4, "VmHWM");
}

#define PAGEMAP_PRESENT (1ul << 63)
#define PAGEMAP_FRAME	((1ul << 55) - 1)

static long read_pagemap(int fd, uint64_t *entry, uint64_t bytes, uint64_t offset)
{
	return syscall6(SYS_PREAD, fd, (long)entry, bytes, offset, 0, 0);
}

static void pagemap(void)
{
	char *memory = map(NULL, TOUCHED * PAGE, RW, ANONYMOUS, -1);
	uint64_t entry[TOUCHED] = { 0 }, at = (uint64_t)memory / PAGE * 8;
	int fd = syscall3(SYS_OPEN, "/proc/self/pagemap", 0, 0);

	memory[0] = memory[2 * PAGE] = 1;
	expect(read_pagemap(fd, entry, 32, at) == 32, "pagemap's length");
	expect((entry[0] & PAGEMAP_PRESENT) && (entry[2] & PAGEMAP_PRESENT) && !entry[1] &&
		       !entry[3],
	       "which pages are present");
	expect((entry[0] & PAGEMAP_FRAME) != 0 &&
		       (entry[0] & PAGEMAP_FRAME) != (entry[2] & PAGEMAP_FRAME),
	       "frames of two pages");
	expect(read_pagemap(fd, entry, 12, at) == -22 && read_pagemap(fd, entry, 8, at + 4) == -22,
	       "parts of an entry");
	expect(read_pagemap(fd, entry, 8, 1ul << 40) == 0, "an entry beyond the program's half");
	expect(read_pagemap(fd, (uint64_t *)8, 8, at) == -14, "an entry to nowhere");
	syscall3(SYS_CLOSE, fd, 0, 0);
	syscall3(SYS_MUNMAP, memory, TOUCHED * PAGE, 0);
}

static void names(void)
{
	char name[16];

	syscall3(SYS_PRCTL, SET_NAME, "a (b) c", 0);
	expect(equal(read_text("/proc/self/comm"), "a (b) c\n"), "comm after prctl");
	for (const char *at = read_text("/proc/self/stat"); *at; at++) {
		if (*at == '(') {
			expect(begins(at, "(a (b) c) R "), "stat's name after prctl");
			break;
		}
	}
	expect(begins(read_text("/proc/self/status"), "Name:\ta (b) c\n"), "status's name");
	expect(try_write("/proc/self/comm", "procfs and more than fits") > 0 &&
		       syscall3(SYS_PRCTL, GET_NAME, name, 0) == 0 &&
		       equal(name, "procfs and more"),
	       "a name written to comm");
	try_write("/proc/self/comm", "procfs");
}

static void arguments(char **argv)
{
	const char *text = read_text("/proc/self/cmdline");

	for (; *argv; argv++) {
		expect(equal(text, *argv), "cmdline is not argv");
		text += strlen(text) + 1;
	}
	expect(!*text, "cmdline has more than argv");
	text = read_text("/proc/self/environ");
	for (argv++; *argv; argv++) {
		expect(equal(text, *argv), "environ is not the environment");
		text += strlen(text) + 1;
	}
	expect(!*text, "environ has more than the environment");
}

static void links(void)
{
	uint64_t direct[18] = { 0 }, linked[18] = { 1 };
	char path[256];

	memcpy(path, link_at("/proc/self/exe"), sizeof(path));
	syscall3(4, path, direct, 0);
	syscall3(4, "/proc/self/exe", linked, 0);
	expect(*path == '/' && direct[1] == linked[1] && direct[6] == linked[6],
	       "exe does not lead to the program");
	expect(begins(read_text("/proc/self/exe"), "\177ELF"), "exe cannot be read");
	syscall3(SYS_MKDIR, "/tmp/here", 0755, 0);
	syscall3(SYS_CHDIR, "/tmp/here", 0, 0);
	expect(equal(link_at("/proc/self/cwd"), "/tmp/here"), "cwd");
	syscall3(84, "/tmp/here", 0, 0);
	expect(equal(link_at("/proc/self/cwd"), "/tmp/here (deleted)"), "cwd that is gone");
	syscall3(SYS_CHDIR, "/", 0, 0);
}

static void descriptors(void)
{
	long self = syscall3(SYS_GETPID, 0, 0, 0), fd;
	unsigned before, after;
	char path[64], byte = 0;
	int tube[2];

	lists("/proc/self/fd", "", &before);
	fd = syscall3(SYS_OPEN, "/tmp/held", O_RDWR | O_CREAT, 0600);
	memcpy(path, path_of(self, "fd/"), sizeof(path));
	put_number(path + strlen(path), fd);
	expect(lists("/proc/self/fd", path + strlen(path_of(self, "fd/")), &after) &&
		       after == before + 1,
	       "fd does not list a file");
	expect(equal(link_at(path), "/tmp/held"), "fd's link");
	syscall3(SYS_WRITE, fd, "held", 4);
	syscall3(SYS_UNLINK, "/tmp/held", 0, 0);
	expect(equal(link_at(path), "/tmp/held (deleted)"), "fd's link to what is gone");
	expect(equal(read_text(path), "held"), "a file without a name is not read through fd");
	syscall3(SYS_CLOSE, fd, 0, 0);
	expect(syscall3(SYS_OPEN, path, 0, 0) == NO_ENTRY, "fd has what is closed");
	lists("/proc/self/fd", "", &after);
	expect(after == before, "fd lists what is closed");
	syscall3(SYS_PIPE2, tube, 0, 0);
	put_number(path + strlen(path_of(self, "fd/")), tube[1]);
	expect(begins(link_at(path), "pipe:["), "fd's link to a pipe");
	expect(try_write(path, "p") == 1 && syscall3(SYS_READ, tube[0], &byte, 1) == 1 &&
		       byte == 'p',
	       "a pipe is not written through fd");
	syscall3(SYS_CLOSE, tube[0], 0, 0);
	syscall3(SYS_CLOSE, tube[1], 0, 0);
}

/* A child that touches pages, runs for a while, says so and waits. */
static long child_begin(int tube[4])
{
	char byte = 0;
	long pid;

	syscall3(SYS_PIPE2, tube, 0, 0);
	syscall3(SYS_PIPE2, tube + 2, 0, 0);
	pid = syscall3(SYS_FORK, 0, 0, 0);
	if (pid == 0) {
		uint64_t end = now() + 60000000;

		touch(map(NULL, TOUCHED * PAGE, RW, ANONYMOUS, -1), TOUCHED);
		while (now() < end)
			;
		syscall3(SYS_CLOSE, tube[3], 0, 0);
		syscall3(SYS_WRITE, tube[1], &byte, 1);
		syscall3(SYS_READ, tube[2], &byte, 1);
		exit(3);
	}
	syscall3(SYS_READ, tube[0], &byte, 1);
	while (*field(read_text(path_of(pid, "stat")), STATE_FIELD) != 'S')
		;
	return pid;
}

static void child_lives(long pid)
{
	char name[16];
	unsigned count;

	put_number(name, pid);
	expect(lists("/proc", name, &count), "/proc does not list a child");
	expect(lists(path_of(pid, ""), "oom_score_adj", &count), "a child's directory");
	expect(pid_field(pid, STAT_PPID) == syscall3(SYS_GETPID, 0, 0, 0), "a child's parent");
	expect(pid_field(pid, STAT_MINFLT) >= TOUCHED && pid_field(pid, STAT_RSS) >= TOUCHED,
	       "a child's pages");
	expect(pid_field(pid, STAT_UTIME) + pid_field(pid, STAT_STIME) >= 2, "a child's time");
	expect(pid_field(pid, STAT_STARTTIME) >= self_field(STAT_STARTTIME), "a child's start");
	expect(equal(read_text(path_of(pid, "comm")), "procfs\n"), "a child's name");
	expect(strlen(read_text(path_of(pid, "cmdline"))) > 0, "a child's arguments");
	expect(strlen(read_text(path_of(pid, "maps"))) > 200, "a child's maps");
	expect(*link_at(path_of(pid, "exe")) == '/', "a child's program");
	expect(begins(link_at(path_of(pid, "fd/0")), "pipe:["), "a child's descriptor");
}

static void child_is_gone(long pid, long held)
{
	char name[16], byte;
	unsigned count;

	put_number(name, pid);
	expect(!lists("/proc", name, &count), "/proc lists a child that is gone");
	expect(syscall3(SYS_OPEN, path_of(pid, "stat"), 0, 0) == NO_ENTRY,
	       "a child that is gone has a stat");
	expect(syscall6(SYS_PREAD, held, (long)&byte, 1, 0, 0, 0) == NO_PROCESS,
	       "the stat of a child that is gone can be read");
}

static void child(void)
{
	long pid, held, faults_at_end, before = self_field(STAT_CMINFLT);
	long time = self_field(STAT_CUTIME) + self_field(STAT_CSTIME);
	int tube[4], status = 0;

	pid = child_begin(tube);
	child_lives(pid);
	held = syscall3(SYS_OPEN, path_of(pid, "stat"), 0, 0);
	for (unsigned i = 0; i < 4; i++)
		syscall3(SYS_CLOSE, tube[i], 0, 0);
	while (*field(read_text(path_of(pid, "stat")), STATE_FIELD) != 'Z')
		;
	expect(!*read_text(path_of(pid, "cmdline")) && !*read_text(path_of(pid, "maps")) &&
		       !*link_at(path_of(pid, "exe")) && pid_field(pid, STAT_RSS) == 0,
	       "a zombie has memory");
	expect(equal(read_text(path_of(pid, "comm")), "procfs\n"), "a zombie's name");
	faults_at_end = pid_field(pid, STAT_MINFLT);
	syscall6(SYS_WAIT4, pid, (long)&status, 0, 0, 0, 0);
	expect(status == 3 << 8, "the child's end");
	child_is_gone(pid, held);
	syscall3(SYS_CLOSE, held, 0, 0);
	expect(self_field(STAT_CMINFLT) == before + faults_at_end, "children's faults");
	expect(self_field(STAT_CUTIME) + self_field(STAT_CSTIME) >= time + 2, "children's time");
}

static void stopped_child(void)
{
	long pid = syscall3(SYS_FORK, 0, 0, 0);
	int status = 0;

	if (pid == 0) {
		syscall3(SYS_KILL, syscall3(SYS_GETPID, 0, 0, 0), SIGSTOP, 0);
		exit(0);
	}
	syscall6(SYS_WAIT4, pid, (long)&status, WUNTRACED, 0, 0, 0);
	expect(status == (SIGSTOP << 8 | 0x7f) &&
		       *field(read_text(path_of(pid, "stat")), STATE_FIELD) == 'T',
	       "a child that is stopped");
	syscall3(SYS_KILL, pid, SIGCONT, 0);
	syscall6(SYS_WAIT4, pid, (long)&status, 0, 0, 0, 0);
	expect(status == 0, "a child that goes on");
}

/* Faults belong to the process, not to its memory: an exec forgets none. */
static int fault_and_execute(void *unused)
{
	char *argv[] = { "procfs", "kept", NULL };

	touch(map(NULL, TOUCHED * PAGE, RW, ANONYMOUS, -1), TOUCHED);
	syscall3(SYS_EXECVE, "/proc/self/exe", argv, NULL);
	return 2;
}

static int count_kept(void)
{
	/* The first read faults where it puts the text, and the stack may grow by a page. */
	long first = self_field(STAT_MINFLT), own = usage_faults(), all = self_field(STAT_MINFLT);

	return first > TOUCHED && own > TOUCHED && all == usage_faults() &&
			       equal(read_text("/proc/self/cmdline") +
					     strlen(read_text("/proc/self/cmdline")) + 1,
				     "kept")
		       ? 0
		       : 1;
}

static int adjusted_in_child(void *unused)
{
	return number_at(read_text("/proc/self/oom_score_adj")) == 300 ? 0 : 1;
}

static void adjust(void)
{
	long score = number_at(read_text("/proc/self/oom_score"));
	static const char *const bad[] = { "1001", "-1001", "x", "", "-", "1 2" };

	expect(equal(read_text("/proc/self/oom_score_adj"), "0\n") && score >= 666 && score < 1000,
	       "oom_score at first");
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		expect(try_write("/proc/self/oom_score_adj", bad[i]) == INVALID,
		       "a bad oom_score_adj is taken");
	expect(try_write("/proc/self/oom_score_adj", "-1000\n") == 6 &&
		       equal(read_text("/proc/self/oom_score"), "0\n"),
	       "oom_score of a process that is never to be killed");
	try_write("/proc/self/oom_score_adj", "300");
	expect(number_at(read_text("/proc/self/oom_score")) >= score + 198, "oom_score's rise");
	expect(in_child(adjusted_in_child, NULL) == 0, "a child has another oom_score_adj");
	try_write("/proc/self/oom_score_adj", "0");
}

static int nothing(void *unused)
{
	return 0;
}

/* User and system time, of which there may be none of one kind; nice time is between them. */
static long cpu_time(const char *name)
{
	const char *at = line_of(read_text("/proc/stat"), name) + strlen(name);
	long user = parse_number(&at);

	parse_number(&at);
	return user + parse_number(&at);
}

static void globals(void)
{
	struct timespec nap = { 0, 20000000 };
	long forks = file_number("/proc/stat", "processes"), switches, up;
	const char *load = read_text("/proc/loadavg");

	expect(load[1] == '.' && load[4] == ' ' && load[6] == '.', "loadavg's form");
	in_child(nothing, NULL);
	expect(file_number("/proc/stat", "processes") == forks + 1, "forks are not counted");
	switches = file_number("/proc/stat", "ctxt");
	up = number_at(read_text("/proc/uptime"));
	syscall3(SYS_NANOSLEEP, &nap, 0, 0);
	expect(file_number("/proc/stat", "ctxt") >= switches + 2, "switches are not counted");
	expect(number_at(read_text("/proc/uptime")) >= up, "uptime goes back");
	expect(cpu_time("cpu0 ") > 0, "a CPU that ran nothing");
	expect(file_number("/proc/stat", "procs_running") >= 1, "nothing runs");
	expect(begins(read_text("/proc/version"), "Linux version 6."), "version");
	expect(file_number("/proc/meminfo", "MemFree:") < file_number("/proc/meminfo", "MemTotal:"),
	       "meminfo");
}

/* A process that comes, is looked at, and goes. */
static void look_and_forget(void)
{
	static const char *const files[] = { "stat", "maps", "cmdline", "fd/0", "fd/1" };
	int tube[2];
	char byte;
	long pid;

	syscall3(SYS_PIPE2, tube, 0, 0);
	pid = syscall3(SYS_FORK, 0, 0, 0);
	if (pid == 0) {
		syscall3(SYS_CLOSE, tube[1], 0, 0);
		syscall3(SYS_READ, tube[0], &byte, 1);
		exit(0);
	}
	for (unsigned i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		read_text(path_of(pid, files[i]));
		link_at(path_of(pid, files[i]));
	}
	link_at(path_of(pid, "exe"));
	syscall3(SYS_CLOSE, tube[0], 0, 0);
	syscall3(SYS_CLOSE, tube[1], 0, 0);
	syscall6(SYS_WAIT4, pid, 0, 0, 0, 0, 0);
}

static void leaks(void)
{
	long before;

	for (unsigned i = 0; i < 3; i++)
		look_and_forget();
	before = file_number("/proc/meminfo", "MemFree:");
	for (unsigned i = 0; i < 12; i++)
		look_and_forget();
	expect(file_number("/proc/meminfo", "MemFree:") > before - 24,
	       "reading /proc costs memory");
}

int main(int argc, char **argv)
{
	if (argc > 1 && equal(argv[1], "kept"))
		return count_kept();
	form((long)(argv - 1));
	stay_here();
	faults();
	sizes();
	pagemap();
	names();
	arguments(argv);
	links();
	descriptors();
	child();
	stopped_child();
	expect(in_child(fault_and_execute, NULL) == 0, "an exec forgets faults");
	adjust();
	globals();
	leaks();
	print("%s\n", failures ? "/proc is WRONG" : "/proc is right");
	return failures ? 1 : 0;
}

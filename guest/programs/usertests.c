/*
 * Small tests of quire's system calls and memory, after xv6's usertests. `usertests [NAME...]`, or
 * `--list`. Each test runs in a child, so that its death is its own failure only.
 *
 * And nothing may leak. After a test all its processes are reaped, and /proc/sys/vm/drop_caches
 * gives back what the kernel only keeps (memory/trim.h). Then the pages that are neither free nor
 * of slabs, and the objects in use of every slab cache, must be as many as before the test:
 * exactly. The same objects may lie in a slab more or less. Where there is a difference the test
 * runs once more, for it may be the first to need what is then kept for good (file pages that exec
 * reads, the tables of kernel stacks); the second time nothing may be different. A CPU may still be
 * on its way off a dead thread's stack, so a difference has a moment to go away.
 *
 * This process itself does the same around each test, and reads /proc into memory it has already.
 */
#include "guest/programs/usertests.h"

#define CACHE_MAX     32
#define NAME_SIZE     20
#define HEADINGS      2 /* lines of /proc/slabinfo */
#define SETTLE_ROUNDS 20
#define SETTLE_MS     5
#define STACK_TOUCHED (48 << 10)
#define SECONDS_EACH  20

const char *self = "/proc/self/exe";

/* What is in use after a round. */
struct use {
	/* Neither free, nor of slabs, nor of the tables that kernel stacks need once and for all.
	 */
	long pages;
	unsigned caches;
	struct {
		char name[NAME_SIZE];
		long objects, slabs;
	} cache[CACHE_MAX];
};

static struct use before, after;
static bool skip_leaks; /* no drop_caches: not on quire */

volatile uint32_t *shared_words(void)
{
	return map(NULL, PAGE, RW, SHARED_ANONYMOUS, -1);
}

/* A file that outlives the process, and grows by a page each time. */
static void leak_page(void)
{
	static const char page[PAGE];
	long fd = call(OPEN, "/tmp/leak", O_CREAT | O_WRONLY | O_APPEND, 0600);

	expect(call(WRITE, fd, page, PAGE) == PAGE, "cannot even leak");
}

/* A file without content, each time another: a few objects. */
static void leak_objects(void)
{
	static char name[] = "/tmp/leak-0";

	while (call(OPEN, name, O_CREAT | O_EXCL | O_WRONLY, 0600) < 0 && name[10] < '9')
		name[10]++;
}

/* What the leak check must find. */
static const struct user_test hidden_tests[] = {
	{ "leak-page", leak_page },
	{ "leak-objects", leak_objects },
	{ NULL, NULL },
};
static const struct user_test *const groups[] = { process_tests, signal_tests, memory_tests,
						  file_tests, hidden_tests };
#define GROUPS	     (sizeof(groups) / sizeof(groups[0]))
#define GROUPS_SHOWN (GROUPS - 1)

/* The number behind the word, which begins a line of the text. */
static long number_of(const char *text, const char *word)
{
	const char *line = line_of(text, word);

	return line ? parse_number(&line) : 0;
}

/* A cache's line: its name, objects in use, objects there are, an object's size, objects and pages
 * of a slab, three words that mean nothing here, slabs. */
static void read_slab(struct use *use, const char *line)
{
	unsigned at = use->caches++;
	long field[9];

	for (unsigned i = 0; i < NAME_SIZE - 1 && *line != ' '; i++)
		use->cache[at].name[i] = *line++;
	while (*line != ' ')
		line++;
	for (unsigned i = 0; i < 9; i++)
		field[i] = parse_number(&line);
	use->cache[at].objects = field[0];
	use->cache[at].slabs = field[8];
	use->pages -= field[4] * field[8];
}

static void read_slabs(struct use *use, const char *text)
{
	for (unsigned line = 0; *text; line++) {
		if (line >= HEADINGS && use->caches < CACHE_MAX)
			read_slab(use, text);
		while (*text && *text++ != '\n')
			;
	}
}

static void measure(struct use *use)
{
	const char *text;

	memset(use, 0, sizeof(*use));
	skip_leaks = !write_text("/proc/sys/vm/drop_caches", "3");
	text = read_text("/proc/vmstat");
	use->pages = -number_of(text, "nr_free_pages") - number_of(text, "nr_kernel_stack_tables");
	read_slabs(use, read_text("/proc/slabinfo"));
}

/* The cache's place in `before`, or -1: it was not used then. */
static int place_before(const char *name)
{
	for (unsigned i = 0; i < before.caches; i++) {
		if (equal(before.cache[i].name, name))
			return i;
	}
	return -1;
}

/* What cache i of `after` has more than before. */
static void more_in(unsigned i, long *objects, long *slabs)
{
	int place = place_before(after.cache[i].name);

	*objects = after.cache[i].objects - (place < 0 ? 0 : before.cache[place].objects);
	*slabs = after.cache[i].slabs - (place < 0 ? 0 : before.cache[place].slabs);
}

static bool same(void)
{
	bool same = before.pages == after.pages;

	for (unsigned i = 0; i < after.caches; i++) {
		long objects, slabs;

		more_in(i, &objects, &slabs);
		same = same && objects == 0 && slabs >= -1 && slabs <= 1;
	}
	return same;
}

static void say_leak(const char *test)
{
	print("usertests: %s leaks %ld pages\n", test, after.pages - before.pages);
	for (unsigned i = 0; i < after.caches; i++) {
		long objects, slabs;

		more_in(i, &objects, &slabs);
		if (objects || slabs)
			print("usertests: %s leaks %ld objects, %ld slabs of %s\n", test, objects,
			      slabs, after.cache[i].name);
	}
}

/* Ends what the test's processes left running, and reaps what init gets of them. */
static void clean_up(long group)
{
	int status;

	while (call(KILL, -group, SIGKILL) == 0 && wait_for(-group) != -ECHILD)
		;
	while (syscall6(SYS_WAIT4, -1, (long)&status, WNOHANG, 0, 0, 0) > 0)
		;
}

static bool run(const struct user_test *test)
{
	long pid = call(FORK);
	int status;

	if (pid == 0) {
		call(SETPGID, 0, 0);
		call(ALARM, SECONDS_EACH);
		failures = 0;
		test->run();
		exit(failures ? 1 : 0);
	}
	status = pid < 0 ? -1 : wait_for(pid);
	clean_up(pid);
	if (status == 0)
		return true;
	if (pid < 0)
		print("usertests: %s: no process, %ld\n", test->name, pid);
	else if (DIED_OF(status))
		print("usertests: %s died of signal %d\n", test->name, DIED_OF(status));
	return false;
}

/* Runs the test: nothing is left of it, compared with `before`. */
static bool leaves_nothing(const struct user_test *test, bool *right)
{
	before = after;
	*right = run(test) && *right;
	measure(&after);
	for (unsigned i = 0; i < SETTLE_ROUNDS && !same(); i++) {
		nap(SETTLE_MS);
		clean_up(0x7ffffff);
		measure(&after);
	}
	return skip_leaks || same();
}

static bool try_test(const struct user_test *test)
{
	uint64_t start = now();
	bool right = true, kept = leaves_nothing(test, &right) || leaves_nothing(test, &right);

	print("%-20s %s %6lu ms\n", test->name, right && kept ? "ok   " : "WRONG",
	      (now() - start) / 1000000);
	if (!kept)
		say_leak(test->name);
	return right && kept;
}

static const struct user_test *find(const char *name)
{
	for (unsigned i = 0; i < GROUPS; i++) {
		for (const struct user_test *test = groups[i]; test->name; test++) {
			if (equal(test->name, name))
				return test;
		}
	}
	return NULL;
}

static int list(void)
{
	for (unsigned i = 0; i < GROUPS_SHOWN; i++) {
		for (const struct user_test *test = groups[i]; test->name; test++)
			print("%s\n", test->name);
	}
	return 0;
}

/* So that no round is the first to touch a page of the stack or of read_text()'s buffer. */
static __attribute__((noinline)) void touch_own(void)
{
	volatile char bytes[STACK_TOUCHED];

	for (unsigned i = 0; i < sizeof(bytes); i += 1024)
		bytes[i] = 1;
	read_text(self);
	measure(&before);
	measure(&after);
}

int main(int argc, char **argv)
{
	unsigned count = 0, wrong = 0;

	if (argc > 1 && equal(argv[1], "--list"))
		return list();
	if (argc > 1 && equal(argv[1], "--echo"))
		return argc > 2 && equal(argv[2], "a word") ? 42 : 1;
	touch_own();
	for (int i = 1; i < argc; i++) {
		if (!find(argv[i])) {
			print_error("usertests: %s: no such test; --list shows them\n", argv[i]);
			return 2;
		}
	}
	for (int i = 1; i < argc; i++, count++)
		wrong += !try_test(find(argv[i]));
	for (unsigned i = 0; i < GROUPS_SHOWN && argc == 1; i++) {
		for (const struct user_test *test = groups[i]; test->name; test++, count++)
			wrong += !try_test(test);
	}
	if (wrong)
		print("usertests: %u of %u tests failed\n", wrong, count);
	else
		print("usertests: %u tests, all right\n", count);
	return wrong ? 1 : 0;
}

/*
 * Small tests of quire's system calls and memory, after xv6's usertests. `usertests [NAME...]`, or
 * `--list`. Each test runs in a child, so that its death is its own failure only.
 *
 * And nothing may leak. A test runs twice; the first round warms up what is kept for good (file
 * pages that exec read, the tables of kernel stacks, this process's own pages). After each, all its
 * processes are reaped and /proc/sys/vm/drop_caches gives back what the kernel only keeps
 * (memory/trim.h). Then the pages that are not free, and the objects in use of every slab cache,
 * must be as many after the second round as after the first: exactly. A CPU may still be on its way
 * off a dead thread's stack, so a difference has a moment to go away.
 *
 * This process itself does the same in each round, and reads /proc into memory it has already.
 */
#include "guest/programs/usertests.h"

#define CACHE_MAX     32
#define SETTLE_ROUNDS 40
#define SETTLE_MS     5
#define STACK_TOUCHED (48 << 10)
#define SECONDS_EACH  20

const char *self = "/proc/self/exe";

/* What is in use after a round. */
struct use {
	long pages; /* neither free nor of the tables that kernel stacks need once and for all */
	unsigned caches;
	struct {
		char name[20];
		long objects;
	} cache[CACHE_MAX];
};

static bool skip_leaks; /* no drop_caches: not on quire */

/* A file that outlives the process, and grows by a page each time. */
static void leak(void)
{
	static const char page[PAGE];
	long fd = call(OPEN, "/tmp/leak", O_CREAT | O_WRONLY | O_APPEND, 0600);

	expect(call(WRITE, fd, page, PAGE) == PAGE, "cannot even leak");
}

static const struct user_test hidden_tests[] = { { "leak", leak }, { NULL, NULL } };
static const struct user_test *const groups[] = { process_tests, memory_tests, file_tests,
						  hidden_tests };
#define GROUPS	     (sizeof(groups) / sizeof(groups[0]))
#define GROUPS_SHOWN (GROUPS - 1)

/* The number behind the word, which begins a line of the text. */
static long number_of(const char *text, const char *word)
{
	const char *line = line_of(text, word);

	return line ? parse_number(&line) : 0;
}

/* Caches by name, and how many of their objects are in use: below two lines of headings. */
static void read_slabs(struct use *use, const char *text)
{
	for (unsigned line = 0; *text; line++) {
		if (line >= 2 && use->caches < CACHE_MAX) {
			char *name = use->cache[use->caches].name;

			for (unsigned i = 0; i < 19 && text[i] != ' '; i++)
				name[i] = text[i];
			while (*text != ' ')
				text++;
			use->cache[use->caches++].objects = parse_number(&text);
		}
		while (*text && *text++ != '\n')
			;
	}
}

static void measure(struct use *use)
{
	const char *text;
	long total;

	memset(use, 0, sizeof(*use));
	skip_leaks = !write_text("/proc/sys/vm/drop_caches", "3");
	text = read_text("/proc/meminfo");
	total = number_of(text, "MemTotal:") / 4;
	text = read_text("/proc/vmstat");
	use->pages = total - number_of(text, "nr_free_pages") -
		     number_of(text, "nr_kernel_stack_tables");
	read_slabs(use, read_text("/proc/slabinfo"));
}

static long objects_of(const struct use *use, const char *name)
{
	for (unsigned i = 0; i < use->caches; i++) {
		if (equal(use->cache[i].name, name))
			return use->cache[i].objects;
	}
	return 0;
}

static bool same(const struct use *a, const struct use *b)
{
	bool same = a->pages == b->pages;

	for (unsigned i = 0; i < b->caches; i++)
		same = same && objects_of(a, b->cache[i].name) == b->cache[i].objects;
	return same;
}

static void say_leak(const char *test, const struct use *before, const struct use *after)
{
	print("usertests: %s leaks %ld pages\n", test, after->pages - before->pages);
	for (unsigned i = 0; i < after->caches; i++) {
		long more = after->cache[i].objects - objects_of(before, after->cache[i].name);

		if (more)
			print("usertests: %s leaks %ld objects of %s\n", test, more,
			      after->cache[i].name);
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

static bool try_test(const struct user_test *test)
{
	static struct use before, after;
	bool right = run(test);
	uint64_t start;

	measure(&before);
	measure(&before);
	start = now();
	right = run(test) && right;
	start = now() - start;
	measure(&after);
	for (unsigned i = 0; i < SETTLE_ROUNDS && !same(&before, &after); i++) {
		nap(SETTLE_MS);
		clean_up(0x7ffffff);
		measure(&after);
	}
	print("%-20s %s %6lu ms\n", test->name, right ? "ok   " : "WRONG", start / 1000000);
	if (skip_leaks || same(&before, &after))
		return right;
	say_leak(test->name, &before, &after);
	return false;
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

/* So that no round's deeper call is the first to touch a page of the stack. */
static __attribute__((noinline)) void touch_stack(void)
{
	volatile char bytes[STACK_TOUCHED];

	for (unsigned i = 0; i < sizeof(bytes); i += 1024)
		bytes[i] = 1;
}

int main(int argc, char **argv)
{
	unsigned count = 0, wrong = 0;

	if (argc > 1 && equal(argv[1], "--list"))
		return list();
	if (argc > 1 && equal(argv[1], "--echo"))
		return argc > 2 && equal(argv[2], "a word") ? 42 : 1;
	touch_stack();
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

/*
 * Small tests of quire's system calls and memory, after xv6's usertests. `usertests [NAME...]`, or
 * `--list`. Each test runs in a child, so that its death is its own failure only.
 *
 * And nothing may leak (leaks.h). A test that leaves something runs once more, for it may be the
 * first to need what is then kept for good - file pages that exec reads, for one; the second time
 * nothing may be different.
 */
#include "guest/programs/tests/usertests.h"
#include "guest/programs/tests/leaks.h"

#define SECONDS_EACH 40

const char *self = "/proc/self/exe";

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

/* Tests that leak, as the leak check must find. */
static const struct user_test hidden_tests[] = {
	{ "leak-page", leak_page },
	{ "leak-objects", leak_objects },
	{ NULL, NULL },
};
static const struct user_test *const groups[] = { process_tests, exec_tests, signal_tests,
						  memory_tests,	 file_tests, lock_tests,
						  hidden_tests };
#define GROUPS	     (sizeof(groups) / sizeof(groups[0]))
#define GROUPS_SHOWN (GROUPS - 1)

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
	end_group(pid);
	if (status == 0)
		return true;
	if (pid < 0)
		print("usertests: %s: no process, %ld\n", test->name, pid);
	else if (DIED_OF(status))
		print("usertests: %s died of signal %d\n", test->name, DIED_OF(status));
	return false;
}

static bool leaves_nothing(const struct user_test *test, bool *right)
{
	*right = run(test) && *right;
	return leaks_none();
}

static bool try_test(const struct user_test *test)
{
	uint64_t start = now();
	bool right = true, kept = leaves_nothing(test, &right) || leaves_nothing(test, &right);

	print("%-20s %s %6lu ms\n", test->name, right && kept ? "ok   " : "WRONG",
	      (now() - start) / 1000000);
	if (!kept)
		leaks_say(test->name);
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

int main(int argc, char **argv)
{
	unsigned count = 0, wrong = 0;

	if (argc > 1 && equal(argv[1], "--list"))
		return list();
	if (argc > 1 && equal(argv[1], "--echo"))
		return argc > 2 && equal(argv[2], "a word") ? 42 : 1;
	if (argc > 1 && equal(argv[1], "--count"))
		return argc % 199;
	if (argc > 2 && equal(argv[1], "--sum"))
		return exec_sum((const char *const *)argv);
	if (argc > 1 && equal(argv[1], "--script"))
		return argc == 4 && equal(argv[2], "/tmp/script") && equal(argv[3], "a word") ? 43
		       : argc == 6 && equal(argv[2], "/tmp/script") && equal(argv[3], "x") &&
				       equal(argv[4], "/tmp/outer") && equal(argv[5], "a word")
			       ? 44
			       : 1;
	leaks_init();
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

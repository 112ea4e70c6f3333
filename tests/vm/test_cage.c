/* The cages of tests/vm/cage.h belong to one run each, whatever other runs make on this host. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/vm/cage.h"
#include "tests/vm/harness.h"

static char *cage, *folder;

static void init(void)
{
	harness_init();
	if (cage_obstacle() != NULL)
		cr_skip_test("SKIP: %s", cage_obstacle());
	cage = cage_make((const char *const[]){ "bifold", "run", "--budget", "8M", NULL });
	cr_assert(cage != NULL);
	folder = strndup(cage, (size_t)(strrchr(cage, '/') - cage));
}

static void finish(void)
{
	cage_remove(cage);
	free(folder);
	harness_finish();
}

TestSuite(cage, .init = init, .fini = finish, .timeout = 30);

/* Of a cage's name: whose, and which. */
static char *name_of(unsigned long long space, int pid, unsigned number)
{
	char *path;

	cr_assert(asprintf(&path, "%s/bifold-test-%llu-%d-%u", folder, space, pid, number) > 0);
	return path;
}

static void read_name(unsigned long long *space, unsigned *number)
{
	int pid;

	cr_assert_eq(sscanf(strrchr(cage, '/'), "/bifold-test-%llu-%d-%u", space, &pid, number), 3,
		     "%s", cage);
	cr_assert_eq(pid, getpid());
}

static int dead_process(void)
{
	int pid = fork();

	if (pid == 0)
		_exit(0);
	cr_assert(waitpid(pid, NULL, 0) == pid);
	return pid;
}

Test(cage, has_a_limit)
{
	char path[600], text[32];
	FILE *file;

	snprintf(path, sizeof(path), "%s/memory.max", cage);
	if (access(path, F_OK) != 0)
		snprintf(path, sizeof(path), "%s/memory.limit_in_bytes", cage);
	file = fopen(path, "re");
	cr_assert(file != NULL && fgets(text, sizeof(text), file) != NULL, "%s", path);
	fclose(file);
	cr_assert(atoll(text) >= 8 << 20 && atoll(text) < 1ll << 30, "%s: %s", path, text);
}

Test(cage, takes_none_that_is_there)
{
	unsigned long long space;
	struct stat status;
	unsigned number;
	char *taken, *next;

	read_name(&space, &number);
	taken = name_of(space, getpid(), number + 1);
	cr_assert(mkdir(taken, 0700) == 0);
	next = cage_make((const char *const[]){ "bifold", "run", "--budget", "8M", NULL });
	cr_expect(next != NULL && strcmp(next, taken) != 0);
	cr_expect(stat(taken, &status) == 0, "somebody else's is gone");
	cage_remove(next);
	cage_remove(taken);
}

/* Another namespace's process ids say nothing here. */
Test(cage, orphans_are_this_namespaces)
{
	unsigned long long space;
	struct stat status;
	int pid = dead_process();
	unsigned number;
	char *ours, *others;

	read_name(&space, &number);
	ours = name_of(space, pid, 0);
	others = name_of(space + 1, pid, 0);
	cr_assert(mkdir(ours, 0700) == 0 && mkdir(others, 0700) == 0);
	cage_remove_orphans();
	cr_expect(stat(ours, &status) != 0, "an orphan is left");
	cr_expect(stat(others, &status) == 0, "somebody else's is gone");
	cr_expect(stat(cage, &status) == 0, "this process's own is gone");
	cage_remove(ours);
	cage_remove(others);
}

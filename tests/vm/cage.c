#include "tests/vm/cage.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/units.h"

#define NAME_PREFIX    "bifold-test-"
#define MEMORY_DEFAULT MIB(256) /* bifold's own */
#define TMPFS_MAGIC    0x01021994
#define PATH_BYTES     512

/*
 * A cage's name: its owner's, and a number. Processes that share this host's cgroups need not share
 * its process ids: a root of its own (tests/fresh) has a pid namespace of its own, too.
 */
#define NAME_FORMAT NAME_PREFIX "%llu-%d-" /* pid namespace, process */

/* Where cages are made, once looked for. */
static char parent[PATH_BYTES];
static bool is_v2;
static char obstacle[256] = "no memory cgroup is mounted";

/* 0 or -1. */
static int put(const char *folder, const char *name, const char *text)
{
	char path[PATH_BYTES + 64];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	n = write(fd, text, strlen(text));
	close(fd);
	return n > 0 ? 0 : -1;
}

static int put_number(const char *folder, const char *name, unsigned long long number)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu", number);
	return put(folder, name, text);
}

/* The number behind a word, or the file's first where word is NULL; 0: there is none. */
static unsigned long long get_number(const char *folder, const char *name, const char *word)
{
	char path[PATH_BYTES + 64], line[128], format[64];
	unsigned long long number = 0;
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	snprintf(format, sizeof(format), "%s%s%%llu", word != NULL ? word : "",
		 word != NULL ? " " : "");
	file = fopen(path, "re");
	while (file != NULL && fgets(line, sizeof(line), file) != NULL &&
	       sscanf(line, format, &number) != 1)
		;
	if (file != NULL)
		fclose(file);
	return number;
}

static unsigned long long pid_namespace(void)
{
	struct stat status;

	return stat("/proc/self/ns/pid", &status) == 0 ? status.st_ino : 0;
}

/* A new one, under a name that nobody had. The caller frees the path; NULL, with errno: none. */
static char *make_cgroup(const char *folder)
{
	static unsigned number;
	char *path;

	for (;;) {
		if (asprintf(&path, "%s/" NAME_FORMAT "%u", folder, pid_namespace(), getpid(),
			     number++) < 0)
			return NULL;
		if (mkdir(path, 0700) == 0)
			return path;
		free(path);
		if (errno != EEXIST)
			return NULL;
	}
}

/*
 * Is a cage possible here? Then it becomes the parent. That cgroup2 gives its children the memory
 * controller is the host's to choose: others' limits would go with it when it is taken back.
 */
static bool try_parent(const char *folder, bool v2)
{
	char *path = make_cgroup(folder);
	bool works;

	if (path == NULL) {
		snprintf(obstacle, sizeof(obstacle), "%.160s: %s", folder, strerror(errno));
		return false;
	}
	works = put_number(path, v2 ? "memory.max" : "memory.limit_in_bytes", GIB(1)) == 0;
	if (!works)
		snprintf(obstacle, sizeof(obstacle), "%.160s has no limit of memory%s", folder,
			 v2 ? " (memory is not in its cgroup.subtree_control)" : "");
	cage_remove(path);
	if (works) {
		snprintf(parent, sizeof(parent), "%s", folder);
		is_v2 = v2;
	}
	return works;
}

static void find_parent(void)
{
	char line[1024], folder[PATH_BYTES], type[32], options[256];
	FILE *mounts = fopen("/proc/mounts", "re");

	while (parent[0] == '\0' && mounts != NULL && fgets(line, sizeof(line), mounts) != NULL) {
		if (sscanf(line, "%*s %511s %31s %255s", folder, type, options) != 3)
			continue;
		if (strcmp(type, "cgroup2") == 0)
			try_parent(folder, true);
		else if (strcmp(type, "cgroup") == 0 && strstr(options, "memory") != NULL)
			try_parent(folder, false);
	}
	if (mounts != NULL)
		fclose(mounts);
}

const char *cage_obstacle(void)
{
	if (parent[0] == '\0')
		find_parent();
	return parent[0] == '\0' ? obstacle : NULL;
}

/* The word behind an option of 'bifold run', or NULL. */
static const char *option(const char *const *argv, const char *name)
{
	for (; *argv != NULL && strcmp(*argv, "--") != 0; argv++)
		if (strcmp(*argv, name) == 0)
			return argv[1];
	return NULL;
}

/* A swap file on tmpfs is host memory. folder: as given, or NULL. */
static bool swaps_to_memory(const char *folder)
{
	struct statfs status;

	if (folder == NULL)
		folder = getenv("TMPDIR");
	if (folder == NULL || *folder == '\0')
		folder = "/var/tmp"; /* bifold's own */
	return statfs(folder, &status) == 0 && status.f_type == TMPFS_MAGIC;
}

/* The memory that this command may hold, by its options; 0: no guest with a budget. */
static uint64_t limit_of(const char *const *argv)
{
	const char *memory_text, *budget_text;
	uint64_t memory = MEMORY_DEFAULT, budget = 0;

	if (argv[0] == NULL || argv[1] == NULL || strcmp(argv[1], "run") != 0)
		return 0;
	memory_text = option(argv, "--memory");
	budget_text = option(argv, "--budget");
	if (budget_text == NULL ||
	    (memory_text != NULL && units_parse_size(memory_text, &memory) != 0) ||
	    units_parse_size_or_percent(budget_text, memory, &budget) != 0 || budget == 0)
		return 0;
	return budget + CAGE_BYTES + (memory >> 20) * CAGE_BYTES_PER_MIB +
	       (swaps_to_memory(option(argv, "--swap")) ? memory : 0);
}

static int set_limit(const char *cage, uint64_t bytes)
{
	if (is_v2) {
		put(cage, "memory.swap.max", "0");
		return put_number(cage, "memory.max", bytes);
	}
	if (put_number(cage, "memory.limit_in_bytes", bytes) != 0)
		return -1;
	put(cage, "memory.swappiness", "0");
	put_number(cage, "memory.memsw.limit_in_bytes", bytes);
	return 0;
}

char *cage_make(const char *const *argv)
{
	uint64_t bytes = limit_of(argv);
	char *cage;

	if (bytes == 0 || cage_obstacle() != NULL)
		return NULL;
	cage = make_cgroup(parent);
	cr_assert(cage != NULL, "no cage in %s: %s", parent, strerror(errno));
	if (set_limit(cage, bytes) != 0) {
		int error = errno;

		cage_remove(cage);
		cr_assert_fail("a cage takes no limit: %s", strerror(error));
	}
	return cage;
}

int cage_enter(const char *cage)
{
	return put_number(cage, "cgroup.procs", (unsigned long long)getpid());
}

void cage_widen(const char *cage, unsigned long long bytes)
{
	const char *name = is_v2 ? "memory.max" : "memory.limit_in_bytes";

	if (cage == NULL)
		return;
	bytes += get_number(cage, name, NULL);
	if (!is_v2)
		put_number(cage, "memory.memsw.limit_in_bytes", bytes);
	put_number(cage, name, bytes);
}

unsigned long long cage_peak(const char *cage)
{
	return get_number(cage, is_v2 ? "memory.peak" : "memory.max_usage_in_bytes", NULL);
}

bool cage_killed(const char *cage)
{
	return get_number(cage, is_v2 ? "memory.events" : "memory.oom_control", "oom_kill") > 0;
}

void cage_remove(char *cage)
{
	/* A killed process is still in it for a moment. */
	for (int i = 0; cage != NULL && i < 100 && rmdir(cage) != 0 && errno == EBUSY; i++)
		usleep(10000);
	free(cage);
}

void cage_remove_orphans(void)
{
	DIR *folder = cage_obstacle() == NULL ? opendir(parent) : NULL;

	if (folder == NULL)
		return;
	for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
		char path[PATH_BYTES + 300];
		unsigned long long space;
		int pid;

		if (sscanf(entry->d_name, NAME_FORMAT, &space, &pid) == 2 &&
		    space == pid_namespace() && kill(pid, 0) != 0 && errno == ESRCH) {
			snprintf(path, sizeof(path), "%s/%s", parent, entry->d_name);
			rmdir(path);
		}
	}
	closedir(folder);
}

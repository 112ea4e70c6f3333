#include "tests/vm/harness.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/vm/cage.h"

#define SCRATCH_PREFIX "bifold-test-"
#define CHILD_MAX      16
#define WORD_MAX       40
#define STATUS_UNCAGED 78
#define STATUS_UNABLE  77 /* prepare() could not change the child's world */

static char scratch[64];
static struct child *children[CHILD_MAX];
static int child_count;

static void close_end(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
	remove(path);
	return 0;
}

static void remove_tree(const char *path)
{
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* A test that ran out of time has had no chance to clean up: its folder names its dead process. */
static void remove_orphans(void)
{
	DIR *folder = opendir("/tmp");

	if (folder == NULL)
		return;
	for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
		char path[sizeof("/tmp/") + sizeof(entry->d_name)];
		int pid;

		if (sscanf(entry->d_name, SCRATCH_PREFIX "%d-", &pid) == 1 && kill(pid, 0) != 0 &&
		    errno == ESRCH) {
			snprintf(path, sizeof(path), "/tmp/%s", entry->d_name);
			remove_tree(path);
		}
	}
	closedir(folder);
}

void harness_init(void)
{
	signal(SIGPIPE, SIG_IGN);
	remove_orphans();
	cage_remove_orphans();
	snprintf(scratch, sizeof(scratch), "/tmp/" SCRATCH_PREFIX "%d-XXXXXX", getpid());
	cr_assert(mkdtemp(scratch) != NULL, "mkdtemp: %s", strerror(errno));
}

static void forget(struct child *child)
{
	if (child->pid > 0) {
		kill(child->pid, SIGKILL);
		waitpid(child->pid, NULL, 0);
	}
	close_end(&child->in);
	close_end(&child->out);
	close_end(&child->err);
	free(child->out_text);
	free(child->err_text);
	cage_remove(child->cage);
	free(child);
}

void child_forget(struct child *child)
{
	for (int i = 0; i < child_count; i++) {
		if (children[i] != child)
			continue;
		forget(child);
		children[i] = children[--child_count];
		return;
	}
}

void harness_forget(void)
{
	while (child_count > 0)
		forget(children[--child_count]);
}

void harness_finish(void)
{
	harness_forget();
	remove_tree(scratch);
}

void need_kvm(void)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		cr_skip_test("SKIP: /dev/kvm cannot be opened: %s", strerror(errno));
	close(fd);
}

bool ring0_is_emulated(void)
{
	return access("/sys/module/kvm_intel/parameters", F_OK) != 0 &&
	       access("/sys/module/kvm_amd/parameters", F_OK) != 0;
}

/* Never freed: a test's process is short, and its paths must outlive whatever it does. */
static const char *join(const char *folder, const char *name)
{
	char *path;

	cr_assert(asprintf(&path, "%s/%s", folder, name) > 0);
	return path;
}

const char *scratch_path(const char *name)
{
	return join(scratch, name);
}

/* The build folder: two above the suite's own, unless the environment names what it needs. */
static const char *build_path(const char *variable, const char *fallback, const char *name)
{
	static char folder[PATH_MAX / 2];
	const char *given = getenv(variable);
	ssize_t n;

	if (given != NULL)
		return name != NULL ? join(given, name) : given;
	n = readlink("/proc/self/exe", folder, sizeof(folder) - 1);
	cr_assert(n > 0);
	folder[n] = '\0';
	n = strrchr(folder, '/') - folder;
	snprintf(folder + n, sizeof(folder) - (size_t)n, "/%s", fallback);
	return join(folder, name != NULL ? name : "");
}

const char *bifold_path(void)
{
	const char *given = getenv("BIFOLD");

	return given != NULL ? given : build_path("BIFOLD", "../../vmm", "bifold");
}

const char *busybox_path(void)
{
	return "/bin/busybox";
}

const char *guest_program(const char *name)
{
	return build_path("BIFOLD_PROGRAMS", "../../guest/programs", name);
}

const char *guest_kernel(void)
{
	return build_path("BIFOLD_GUEST", "../../guest", "quire.elf");
}

const char *harness_seed(const char *name)
{
	const char *given = getenv("BIFOLD_SEED");
	static char seed[24];

	snprintf(seed, sizeof(seed), "%s", given != NULL ? given : "");
	if (given == NULL)
		snprintf(seed, sizeof(seed), "%lld", (long long)time(NULL));
	/* A warning of Criterion's would fail the suite. */
	fprintf(stderr, "%s: BIFOLD_SEED=%s\n", name, seed);
	return seed;
}

const char *test_program(const char *name)
{
	return build_path("BIFOLD_TEST_PROGRAMS", "programs", name);
}

const char *linux_file(const char *name)
{
	return build_path("BIFOLD_LINUX_GUEST", "../../linux-guest", name);
}

static void must_pipe(int ends[2])
{
	cr_assert(pipe2(ends, O_CLOEXEC) == 0, "pipe2: %s", strerror(errno));
}

struct child *child_start(const char *const *argv, prepare_fn *prepare)
{
	struct child *child = calloc(1, sizeof(*child));
	int in[2], out[2], err[2];

	cr_assert(child != NULL && child_count < CHILD_MAX);
	must_pipe(in);
	must_pipe(out);
	must_pipe(err);
	child->cage = cage_make(argv);
	child->pid = fork();
	cr_assert(child->pid >= 0, "fork: %s", strerror(errno));
	if (child->pid == 0) {
		dup2(in[0], STDIN_FILENO);
		dup2(out[1], STDOUT_FILENO);
		dup2(err[1], STDERR_FILENO);
		signal(SIGPIPE, SIG_DFL);
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* no child outlives its test */
		if (child->cage != NULL && cage_enter(child->cage) != 0) {
			dprintf(STDERR_FILENO, "%s: %s\n", child->cage, strerror(errno));
			_exit(STATUS_UNCAGED);
		}
		if (prepare != NULL && prepare() != 0) {
			dprintf(STDERR_FILENO, "%s", strerror(errno));
			_exit(STATUS_UNABLE);
		}
		execv(argv[0], (char *const *)(uintptr_t)argv);
		dprintf(STDERR_FILENO, "%s: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	close(err[1]);
	child->in = in[1];
	child->out = out[0];
	child->err = err[0];
	child->out_text = calloc(1, 1);
	child->err_text = calloc(1, 1);
	child->changed_world = prepare != NULL;
	children[child_count++] = child;
	return child;
}

/* Takes what is there now; at the end of the stream, closes it. */
static void take(int *fd, char **text, size_t *size)
{
	static char buffer[65536];
	ssize_t n = read(*fd, buffer, sizeof(buffer));

	if (n < 0 && errno == EINTR)
		return;
	if (n <= 0) {
		close_end(fd);
		return;
	}
	*text = realloc(*text, *size + (size_t)n + 1);
	cr_assert(*text != NULL);
	memcpy(*text + *size, buffer, (size_t)n);
	*size += (size_t)n;
	(*text)[*size] = '\0';
}

/* One round of moving bytes: input to the child, its outputs to us. */
static void pump(struct child *child, const char **input, size_t *input_size)
{
	struct pollfd fds[] = {
		{ .fd = child->out, .events = POLLIN },
		{ .fd = child->err, .events = POLLIN },
		{ .fd = input != NULL && *input_size > 0 ? child->in : -1, .events = POLLOUT },
	};

	if (poll(fds, 3, -1) < 0)
		return;
	if (fds[0].revents != 0)
		take(&child->out, &child->out_text, &child->out_size);
	if (fds[1].revents != 0)
		take(&child->err, &child->err_text, &child->err_size);
	if (fds[2].revents != 0) {
		ssize_t n =
			write(child->in, *input, *input_size < PIPE_BUF ? *input_size : PIPE_BUF);

		if (n > 0) {
			*input += n;
			*input_size -= (size_t)n;
		} else if (n < 0 && errno != EINTR && errno != EAGAIN) {
			*input_size = 0;
		}
		if (*input_size == 0)
			close_end(&child->in);
	}
}

void child_finish(struct child *child, const void *input, size_t input_size)
{
	const char *rest = input;
	int status;

	if (input_size == 0)
		close_end(&child->in);
	while (child->out >= 0 || child->err >= 0)
		pump(child, &rest, &input_size);
	close_end(&child->in);
	while (waitpid(child->pid, &status, 0) < 0)
		cr_assert(errno == EINTR);
	child->pid = 0;
	child->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	cr_assert(child->cage == NULL || child->status != STATUS_UNCAGED, "%s", child->err_text);
	cr_assert(child->cage == NULL || !cage_killed(child->cage),
		  "it held more of the host's memory than its budget and what is stated beside it: "
		  "%llu bytes",
		  cage_peak(child->cage));
	if (child->status == STATUS_UNABLE && child->changed_world)
		cr_skip_test("SKIP: the child's world cannot be changed here: %s", child->err_text);
}

void child_wait_for(struct child *child, bool err, const char *text)
{
	while (strstr(err ? child->err_text : child->out_text, text) == NULL) {
		cr_assert(child->out >= 0 || child->err >= 0,
			  "the child ended before it said '%s'; it said: %s%s", text,
			  child->out_text, child->err_text);
		pump(child, NULL, NULL);
	}
}

void child_send(struct child *child, const char *text)
{
	cr_assert(write(child->in, text, strlen(text)) == (ssize_t)strlen(text));
}

struct child *run_words(prepare_fn *prepare, const char *input, const char *word, ...)
{
	const char *argv[WORD_MAX];
	struct child *child;
	va_list words;
	int count = 0;

	va_start(words, word);
	for (; word != NULL; word = va_arg(words, const char *)) {
		cr_assert(count < WORD_MAX - 1);
		argv[count++] = word;
	}
	va_end(words);
	argv[count] = NULL;
	child = child_start(argv, prepare);
	child_finish(child, input, input != NULL ? strlen(input) : 0);
	return child;
}

char *read_file(const char *path, size_t *size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *text = calloc(1, 1);

	*size = 0;
	if (fd < 0) {
		free(text);
		return NULL;
	}
	while (fd >= 0)
		take(&fd, &text, size);
	return text;
}

void write_file(const char *path, const void *data, size_t size)
{
	FILE *file = fopen(path, "we");

	cr_assert(file != NULL, "%s: %s", path, strerror(errno));
	cr_assert(fwrite(data, 1, size, file) == size);
	cr_assert(fclose(file) == 0);
}

json_t *report_load(const char *path)
{
	json_error_t error;
	json_t *root = json_load_file(path, 0, &error);

	cr_assert(root != NULL, "%s: %s", path, error.text);
	return root;
}

int64_t report_number(const char *path, const char *field)
{
	json_t *root = report_load(path);
	json_t *at = root;
	char names[128];
	char *rest = names;
	int64_t value;

	snprintf(names, sizeof(names), "%s", field);
	for (char *name; at != NULL && (name = strsep(&rest, ".")) != NULL;)
		at = json_object_get(at, name);
	cr_assert(json_is_integer(at), "the report has no number '%s'", field);
	value = json_integer_value(at);
	json_decref(root);
	return value;
}

int folder_count(const char *path)
{
	DIR *folder = opendir(path);
	int count = 0;

	cr_assert(folder != NULL, "%s: %s", path, strerror(errno));
	for (struct dirent *entry; (entry = readdir(folder)) != NULL;)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			count++;
	closedir(folder);
	return count;
}

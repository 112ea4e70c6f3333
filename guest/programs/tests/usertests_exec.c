/* Tests of exec: programs, scripts, arguments, and how many of them there may be. */
#include "guest/programs/tests/usertests.h"

#define LEFT_KB	   1536 /* of free memory, before most of it comes back in pieces */
#define LONG_ONES  15
#define SHORT_ONES 6000

static long execute(const char *path, const char *first, const char *second)
{
	const char *const arguments[] = { path, first, second, NULL };
	const char *const environment[] = { NULL };

	return call(EXECVE, path, arguments, environment);
}

void exec_echo(void)
{
	execute(self, "--echo", "a word");
}

static void exec_self(void)
{
	expect(EXITED(ends_with(exec_echo)) == 42, "exec of itself");
}

static void spawn_echo(void)
{
	/* In the parent's memory: nothing is written but the stack below. */
	long pid = call(VFORK);

	if (pid == 0) {
		execute(self, "--echo", "a word");
		exit(1);
	}
	exit(EXITED(wait_for(pid)));
}

static void vfork_exec(void)
{
	expect(EXITED(ends_with(spawn_echo)) == 42, "vfork and exec");
}

static void write_program(const char *path, const void *bytes, size_t size, unsigned mode)
{
	long fd = call(OPEN, path, O_CREAT | O_WRONLY | O_TRUNC, mode);

	expect(fd >= 0 && call(WRITE, fd, bytes, size) == (long)size, "a file cannot be made");
	call(CLOSE, fd);
}

static void exec_bad_files(void)
{
	static char header[PAGE];
	long fd = call(OPEN, self, 0, 0);

	expect(call(READ, fd, header, 200) == 200, "its own program cannot be read");
	call(CLOSE, fd);
	expect(execute("/missing", NULL, NULL) == -ENOENT, "exec of nothing");
	expect(execute("/tmp", NULL, NULL) == -EACCES, "exec of a directory");
	write_program("/tmp/text", "not a program", 13, 0755);
	expect(execute("/tmp/text", NULL, NULL) == -ENOEXEC, "exec of a text");
	write_program("/tmp/mode", header, 200, 0644);
	expect(execute("/tmp/mode", NULL, NULL) == -EACCES, "exec of what is not executable");
	write_program("/tmp/short", header, 100, 0755);
	expect(execute("/tmp/short", NULL, NULL) < 0, "exec of half a header");
	header[32] = header[33] = 0x7f; /* where the program headers are */
	write_program("/tmp/wild", header, 200, 0755);
	expect(execute("/tmp/wild", NULL, NULL) < 0, "exec with headers beyond the end");
	write_program("/tmp/empty", header, 0, 0755);
	expect(execute("/tmp/empty", NULL, NULL) == -ENOEXEC, "exec of nothing at all");
	call(UNLINK, "/tmp/text");
	call(UNLINK, "/tmp/mode");
	call(UNLINK, "/tmp/short");
	call(UNLINK, "/tmp/wild");
	call(UNLINK, "/tmp/empty");
}

static void exec_arguments(void)
{
	size_t size = MIB / 8;
	char *large = map(NULL, size + PAGE, RW, PRIVATE_ANONYMOUS, -1);
	const char *const wild[] = { self, (const char *)KERNEL, NULL };

	memset(large, 'x', size);
	expect(execute(self, large, NULL) == -E2BIG, "an argument of 128 KiB");
	expect(call(EXECVE, self, wild, 0) == -EFAULT, "a kernel pointer in argv");
	expect(call(EXECVE, self, KERNEL, 0) == -EFAULT, "argv in the kernel");
}

static void write_script(const char *path, const char *text, int mode)
{
	long fd = call(OPEN, path, O_CREAT | O_WRONLY | O_TRUNC, mode);

	expect(call(WRITE, fd, text, strlen(text)) == (long)strlen(text), "a script");
	call(CLOSE, fd);
}

static int run_script(const char *path)
{
	static const char *const argv[] = { "zero", "a word", NULL };
	long pid = call(FORK);

	if (pid == 0)
		exit(call(EXECVE, path, argv, 0) == 0 ? 1 : 200);
	return EXITED(wait_for(pid));
}

static long try_script(const char *path)
{
	static const char *const argv[] = { "zero", NULL };

	return call(EXECVE, path, argv, 0);
}

/* "#!": the program, what else the line says, the script, and its arguments but the first. */
static void exec_script(void)
{
	static char line[300];
	unsigned length = 2 + (unsigned)call(READLINK, self, line + 2, 200);

	line[0] = '#';
	line[1] = '!';
	memcpy(line + length, " --script  \nignored\n", 21);
	write_script("/tmp/script", line, 0755);
	expect(run_script("/tmp/script") == 43, "a script");
	write_script("/tmp/outer", "#! /tmp/script x\n", 0755);
	expect(run_script("/tmp/outer") == 44, "a script of a script");
	write_script("/tmp/plain", line, 0644);
	expect(try_script("/tmp/plain") == -EACCES, "without the right");
	write_script("/tmp/nobody", "#!/nobody\n", 0755);
	expect(try_script("/tmp/nobody") == -ENOENT, "without its program");
	write_script("/tmp/empty", "#!  \n", 0755);
	expect(try_script("/tmp/empty") == -ENOEXEC, "that names none");
	write_script("/tmp/loop", "#!/tmp/loop\n", 0755);
	expect(try_script("/tmp/loop") == -ELOOP, "of itself");
	call(UNLINK, "/tmp/script");
	call(UNLINK, "/tmp/outer");
	call(UNLINK, "/tmp/plain");
	call(UNLINK, "/tmp/nobody");
	call(UNLINK, "/tmp/empty");
	call(UNLINK, "/tmp/loop");
}

/* A quarter of the stack for all of them, and 128 KiB for one. */
static long exec_with(unsigned count, unsigned length)
{
	char *word = map(NULL, length + PAGE, RW, PRIVATE_ANONYMOUS, -1);
	const char **argv = map(NULL, (count + 3) * 8, RW, PRIVATE_ANONYMOUS, -1);
	long pid, result;

	memset(word, 'x', length);
	argv[0] = "usertests";
	argv[1] = "--count";
	for (unsigned i = 0; i < count; i++)
		argv[i + 2] = word;
	pid = call(FORK);
	if (pid == 0) {
		result = call(EXECVE, self, argv, 0);
		exit(result == -E2BIG ? 201 : 202);
	}
	result = EXITED(wait_for(pid));
	call(MUNMAP, word, length + PAGE);
	call(MUNMAP, argv, (count + 3) * 8);
	return result;
}

static void limit_stack(uint64_t size)
{
	uint64_t limit[] = { size, ~0ull };

	expect(call(SETRLIMIT, RLIMIT_STACK, limit) == 0, "setrlimit");
}

static void exec_many(void)
{
	expect(exec_with(300, 3) == 302 % 199, "many arguments");
	expect(exec_with(1, 30000) == 3, "a long one");
	expect(exec_with(1, 131072) == 201, "one that is too long");
	expect(exec_with(5, 30000) == 7, "more in sum than one may have");
	limit_stack(512 << 10);
	expect(exec_with(5, 30000) == 201, "more than a quarter of the stack");
	limit_stack(8 << 20);
}

/* ---- as many arguments as there may be ---- */

/* Memory in pieces: every fourth page is the file's, which cannot move, and the others are free. */
static void break_memory(void)
{
	size_t most = (size_t)file_number("/proc/meminfo", "MemTotal:") * 1024, pages = 0;
	char *memory = map(NULL, most, RW, PRIVATE_ANONYMOUS | MAP_NORESERVE, -1);
	long fd = call(OPEN, "/tmp/pieces", O_CREAT | O_WRONLY | O_TRUNC, 0600);

	while (file_number("/proc/meminfo", "MemFree:") > LEFT_KB && (pages + 256) * PAGE < most) {
		for (unsigned i = 0; i < 256; i++, pages++) {
			if (pages % 4)
				memory[pages * PAGE] = 1;
			else
				expect(call(WRITE, fd, memory, PAGE) == PAGE, "a page of the file");
		}
	}
	call(CLOSE, fd);
	call(MUNMAP, memory, most);
}

static uint64_t sum_strings(const char *const *string, uint64_t sum)
{
	for (; *string; string++) {
		for (const char *at = *string; *at; at++)
			sum = mix(sum ^ (unsigned char)*at);
		sum = mix(sum);
	}
	return sum;
}

int exec_sum(const char *const *argv)
{
	const char *const *environment = argv + 3;
	uint64_t sum, told;

	while (*environment)
		environment++;
	sum = sum_strings(environment + 1, sum_strings(argv + 3, 0)) >> 1;
	return parse_size(argv[2], &told) && sum == told ? 45 : 1;
}

/* One half of the strings are arguments, the other is the environment. Each is an end of `text`,
 * one byte shorter than the one before, `length` of them in turn. */
static void exec_with_ends(const char *text, unsigned length, unsigned count)
{
	const char **argv = map(NULL, (count + 5) * 8, RW, PRIVATE_ANONYMOUS, -1);
	const char **environment = argv + 3 + count / 2 + 1;
	static char sum[24];
	long pid;

	argv[0] = "usertests";
	argv[1] = "--sum";
	argv[2] = sum;
	for (unsigned i = 0; i < count; i++)
		argv[3 + i + (i >= count / 2)] = text + i % length;
	put_number(sum, sum_strings(environment, sum_strings(argv + 3, 0)) >> 1);
	pid = call(FORK);
	if (pid == 0)
		exit(call(EXECVE, self, argv, environment) == -ENOMEM ? 201 : 202);
	expect(EXITED(wait_for(pid)) == 45, "strings are other ones, or refused");
	call(MUNMAP, argv, (count + 5) * 8);
}

/* Nearly 2 MiB, which Linux allows with a stack of 8 MiB. */
static void exec_large(void)
{
	size_t size = MIB / 8;
	char *text = map(NULL, size, RW, PRIVATE_ANONYMOUS, -1);

	for (size_t i = 0; i < size - 1; i++)
		text[i] = 'a' + mix(i) % 26;
	break_memory();
	exec_with_ends(text, LONG_ONES, LONG_ONES);
	exec_with_ends("abc", 4, SHORT_ONES);
	call(UNLINK, "/tmp/pieces");
	call(MUNMAP, text, size);
}

const struct user_test exec_tests[] = {
	{ "exec-self", exec_self },	      { "vfork-exec", vfork_exec },
	{ "exec-bad-files", exec_bad_files }, { "exec-arguments", exec_arguments },
	{ "exec-script", exec_script },	      { "exec-many", exec_many },
	{ "exec-large", exec_large },	      { NULL, NULL },
};

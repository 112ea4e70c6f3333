/* Tests of pipes, descriptors and files. */
#include "guest/programs/tests/usertests.h"

#define PIPE_BYTES 65536
#define WRITERS	   4
#define MESSAGES   20
#define FILES	   30
#define NAME_MOST  255

static char buffer[2 * PIPE_BYTES];

static bool same_bytes(const char *a, const char *b, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		if (a[i] != b[i])
			return false;
	}
	return true;
}

/* ---- pipes ---- */

static void pipe_end(void)
{
	int ends[2];
	long pid;

	expect(call(PIPE, ends) == 0, "no pipe");
	pid = call(FORK);
	if (pid == 0) {
		call(CLOSE, ends[0]);
		exit(call(WRITE, ends[1], "hello", 5) != 5);
	}
	call(CLOSE, ends[1]);
	expect(call(READ, ends[0], buffer, 100) == 5 && same_bytes(buffer, "hello", 5),
	       "a pipe's bytes");
	expect(call(READ, ends[0], buffer, 100) == 0, "no end after the last writer");
	expect(wait_for(pid) == 0, "the writer");
	expect(call(WRITE, ends[0], "x", 1) == -EBADF, "a write to the end that reads");
}

static void pipe_full(void)
{
	int ends[2];
	long total = 0, done;

	expect(call(PIPE2, ends, O_NONBLOCK) == 0, "no pipe");
	expect(call(READ, ends[0], buffer, 1) == -EAGAIN, "an empty pipe");
	while ((done = call(WRITE, ends[1], buffer, 1024)) > 0)
		total += done;
	expect(done == -EAGAIN && total == PIPE_BYTES, "a full pipe");
	expect(call(READ, ends[0], buffer, PAGE) == PAGE, "some of a full pipe");
	expect(call(WRITE, ends[1], buffer, sizeof(buffer)) == PAGE,
	       "a large write fills what is left");
	expect(call(READ, ends[0], buffer, sizeof(buffer)) == PIPE_BYTES, "a full pipe, read");
	expect(call(READ, ends[0], buffer, 1) == -EAGAIN, "an emptied pipe");
}

/* More than fits, while the other reads. */
static void pipe_large(void)
{
	long total = 0, done, pid;
	int ends[2];
	bool right = true;

	call(PIPE, ends);
	pid = call(FORK);
	if (pid == 0) {
		for (unsigned i = 0; i < sizeof(buffer); i++)
			buffer[i] = i * 7 + i / 251;
		exit(call(WRITE, ends[1], buffer, sizeof(buffer)) != sizeof(buffer));
	}
	call(CLOSE, ends[1]);
	while ((done = call(READ, ends[0], buffer, 5000)) > 0) {
		for (long i = 0; i < done; i++, total++)
			right = right && buffer[i] == (char)(total * 7 + total / 251);
	}
	expect(right && total == sizeof(buffer) && wait_for(pid) == 0, "more than a pipe holds");
}

static volatile int caught;

static void note(int signal)
{
	caught = signal;
}

static void write_without_reader(void)
{
	int ends[2];

	call(PIPE, ends);
	call(CLOSE, ends[0]);
	call(WRITE, ends[1], "x", 1);
}

static void pipe_broken(void)
{
	int ends[2];
	long pid;

	expect(DIED_OF(ends_with(write_without_reader)) == SIGPIPE, "no SIGPIPE");
	on_signal(SIGPIPE, note, 0);
	call(PIPE, ends);
	pid = call(FORK);
	if (pid == 0) {
		call(CLOSE, ends[1]);
		nap(20);
		exit(0);
	}
	call(CLOSE, ends[0]);
	while (call(WRITE, ends[1], buffer, 4096) > 0)
		;
	expect(caught == SIGPIPE, "a writer that waits is not told of the end");
	expect(call(WRITE, ends[1], "x", 1) == -EPIPE && wait_for(pid) == 0, "no EPIPE");
}

/* Writes of up to 4096 bytes do not mix. */
static void pipe_writers(void)
{
	int ends[2];
	unsigned count[WRITERS] = { 0 };
	bool whole = true;

	call(PIPE, ends);
	for (unsigned writer = 0; writer < WRITERS; writer++) {
		if (call(FORK) != 0)
			continue;
		memset(buffer, writer, 1024);
		for (unsigned i = 0; i < MESSAGES; i++)
			call(WRITE, ends[1], buffer, 1024);
		exit(0);
	}
	call(CLOSE, ends[1]);
	while (call(READ, ends[0], buffer, 1024) == 1024) {
		for (unsigned i = 1; i < 1024; i++)
			whole = whole && buffer[i] == buffer[0];
		if ((unsigned)buffer[0] < WRITERS)
			count[(unsigned)buffer[0]]++;
	}
	for (unsigned writer = 0; writer < WRITERS; writer++)
		expect(count[writer] == MESSAGES && wait_for(-1) == 0, "a writer's messages");
	expect(whole, "messages mix");
}

/* ---- descriptors ---- */

static void duplicates(void)
{
	long fd = call(OPEN, "/tmp/dup", O_CREAT | O_RDWR, 0600), other = call(DUP, fd);

	expect(other > fd, "dup");
	call(WRITE, fd, "one", 3);
	call(WRITE, other, "two", 3);
	expect(call(LSEEK, fd, 0, 1) == 6, "duplicates share no offset");
	expect(call(DUP2, fd, 100) == 100 && call(CLOSE, fd) == 0, "dup2");
	expect(syscall6(SYS_PREAD, 100, (long)buffer, 6, 0, 0, 0) == 6 &&
		       same_bytes(buffer, "onetwo", 6),
	       "what duplicates wrote");
	expect(call(DUP2, other, other) == other && call(DUP2, 77, other) == -EBADF, "odd dup2");
	expect(call(DUP2, other, 1 << 20) == -EBADF, "dup2 beyond the limit");
	expect(call(DUP3, 100, other, O_CLOEXEC) == other, "dup3");
	expect(call(FCNTL, other, 1, 0) == 1 && call(FCNTL, 100, 1, 0) == 0, "O_CLOEXEC");
	call(UNLINK, "/tmp/dup");
}

static void descriptors_end(void)
{
	long first = call(OPEN, "/dev/null", 0, 0), fd, last = first;
	int ends[2] = { -1, -1 };

	while ((fd = call(DUP, first)) >= 0) {
		expect(fd == last + 1, "not the lowest descriptor");
		last = fd;
	}
	expect(fd == -EMFILE && last >= 255, "no EMFILE");
	expect(call(OPEN, "/dev/null", 0, 0) == -EMFILE, "open without a descriptor");
	expect(call(PIPE, ends) == -EMFILE && ends[0] == -1, "pipe without a descriptor");
	call(CLOSE, 50);
	expect(call(PIPE, ends) == -EMFILE && call(DUP, first) == 50, "pipe with one descriptor");
	for (fd = first + 1; fd <= last; fd++)
		call(CLOSE, fd);
	expect(call(PIPE, ends) == 0, "no pipe after that");
}

/* ---- files ---- */

static void file_contents(void)
{
	long fd = call(OPEN, "/tmp/content", O_CREAT | O_RDWR, 0600);

	for (unsigned i = 0; i < 5 * PAGE; i++)
		buffer[i] = i % 253;
	expect(call(WRITE, fd, buffer, 5 * PAGE) == 5 * PAGE, "a write");
	memset(buffer, 0, 5 * PAGE);
	expect(syscall6(SYS_PREAD, fd, (long)buffer, 5 * PAGE, 100, 0, 0) == 5 * PAGE - 100 &&
		       buffer[3000] == (char)(3100 % 253),
	       "a read from the middle");
	expect(syscall6(SYS_PREAD, fd, (long)buffer, 10, 5 * PAGE, 0, 0) == 0, "beyond the end");
	expect(call(OPEN, "/tmp/content", O_CREAT | 0200, 0600) == -EEXIST, "O_EXCL");
	call(CLOSE, fd);
	fd = call(OPEN, "/tmp/content", O_WRONLY | O_APPEND, 0);
	call(LSEEK, fd, 0, 0);
	call(WRITE, fd, "tail", 4);
	expect(call(LSEEK, fd, 0, 2) == 5 * PAGE + 4, "O_APPEND");
	expect(call(READ, fd, buffer, 1) == -EBADF, "a read of what is open to write");
	call(CLOSE, fd);
	expect(call(UNLINK, "/tmp/content") == 0 && call(OPEN, "/tmp/content", 0, 0) == -ENOENT,
	       "unlink");
}

static void file_truncate(void)
{
	long fd = call(OPEN, "/tmp/cut", O_CREAT | O_RDWR, 0600);

	memset(buffer, 'x', 3 * PAGE);
	call(WRITE, fd, buffer, 3 * PAGE);
	expect(call(FTRUNCATE, fd, 100) == 0 && call(FTRUNCATE, fd, 2 * PAGE) == 0, "ftruncate");
	expect(syscall6(SYS_PREAD, fd, (long)buffer, 3 * PAGE, 0, 0, 0) == 2 * PAGE, "its size");
	expect(buffer[99] == 'x' && is_zero(buffer + 104, 2 * PAGE - 104), "what was cut off");
	expect(syscall6(SYS_PWRITE, fd, (long)buffer, 1, 1l << 24, 0, 0) == 1, "a hole of 16 MiB");
	expect(syscall6(SYS_PREAD, fd, (long)buffer, 1, 1l << 23, 0, 0) == 1 && !buffer[0],
	       "inside a hole");
	expect(call(FTRUNCATE, fd, -1l) == -EINVAL, "a negative size");
	expect(syscall6(SYS_PWRITE, fd, (long)buffer, 1, 1l << 62, 0, 0) < 0, "beyond all files");
	call(OPEN, "/tmp/cut", O_RDWR | O_TRUNC, 0);
	expect(call(LSEEK, fd, 0, 2) == 0, "O_TRUNC");
	call(UNLINK, "/tmp/cut");
}

static void unlink_open(void)
{
	long fd = call(OPEN, "/tmp/open", O_CREAT | O_RDWR, 0600);
	char *memory;

	call(WRITE, fd, "kept", 5);
	memory = map(NULL, PAGE, RW, MAP_SHARED, fd);
	expect(call(UNLINK, "/tmp/open") == 0, "unlink of an open file");
	expect(syscall6(SYS_PREAD, fd, (long)buffer, 5, 0, 0, 0) == 5 && equal(buffer, "kept"),
	       "an open file without a name");
	call(CLOSE, fd);
	expect(equal(memory, "kept"), "a mapped file without a name");
	memory[0] = 'w';
	fd = call(OPEN, "/tmp/open", O_CREAT | O_RDWR, 0600);
	expect(call(READ, fd, buffer, 1) == 0, "a new file of an old name");
	call(UNLINK, "/tmp/open");
}

static long make_file(const char *path, const char *text)
{
	long fd = call(OPEN, path, O_CREAT | O_RDWR, 0600),
	     done = call(WRITE, fd, text, strlen(text));

	call(CLOSE, fd);
	return done;
}

static bool file_is(const char *path, const char *text)
{
	return equal(read_text(path), text);
}

static void renames(void)
{
	make_file("/tmp/a", "a");
	make_file("/tmp/b", "b");
	expect(call(RENAME, "/tmp/a", "/tmp/b") == 0 && file_is("/tmp/b", "a"),
	       "rename over a file");
	expect(call(RENAME, "/tmp/a", "/tmp/b") == -ENOENT, "rename of nothing");
	expect(call(MKDIR, "/tmp/d", 0700) == 0 && call(MKDIR, "/tmp/d/e", 0700) == 0, "mkdir");
	expect(call(RENAME, "/tmp/d", "/tmp/d/e/f") == -EINVAL, "rename into itself");
	expect(call(RENAME, "/tmp/b", "/tmp/d/e/g") == 0 && file_is("/tmp/d/e/g", "a"),
	       "rename to another directory");
	expect(call(RENAME, "/tmp/d/e/g", "/tmp/d") < 0, "a file over a directory");
	expect(call(RENAME, "/tmp/d/e", "/tmp/h") == 0 && file_is("/tmp/h/g", "a"),
	       "rename of a directory");
	expect(call(RENAME, "/tmp/h", "/tmp/d") == 0 && file_is("/tmp/d/g", "a"),
	       "rename over an empty directory");
	expect(call(UNLINK, "/tmp/d/g") == 0 && call(RMDIR, "/tmp/d") == 0, "what is left");
}

static void directories(void)
{
	expect(call(MKDIR, "/tmp/d", 0700) == 0 && call(MKDIR, "/tmp/d", 0700) == -EEXIST, "mkdir");
	make_file("/tmp/d/f", "f");
	expect(call(RMDIR, "/tmp/d") == -ENOTEMPTY && call(UNLINK, "/tmp/d") == -EISDIR,
	       "a directory that is in use");
	expect(call(RMDIR, "/tmp/d/f") == -ENOTDIR, "rmdir of a file");
	expect(call(MKDIR, "/tmp/d/f/x", 0700) == -ENOTDIR, "mkdir below a file");
	expect(call(CHDIR, "/tmp/d") == 0 && file_is("f", "f") && file_is("../d/./f", "f"),
	       "chdir");
	expect(call(GETCWD, buffer, 100) == 7 && equal(buffer, "/tmp/d"), "getcwd");
	expect(call(UNLINK, "f") == 0 && call(RMDIR, "/tmp/d") == 0, "rmdir");
	expect(call(OPEN, "f", O_CREAT | O_RDWR, 0600) == -ENOENT,
	       "a file in a directory that is gone");
}

/* ".." of a directory that is gone, whose parent is gone, too. */
static void directories_gone(void)
{
	call(MKDIR, "/tmp/p", 0700);
	call(MKDIR, "/tmp/p/q", 0700);
	call(CHDIR, "/tmp/p/q");
	expect(call(RMDIR, "/tmp/p/q") == 0 && call(RMDIR, "/tmp/p") == 0, "rmdir");
	/* New files may take the memory that the kernel freed with the directories. */
	for (unsigned i = 0; i < 16; i++) {
		char name[] = "/tmp/fill-a";

		name[10] += i;
		make_file(name, name);
	}
	call(GETCWD, buffer, 100);
	expect(call(OPEN, "../x", O_CREAT | O_RDWR, 0600) == -ENOENT, "a file in what is gone");
	expect(call(CHDIR, "../..") == 0 && call(GETCWD, buffer, 100) == 5 && equal(buffer, "/tmp"),
	       "the way back from what is gone");
	for (unsigned i = 0; i < 16; i++) {
		char name[] = "/tmp/fill-a";

		name[10] += i;
		call(UNLINK, name);
	}
}

static void long_names(void)
{
	static char path[PAGE + 10];

	memcpy(path, "/tmp/", 5);
	memset(path + 5, 'n', NAME_MOST + 1);
	expect(call(OPEN, path, O_CREAT | O_RDWR, 0600) == -ENAMETOOLONG, "a name of 256 bytes");
	expect(call(MKDIR, path, 0700) == -ENAMETOOLONG, "a directory's name of 256 bytes");
	path[5 + NAME_MOST] = 0;
	expect(make_file(path, "long") == 4 && file_is(path, "long") && call(UNLINK, path) == 0,
	       "a name of 255 bytes");
	memset(path, '/', PAGE);
	memcpy(path, "/tmp", 4);
	expect(call(OPEN, path, 0, 0) == -ENAMETOOLONG, "a path of 4096 bytes");
	path[PAGE - 1] = 0;
	expect(call(OPEN, path, 0, 0) >= 0, "a path of 4095 bytes");
}

static const char *numbered(unsigned number)
{
	static char path[] = "/tmp/many/000";

	path[10] = '0' + number / 100;
	path[11] = '0' + number / 10 % 10;
	path[12] = '0' + number % 10;
	return path;
}

/* Files that go while their directory is listed. */
static void many_files(void)
{
	unsigned found = 0;
	long fd, done;

	call(MKDIR, "/tmp/many", 0700);
	for (unsigned i = 0; i < FILES; i++)
		expect(make_file(numbered(i), numbered(i)) > 0, "one of many files");
	for (unsigned i = 0; i < FILES; i += 7)
		expect(file_is(numbered(i), numbered(i)), "one of many files' content");
	fd = call(OPEN, "/tmp/many", 0, 0);
	while ((done = call(GETDENTS64, fd, buffer, 200)) > 0) {
		for (long at = 0; at < done; at += *(uint16_t *)(buffer + at + 16)) {
			const char *name = buffer + at + 19;

			if (name[0] == '.')
				continue;
			found++;
			call(CHDIR, "/tmp/many");
			expect(call(UNLINK, name) == 0, "unlink while it is listed");
		}
	}
	expect(found == FILES && done == 0, "a listing misses files");
	expect(call(RMDIR, "/tmp/many") == 0, "the empty directory");
}

static void links(void)
{
	make_file("/tmp/target", "content");
	expect(call(SYMLINK, "target", "/tmp/link") == 0 && file_is("/tmp/link", "content"),
	       "a link");
	expect(call(READLINK, "/tmp/link", buffer, 3) == 3 && same_bytes(buffer, "tar", 3),
	       "readlink");
	expect(call(SYMLINK, "loop", "/tmp/loop") == 0 && call(OPEN, "/tmp/loop", 0, 0) == -40,
	       "a link to itself");
	call(UNLINK, "/tmp/target");
	expect(call(OPEN, "/tmp/link", 0, 0) == -ENOENT, "a link to nothing");
	call(UNLINK, "/tmp/link");
	call(UNLINK, "/tmp/loop");
}

/* A read that waits while another thread closes the descriptor. */
static int closed[2];

static void close_later(void *argument)
{
	nap(20);
	call(CLOSE, closed[0]);
	call(WRITE, closed[1], "x", 1);
}

static void close_under_read(void)
{
	struct task task;
	char byte = 0;

	on_signal(SIGPIPE, SIGNAL_IGNORE, 0);
	call(PIPE, closed);
	task_start(&task, close_later, NULL);
	expect(call(READ, closed[0], &byte, 1) == 1 && byte == 'x',
	       "a read whose descriptor closes");
	task_join(&task);
	expect(call(WRITE, closed[1], "x", 1) == -EPIPE, "the last reader is gone");
}

static void mapped_unnamed(void)
{
	long fd = call(MEMFD_CREATE, "memory", 0);
	char *first, *second;

	expect(fd >= 0 && call(FTRUNCATE, fd, 2 * PAGE) == 0, "memfd_create");
	first = map(NULL, 2 * PAGE, RW, MAP_SHARED, fd);
	second = map(NULL, 2 * PAGE, RW, MAP_PRIVATE, fd);
	first[PAGE] = 5;
	expect(second[PAGE] == 5, "two mappings of one file");
	second[PAGE] = 6;
	expect(first[PAGE] == 5, "a private write is seen");
	call(CLOSE, fd);
	first[0] = 7;
	expect(second[0] == 7, "a mapping ends with the descriptor");
}

static volatile unsigned too_large;

static void count_too_large(int signal)
{
	too_large += signal;
}

static void write_too_far(void)
{
	long fd = call(OPEN, "/tmp/limited", O_CREAT | O_RDWR, 0600);

	set_limit(RLIMIT_FILE, 100);
	syscall6(SYS_PWRITE, fd, (long)"x", 1, 100, 0, 0);
}

/* RLIMIT_FSIZE: a write is cut short there, and one behind it is told by a signal. */
static void size_limit(void)
{
	static char text[200];
	long fd = call(OPEN, "/tmp/limited", O_CREAT | O_RDWR, 0600);

	expect(DIED_OF(ends_with(write_too_far)) == SIGXFSZ, "a write behind the limit");
	on_signal(SIGXFSZ, count_too_large, 0);
	set_limit(RLIMIT_FILE, 100);
	expect(call(WRITE, fd, text, 60) == 60 && call(WRITE, fd, text, 60) == 40 && !too_large,
	       "a write across it");
	expect(call(WRITE, fd, text, 1) == -EFBIG && too_large == SIGXFSZ, "behind it");
	expect(call(WRITE, fd, text, 0) == 0, "of nothing");
	expect(call(FTRUNCATE, fd, 101) == -EFBIG && too_large == 2 * SIGXFSZ, "ftruncate");
	expect(syscall6(SYS_FALLOCATE, fd, 0, 0, 101, 0, 0) == -EFBIG, "fallocate");
	expect(call(FTRUNCATE, fd, 90) == 0 && call(FTRUNCATE, fd, 100) == 0, "up to it");
	call(CLOSE, fd);
	call(UNLINK, "/tmp/limited");
}

const struct user_test file_tests[] = {
	{ "pipe-end", pipe_end },
	{ "pipe-full", pipe_full },
	{ "pipe-large", pipe_large },
	{ "pipe-broken", pipe_broken },
	{ "pipe-writers", pipe_writers },
	{ "duplicates", duplicates },
	{ "descriptors-end", descriptors_end },
	{ "file-contents", file_contents },
	{ "file-truncate", file_truncate },
	{ "unlink-open", unlink_open },
	{ "renames", renames },
	{ "directories", directories },
	{ "directories-gone", directories_gone },
	{ "long-names", long_names },
	{ "many-files", many_files },
	{ "links", links },
	{ "close-under-read", close_under_read },
	{ "mapped-unnamed", mapped_unnamed },
	{ "size-limit", size_limit },
	{ NULL, NULL },
};

/* Tests of locks on files: POSIX, of the open file, and flock's. */
#include "guest/programs/tests/usertests.h"

#define SYS_FLOCK     73
#define F_GETLK	      5
#define F_SETLK	      6
#define F_SETLKW      7
#define F_OFD_GETLK   36
#define F_OFD_SETLK   37
#define F_RDLCK	      0
#define F_WRLCK	      1
#define F_UNLCK	      2
#define LOCK_SH	      1
#define LOCK_EX	      2
#define LOCK_NB	      4
#define LOCK_UN	      8
#define EDEADLK	      35
#define EOVERFLOW     75
#define O_PATH	      0x200000
#define NAME	      "/tmp/locked"
#define WRITERS	      4
#define ROUNDS	      25
#define RANDOM_BYTES  48
#define RANDOM_ROUNDS 400
#define RANDOM_OWNERS 3

struct flock {
	int16_t type, whence;
	int64_t start, length;
	int32_t pid;
};

static long open_it(int flags)
{
	return call(OPEN, NAME, flags | O_CREAT, 0600);
}

static void done_with(long fd)
{
	call(CLOSE, fd);
	call(UNLINK, NAME);
}

static long lock(long fd, int command, int type, int64_t start, int64_t length)
{
	struct flock flock = { (int16_t)type, 0, start, length, 0 };

	return call(FCNTL, fd, command, &flock);
}

/* The lock that stands in the way of a write lock on the range. */
static struct flock in_the_way(long fd, int command, int64_t start, int64_t length)
{
	struct flock flock = { F_WRLCK, 0, start, length, 0 };

	expect(call(FCNTL, fd, command, &flock) == 0, "F_GETLK");
	return flock;
}

static bool is(struct flock flock, int type, int64_t start, int64_t length, int pid)
{
	return flock.type == type && flock.start == start && flock.length == length &&
	       flock.pid == pid;
}

/* In a child, whose failures are the test's. */
static void in_other(void (*body)(long), long fd)
{
	long pid = call(FORK);

	if (pid == 0) {
		failures = 0;
		body(fd);
		exit(failures ? 1 : 0);
	}
	expect(wait_for(pid) == 0, "another process");
}

static void other_sees(long fd)
{
	long parent = call(GETPPID);

	expect(is(in_the_way(fd, F_GETLK, 0, 0), F_WRLCK, 10, 10, parent), "the lock in the way");
	expect(in_the_way(fd, F_GETLK, 0, 10).type == F_UNLCK, "before it nothing is");
	expect(lock(fd, F_SETLK, F_WRLCK, 19, 1) == -EAGAIN, "its last byte is locked");
	expect(lock(fd, F_SETLK, F_RDLCK, 5, 10) == -EAGAIN, "to readers too");
	expect(lock(fd, F_SETLK, F_WRLCK, 20, 0) == 0, "behind it nothing is");
	expect(lock(fd, F_SETLK, F_WRLCK, 0, 10) == 0, "nor before it");
}

static void other_sees_pieces(long fd)
{
	long parent = call(GETPPID);

	expect(is(in_the_way(fd, F_GETLK, 0, 0), F_WRLCK, 10, 3, parent), "the left piece");
	expect(is(in_the_way(fd, F_GETLK, 13, 0), F_RDLCK, 16, 4, parent), "the right piece");
	expect(lock(fd, F_SETLK, F_RDLCK, 13, 0) == 0, "readers share");
}

static void other_sees_none(long fd)
{
	expect(in_the_way(fd, F_GETLK, 0, 0).type == F_UNLCK, "locks that are gone");
}

static void record(void)
{
	long fd = open_it(O_RDWR), other;

	expect(lock(fd, F_SETLK, F_WRLCK, 10, 10) == 0, "a lock");
	expect(in_the_way(fd, F_GETLK, 0, 0).type == F_UNLCK, "one's own is not in the way");
	in_other(other_sees, fd);
	expect(lock(fd, F_SETLK, F_UNLCK, 13, 3) == 0, "a hole");
	expect(lock(fd, F_SETLK, F_RDLCK, 16, 4) == 0, "a weaker lock");
	in_other(other_sees_pieces, fd);
	/* Whatever descriptor of it is closed, they all go. */
	other = open_it(0);
	call(CLOSE, other);
	in_other(other_sees_none, fd);
	expect(lock(fd, F_SETLK, F_WRLCK, 10, 10) == 0, "again");
	other = open_it(O_PATH);
	call(CLOSE, other);
	in_other(other_sees, fd);
	done_with(fd);
}

static void record_errors(void)
{
	long fd = open_it(O_RDWR), reader = open_it(0);
	struct flock ends = { F_RDLCK, 2, -4, -4, 0 };

	expect(lock(reader, F_SETLK, F_WRLCK, 0, 1) == -EBADF, "a writer's lock of a reader");
	expect(lock(fd, F_SETLK, 3, 0, 1) == -EINVAL, "a type that is none");
	expect(lock(fd, F_GETLK, F_UNLCK, 0, 1) == -EINVAL, "what is in the way of nothing");
	expect(lock(fd, F_SETLK, F_RDLCK, -1, 1) == -EINVAL, "before the start");
	expect(lock(fd, F_SETLK, F_RDLCK, 4, -5) == -EINVAL, "a length that goes there");
	expect(lock(fd, F_SETLK, F_RDLCK, 2, INT64_MAX) == -EOVERFLOW, "beyond the end of all");
	expect(call(FCNTL, fd, F_SETLK, 8) == -EFAULT, "a lock nowhere");
	expect(lock(99, F_SETLK, F_RDLCK, 0, 1) == -EBADF, "no descriptor");
	expect(call(WRITE, fd, "0123456789", 10) == 10, "write");
	expect(call(FCNTL, fd, F_SETLK, &ends) == 0, "from the end, backwards");
	expect(lock(reader, F_OFD_SETLK, F_RDLCK, 0, 1) == 0, "readers");
	expect(is(in_the_way(reader, F_OFD_GETLK, 0, 0), F_RDLCK, 2, 4, call(GETPID)), "2 to 5");
	call(CLOSE, reader);
	done_with(fd);
}

static void nothing(int signal)
{
}

static void other_waits(long fd)
{
	call(WRITE, ((int *)fd)[1], "x", 1);
	expect(lock(((int *)fd)[2], F_SETLKW, F_WRLCK, 0, 0) == 0, "the lock when it is free");
}

static void record_waits(void)
{
	int ends[3];
	char byte;
	long pid;

	ends[2] = open_it(O_RDWR);
	call(PIPE, ends);
	expect(lock(ends[2], F_SETLK, F_WRLCK, 0, 0) == 0, "a lock");
	pid = call(FORK);
	if (pid == 0) {
		failures = 0;
		other_waits((long)ends);
		/* Meanwhile the parent, too, waits, until its alarm rings. */
		call(WRITE, ends[1], "y", 1);
		nap(1500);
		exit(failures ? 1 : 0);
	}
	call(READ, ends[0], &byte, 1);
	nap(20);
	expect(lock(ends[2], F_SETLK, F_UNLCK, 0, 0) == 0, "unlock");
	call(READ, ends[0], &byte, 1);
	on_signal(SIGALRM, nothing, 0);
	call(ALARM, 1);
	expect(lock(ends[2], F_SETLKW, F_WRLCK, 0, 0) == -EINTR, "a signal ends the wait");
	expect(wait_for(pid) == 0, "who waited");
	done_with(ends[2]);
}

/* Each has one byte and asks for the other's: one of them is told. */
static void deadlock(void)
{
	long fd = open_it(O_RDWR), pid, result;
	int ends[2];
	char byte;

	call(PIPE, ends);
	expect(lock(fd, F_SETLK, F_WRLCK, 0, 1) == 0, "the first");
	pid = call(FORK);
	if (pid == 0) {
		expect(lock(fd, F_SETLK, F_WRLCK, 1, 1) == 0, "the second");
		call(WRITE, ends[1], "x", 1);
		result = lock(fd, F_SETLKW, F_WRLCK, 0, 1);
		exit(result == -EDEADLK ? 35 : result == 0 ? 0 : 1);
	}
	call(READ, ends[0], &byte, 1);
	result = lock(fd, F_SETLKW, F_WRLCK, 1, 1);
	expect(result == 0 || result == -EDEADLK, "who waits in a circle");
	lock(fd, F_SETLK, F_UNLCK, 0, 0);
	expect(EXITED(wait_for(pid)) == (result ? 0 : 35), "one of them is told, and one alone");
	done_with(fd);
}

#define HANDOVERS 5

/* Takes the first byte behind its parent, and gives up the second at once. */
static void wait_and_give(long fd, long to)
{
	expect(lock(fd, F_SETLK, F_WRLCK, 1, 1) == 0, "the second");
	call(WRITE, to, "x", 1);
	expect(lock(fd, F_SETLKW, F_WRLCK, 0, 1) == 0, "the first when it is free");
	expect(lock(fd, F_SETLK, F_UNLCK, 0, 0) == 0, "both");
}

/* A process that was woken waits for nobody any more, although it has not run yet: waiting for it
 * closes no circle. On one CPU it runs when the waker waits. */
static void deadlock_that_is_none(void)
{
	long fd = open_it(O_RDWR);
	int ends[2];
	char byte;

	call(PIPE, ends);
	for (unsigned i = 0; i < HANDOVERS && !failures; i++) {
		long pid;

		expect(lock(fd, F_SETLK, F_WRLCK, 0, 1) == 0, "the first");
		pid = call(FORK);
		if (pid == 0) {
			failures = 0;
			wait_and_give(fd, ends[1]);
			exit(failures ? 1 : 0);
		}
		call(READ, ends[0], &byte, 1);
		nap(2);
		expect(lock(fd, F_SETLK, F_UNLCK, 0, 1) == 0, "unlock");
		expect(lock(fd, F_SETLKW, F_WRLCK, 1, 1) == 0, "a wait that is no circle");
		lock(fd, F_SETLK, F_UNLCK, 0, 0);
		expect(wait_for(pid) == 0, "who was woken");
	}
	done_with(fd);
}

/* Has the first byte until it is told. */
static void hold_first(long fd, const int *held, const int *told)
{
	char byte;

	expect(lock(fd, F_SETLK, F_WRLCK, 0, 1) == 0, "the first");
	call(WRITE, held[1], "x", 1);
	call(READ, told[0], &byte, 1);
}

static void wait_in_task(void *fd)
{
	expect(lock((long)fd, F_SETLKW, F_WRLCK, 0, 1) == -EBADF, "a descriptor that was closed");
}

static void other_finds_tenth(long fd)
{
	long parent = call(GETPPID);

	expect(is(in_the_way(fd, F_GETLK, 0, 0), F_WRLCK, 10, 1, parent), "the tenth alone");
}

/* A lock that comes when its descriptor is closed goes again, and no other goes with it. */
static void closed_while_waiting(void)
{
	long fd = open_it(O_RDWR), other = open_it(O_RDWR), pid;
	static struct task task;
	int held[2], told[2];
	char byte;

	call(PIPE, held);
	call(PIPE, told);
	pid = call(FORK);
	if (pid == 0) {
		failures = 0;
		hold_first(fd, held, told);
		exit(failures ? 1 : 0);
	}
	call(READ, held[0], &byte, 1);
	expect(task_start(&task, wait_in_task, (void *)other) > 0, "no thread");
	nap(20);
	call(CLOSE, other);
	expect(lock(fd, F_SETLK, F_WRLCK, 10, 1) == 0, "the tenth");
	call(WRITE, told[1], "x", 1);
	task_join(&task);
	expect(wait_for(pid) == 0, "the holder");
	in_other(other_finds_tenth, fd);
	done_with(fd);
}

static void open_files(void)
{
	long one = open_it(O_RDWR), two = open_it(O_RDWR), copy = call(DUP, one);

	expect(lock(one, F_OFD_SETLK, F_WRLCK, 0, 8) == 0, "a lock");
	expect(lock(copy, F_OFD_SETLK, F_WRLCK, 4, 8) == 0, "the same open file");
	expect(lock(two, F_OFD_SETLK, F_RDLCK, 11, 1) == -EAGAIN, "another of the same process");
	expect(lock(two, F_SETLK, F_RDLCK, 11, 1) == -EAGAIN, "the process itself");
	expect(is(in_the_way(two, F_OFD_GETLK, 0, 0), F_WRLCK, 0, 12, -1), "both are one");
	call(CLOSE, one);
	expect(lock(two, F_OFD_SETLK, F_RDLCK, 11, 1) == -EAGAIN, "a copy is still open");
	call(CLOSE, copy);
	expect(lock(two, F_OFD_SETLK, F_RDLCK, 11, 1) == 0, "none is");
	done_with(two);
}

static void other_flocks(long fd)
{
	expect(call(FLOCK, fd, LOCK_EX | LOCK_NB) == 0, "a child has its parent's");
	expect(call(FLOCK, fd, LOCK_SH) == 0, "and may weaken it");
}

static void whole(void)
{
	long one = open_it(O_RDWR), two = open_it(0);

	expect(call(FLOCK, one, LOCK_EX) == 0, "flock");
	expect(call(FLOCK, two, LOCK_SH | LOCK_NB) == -EAGAIN, "another open file");
	expect(lock(one, F_SETLK, F_WRLCK, 0, 0) == 0, "record locks are another thing");
	in_other(other_flocks, one);
	expect(call(FLOCK, two, LOCK_SH | LOCK_NB) == 0, "readers share");
	expect(call(FLOCK, one, LOCK_EX | LOCK_NB) == -EAGAIN, "with no writer");
	/* Which took what it had away. */
	expect(call(FLOCK, two, LOCK_EX | LOCK_NB) == 0, "a lock that was given for another");
	expect(call(FLOCK, one, LOCK_SH | LOCK_NB) == -EAGAIN, "a writer");
	expect(call(FLOCK, two, LOCK_UN) == 0 && call(FLOCK, one, LOCK_SH | LOCK_NB) == 0,
	       "unlock");
	expect(call(FLOCK, one, 3) == -EINVAL && call(FLOCK, 99, LOCK_SH) == -EBADF, "errors");
	call(CLOSE, one);
	expect(call(FLOCK, two, LOCK_EX | LOCK_NB) == 0, "the end of a lock with its file");
	done_with(two);
}

static void count_up(long fd)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint32_t number = 0;

		expect(lock(fd, F_SETLKW, F_WRLCK, 1 << 30, 1) == 0, "a writer's lock");
		syscall6(SYS_PREAD, fd, (long)&number, 4, 0, 0, 0);
		call(SCHED_YIELD);
		number++;
		syscall6(SYS_PWRITE, fd, (long)&number, 4, 0, 0, 0);
		expect(lock(fd, F_SETLK, F_UNLCK, 1 << 30, 1) == 0, "its end");
	}
}

/* As a data base does it: each writer reads, thinks and writes under a lock on a byte far away. */
static void writers(void)
{
	long fd = open_it(O_RDWR), pids[WRITERS];
	uint32_t number = 0;

	for (unsigned i = 0; i < WRITERS; i++) {
		pids[i] = call(FORK);
		if (pids[i] == 0) {
			failures = 0;
			count_up(fd);
			exit(failures ? 1 : 0);
		}
	}
	for (unsigned i = 0; i < WRITERS; i++)
		expect(wait_for(pids[i]) == 0, "a writer");
	syscall6(SYS_PREAD, fd, (long)&number, 4, 0, 0, 0);
	expect(number == WRITERS * ROUNDS, "writers overwrite each other");
	done_with(fd);
}

/* Three owners lock and unlock ranges at random; a table of bytes says what each must get. */
static uint8_t types[RANDOM_OWNERS][RANDOM_BYTES];

static bool is_in_the_way(unsigned owner, unsigned at, int type)
{
	for (unsigned other = 0; other < RANDOM_OWNERS; other++) {
		uint8_t has = types[other][at];

		if (other != owner && has != F_UNLCK && (has == F_WRLCK || type == F_WRLCK))
			return true;
	}
	return false;
}

/* Of the locks that have the byte and are not the owner's, the one that begins first. */
static bool is_first_in_the_way(struct flock flock, unsigned owner, unsigned at)
{
	unsigned first = RANDOM_BYTES;
	bool found = false;

	for (unsigned other = 0; other < RANDOM_OWNERS; other++) {
		uint8_t type = types[other][at];
		unsigned start = at, end = at + 1;

		if (other == owner || type == F_UNLCK)
			continue;
		while (start > 0 && types[other][start - 1] == type)
			start--;
		while (end < RANDOM_BYTES && types[other][end] == type)
			end++;
		if (start < first)
			found = false;
		first = start < first ? start : first;
		found = found || is(flock, type, start, end - start, -1);
	}
	return found;
}

static void random_step(const long *fds, uint64_t number)
{
	unsigned owner = number % RANDOM_OWNERS, start = (number >> 8) % RANDOM_BYTES;
	unsigned length = 1 + (number >> 16) % (RANDOM_BYTES - start);
	int type = (number >> 24) % 3;
	bool free = true;
	long result;

	for (unsigned i = start; i < start + length && type != F_UNLCK; i++)
		free = free && !is_in_the_way(owner, i, type);
	result = lock(fds[owner], F_OFD_SETLK, type, start, length);
	expect(result == (free ? 0 : -EAGAIN), "a lock at random");
	if (free)
		memset(types[owner] + start, type, length);
	for (unsigned i = number >> 32 & 7; i < RANDOM_BYTES; i += 8) {
		struct flock flock = in_the_way(fds[owner], F_OFD_GETLK, i, 1);

		expect((flock.type != F_UNLCK) == is_in_the_way(owner, i, F_WRLCK), "its table");
		expect(flock.type == F_UNLCK || is_first_in_the_way(flock, owner, i),
		       "the first of them");
	}
}

static void at_random(void)
{
	uint64_t seed = now();
	long fds[RANDOM_OWNERS];

	memset(types, F_UNLCK, sizeof(types));
	for (unsigned i = 0; i < RANDOM_OWNERS; i++)
		fds[i] = open_it(O_RDWR);
	for (unsigned i = 0; i < RANDOM_ROUNDS && !failures; i++)
		random_step(fds, mix(seed + i));
	if (failures)
		print("seed %lu\n", seed);
	for (unsigned i = 0; i < RANDOM_OWNERS; i++)
		done_with(fds[i]);
}

const struct user_test lock_tests[] = {
	{ "lock-record", record },
	{ "lock-errors", record_errors },
	{ "lock-waits", record_waits },
	{ "lock-deadlock", deadlock },
	{ "lock-no-deadlock", deadlock_that_is_none },
	{ "lock-closed", closed_while_waiting },
	{ "lock-open-file", open_files },
	{ "lock-flock", whole },
	{ "lock-writers", writers },
	{ "lock-random", at_random },
	{ NULL, NULL },
};

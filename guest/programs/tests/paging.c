/* Demand paging: copy-on-write both ways, shared memory, file mappings, and the counts of faults.
 * Status 0 when all of it is as on Linux. It runs there too. */
#include "guest/programs/runtime/runtime.h"

#define MIB    (1ul << 20)
#define RW     (PROT_READ | PROT_WRITE)
#define SHARED (MAP_SHARED | MAP_ANONYMOUS)

static unsigned failures;

static void expect(bool condition, const char *what)
{
	if (condition)
		return;
	print("paging: %s\n", what);
	failures++;
}

static uint64_t *map(size_t size, int protection, int flags, int fd)
{
	long result = syscall6(SYS_MMAP, 0, size, protection, flags, fd, 0);

	return result < 0 && result > -4096 ? NULL : (uint64_t *)result;
}

static void unmap(void *memory, size_t size)
{
	expect(syscall3(SYS_MUNMAP, memory, size, 0) == 0, "munmap fails");
}

static void mark(uint64_t *memory, size_t pages, uint64_t seed)
{
	for (size_t i = 0; i < pages; i++)
		memory[i * 512 + i % 512] = mix(seed + i);
}

static bool marked(const uint64_t *memory, size_t pages, uint64_t seed)
{
	for (size_t i = 0; i < pages; i++) {
		if (memory[i * 512 + i % 512] != mix(seed + i))
			return false;
	}
	return true;
}

/* Runs `body` in a forked child: whether it ended with status 0. */
static bool in_child(bool (*body)(uint64_t *), uint64_t *memory)
{
	int status = -1;
	long pid = syscall3(SYS_FORK, 0, 0, 0);

	if (pid == 0)
		exit(body(memory) ? 0 : 1);
	return pid > 0 && syscall3(SYS_WAIT4, pid, &status, 0) == pid && status == 0;
}

enum { PAGES = 600 }; /* of the memory that goes through forks: more than a leaf table */

static bool child_reads_then_writes(uint64_t *memory)
{
	bool right = marked(memory, PAGES, 1);

	mark(memory, PAGES, 2);
	return right && marked(memory, PAGES, 2);
}

static bool child_reads(uint64_t *memory)
{
	return marked(memory, PAGES, 1);
}

static void copy_on_write(void)
{
	uint64_t *memory = map(PAGES * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	long pid;
	int status = -1;

	mark(memory, PAGES, 1);
	for (unsigned round = 0; round < 3; round++) {
		expect(in_child(child_reads_then_writes, memory), "a child's copy is wrong");
		expect(marked(memory, PAGES, 1), "a child's write is seen by the parent");
	}
	/* The parent writes first, while the child waits: the child keeps what was. */
	pid = syscall3(SYS_FORK, 0, 0, 0);
	if (pid == 0) {
		struct timespec time = { 0, 20000000 };

		syscall3(SYS_NANOSLEEP, &time, 0, 0);
		exit(marked(memory, PAGES, 1) ? 0 : 1);
	}
	mark(memory, PAGES, 3);
	syscall3(SYS_WAIT4, pid, &status, 0);
	expect(status == 0, "a parent's write is seen by the child");
	expect(marked(memory, PAGES, 3), "the parent's own write is lost");
	mark(memory, PAGES, 1);
	expect(in_child(child_reads, memory), "the second child's copy is wrong");
	unmap(memory, PAGES * PAGE);
}

/* The parent takes its own away while the child holds it, and maps anew in the same place. */
static void parent_unmaps_first(void)
{
	uint64_t *memory = map(PAGES * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1), *again;
	int status = -1;
	long pid;

	mark(memory, PAGES, 1);
	pid = syscall3(SYS_FORK, 0, 0, 0);
	if (pid == 0) {
		struct timespec time = { 0, 20000000 };

		syscall3(SYS_NANOSLEEP, &time, 0, 0);
		exit(child_reads_then_writes(memory) ? 0 : 1);
	}
	syscall3(SYS_MADVISE, memory, PAGES / 2 * PAGE, 4);
	mark(memory, PAGES / 2, 7);
	unmap(memory + PAGES / 4 * 512, PAGES / 8 * PAGE);
	again = (uint64_t *)syscall6(SYS_MMAP, (long)(memory + PAGES / 4 * 512), PAGES / 8 * PAGE,
				     RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	for (unsigned i = 0; i < PAGES / 8; i++)
		expect(again[i * 512] == 0, "a new page in an old place is not zero");
	mark(again, PAGES / 8, 8);
	syscall3(SYS_WAIT4, pid, &status, 0);
	expect(status == 0, "the child lost pages that the parent gave up");
	expect(marked(memory, PAGES / 4, 7) && marked(again, PAGES / 8, 8),
	       "the parent's new pages are wrong");
	syscall3(SYS_MADVISE, memory, PAGES * PAGE, 4);
	mark(memory, PAGES, 9);
	expect(marked(memory, PAGES, 9), "memory does not hold after all that");
	unmap(memory, PAGES * PAGE);
}

/* A chain of forks, each deeper than the last: all see what the first wrote, each writes its own.
 */
static bool generation(uint64_t *memory, unsigned depth)
{
	int status = -1;
	long pid;

	if (!marked(memory + 512 * 64, 64, 1))
		return false;
	mark(memory, 64, 100 + depth);
	if (depth == 0)
		return true;
	pid = syscall3(SYS_FORK, 0, 0, 0);
	if (pid == 0)
		exit(generation(memory, depth - 1) ? 0 : 1);
	syscall3(SYS_WAIT4, pid, &status, 0);
	return status == 0 && marked(memory, 64, 100 + depth);
}

static void deep_fork(void)
{
	uint64_t *memory = map(128 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	mark(memory + 512 * 64, 64, 1);
	expect(generation(memory, 12), "a chain of forks mixes its pages");
	unmap(memory, 128 * PAGE);
}

static bool child_writes_5(uint64_t *memory)
{
	bool right = marked(memory, 200, 4);

	mark(memory, 200, 5);
	mark(memory + 200 * 512, 100, 6);
	return right;
}

/* Shared anonymous memory: pages touched before the fork and after it are one. */
static void shared_anonymous(void)
{
	uint64_t *memory = map(400 * PAGE, RW, SHARED, -1);

	mark(memory, 200, 4);
	expect(in_child(child_writes_5, memory), "shared memory differs in a child");
	expect(marked(memory, 200, 5), "a child's write to shared memory is not seen");
	expect(marked(memory + 200 * 512, 100, 6), "a page first touched by a child is not seen");
	for (unsigned i = 300; i < 400; i++)
		expect(memory[i * 512] == 0, "shared memory is not zero at first");
	expect(syscall3(SYS_MSYNC, memory, 400 * PAGE, 4) == 0, "msync fails");
	mark(memory, 200, 6);
	expect(marked(memory, 200, 6), "shared memory cannot be written after msync");
	expect(syscall3(SYS_MSYNC, memory, 400 * PAGE, 5) == -22, "msync takes two modes at once");
	expect(syscall3(SYS_MSYNC, (char *)memory + 1, PAGE, 4) == -22, "msync of an odd address");
	unmap(memory, 400 * PAGE);
	expect(syscall3(SYS_MSYNC, memory, PAGE, 4) == -12, "msync of a hole");
}

/* A private mapping of a file: read, written, forked; and what may not be. */
static void private_file(const char *path)
{
	long fd = syscall3(SYS_OPEN, path, 0, 0);
	uint64_t *memory = map(3 * PAGE, RW, MAP_PRIVATE, fd);
	uint64_t *other = map(3 * PAGE, PROT_READ, MAP_PRIVATE, fd), was = other[512];
	int status = -1;
	long pid;

	expect(map(PAGE, RW, MAP_SHARED, fd) == NULL, "a shared mapping writes a read-only file");
	memory[512] = 77;
	expect(other[512] == was, "a private write reaches the file");
	pid = syscall3(SYS_FORK, 0, 0, 0);
	if (pid == 0) {
		bool right = memory[512] == 77 && other[512] == was && memory[0] == other[0];

		memory[512] = 78;
		exit(right && memory[512] == 78 ? 0 : 1);
	}
	syscall3(SYS_WAIT4, pid, &status, 0);
	expect(status == 0 && memory[512] == 77, "a private file page goes wrong over a fork");
	syscall3(SYS_MADVISE, memory, 3 * PAGE, 4);
	expect(memory[512] == was, "MADV_DONTNEED does not bring the file back");
	unmap(memory, 3 * PAGE);
	unmap(other, 3 * PAGE);
	syscall3(SYS_CLOSE, fd, 0, 0);
}

/* A file of the process's own: what a shared mapping writes is what read() gives, and the other way
 * round; beyond its end there is nothing. */
static bool child_writes_file(uint64_t *memory)
{
	bool right = memory[0] == 11 && memory[512] == 12;

	memory[512] = 13;
	return right;
}

static bool child_reads_beyond(uint64_t *memory)
{
	return *(volatile uint64_t *)memory == 0;
}

static bool dies_of_bus(uint64_t *memory)
{
	int status = -1;
	long pid = syscall3(SYS_FORK, 0, 0, 0);

	if (pid == 0)
		exit(child_reads_beyond(memory));
	syscall3(SYS_WAIT4, pid, &status, 0);
	return (status & 0x7f) == 7;
}

static uint64_t read_word(long fd, long offset)
{
	uint64_t word = 0;

	syscall6(SYS_PREAD, fd, (long)&word, 8, offset, 0, 0);
	return word;
}

static void shared_file(const char *path)
{
	long fd = syscall3(SYS_OPEN, path, 0102, 0600);
	uint64_t *memory, *again, *private, word = 21;

	expect(fd >= 0 && syscall3(SYS_FTRUNCATE, fd, 4 * PAGE + 100, 0) == 0,
	       "a file cannot be made");
	memory = map(6 * PAGE, RW, MAP_SHARED, fd);
	again = map(6 * PAGE, PROT_READ, MAP_SHARED, fd);
	private = map(6 * PAGE, RW, MAP_PRIVATE, fd);
	expect(memory[0] == 0 && again[0] == 0 && private[0] == 0, "a hole is not zero");
	memory[0] = 11;
	memory[512] = 12;
	expect(again[0] == 11 && private[0] == 11 && read_word(fd, 0) == 11,
	       "a write to a shared mapping is not seen");
	private[0] = 5;
	expect(memory[0] == 11 && read_word(fd, 0) == 11, "a private write is seen");
	expect(in_child(child_writes_file, memory) && again[512] == 13 && private[512] == 13,
	       "a child's write to a shared mapping is not seen");
	syscall6(SYS_PWRITE, fd, (long)&word, 8, 0, 0, 0);
	expect(memory[0] == 21 && again[0] == 21 && private[0] == 5,
	       "a write to the file is not seen in its mappings");
	expect(syscall3(SYS_MSYNC, memory, 6 * PAGE, 4) == 0, "msync fails");
	memory[0] = 22;
	expect(read_word(fd, 0) == 22, "a write after msync is not seen");
	memory[4 * 512 + 500] = 9;
	expect(read_word(fd, 4 * PAGE + 4000) == 0, "bytes beyond the end are the file's");
	expect(dies_of_bus(memory + 5 * 512), "no SIGBUS beyond the end");
	syscall3(SYS_FTRUNCATE, fd, PAGE, 0);
	expect(memory[0] == 22 && dies_of_bus(memory + 512) && dies_of_bus(private + 512),
	       "no SIGBUS after truncation");
	syscall3(SYS_FTRUNCATE, fd, 2 * PAGE, 0);
	expect(memory[512] == 0, "what was cut off is back");
	unmap(private, 6 * PAGE);
	unmap(again, 6 * PAGE);
	syscall3(SYS_CLOSE, fd, 0, 0);
	syscall3(SYS_UNLINK, path, 0, 0);
	expect(memory[0] == 22, "a mapping ends with its file's name");
	unmap(memory, 6 * PAGE);
}

static long minor_faults(void)
{
	long usage[18];

	syscall3(SYS_GETRUSAGE, 0, usage, 0);
	return usage[8];
}

static void counts(void)
{
	uint64_t *memory = map(512 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	long before, first, again;

	/* The stack may grow by a page for this call itself, after it has counted. */
	minor_faults();
	before = minor_faults();
	for (unsigned i = 0; i < 64; i++)
		memory[(i * 37 % 64) * 8 * 512] = i;
	first = minor_faults() - before;
	for (unsigned i = 0; i < 64; i++)
		memory[i * 8 * 512] = i;
	again = minor_faults() - before - first;
	expect(first > 0 && first <= 64 && again == 0, "minor faults are counted wrong");
	unmap(memory, 512 * PAGE);
}

static void everything(void)
{
	copy_on_write();
	parent_unmaps_first();
	deep_fork();
	shared_anonymous();
	private_file("/proc/self/exe");
	shared_file("/tmp/paging.tmp");
	counts();
}

/* Quire's free pages. */
static long free_pages(void)
{
	static char text[4096];
	long fd = syscall3(SYS_OPEN, "/proc/vmstat", 0, 0), pages = 0;

	syscall3(SYS_READ, fd, text, sizeof(text));
	syscall3(SYS_CLOSE, fd, 0, 0);
	for (const char *at = text + 14; *at >= '0' && *at <= '9'; at++)
		pages = pages * 10 + (*at - '0');
	return pages;
}

/* "leaks": twice, and no page may be missing the second time (on quire, where nobody else runs). */
int main(int argc, char **argv)
{
	everything();
	if (argc > 1 && equal(argv[1], "leaks")) {
		long before = free_pages();

		before = free_pages(); /* its own buffer is there now */
		everything();
		print("paging: %ld pages missing\n", before - free_pages());
		expect(before == free_pages(), "pages are lost");
	}
	print("%s\n", failures ? "paging is WRONG" : "paging is right");
	return failures ? 1 : 0;
}

/* Tests of mappings, page faults, copy-on-write, and of memory's end. */
#include "guest/programs/tests/usertests.h"

#define MREMAP_MAYMOVE 1
#define MREMAP_FIXED   2
#define DONTNEED       4
#define SOME	       64  /* pages */
#define LARGE	       530 /* pages: more than a leaf table's */
#define COPIED	       60  /* pages: a copy takes long where ring 0 is emulated */
#define AREAS	       100
#define STACK_DEEP     (MIB / 2)
#define STACK_LIMIT    MIB

/* Whether an access of the page, in a child, ends in this signal; 0: it goes well. */
static bool access_ends(const void *page, bool write, int signal)
{
	long pid = call(FORK);

	if (pid == 0) {
		volatile char *byte = (volatile char *)page;

		if (write)
			*byte = 1;
		else
			(void)*byte;
		exit(0);
	}
	return wait_for(pid) == signal;
}

static char *fresh(size_t pages)
{
	char *memory = map(NULL, pages * PAGE, RW, PRIVATE_ANONYMOUS, -1);

	expect(memory != NULL, "no memory");
	return memory;
}

static void map_unmap(void)
{
	char *memory = fresh(LARGE);

	mark(memory, LARGE, 1);
	for (unsigned i = 1; i < LARGE; i += 100)
		expect(call(MUNMAP, memory + i * PAGE, PAGE) == 0, "munmap");
	expect(access_ends(memory + PAGE, false, SIGSEGV), "a hole is there");
	expect(access_ends(memory + 2 * PAGE, true, 0), "what is beside a hole is not");
	expect(call(MUNMAP, memory, LARGE * PAGE) == 0, "munmap over holes");
	expect(map(memory, LARGE * PAGE, RW, PRIVATE_ANONYMOUS | MAP_FIXED, -1) == memory,
	       "the same place");
	expect(is_zero(memory, LARGE * PAGE), "old content is back");
}

/* A mapping takes the place of parts of others. */
static void map_over(void)
{
	char *memory = fresh(SOME);

	mark(memory, SOME, 1);
	for (unsigned i = 0; i < SOME; i += 8)
		map(memory + i * PAGE, 4 * PAGE, RW, PRIVATE_ANONYMOUS | MAP_FIXED, -1);
	for (unsigned i = 0; i < SOME; i += 8) {
		expect(is_zero(memory + i * PAGE, 4 * PAGE), "what lies over has old content");
		expect(marked(memory + (i + 4) * PAGE, 4, 1 + i + 4), "what lies beside is lost");
	}
	expect(map((void *)0x1000, PAGE, RW, PRIVATE_ANONYMOUS | MAP_FIXED, -1) == NULL ||
		       call(MUNMAP, 0x1000, PAGE) == 0,
	       "low memory");
	expect(map((void *)0x7ffffffff000, PAGE, RW, PRIVATE_ANONYMOUS | MAP_FIXED, -1) == NULL,
	       "a mapping beyond the program's half");
	expect(call(MUNMAP, 0xffff800000000000, PAGE) == -EINVAL, "munmap of the kernel");
	expect(map(NULL, ~0ul << 12, RW, PRIVATE_ANONYMOUS, -1) == NULL, "all there is");
}

static void protect(void)
{
	char *memory = fresh(SOME);

	mark(memory, SOME, 1);
	expect(call(MPROTECT, memory, PAGE, PROT_READ) == 0, "mprotect");
	expect(call(MPROTECT, memory + PAGE, PAGE, 0) == 0, "mprotect to nothing");
	expect(access_ends(memory, false, 0) && access_ends(memory, true, SIGSEGV), "read only");
	expect(access_ends(memory + PAGE, false, SIGSEGV), "PROT_NONE");
	expect(call(WRITE, 1, memory + PAGE, 1) == -EFAULT, "the kernel reads PROT_NONE");
	expect(call(GETCWD, memory, 100) == -EFAULT, "the kernel writes read-only memory");
	expect(call(MPROTECT, memory, 2 * PAGE, RW) == 0 && marked(memory, SOME, 1),
	       "what PROT_NONE kept");
	call(MUNMAP, memory + 8 * PAGE, PAGE);
	expect(call(MPROTECT, memory, SOME * PAGE, PROT_READ) == -ENOMEM, "mprotect over a hole");
	expect(call(MPROTECT, memory + 1, PAGE, RW) == -EINVAL, "mprotect of an odd place");
}

static void run_page(void)
{
	unsigned char *code = map(NULL, PAGE, RW, PRIVATE_ANONYMOUS, -1);

	*code = 0xc3; /* ret */
	if (call(MPROTECT, code, PAGE, PROT_READ | PROT_EXEC) != 0)
		exit(1);
	((void (*)(void))code)();
	call(MPROTECT, code, PAGE, PROT_READ);
	((void (*)(void))code)();
}

static void execute_data(void)
{
	expect(DIED_OF(ends_with(run_page)) == SIGSEGV, "data is executed");
}

static void *remap(void *at, size_t old, size_t size, unsigned flags, void *to)
{
	long result = syscall6(SYS_MREMAP, (long)at, old, size, flags, (long)to, 0);

	return result < 0 && result > -4096 ? NULL : (void *)result;
}

static void moves(void)
{
	char *memory = fresh(LARGE), *moved, *other = fresh(2 * LARGE);

	mark(memory, LARGE, 1);
	expect(remap(memory, LARGE * PAGE, SOME * PAGE, 0, NULL) == memory, "mremap to less");
	expect(access_ends(memory + SOME * PAGE, false, SIGSEGV), "what was cut off is there");
	moved = remap(memory, SOME * PAGE, LARGE * PAGE, MREMAP_MAYMOVE, NULL);
	expect(moved && marked(moved, SOME, 1) && is_zero(moved + SOME * PAGE, PAGE),
	       "mremap to more");
	other = remap(moved, LARGE * PAGE, 2 * LARGE * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, other);
	expect(other && marked(other, SOME, 1), "mremap to a place");
	expect(access_ends(moved, false, SIGSEGV), "the place it left");
	/* By an odd number of pages: no whole table moves. */
	moved = remap(other, SOME * PAGE, SOME * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
		      other + LARGE * PAGE);
	expect(moved && marked(moved, SOME, 1), "mremap by an odd distance");
	expect(!remap(moved, PAGE, PAGE, MREMAP_FIXED, other), "MREMAP_FIXED alone");
	expect(!remap(other, PAGE, 2 * PAGE, MREMAP_MAYMOVE, NULL), "mremap of a hole");
	expect(access_ends(moved, true, 0), "a write after the moves, in a child");
}

static void heap(void)
{
	char *start = (char *)call(BRK, 0), *end = start + LARGE * PAGE;

	expect((char *)call(BRK, end) == end, "brk");
	mark((char *)(((uint64_t)start + PAGE - 1) & -PAGE), LARGE - 1, 1);
	expect((char *)call(BRK, start + PAGE) == start + PAGE, "brk down");
	expect((char *)call(BRK, end) == end && is_zero(end - PAGE, PAGE), "brk up again");
	expect((char *)call(BRK, start - PAGE) == end, "brk below the start");
	expect((char *)call(BRK, 1ul << 46) == end, "brk to the sky");
	expect((char *)call(BRK, -1l) == end, "brk to the kernel");
	expect((char *)call(BRK, start) == start, "brk back");
}

static void advice(void)
{
	char *memory = fresh(LARGE);
	unsigned char there[4];

	mark(memory, LARGE, 1);
	expect(call(MADVISE, memory, SOME * PAGE, DONTNEED) == 0, "madvise");
	expect(is_zero(memory, SOME * PAGE) && marked(memory + SOME * PAGE, 8, 1 + SOME),
	       "MADV_DONTNEED");
	call(MUNMAP, memory + (LARGE - 1) * PAGE, PAGE);
	expect(call(MADVISE, memory, LARGE * PAGE, DONTNEED) == -ENOMEM, "over the end");
	expect(call(MADVISE, memory + 1, PAGE, DONTNEED) == -EINVAL, "an odd place");
	*memory = 1;
	expect(call(MINCORE, memory, 2 * PAGE, there) == 0 && (there[0] & 1), "mincore");
}

static void child_writes(char *memory, uint64_t seed)
{
	expect(marked(memory, COPIED, 1), "a child's copy");
	mark(memory, COPIED, seed);
	expect(marked(memory, COPIED, seed), "a child's own");
	exit(failures != 0);
}

static void copy_on_write(void)
{
	char *memory = fresh(COPIED);

	mark(memory, COPIED, 1);
	for (unsigned i = 0; i < 2; i++) {
		if (call(FORK) == 0)
			child_writes(memory, 10 + i);
	}
	for (unsigned i = 0; i < 2; i++)
		expect(wait_for(-1) == 0, "a child that writes");
	expect(marked(memory, COPIED, 1), "the parent's own after its children wrote");
	/* The last owner writes: it gets the page itself. */
	mark(memory, COPIED, 20);
	expect(marked(memory, COPIED, 20), "the parent's writes");
}

/* A shared page is also copied when a system call writes to it. */
static void copy_by_call(void)
{
	char *memory = fresh(SOME);
	int ends[2];
	long pid;

	mark(memory, SOME, 1);
	call(PIPE, ends);
	call(WRITE, ends[1], "overwritten by a call", 21);
	pid = call(FORK);
	if (pid == 0) {
		expect(call(READ, ends[0], memory + 2 * PAGE, 21) == 21, "a read to a shared page");
		expect(memory[2 * PAGE] == 'o', "what it read");
		exit(failures != 0);
	}
	expect(wait_for(pid) == 0 && marked(memory, SOME, 1), "a call writes the parent's page");
}

static void shared(void)
{
	char *memory = map(NULL, SOME * PAGE, RW, SHARED_ANONYMOUS, -1);
	long pid = call(FORK);

	if (pid == 0) {
		mark(memory, SOME, 5);
		call(MUNMAP, memory, SOME / 2 * PAGE);
		exit(0);
	}
	expect(wait_for(pid) == 0 && marked(memory, SOME, 5), "a child's write is not seen");
	expect(call(MPROTECT, memory, SOME * PAGE, PROT_READ) == 0, "mprotect");
	expect(access_ends(memory, true, SIGSEGV) && marked(memory, SOME, 5), "read only");
}

static void file_end(void)
{
	long fd = call(OPEN, "/tmp/bus", O_CREAT | O_RDWR, 0600);
	char *memory = map(NULL, 3 * PAGE, RW, MAP_SHARED, fd);

	call(FTRUNCATE, fd, PAGE + 100);
	memory[PAGE] = 'x';
	expect(access_ends(memory + 2 * PAGE, false, SIGBUS), "beyond a file's end");
	expect(call(WRITE, 1, memory + 2 * PAGE, 1) == -EFAULT, "the kernel beyond a file's end");
	call(FTRUNCATE, fd, 0);
	expect(access_ends(memory + PAGE, false, SIGBUS), "what was cut off is mapped");
	call(FTRUNCATE, fd, 2 * PAGE);
	expect(memory[PAGE] == 0, "what was cut off is back");
	call(UNLINK, "/tmp/bus");
}

/* The program's own text, written privately. */
static void file_private(void)
{
	long fd = call(OPEN, self, 0, 0);
	char *one = map(NULL, 2 * PAGE, RW, MAP_PRIVATE, fd);
	char *two = map(NULL, 2 * PAGE, PROT_READ, MAP_PRIVATE, fd), was = two[PAGE];

	expect(begins(one, "\177ELF"), "a program's first bytes");
	one[PAGE] = was + 1;
	expect(two[PAGE] == was && one[PAGE] == (char)(was + 1), "a private write of a file");
	expect(call(MADVISE, one, 2 * PAGE, DONTNEED) == 0 && one[PAGE] == was, "the file again");
	expect(map(NULL, PAGE, RW, MAP_SHARED, fd) == NULL, "a shared write of what is read only");
}

static void many_areas(void)
{
	char *memory = fresh(AREAS);
	unsigned right = 0;

	for (unsigned i = 0; i < AREAS; i += 2)
		right += call(MPROTECT, memory + i * PAGE, PAGE, PROT_READ) == 0;
	expect(right == AREAS / 2, "many areas");
	for (unsigned i = 1; i < AREAS; i += 2)
		memory[i * PAGE] = i;
	expect(access_ends(memory + 2 * PAGE, true, SIGSEGV), "one of many areas");
	expect(call(MPROTECT, memory, AREAS * PAGE, RW) == 0, "one again");
	for (unsigned i = 0; i < AREAS; i++)
		expect(memory[i * PAGE] == (char)(i % 2 ? i : 0), "many areas' content");
}

static __attribute__((noinline)) unsigned deep(unsigned bytes)
{
	volatile char here[1000];

	here[0] = here[999] = bytes;
	return bytes < 1000 ? 0 : deep(bytes - 1000) + (here[999] == 1);
}

static void deeper_than_the_limit(void)
{
	deep(2 * STACK_LIMIT);
}

static void stack(void)
{
	char *far = (char *)__builtin_frame_address(0) - STACK_LIMIT + SOME * PAGE;

	expect(deep(STACK_DEEP) < STACK_DEEP, "a deep stack");
	set_limit(RLIMIT_STACK, STACK_LIMIT);
	expect(access_ends(far, true, 0), "far below the stack pointer");
	expect(DIED_OF(ends_with(deeper_than_the_limit)) == SIGSEGV, "a stack without end");
}

/* As much as the limit allows, in many pieces; each can be used. */
static void limits(void)
{
	unsigned pieces = 0;

	expect(set_limit(RLIMIT_SPACE, 8 * MIB) == 0, "setrlimit");
	while (map(NULL, 16 * PAGE, RW, SHARED_ANONYMOUS, -1) && pieces < 1000)
		pieces++;
	expect(pieces > 8 && pieces < 128, "RLIMIT_AS");
	expect(syscall6(SYS_MMAP, 0, MIB * 8, RW, PRIVATE_ANONYMOUS, -1, 0) == -ENOMEM, "ENOMEM");
	expect(call(BRK, call(BRK, 0) + 8 * MIB) == call(BRK, 0), "brk beyond RLIMIT_AS");
	expect(deep(STACK_DEEP / 64) < STACK_DEEP, "the stack below the limit");
}

/* Nothing more is promised than there is: mmap says no, and the program lives. */
static void promises(void)
{
	static const char path[] = "/proc/sys/vm/overcommit_memory";
	long fd = call(OPEN, path, O_WRONLY, 0);
	unsigned pieces = 0;

	expect(call(WRITE, fd, "2", 1) == 1, "overcommit_memory");
	while (map(NULL, MIB, RW, PRIVATE_ANONYMOUS, -1) && pieces < 100000)
		pieces++;
	expect(pieces > 4 && pieces < 100000, "a promise without end");
	expect(syscall6(SYS_MMAP, 0, MIB, RW, PRIVATE_ANONYMOUS, -1, 0) == -ENOMEM, "ENOMEM");
	expect(call(WRITE, fd, "0", 1) == 1, "overcommit_memory");
}

static void fill_memory(void)
{
	for (uint64_t i = 0;; i++) {
		uint64_t *memory = map_memory(MIB, RW);

		for (unsigned page = 0; memory && page < MIB / PAGE; page++)
			memory[page * 512] = i;
	}
}

/* More than there is, touched: the one who does it dies, and nobody else. */
static void out_of_memory(void)
{
	long pid = call(FORK), other;
	char *memory = fresh(SOME);

	if (pid == 0)
		fill_memory();
	mark(memory, SOME, 3);
	other = call(FORK);
	if (other == 0) {
		nap(50);
		exit(!marked(memory, SOME, 3));
	}
	expect(wait_for(pid) == SIGKILL, "memory has no end");
	expect(wait_for(other) == 0 && marked(memory, SOME, 3), "somebody else is killed");
	expect(access_ends(fresh(LARGE), true, 0), "no memory after that");
}

/* A file that takes all memory there is. */
static void file_system_full(void)
{
	long fd = call(OPEN, "/tmp/full", O_CREAT | O_RDWR, 0600), total = 0;
	char *memory = fresh(SOME), last = 0;

	mark(memory, SOME, 1);
	expect(syscall6(SYS_FALLOCATE, fd, 0, 0, 1l << 30, 0, 0) == -ENOSPC, "a file without end");
	while (call(WRITE, fd, memory, SOME * PAGE) == SOME * PAGE && total < 8)
		total++;
	expect(total == 8, "a file system without room");
	expect(syscall6(SYS_PWRITE, fd, (long)memory, 1, 1l << 29, 0, 0) == -ENOSPC, "no ENOSPC");
	expect(syscall6(SYS_PREAD, fd, (long)&last, 1, 3 * PAGE + 24, 0, 0) == 1 &&
		       last == memory[3 * PAGE + 24],
	       "what a full file holds");
	expect(call(UNLINK, "/tmp/full") == 0 && call(CLOSE, fd) == 0, "its end");
	expect(marked(memory, SOME, 1) && access_ends(fresh(LARGE), true, 0), "memory after that");
}

static bool shows(int protection, const char *rights)
{
	char *at = map(NULL, PAGE, protection, PRIVATE_ANONYMOUS, -1);
	const char *line = area_line(read_text("/proc/self/maps"), at);
	bool right;

	while (line && *line != ' ')
		line++;
	right = line && begins(line + 1, rights);
	call(MUNMAP, at, PAGE);
	return right;
}

/* The maps show the rights that were asked for, though the processor gives more. */
static void rights_shown(void)
{
	char *at = map(NULL, PAGE, PROT_READ, PRIVATE_ANONYMOUS, -1);
	const char *line;

	expect(shows(PROT_WRITE, "-w-p") && shows(PROT_EXEC, "--xp"), "without PROT_READ");
	expect(shows(RW, "rw-p") && shows(PROT_READ, "r--p") && shows(0, "---p"), "others");
	call(MPROTECT, at, PAGE, PROT_WRITE);
	line = area_line(read_text("/proc/self/maps"), at);
	while (line && *line != ' ')
		line++;
	expect(line && begins(line, " -w-p"), "after mprotect");
	call(MPROTECT, at, PAGE, RW);
	line = area_line(read_text("/proc/self/maps"), at);
	while (line && *line != ' ')
		line++;
	expect(line && begins(line, " rw-p"), "and after another");
}

const struct user_test memory_tests[] = {
	{ "map-unmap", map_unmap },
	{ "map-over", map_over },
	{ "protect", protect },
	{ "execute-data", execute_data },
	{ "moves", moves },
	{ "heap", heap },
	{ "advice", advice },
	{ "copy-on-write", copy_on_write },
	{ "copy-by-call", copy_by_call },
	{ "shared", shared },
	{ "file-end", file_end },
	{ "file-private", file_private },
	{ "many-areas", many_areas },
	{ "stack", stack },
	{ "limits", limits },
	{ "promises", promises },
	{ "out-of-memory", out_of_memory },
	{ "file-system-full", file_system_full },
	{ "rights-shown", rights_shown },
	{ NULL, NULL },
};

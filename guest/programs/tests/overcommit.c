/*
 * How much memory is promised, by the three modes of /proc/sys/vm/overcommit_memory: 0 refuses only
 * what can never be, 1 nothing, and 2 counts each page to the limit and refuses the next one.
 * CommitLimit and Committed_AS of /proc/meminfo are compared with what was asked for.
 */
#include "guest/programs/runtime/check.h"

#define ANONYMOUS (MAP_PRIVATE | MAP_ANONYMOUS)
#define SHARED	  (MAP_SHARED | MAP_ANONYMOUS)
#define NO_MEMORY (-12)
#define ROOM	  256 /* pages that the tests of mode 2 leave */
#define SYS_PIPE2 293
#define MAY_MOVE  1

/* A number of /proc/meminfo, in pages. */
static long meminfo(const char *name)
{
	long value = file_number("/proc/meminfo", name);

	expect(value >= 0, "/proc/meminfo lacks a number");
	return value / 4;
}

static long committed(void)
{
	return meminfo("Committed_AS:");
}

static bool setting(const char *name, long value)
{
	char words[24], path[64] = "/proc/sys/vm/overcommit_";

	memcpy(path + 24, name, strlen(name) + 1);
	put_number(words, (uint64_t)value);
	return write_text(path, words);
}

static void *map_pages(long pages, int protection, int flags)
{
	return map(NULL, pages * PAGE, protection, flags, -1);
}

static void unmap(void *at, long pages)
{
	syscall3(SYS_MUNMAP, at, pages * PAGE, 0);
}

static bool forks(void)
{
	long pid = syscall3(SYS_FORK, 0, 0, 0);

	if (pid == 0)
		exit(0);
	return pid > 0 && syscall6(SYS_WAIT4, pid, 0, 0, 0, 0, 0) == pid;
}

/* One request above RAM and swap is refused, two that are both at it are not. */
static void guess(void)
{
	long all = meminfo("MemTotal:") + meminfo("SwapTotal:"), before = committed();
	long heap = syscall3(SYS_BRK, 0, 0, 0);
	void *first, *second, *big;

	setting("memory", 0);
	expect(!map_pages(all + 1, RW, ANONYMOUS), "0: more than there is is promised");
	first = map_pages(all, RW, ANONYMOUS);
	second = map_pages(all, RW, ANONYMOUS);
	expect(first && second, "0: all there is is refused");
	expect(committed() == before + 2 * all, "0: what is promised is not counted");
	expect(forks(), "0: a fork of two areas, each within memory, is refused");
	unmap(first, all);
	unmap(second, all);
	expect(syscall3(SYS_BRK, heap + (all + 1) * PAGE, 0, 0) == heap, "0: brk to all of it");
	expect(!map_pages(all + 1, RW, SHARED), "0: more than there is is promised as shared");
	big = map_pages(all + 1, PROT_READ, ANONYMOUS);
	expect(big && committed() == before, "0: what is read-only is counted");
	expect(syscall3(SYS_MPROTECT, big, (all + 1) * PAGE, RW) == NO_MEMORY,
	       "0: mprotect makes more than there is writable");
	unmap(big, all + 1);
	big = map_pages(all + 1, RW, ANONYMOUS | MAP_NORESERVE);
	first = map_pages(all + 1, RW, SHARED | MAP_NORESERVE);
	expect(big && first && committed() == before, "0: MAP_NORESERVE is counted");
	unmap(big, all + 1);
	unmap(first, all + 1);
	expect(committed() == before, "0: what was promised is not given back");
}

static void always(void)
{
	long far = 1l << 32, before = committed();
	long heap = syscall3(SYS_BRK, 0, 0, 0);
	void *big, *read;

	setting("memory", 1);
	big = map_pages(far, RW, ANONYMOUS);
	expect(big != NULL, "1: 16 TiB are refused");
	expect(committed() == before + far, "1: what is promised is not counted");
	expect(syscall3(SYS_BRK, heap + (1l << 36), 0, 0) == heap + (1l << 36), "1: brk");
	syscall3(SYS_BRK, heap, 0, 0);
	read = map_pages(far, PROT_READ, ANONYMOUS);
	expect(syscall3(SYS_MPROTECT, read, far * PAGE, RW) == 0, "1: mprotect is refused");
	expect(forks(), "1: a fork is refused");
	unmap(big, far);
	unmap(read, far);
	expect(committed() == before, "1: what was promised is not given back");
}

/* Sets the limit so that `pages` more may be promised. */
static void leave(long pages)
{
	setting("kbytes", (committed() - meminfo("SwapTotal:") + pages) * 4);
	expect(meminfo("CommitLimit:") == committed() + pages, "2: CommitLimit is not as set");
}

static void maps_to_the_limit(int flags)
{
	void *memory, *one;

	expect(!map_pages(ROOM + 1, RW, flags), "2: a page too many is mapped");
	memory = map_pages(ROOM, RW, flags);
	expect(memory && committed() == meminfo("CommitLimit:"), "2: not to the limit");
	expect(!map_pages(1, RW, flags), "2: one page beyond the limit");
	one = map_pages(1, PROT_READ, ANONYMOUS);
	expect(one != NULL, "2: a page that is read-only is counted");
	expect(syscall3(SYS_MPROTECT, one, PAGE, RW) == NO_MEMORY &&
		       syscall3(SYS_MPROTECT, one, PAGE, PROT_READ) == 0,
	       "2: mprotect beyond the limit");
	unmap(one, 1);
	unmap(memory, ROOM);
}

static void gives_back(void)
{
	char *memory = map_pages(ROOM, RW, ANONYMOUS), *one;

	unmap(memory + 7 * PAGE, 1);
	one = map_pages(1, RW, ANONYMOUS);
	expect(one != NULL, "2: munmap gives nothing back");
	expect(!map_pages(1, RW, ANONYMOUS), "2: munmap gives more than a page back");
	unmap(memory, ROOM);
	unmap(one, 1);
}

static void protects(void)
{
	char *memory = map_pages(ROOM + 1, PROT_READ, ANONYMOUS);
	long before = committed();

	expect(syscall3(SYS_MPROTECT, memory, (ROOM + 1) * PAGE, RW) == NO_MEMORY &&
		       committed() == before,
	       "2: mprotect of a page too many");
	expect(syscall3(SYS_MPROTECT, memory, ROOM * PAGE, RW) == 0 && committed() == before + ROOM,
	       "2: mprotect to the limit");
	expect(syscall3(SYS_MPROTECT, memory + ROOM * PAGE, PAGE, RW) == NO_MEMORY,
	       "2: mprotect one page beyond");
	/* Memory that was writable may hold data: it stays counted. */
	syscall3(SYS_MPROTECT, memory, ROOM * PAGE, PROT_READ);
	expect(committed() == before + ROOM, "2: mprotect to read-only gives back");
	expect(syscall3(SYS_MPROTECT, memory, ROOM * PAGE, RW) == 0 && committed() == before + ROOM,
	       "2: mprotect counts twice");
	unmap(memory, ROOM + 1);
	expect(committed() == before, "2: what mprotect promised is not given back");
}

static void replaces(void)
{
	char *memory = map_pages(ROOM, RW, ANONYMOUS), *read = map_pages(8, PROT_READ, ANONYMOUS);

	expect(map(memory, 8 * PAGE, RW, ANONYMOUS | MAP_FIXED, -1) == memory,
	       "2: MAP_FIXED in the place of what is counted is refused");
	expect(!map(read, 8 * PAGE, RW, ANONYMOUS | MAP_FIXED, -1),
	       "2: MAP_FIXED in the place of what is not counted is free");
	expect(committed() == meminfo("CommitLimit:"), "2: MAP_FIXED counts wrong");
	unmap(memory, ROOM);
	unmap(read, 8);
}

static void remaps(void)
{
	char *memory = map_pages(ROOM - 8, RW, ANONYMOUS);
	long size = (ROOM - 8) * PAGE, moved;

	expect(syscall6(SYS_MREMAP, (long)memory, size, size + 9 * PAGE, MAY_MOVE, 0, 0) ==
		       NO_MEMORY,
	       "2: mremap beyond the limit");
	moved = syscall6(SYS_MREMAP, (long)memory, size, size + 8 * PAGE, MAY_MOVE, 0, 0);
	expect(moved > 0 && committed() == meminfo("CommitLimit:"), "2: mremap to the limit");
	unmap((void *)moved, ROOM);
}

static void heap(void)
{
	long start = syscall3(SYS_BRK, 0, 0, 0), end;

	start = syscall3(SYS_BRK, (start + PAGE - 1) & -PAGE, 0, 0);
	leave(ROOM);
	end = start + ROOM * PAGE;
	expect(syscall3(SYS_BRK, end + PAGE, 0, 0) == start, "2: brk beyond the limit");
	expect(syscall3(SYS_BRK, end, 0, 0) == end && committed() == meminfo("CommitLimit:"),
	       "2: brk to the limit");
	expect(syscall3(SYS_BRK, end + PAGE, 0, 0) == end, "2: brk one page beyond");
	syscall3(SYS_BRK, end - PAGE, 0, 0);
	expect(committed() == meminfo("CommitLimit:") - 1, "2: brk gives nothing back");
	syscall3(SYS_BRK, start, 0, 0);
}

/* The memory that a fork commits, read while the child waits. */
static long cost_of_fork(void)
{
	int tube[2];
	char byte;
	long before = committed(), cost, pid;

	syscall3(SYS_PIPE2, tube, 0, 0);
	pid = syscall3(SYS_FORK, 0, 0, 0);
	if (pid == 0) {
		syscall3(SYS_CLOSE, tube[1], 0, 0);
		syscall3(SYS_READ, tube[0], &byte, 1);
		exit(0);
	}
	cost = committed() - before;
	syscall3(SYS_CLOSE, tube[0], 0, 0);
	syscall3(SYS_CLOSE, tube[1], 0, 0);
	syscall6(SYS_WAIT4, pid, 0, 0, 0, 0, 0);
	expect(pid > 0 && committed() == before, "2: a child's end does not give back");
	return cost;
}

static void fork_to_the_limit(void)
{
	long bare = cost_of_fork(), cost;
	void *memory = map_pages(40, RW, ANONYMOUS), *shared = map_pages(30, RW, SHARED);
	void *read = map_pages(20, PROT_READ, ANONYMOUS);

	cost = cost_of_fork();
	expect(cost == bare + 40, "2: a fork does not count exactly the private writable areas");
	leave(cost);
	expect(forks(), "2: a fork to the limit is refused");
	leave(cost - 1);
	expect(!forks(), "2: a fork beyond the limit");
	unmap(memory, 40);
	unmap(shared, 30);
	unmap(read, 20);
}

/* Shared memory is counted as long as there is any of it. */
static void shared_memory(void)
{
	long before = committed();
	char *memory = map_pages(ROOM, RW, SHARED);

	expect(committed() == before + ROOM, "2: shared memory is not counted");
	expect(!map_pages(1, RW, SHARED), "2: shared memory beyond the limit");
	unmap(memory, ROOM / 2);
	expect(committed() == before + ROOM, "2: half of shared memory is given back");
	unmap(memory + ROOM / 2 * PAGE, ROOM / 2);
	expect(committed() == before, "2: shared memory is not given back");
}

static void never(void)
{
	long before = committed(), half = meminfo("MemTotal:") * 50 / 100;
	long swap = meminfo("SwapTotal:");
	void *ballast;

	setting("memory", 2);
	setting("ratio", 50);
	expect(meminfo("CommitLimit:") - meminfo("SwapTotal:") - half <= 1 &&
		       meminfo("CommitLimit:") - meminfo("SwapTotal:") - half >= -1,
	       "2: CommitLimit is not half of memory");
	/* The limit is never below the swap. */
	ballast = map_pages(swap + 1, RW, ANONYMOUS);
	leave(ROOM);
	maps_to_the_limit(ANONYMOUS);
	maps_to_the_limit(ANONYMOUS | MAP_NORESERVE);
	maps_to_the_limit(SHARED);
	maps_to_the_limit(SHARED | MAP_NORESERVE);
	gives_back();
	protects();
	replaces();
	remaps();
	shared_memory();
	heap();
	setting("ratio", 400);
	fork_to_the_limit();
	unmap(ballast, swap + 1);
	expect(committed() == before, "2: what was promised is not given back");
}

int main(int argc, char **argv)
{
	expect(!setting("memory", 3) && setting("ratio", 1) &&
		       begins(read_text("/proc/sys/vm/overcommit_kbytes"), "0\n"),
	       "the settings");
	setting("kbytes", 4096);
	expect(begins(read_text("/proc/sys/vm/overcommit_ratio"), "0\n"), "a ratio besides kbytes");
	guess();
	always();
	never();
	setting("memory", 0);
	setting("ratio", 50);
	print("%s\n", failures ? "promises are WRONG" : "promises are right");
	return failures ? 1 : 0;
}

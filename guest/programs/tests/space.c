/*
 * The address space as the process sees it: /proc/self/maps and smaps say what was mapped, the
 * stack grows to its limit and no further, limits hold. "space where" prints where things are, to
 * be compared between runs. It runs on Linux too.
 */
#include "guest/programs/runtime/check.h"

#define SYS_SETRLIMIT 160
#define LIMIT_DATA    2
#define LIMIT_STACK   3
#define LIMIT_AS      9
#define NO_MEMORY     (-12)

/* The line of maps for the address: does it say these bounds and rights? */
static bool line_says(const void *start, size_t size, const char *rights)
{
	static const char digits[] = "0123456789abcdef";
	const char *line = area_line(read_text("/proc/self/maps"), start);
	uint64_t bound[2] = { (uint64_t)start, (uint64_t)start + size };
	char want[64];
	unsigned used = 0;

	for (unsigned i = 0; i < 2; i++) {
		for (int shift = 44; shift >= 0; shift -= 4)
			want[used++] = digits[bound[i] >> shift & 15];
		want[used++] = i ? ' ' : '-';
	}
	want[used] = 0;
	return line && begins(line, want) && begins(line + used, rights);
}

static void maps(void)
{
	char *memory = map(NULL, 9 * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1);

	expect(line_says(memory, 9 * PAGE, "rw-s"), "maps does not show a mapping");
	syscall3(SYS_MPROTECT, memory + 3 * PAGE, 2 * PAGE, PROT_READ | PROT_EXEC);
	expect(line_says(memory, 3 * PAGE, "rw-s") &&
		       line_says(memory + 3 * PAGE, 2 * PAGE, "r-xs") &&
		       line_says(memory + 5 * PAGE, 4 * PAGE, "rw-s"),
	       "maps does not show what mprotect did");
	syscall3(SYS_MPROTECT, memory + 3 * PAGE, 2 * PAGE, RW);
	expect(line_says(memory, 9 * PAGE, "rw-s"), "maps does not show areas that are one again");
	syscall3(SYS_MUNMAP, memory + PAGE, PAGE, 0);
	expect(!area_line(read_text("/proc/self/maps"), memory + PAGE), "maps shows a hole");
	syscall3(SYS_MUNMAP, memory, 9 * PAGE, 0);
	expect(!area_line(read_text("/proc/self/maps"), memory), "maps shows what is gone");
}

static bool line_names(const void *address, const char *name)
{
	const char *line = area_line(read_text("/proc/self/maps"), address);

	for (; line && *line && *line != '\n'; line++) {
		if (begins(line, name))
			return true;
	}
	return false;
}

static void names(void)
{
	char *heap = (char *)syscall3(SYS_BRK, 0, 0, 0);
	int local = 0;

	syscall3(SYS_BRK, heap + 3 * PAGE, 0, 0);
	expect(line_names(heap + 2 * PAGE, "[heap]"), "maps does not name the heap");
	expect(line_names(&local, "[stack]"), "maps does not name the stack");
	expect(line_names((void *)(uintptr_t)names, "/"), "maps does not name the program");
}

static void smaps(void)
{
	char *memory = map(NULL, 64 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	long resident;

	expect(area_number(memory, "Size:") == 64 * 4 && area_number(memory, "Rss:") == 0,
	       "smaps is wrong on fresh memory");
	mark(memory, 20, 1);
	resident = area_number(memory, "Rss:");
	expect(resident >= 80 && resident <= 256 && area_number(memory, "Anonymous:") == resident &&
		       area_number(memory, "Private_Dirty:") == resident &&
		       area_number(memory, "Pss:") == resident,
	       "smaps is wrong on touched memory");
	syscall3(SYS_MADVISE, memory, 64 * PAGE, 4);
	expect(area_number(memory, "Rss:") == 0, "smaps counts what was given back");
	syscall3(SYS_MUNMAP, memory, 64 * PAGE, 0);
}

static __attribute__((noinline)) int deep(int depth)
{
	volatile char frame[4000];

	frame[0] = (char)depth;
	return depth == 0 ? frame[0] : deep(depth - 1) + (frame[0] == (char)depth);
}

static int overflow(void *unused)
{
	return deep(4000); /* 16 MiB */
}

static int overflow_small(void *unused)
{
	uint64_t limit[2] = { MIB, MIB };

	syscall3(SYS_SETRLIMIT, LIMIT_STACK, limit, 0);
	return deep(400);
}

static int fits(void *unused)
{
	return deep(1500) == 1500 ? 0 : 1;
}

static void stack(void)
{
	int local = 0;
	long before = area_number(&local, "Size:");

	expect(in_child(fits, NULL) == 0, "the stack does not grow");
	expect(DIED_OF(in_child(overflow, NULL)) == 11, "the stack grows without end");
	expect(DIED_OF(in_child(overflow_small, NULL)) == 11, "the stack ignores its limit");
	expect(area_number(&local, "Size:") == before, "a child's stack grows the parent's");
	deep(200);
	expect(area_number(&local, "Size:") >= 780, "the stack's growth is not shown");
}

static int within_limit(void *unused)
{
	uint64_t limit[2] = { 64 * MIB, 64 * MIB };
	long heap = syscall3(SYS_BRK, 0, 0, 0);

	syscall3(SYS_SETRLIMIT, LIMIT_AS, limit, 0);
	if (syscall6(SYS_MMAP, 0, 128 * MIB, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
	    NO_MEMORY)
		return 1;
	if (!map(NULL, 16 * MIB, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1))
		return 2;
	limit[0] = 8 * MIB;
	syscall3(SYS_SETRLIMIT, LIMIT_DATA, limit, 0);
	if (syscall3(SYS_BRK, heap + 16 * MIB, 0, 0) != heap)
		return 3;
	if (syscall6(SYS_MMAP, 0, 16 * MIB, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != NO_MEMORY)
		return 4;
	return syscall3(SYS_BRK, heap + MIB, 0, 0) == (long)(heap + MIB) ? 0 : 5;
}

static void limits(void)
{
	int status = in_child(within_limit, NULL);

	expect(status == 0, "limits do not hold");
	if (status)
		print("space: status %x\n", status);
}

static void in_memory(void)
{
	char *memory = map(NULL, 16 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	uint8_t vector[16] = { 0 };

	memory[5 * PAGE] = 1;
	expect(syscall3(SYS_MINCORE, memory, 16 * PAGE, vector) == 0 && vector[5] == 1 &&
		       vector[4] == 0 && vector[15] == 0,
	       "mincore is wrong");
	syscall3(SYS_MUNMAP, memory, 16 * PAGE, 0);
	expect(syscall3(SYS_MINCORE, memory, PAGE, vector) == -12, "mincore of a hole");
	expect(syscall3(SYS_MINCORE, memory + 1, PAGE, vector) == -22, "mincore of an odd address");
}

/* More than there can ever be is refused, unless the program says that it does not mean it. */
static void promises(void)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS;

	if (begins(read_text("/proc/sys/vm/overcommit_memory"), "1"))
		return;
	expect(syscall6(SYS_MMAP, 0, 1l << 44, RW, flags, -1, 0) == NO_MEMORY,
	       "16 TiB are promised");
	expect(map(NULL, 1ul << 44, PROT_READ, flags, -1) != NULL, "what is read-only is counted");
	expect(map(NULL, 1ul << 44, RW, flags | MAP_NORESERVE, -1) != NULL,
	       "MAP_NORESERVE is counted");
}

int main(int argc, char **argv)
{
	int local = 0;

	if (argc > 1 && equal(argv[1], "where")) {
		print("stack %lx mapping %lx heap %lx\n", (uint64_t)&local,
		      (uint64_t)map_memory(PAGE, PROT_READ), (uint64_t)syscall3(SYS_BRK, 0, 0, 0));
		return 0;
	}
	maps();
	names();
	smaps();
	stack();
	limits();
	in_memory();
	promises();
	print("%s\n", failures ? "the space is WRONG" : "the space is right");
	return failures ? 1 : 0;
}

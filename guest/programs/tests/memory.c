/* The address space: what mmap, munmap, mprotect, mremap, madvise and brk do to memory. Status 0
 * when all of it is as on Linux. */
#include "guest/programs/runtime/runtime.h"

#define MIB	     (1ul << 20)
#define RW	     (PROT_READ | PROT_WRITE)
#define MREMAP_MOVE  1
#define MREMAP_FIXED 2
#define DONTNEED     4

static unsigned failures;

static void expect(bool condition, const char *what)
{
	if (condition)
		return;
	print("memory: %s\n", what);
	failures++;
}

static void mark(uint64_t *memory, size_t size, uint64_t seed)
{
	for (size_t i = 0; i < size / PAGE; i++)
		memory[i * (PAGE / 8)] = mix(seed + i);
}

static bool marked(const uint64_t *memory, size_t size, uint64_t seed)
{
	for (size_t i = 0; i < size / PAGE; i++) {
		if (memory[i * (PAGE / 8)] != mix(seed + i))
			return false;
	}
	return true;
}

static bool is_zero(const uint64_t *memory, size_t size)
{
	uint64_t any = 0;

	for (size_t i = 0; i < size / 8; i++)
		any |= memory[i];
	return any == 0;
}

static long unmap(void *memory, size_t size)
{
	return syscall3(SYS_MUNMAP, memory, size, 0);
}

static void fresh_is_zero(void)
{
	for (unsigned round = 0; round < 3; round++) {
		uint64_t *memory = map_memory(5 * MIB, RW);

		expect(memory && is_zero(memory, 5 * MIB), "a new mapping does not read as zero");
		mark(memory, 5 * MIB, round);
		expect(marked(memory, 5 * MIB, round), "what was written does not read back");
		expect(!unmap(memory, 5 * MIB), "munmap fails");
	}
}

static void hole_in_the_middle(void)
{
	char *memory = map_memory(9 * PAGE, RW);
	uint64_t *again;

	mark((uint64_t *)memory, 9 * PAGE, 7);
	expect(!unmap(memory + 3 * PAGE, 2 * PAGE), "munmap in the middle fails");
	expect(marked((uint64_t *)memory, 3 * PAGE, 7), "pages below a hole changed");
	expect(marked((uint64_t *)(memory + 5 * PAGE), 4 * PAGE, 12), "pages above a hole changed");
	again = (uint64_t *)syscall6(SYS_MMAP, (long)(memory + 3 * PAGE), 2 * PAGE, RW,
				     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	expect((char *)again == memory + 3 * PAGE, "MAP_FIXED is elsewhere");
	expect(is_zero(again, 2 * PAGE), "a page mapped again holds what was there");
	unmap(memory, 9 * PAGE);
}

static void dontneed(void)
{
	uint64_t *memory = map_memory(4 * MIB, RW);

	mark(memory, 4 * MIB, 3);
	expect(!syscall3(SYS_MADVISE, memory, 2 * MIB + PAGE, DONTNEED), "MADV_DONTNEED fails");
	expect(is_zero(memory, 2 * MIB + PAGE), "MADV_DONTNEED leaves content");
	expect(marked(memory + (2 * MIB + PAGE) / 8, 2 * MIB - PAGE, 3 + 513),
	       "MADV_DONTNEED takes too much");
	unmap(memory, 4 * MIB);
}

static void protect(void)
{
	uint64_t *memory = map_memory(64 * PAGE, RW);

	mark(memory, 64 * PAGE, 9);
	expect(!syscall3(SYS_MPROTECT, memory, 64 * PAGE, 0), "mprotect to nothing fails");
	expect(syscall3(SYS_WRITE, 1, memory, 1) == -14,
	       "the kernel reads what the program may not");
	expect(!syscall3(SYS_MPROTECT, memory, 64 * PAGE, PROT_READ), "mprotect to read fails");
	expect(marked(memory, 64 * PAGE, 9), "mprotect changed content");
	expect(syscall3(SYS_GETRANDOM, memory, 8, 0) == -14,
	       "the kernel writes what the program may not");
	expect(!syscall3(SYS_MPROTECT, memory, 64 * PAGE, RW), "mprotect to write fails");
	mark(memory, 64 * PAGE, 10);
	expect(marked(memory, 64 * PAGE, 10), "a page is not writable again");
	unmap(memory, 64 * PAGE);
}

static void remap_size(size_t from_size, size_t to_size)
{
	uint64_t *memory = map_memory(from_size, RW), *moved;
	uint64_t *wall = (uint64_t *)syscall6(SYS_MMAP, (long)memory + from_size, PAGE, RW,
					      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	mark(memory, from_size, 21);
	moved = (uint64_t *)syscall6(SYS_MREMAP, (long)memory, from_size, to_size, MREMAP_MOVE, 0,
				     0);
	expect((long)moved > 0, "mremap fails");
	expect(marked(moved, from_size < to_size ? from_size : to_size, 21), "mremap lost content");
	if (to_size > from_size)
		expect(is_zero(moved + from_size / 8, to_size - from_size),
		       "mremap's new pages are not zero");
	mark(moved, to_size, 22);
	expect(marked(moved, to_size, 22), "pages after mremap do not hold");
	unmap(moved, to_size);
	unmap(wall, PAGE);
}

static void remap(void)
{
	remap_size(3 * PAGE, 9 * PAGE);
	remap_size(9 * PAGE, 2 * PAGE);
	remap_size(3 * MIB, 7 * MIB);
	remap_size(8 * MIB, 16 * MIB);
}

static void heap(void)
{
	char *start = (char *)syscall3(SYS_BRK, 0, 0, 0);
	uint64_t *memory = (uint64_t *)(((uintptr_t)start + PAGE - 1) & ~(PAGE - 1));

	expect((char *)syscall3(SYS_BRK, (char *)memory + 3 * MIB, 0, 0) ==
		       (char *)memory + 3 * MIB,
	       "brk does not grow");
	mark(memory, 3 * MIB, 30);
	expect(marked(memory, 3 * MIB, 30), "the heap does not hold");
	syscall3(SYS_BRK, (char *)memory + MIB, 0, 0);
	syscall3(SYS_BRK, (char *)memory + 2 * MIB, 0, 0);
	expect(marked(memory, MIB, 30), "brk down took too much");
	expect(is_zero(memory + MIB / 8, MIB), "brk down and up leaves content");
	syscall3(SYS_BRK, start, 0, 0);
}

/* Maps its own file: the bytes are those that read() gives, a private write stays private. */
static void file(const char *path)
{
	static uint64_t head[PAGE / 8];
	long fd = syscall3(SYS_OPEN, path, 0, 0);
	uint64_t *memory = (uint64_t *)syscall6(SYS_MMAP, 0, PAGE, RW, MAP_PRIVATE, fd, 0), *again;

	expect(fd >= 0 && syscall3(SYS_READ, fd, head, PAGE) == (long)PAGE,
	       "reading the file fails");
	expect((long)memory > 0 && memory[0] == head[0] && memory[511] == head[511],
	       "a mapped file differs from the file read");
	memory[0] = 1;
	again = (uint64_t *)syscall6(SYS_MMAP, 0, PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
	expect(again[0] == head[0] && memory[0] == 1 && memory[1] == head[1],
	       "a private write is not private");
	unmap(memory, PAGE);
	unmap(again, PAGE);
	syscall3(SYS_CLOSE, fd, 0, 0);
}

static __attribute__((noinline)) int deep(int depth)
{
	volatile char frame[4000];

	frame[0] = (char)depth;
	return depth == 0 ? frame[0] : deep(depth - 1) + (frame[0] == (char)depth ? 1 : 0);
}

/* Many small mappings, every second one taken away again, in an order that splits and joins. */
static void storm(void)
{
	enum { COUNT = 400 };
	static uint64_t *memory[COUNT];

	for (unsigned i = 0; i < COUNT; i++) {
		memory[i] = map_memory((1 + i % 7) * PAGE, i % 3 ? RW : RW | PROT_EXEC);
		mark(memory[i], (1 + i % 7) * PAGE, i);
	}
	for (unsigned i = 0; i < COUNT; i += 2)
		unmap(memory[i], (1 + i % 7) * PAGE);
	for (unsigned i = 1; i < COUNT; i += 2) {
		expect(marked(memory[i], (1 + i % 7) * PAGE, i), "a mapping changed among others");
		unmap(memory[i], (1 + i % 7) * PAGE);
	}
}

int main(int argc, char **argv)
{
	fresh_is_zero();
	hole_in_the_middle();
	dontneed();
	protect();
	remap();
	heap();
	file("/proc/self/exe");
	expect(deep(1500) == 1500, "a deep stack does not hold");
	storm();
	print("%s\n", failures ? "the address space is WRONG" : "the address space is right");
	return failures ? 1 : 0;
}

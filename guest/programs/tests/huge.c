/*
 * Huge pages: on demand and MAP_HUGETLB, cut where a part is to differ, with the content checked.
 * "huge" runs on Linux too, where it takes what there is; "huge sure" wants them.
 */
#include "guest/programs/runtime/check.h"

#define MAP_HUGETLB  0x40000
#define MAP_HUGE_1GB (30 << 26)
#define ADVISE_HUGE  14
#define HUGE	     (2 * MIB)
#define PAGES	     (HUGE / PAGE)
#define GIB	     (1ul << 30)
#define DIRTY_PAGES  8

static bool sure;

/* So many aligned huge pages of memory that asks for them, marked. */
static char *ask(unsigned count)
{
	char *memory = map(NULL, (count + 1) * HUGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	char *start = (char *)(((uintptr_t)memory + HUGE - 1) & ~(HUGE - 1));

	expect(syscall3(SYS_MADVISE, start, count * HUGE, ADVISE_HUGE) == 0, "MADV_HUGEPAGE fails");
	mark(start, count * PAGES, 1);
	if (sure)
		expect(area_number(start, "AnonHugePages:") == (long)(count * HUGE / 1024),
		       "there are no huge pages");
	return start;
}

static void unmap(void *memory, size_t size)
{
	expect(syscall3(SYS_MUNMAP, memory, size, 0) == 0, "munmap fails");
}

static void cut_by_munmap(void)
{
	char *memory = ask(3);

	unmap(memory + HUGE + 5 * PAGE, PAGE);
	expect(marked(memory, PAGES + 5, 1) &&
		       marked(memory + HUGE + 6 * PAGE, 2 * PAGES - 6, 1 + PAGES + 6),
	       "munmap of a part changes the rest");
	if (sure)
		expect(area_number(memory, "AnonHugePages:") == HUGE / 1024,
		       "munmap of a part cuts too much or nothing");
	expect(map(memory + HUGE + 5 * PAGE, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
		   -1) &&
		       is_zero(memory + HUGE + 5 * PAGE, PAGE),
	       "a page in the hole is not zero");
	unmap(memory, 3 * HUGE);
}

static void cut_by_mprotect(void)
{
	char *memory = ask(2);

	syscall3(SYS_MPROTECT, memory + 7 * PAGE, 3 * PAGE, PROT_READ);
	expect(marked(memory, 2 * PAGES, 1), "mprotect of a part changes content");
	expect(syscall3(SYS_GETRANDOM, memory + 7 * PAGE, 8, 0) == -14,
	       "a part that is read-only is written");
	expect(syscall3(SYS_GETRANDOM, memory + 6 * PAGE, 8, 0) == 8,
	       "a part beside one that is read-only is not writable");
	syscall3(SYS_MPROTECT, memory + HUGE, HUGE, 0);
	expect(syscall3(SYS_GETRANDOM, memory + HUGE, 8, 0) == -14, "PROT_NONE is not");
	syscall3(SYS_MPROTECT, memory + HUGE, HUGE, RW);
	expect(marked(memory + HUGE, PAGES, 1 + PAGES), "PROT_NONE and back loses content");
	unmap(memory, 2 * HUGE);
}

static void moved(void)
{
	char *memory = ask(2), *whole, *part;

	whole = (char *)syscall6(SYS_MREMAP, (long)memory, 2 * HUGE, 4 * HUGE, 1, 0, 0);
	expect((long)whole > 0 && marked(whole, 2 * PAGES, 1), "mremap loses a huge page");
	part = (char *)syscall6(SYS_MREMAP, (long)(whole + 100 * PAGE), 50 * PAGE, 60 * PAGE, 1, 0,
				0);
	expect((long)part > 0 && marked(part, 50, 101), "mremap of a part loses content");
	expect(marked(whole, 100, 1) && marked(whole + 150 * PAGE, 2 * PAGES - 150, 151),
	       "mremap of a part changes the rest");
	unmap(part, 60 * PAGE);
	unmap(whole, 4 * HUGE);
}

static void given_back(void)
{
	char *memory = ask(1);

	syscall3(SYS_MADVISE, memory + 4 * PAGE, 4 * PAGE, 4);
	expect(is_zero(memory + 4 * PAGE, 4 * PAGE), "MADV_DONTNEED of a part leaves content");
	expect(marked(memory, 4, 1) && marked(memory + 8 * PAGE, PAGES - 8, 9),
	       "MADV_DONTNEED of a part takes more");
	unmap(memory, HUGE);
}

static int read_and_write(void *memory)
{
	bool right = marked(memory, PAGES, 1);

	mark((char *)memory + 10 * PAGE, DIRTY_PAGES, 70);
	return right && marked((char *)memory + 10 * PAGE, DIRTY_PAGES, 70) ? 0 : 1;
}

static void forked(void)
{
	char *memory = ask(1);

	expect(in_child(read_and_write, memory) == 0, "a child's view of a huge page is wrong");
	expect(marked(memory, PAGES, 1), "a child's write reaches the parent's huge page");
	mark(memory, PAGES, 2);
	expect(marked(memory, PAGES, 2), "a huge page does not hold after a fork");
	unmap(memory, HUGE);
}

static void asked_for(void)
{
	char *memory = map(NULL, 3 * MIB, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1);
	uint8_t vector[PAGES];

	if (!memory) {
		expect(!sure, "MAP_HUGETLB fails");
		return;
	}
	mark(memory, 2 * PAGES, 1);
	expect(((uintptr_t)memory & (HUGE - 1)) == 0, "MAP_HUGETLB is not aligned");
	expect(syscall3(SYS_MUNMAP, memory, MIB, 0) == -22, "munmap cuts a MAP_HUGETLB page");
	expect(syscall3(SYS_MUNMAP, memory + PAGE, HUGE, 0) == -22, "munmap at an odd place");
	expect(syscall3(SYS_MPROTECT, memory, PAGE, PROT_READ) == -22,
	       "mprotect cuts a MAP_HUGETLB page");
	expect(area_number(memory, "KernelPageSize:") == 2048 &&
		       area_number(memory, "Private_Hugetlb:") == 4096,
	       "smaps does not show MAP_HUGETLB");
	expect(syscall3(SYS_MINCORE, memory, HUGE, vector) == 0 && vector[0] && vector[PAGES - 1],
	       "mincore does not see a huge page");
	expect(marked(memory, 2 * PAGES, 1), "MAP_HUGETLB does not hold");
	unmap(memory, HUGE);
	expect(marked(memory + HUGE, PAGES, 1 + PAGES), "munmap of one takes the other");
	unmap(memory + HUGE, HUGE);
}

static int touch_ends(void *memory)
{
	bool right = *(uint64_t *)memory == 5 && ((uint64_t *)memory)[GIB / 8 - 1] == 6;

	*(uint64_t *)memory = 7;
	return right && *(uint64_t *)memory == 7 ? 0 : 1;
}

static void gigabyte(bool fork)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_HUGE_1GB;
	uint64_t *memory = map(NULL, GIB, RW, flags, -1);

	expect(memory != NULL, "there is no page of 1 GiB");
	if (!memory)
		return;
	memory[0] = 5;
	memory[GIB / 8 - 1] = 6;
	expect(area_number(memory, "Private_Hugetlb:") == GIB / 1024, "1 GiB is not one page");
	expect(syscall3(SYS_MUNMAP, memory, HUGE, 0) == -22, "munmap cuts a page of 1 GiB");
	if (fork)
		expect(in_child(touch_ends, memory) == 0, "a child's view of 1 GiB is wrong");
	expect(memory[0] == 5 && memory[GIB / 8 - 1] == 6, "1 GiB does not hold");
	unmap(memory, GIB);
}

int main(int argc, char **argv)
{
	sure = argc > 1 && equal(argv[1], "sure");
	if (argc > 1 && (equal(argv[1], "1g") || equal(argv[1], "1g-fork"))) {
		gigabyte(equal(argv[1], "1g-fork"));
	} else {
		cut_by_munmap();
		cut_by_mprotect();
		moved();
		given_back();
		forked();
		asked_for();
	}
	print("%s\n", failures ? "huge pages are WRONG" : "huge pages are right");
	return failures ? 1 : 0;
}

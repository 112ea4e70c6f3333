/*
 * Processes do what they must not, to the kernel and to each other: each dies of SIGSEGV, and the
 * one that started it goes on with its memory as it was. It runs on Linux too.
 */
#include "guest/programs/runtime/check.h"

#define SEGV 11

static volatile uint64_t data = 0xc3c3c3c3c3c3c3c3; /* "ret" */
static volatile uint64_t secret = 42;
static volatile uint64_t *shared;

static int read_at(void *address)
{
	return *(volatile char *)address ? 1 : 2;
}

static int write_at(void *address)
{
	*(volatile char *)address = 1;
	return 1;
}

static int execute_at(void *address)
{
	((void (*)(void))address)();
	return 1;
}

/* Waits for an address that the parent maps after the fork, and reads there. */
static int read_later(void *unused)
{
	while (!shared[0])
		syscall3(SYS_NANOSLEEP, (&(struct timespec){ 0, 1000000 }), 0, 0);
	return read_at((void *)shared[0]);
}

static void other_process(void)
{
	int status = -1;
	long pid = syscall3(SYS_FORK, 0, 0, 0);
	volatile char *page;

	if (pid == 0)
		exit(read_later(NULL));
	page = map(NULL, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	*page = 7;
	shared[0] = (uint64_t)page;
	syscall6(SYS_WAIT4, pid, (long)&status, 0, 0, 0, 0);
	expect(DIED_OF(status) == SEGV, "a child reads what the parent mapped after the fork");
	expect(*page == 7, "the parent's page changed");
}

static int change_all(void *memory)
{
	secret = 43;
	mark(memory, 64, 99);
	syscall3(SYS_MPROTECT, memory, 32 * PAGE, PROT_READ);
	syscall3(SYS_MUNMAP, (char *)memory + 32 * PAGE, 32 * PAGE, 0);
	return secret == 43 && marked(memory, 32, 99) ? 0 : 1;
}

static void own_copies(void)
{
	char *memory = map(NULL, 64 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	mark(memory, 64, 5);
	expect(in_child(change_all, memory) == 0, "a child's own memory does not hold");
	expect(secret == 42 && marked(memory, 64, 5), "a child's writes reach its parent");
	mark(memory, 64, 6);
	expect(marked(memory, 64, 6), "a child's mprotect or munmap reaches its parent");
}

static const struct crime {
	const char *what;
	int (*commit)(void *);
	uint64_t address; /* 0: of a page made for it */
} crimes[] = {
	{ "reading kernel text", read_at, 0xffffffff80200000 },
	{ "writing kernel text", write_at, 0xffffffff80200000 },
	{ "executing kernel text", execute_at, 0xffffffff80200000 },
	{ "reading all memory", read_at, 0xffff800000200000 },
	{ "writing all memory", write_at, 0xffff800000200000 },
	{ "reading kernel stacks", read_at, 0xffffc90040000000 },
	{ "reading what is no address", read_at, 0x8000000000000000 },
	{ "reading at 0", read_at, 8 },
	{ "writing at 0", write_at, 8 },
	{ "executing at 0", execute_at, 16 },
	{ "executing data", execute_at, (uint64_t)&data },
	{ "writing text", write_at, (uint64_t)write_at },
	{ "writing constants", write_at, (uint64_t) "constant" },
};

static void rights_of_pages(void)
{
	char *page = map(NULL, 3 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	page[0] = page[PAGE] = page[2 * PAGE] = (char)0xc3;
	syscall3(SYS_MPROTECT, page, PAGE, PROT_READ);
	syscall3(SYS_MPROTECT, page + PAGE, PAGE, 0);
	expect(DIED_OF(in_child(write_at, page)) == SEGV, "writing a read-only page");
	expect(DIED_OF(in_child(read_at, page + PAGE)) == SEGV, "reading a page of no rights");
	expect(DIED_OF(in_child(execute_at, page + 2 * PAGE)) == SEGV, "executing fresh data");
	syscall3(SYS_MPROTECT, page + 2 * PAGE, PAGE, PROT_READ | PROT_EXEC);
	expect(in_child(execute_at, page + 2 * PAGE) == 1 << 8, "not executing what may be");
	syscall3(SYS_MUNMAP, page, 3 * PAGE, 0);
	expect(DIED_OF(in_child(read_at, page)) == SEGV, "reading what was unmapped");
}

static int execute_stack(void *unused)
{
	volatile uint64_t code = 0xc3c3c3c3c3c3c3c3;

	return execute_at((void *)(uintptr_t)&code);
}

int main(int argc, char **argv)
{
	shared = map(NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1);
	for (unsigned i = 0; i < sizeof(crimes) / sizeof(crimes[0]); i++) {
		int status = in_child(crimes[i].commit, (void *)crimes[i].address);

		expect(DIED_OF(status) == SEGV, crimes[i].what);
	}
	expect(DIED_OF(in_child(execute_stack, NULL)) == SEGV, "executing the stack");
	rights_of_pages();
	other_process();
	own_copies();
	print("%s\n", failures ? "processes are NOT apart" : "processes are apart");
	return failures ? 1 : 0;
}

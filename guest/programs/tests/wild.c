/*
 * A program that does what it must not: wild HOW. Each way ends by a signal (in brackets); to come
 * back from one is a failure of quire, status 1.
 */
#include "guest/programs/runtime/runtime.h"

static volatile uint64_t data = 0xc3c3c3c3c3c3c3c3; /* "ret", where one may not execute */
static volatile int zero;

static void read_null(void)
{
	(void)*(volatile char *)8;
}

static void write_null(void)
{
	*(volatile char *)8 = 1;
}

static void call_null(void)
{
	((void (*)(void))(uintptr_t)(zero + 0))();
}

static void read_kernel(void)
{
	(void)*(volatile char *)0xffffffff80200000;
}

static void write_kernel(void)
{
	*(volatile char *)0xffff800000200000 = 1;
}

static void call_kernel(void)
{
	((void (*)(void))0xffffffff80200000)();
}

static void not_canonical(void)
{
	(void)*(volatile char *)0x8000000000000000;
}

static void write_text(void)
{
	*(volatile char *)(uintptr_t)write_text = 0;
}

static void write_constant(void)
{
	*(volatile char *)(uintptr_t) "a constant" = 2;
}

static void execute_data(void)
{
	((void (*)(void))(uintptr_t)&data)();
}

static void execute_stack(void)
{
	volatile uint64_t code = 0xc3c3c3c3c3c3c3c3;

	((void (*)(void))(uintptr_t)&code)();
}

static void use_after_unmap(void)
{
	volatile char *page = map_memory(PAGE, PROT_READ | PROT_WRITE);

	*page = 1;
	syscall3(SYS_MUNMAP, page, PAGE, 0);
	*page = 2;
}

static void write_protected(void)
{
	volatile char *page = map_memory(PAGE, PROT_READ | PROT_WRITE);

	*page = 1;
	syscall3(SYS_MPROTECT, page, PAGE, PROT_READ);
	*page = 2;
}

static void read_protected(void)
{
	volatile char *page = map_memory(PAGE, PROT_READ | PROT_WRITE);

	*page = 1;
	syscall3(SYS_MPROTECT, page, PAGE, 0);
	(void)*page;
}

static __attribute__((noinline)) int recurse(int depth)
{
	volatile char frame[1024];

	frame[0] = (char)depth;
	return recurse(depth + 1) + frame[0];
}

static void overflow_stack(void)
{
	recurse(0);
}

static void divide(void)
{
	__asm__ volatile("divl %0" : : "r"(zero), "a"(1), "d"(0));
}

static void bad_instruction(void)
{
	__asm__ volatile("ud2");
}

static void breakpoint(void)
{
	__asm__ volatile("int3");
}

static void privileged(void)
{
	__asm__ volatile("hlt");
}

static void port(void)
{
	__asm__ volatile("outb %%al, $0x80" : : "a"(0));
}

static void abort_self(void)
{
	syscall3(SYS_KILL, syscall3(SYS_GETPID, 0, 0, 0), 6, 0);
}

static void terminate_self(void)
{
	syscall3(SYS_KILL, syscall3(SYS_GETPID, 0, 0, 0), 15, 0);
}

static const struct way {
	const char *name;
	void (*run)(void);
} ways[] = {
	{ "read-null", read_null },		/* SIGSEGV */
	{ "write-null", write_null },		/* SIGSEGV */
	{ "call-null", call_null },		/* SIGSEGV */
	{ "read-kernel", read_kernel },		/* SIGSEGV */
	{ "write-kernel", write_kernel },	/* SIGSEGV */
	{ "call-kernel", call_kernel },		/* SIGSEGV */
	{ "not-canonical", not_canonical },	/* SIGSEGV */
	{ "write-text", write_text },		/* SIGSEGV */
	{ "write-constant", write_constant },	/* SIGSEGV */
	{ "execute-data", execute_data },	/* SIGSEGV */
	{ "execute-stack", execute_stack },	/* SIGSEGV */
	{ "use-after-unmap", use_after_unmap }, /* SIGSEGV */
	{ "write-protected", write_protected }, /* SIGSEGV */
	{ "read-protected", read_protected },	/* SIGSEGV */
	{ "overflow-stack", overflow_stack },	/* SIGSEGV */
	{ "privileged", privileged },		/* SIGSEGV */
	{ "port", port },			/* SIGSEGV */
	{ "divide", divide },			/* SIGFPE */
	{ "bad-instruction", bad_instruction }, /* SIGILL */
	{ "breakpoint", breakpoint },		/* SIGTRAP */
	{ "abort", abort_self },		/* SIGABRT */
	{ "terminate", terminate_self },	/* SIGTERM */
};

int main(int argc, char **argv)
{
	for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		if (argc == 2 && equal(argv[1], ways[i].name)) {
			ways[i].run();
			print_error("wild: %s: still here\n", ways[i].name);
			return 1;
		}
	}
	print_error("usage: wild HOW, one of:\n");
	for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
		print_error("  %s\n", ways[i].name);
	return 2;
}

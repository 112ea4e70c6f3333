/*
 * Doors by way of segments: far jumps, the LDT, 32-bit code, and returns to states that are none.
 */
#include "guest/programs/tests/doors.h"

#define SYS_MODIFY_LDT 154

static long set_segment(unsigned number, uint32_t flags)
{
	uint32_t descriptor[4] = { number, 0, 0xfffff, flags };

	return syscall3(SYS_MODIFY_LDT, 0x11, descriptor, sizeof(descriptor));
}

/* Whatever a program asks modify_ldt for, what is in the table is a data segment of ring 3. */
static void try_descriptors(void)
{
	uint64_t table[32];
	long size;

	for (uint32_t flags = 0; flags < 256; flags++)
		set_segment(flags % 32, flags);
	expect(set_segment(32, 0x41) == -EINVAL, "a descriptor beyond the table");
	size = syscall3(SYS_MODIFY_LDT, 0, table, sizeof(table));
	expect(size >= 0, "the table cannot be read");
	for (long i = 0; i < size / 8; i++) {
		uint32_t high = table[i] >> 32;

		expect(!high || (high & 0x7800) == 0x7000,
		       "a descriptor that is no data of ring 3");
	}
}

static void try_far(unsigned selector, bool goes, const char *what)
{
	/* 48 cf and cb of what is pushed; ff 2c 25: ljmp *[disp32]. */
	static struct {
		uint32_t offset;
		uint16_t selector;
	} __attribute__((packed)) to;
	static const uint8_t jump[] = { 0xff, 0x2c, 0x25 }, call_far[] = { 0xff, 0x1c, 0x25 };
	uint32_t at = (uint32_t)(uint64_t)&to;

	to.offset = (uint32_t)(uint64_t)code + 32;
	to.selector = selector;
	code[32] = 0xc3;
	memcpy(code, jump, 3);
	memcpy(code + 3, &at, 4);
	expect(goes || door_try(code, 0) != 0, what);
	memcpy(code, call_far, 3);
	expect(goes || door_try(code, 0) != 0, what);
	check_ring(what);
}

static void try_load(unsigned selector, uint8_t segment)
{
	/* And mov ss, 0x2b behind it. */
	struct instruction load = { "a segment register",
				    9,
				    true,
				    { 0x8e, 0xc0 | segment << 3, 0xb8, DATA, 0, 0, 0, 0x8e,
				      0xd0 } };

	try_bytes(&load, selector);
}

/* Of each descriptor in the GDT and the LDT the selectors of ring 0 and of ring 3. */
static unsigned selector_after(unsigned selector)
{
	return selector % 4 ? selector + 1 : selector + 3;
}

/* Far jumps and calls by every selector; and loads of them. */
void gates(void)
{
	static const uint8_t segments[] = { 0, 2, 3, 4, 5 };

	for (unsigned selector = 0; selector < 0x60; selector = selector_after(selector))
		try_far(selector, (selector | 3) == CODE64, "a far jump");
	expect(set_segment(0, 0x41) == 0, "modify_ldt");
	for (unsigned selector = 0; selector < 0x60; selector = selector_after(selector))
		try_far(selector, (selector | 3) == CODE64 || (selector | 3) == CODE32,
			"a far jump with an LDT");
	try_descriptors();
	for (unsigned selector = 0; selector < 0x60; selector = selector_after(selector)) {
		for (unsigned i = 0; i < sizeof(segments); i++)
			try_load(selector, segments[i]);
	}
}

/* ---- IRET and far returns by the program itself ---- */

static void try_iret(uint64_t cs, uint64_t ss, uint64_t rip)
{
	uint64_t frame[5] = { rip, cs, 0x202, door_stack, ss };
	/* mov rsp, rax; iretq */
	static const uint8_t bytes[] = { 0x48, 0x89, 0xc4, 0x48, 0xcf };

	memcpy(code, bytes, sizeof(bytes));
	door_try(code, (uint64_t)frame);
	check_ring("iretq");
}

static void return_plainly(void)
{
	call(ALARM, 2);
	try_iret(CODE64, DATA, (uint64_t)door_back);
}

/* QEMU reads the stack for it as ring 0 would, which SMAP forbids: it faults for ever. */
static bool returns_end(void)
{
	return ends_with(return_plainly) == 0;
}

/* ---- compatibility mode ---- */

#define RETURNS 3 /* of the doors below, at the end */

static const uint8_t *code32;
static unsigned code32_length;

/* Runs 32-bit code in this process, which does not go on; behind it stands HLT. */
static void enter32(void)
{
	static struct {
		uint32_t offset;
		uint16_t selector;
	} __attribute__((packed)) to = { LOW_PAGES, CODE32 };
	uint8_t *low =
		map((void *)LOW_PAGES, 3 * PAGE, RW | PROT_EXEC, PRIVATE_ANONYMOUS | MAP_FIXED, -1);

	memset(low, 0xf4, 64);
	memcpy(low, code32, code32_length);
	__asm__ volatile("movq %1, %%rsp\n movl $20, %%eax\n movl $0x2b, %%ecx\n ljmpl *%0"
			 :
			 : "m"(to), "r"(LOW_STACK)
			 : "memory");
}

static void enter32_with_table(void)
{
	set_segment(0, 0x41);
	enter32();
}

void compat(void)
{
	static const struct {
		const char *name;
		uint8_t bytes[16];
	} doors[] = {
		{ "syscall", { 0x0f, 0x05 } },
		{ "sysenter", { 0x0f, 0x34 } },
		{ "int 0x80", { 0xcd, 0x80 } },
		{ "far jump to ring 0", { 0xea, 0, 0, 0, 0x10, 0x10, 0 } },
		{ "lds", { 0x0f, 0x05, 0xc5, 0x06 } },
		{ "iret", { 0xcf } },
		{ "iret to ring 0", { 0x9c, 0x6a, 0x10, 0x68, 0, 0, 0, 0x10, 0xcf } },
		{ "far return to ring 0", { 0x6a, 0x10, 0x68, 0, 0, 0, 0x10, 0xcb } },
	};

	unsigned count = sizeof(doors) / sizeof(doors[0]) - (returns_end() ? 0 : RETURNS);

	for (unsigned i = 0; i < 2 * count; i++) {
		int status;

		code32 = doors[i / 2].bytes;
		code32_length = sizeof(doors[0].bytes);
		status = ends_bare(i % 2 ? enter32_with_table : enter32);
		if (DIED_OF(status) != SIGSEGV && DIED_OF(status) != SIGILL &&
		    DIED_OF(status) != SIGBUS) {
			print("wrong: 32-bit %s ends as %x\n", doors[i / 2].name, status);
			failures++;
		}
		check_ring(doors[i / 2].name);
	}
}

/* ---- returns to states that are none ---- */

/* A signal's frame whose word `number` the handler sets. */
static volatile unsigned odd_word;
static volatile uint64_t odd_value;

static void make_odd(int signal, void *info, uint64_t *context)
{
	context[odd_word] = odd_value;
}

static void return_odd(void)
{
	uint64_t flags;

	on_signal(SIGUSR1, (void (*)(int))(void (*)(void))make_odd, 0);
	call(KILL, call(GETPID), SIGUSR1);
	__asm__ volatile("pushfq; popq %0; pushq $0x202; popfq" : "=r"(flags));
	exit(flags & FLAG_IOPL ? 1 : CAME_BACK);
}

static void return_odd_with_table(void)
{
	set_segment(0, 0x41);
	return_odd();
}

static void try_return(unsigned word, uint64_t value, const char *what)
{
	for (unsigned table = 0; table < (word == CONTEXT_CS ? 2 : 1); table++) {
		int status;

		odd_word = word;
		odd_value = value;
		status = ends_bare(table ? return_odd_with_table : return_odd);
		if (!DIED_OF(status) && EXITED(status) != CAME_BACK) {
			print("wrong: %s %lx ends as %x\n", what, value, status);
			failures++;
		}
		if (word == CONTEXT_CS && value == CODE32 && !table)
			expect(DIED_OF(status) == SIGSEGV, "a return to 32 bits without an LDT");
		check_ring(what);
	}
}

void iret(void)
{
	static const uint64_t places[] = { 0,	       USER_END,     HOLE_START - 1,
					   HOLE_START, HOLE_END - 1, HOLE_END,
					   ~0ull,      KERNEL_TEXT,  1ull << 32 };

	bool ends = returns_end();

	for (uint64_t selector = 0; selector < 0x60 && ends; selector++) {
		try_iret(selector, DATA, (uint64_t)door_back);
		try_iret(CODE64, selector, (uint64_t)door_back);
	}
	for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		if (ends)
			try_iret(CODE64, DATA, places[i]);
		try_return(CONTEXT_RIP, places[i], "a return to");
		try_return(CONTEXT_RSP, places[i], "a return with the stack");
	}
	for (unsigned bit = 8; bit < 23; bit++)
		try_return(CONTEXT_FLAGS, 0x202 | 1ull << bit, "a return with flags");
	try_return(CONTEXT_FLAGS, ~0x100ull, "a return with flags");
	for (uint64_t cs = 0; cs < 0x60; cs += cs % 8 == 0 ? 3 : 5)
		try_return(CONTEXT_CS, cs | 0x002b000000000000, "a return with segments");
	try_return(CONTEXT_CS, CODE64 | 7ull << 48, "a return with a stack of the LDT");
}

/* ---- a stack segment that goes while it is in use ---- */

#define WAITS 200 /* of 10 ms, for the first turn */

static volatile uint32_t *turns; /* shared, for they outlive who makes them */

/* Spins in 32-bit code with SS of the LDT; the kernel returns there after each interrupt. */
static void spin_on_segment(void *unused)
{
	/* mov ss, ecx; 1: inc dword ss:[turns]; jmp 1b. DS is null. */
	static uint8_t spin[] = { 0x8e, 0xd1, 0x36, 0xff, 0x05, 0, 0, 0, 0, 0xeb, 0xf7 };
	static struct {
		uint32_t offset;
		uint16_t selector;
	} __attribute__((packed)) to = { LOW_PAGES, CODE32 };
	uint32_t at = (uint32_t)(uint64_t)turns;

	memcpy(spin + 5, &at, 4);
	memcpy((void *)LOW_PAGES, spin, sizeof(spin));
	/* The table may be another processor's. */
	syscall3(SYS_RT_SIGPROCMASK, 0, 0, 0);
	call(SCHED_YIELD);
	__asm__ volatile("movq %1, %%rsp\n movl %2, %%ecx\n ljmpl *%0"
			 :
			 : "m"(to), "r"(LOW_STACK), "i"(LDT_FIRST)
			 : "memory");
}

static void lose_segment(void)
{
	static struct task task;
	uint32_t before;

	map((void *)LOW_PAGES, PAGE, RW | PROT_EXEC, PRIVATE_ANONYMOUS | MAP_FIXED, -1);
	map((void *)(LOW_PAGES + 2 * PAGE), PAGE, RW, PRIVATE_ANONYMOUS | MAP_FIXED, -1);
	*turns = 0; /* from now on it is there: the first turn needs no fault, and no return */
	expect(set_segment(0, 0x51) == 0, "modify_ldt");
	task_start(&task, spin_on_segment, NULL);
	for (unsigned i = 0; i < WAITS && *turns == 0; i++)
		nap(10);
	set_segment(0, 0x59); /* read-only: no stack any more */
	for (unsigned i = 0; i < 20; i++) {
		before = *turns;
		nap(10);
	}
	exit(*turns == before ? CAME_BACK : 0);
}

void stack_segment(void)
{
	int status;

	turns = map((void *)(LOW_PAGES + PAGE), PAGE, RW, SHARED_ANONYMOUS | MAP_FIXED, -1);
	status = ends_bare(lose_segment);
	expect(*turns > 0, "a stack segment that was never in use");
	if (DIED_OF(status) != SIGSEGV && DIED_OF(status) != SIGBUS && DIED_OF(status) != SIGILL &&
	    EXITED(status) != CAME_BACK && status != 0) {
		print("wrong: a stack segment that goes: %x\n", status);
		failures++;
	}
	check_ring("a stack segment that goes");
}

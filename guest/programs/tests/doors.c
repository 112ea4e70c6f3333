/*
 * Every door from ring 3 into the kernel that is none: instructions, selectors, gates, frames and
 * addresses that a hostile program may try. `doors GROUP`. Each attempt must end in a signal, or do
 * nothing; and afterwards this is still ring 3 and the kernel answers.
 *
 * Linked at a fixed address below 4 GiB, as all of these programs are: 32-bit code reaches it.
 */
#include "guest/programs/tests/doors.h"

#define SYS_ARCH_PRCTL 158
#define ARCH_SET_GS    0x1001
#define ARCH_SET_FS    0x1002
#define ARCH_GET_GS    0x1004
#define CLONE_SETTLS   0x00080000

uint8_t *code;
static unsigned tried;

/* ---- an attempt that this process survives ---- */

__asm__(".text\n"
	"	.globl door_try, door_back, door_stack, door_open\n"
	"door_try:\n"
	"	pushq %rbx\n pushq %rbp\n pushq %r12\n pushq %r13\n pushq %r14\n pushq %r15\n"
	"	movq %rsp, door_stack(%rip)\n"
	"	movq %rdi, door_open(%rip)\n"
	"	movq %rsi, %rax\n movq %rsi, %rbx\n movq %rsi, %rcx\n movq %rsi, %rdx\n"
	"	movq %rsi, %rbp\n movq %rsi, %rdi\n movq %rsi, %r8\n movq %rsi, %r9\n"
	"	call *door_open(%rip)\n"
	"	xorl %eax, %eax\n"
	"door_back:\n"
	"	movq door_stack(%rip), %rsp\n"
	"	cld\n"
	"	movq $0, door_open(%rip)\n"
	"	popq %r15\n popq %r14\n popq %r13\n popq %r12\n popq %rbp\n popq %rbx\n"
	"	ret\n"
	"	.bss\n"
	"	.balign 8\n"
	"door_stack: .skip 8\n"
	"door_open: .skip 8\n"
	"	.text\n");

static void caught(int signal, void *info, uint64_t *context)
{
	if (!door_open) {
		print("wrong: signal %d at %lx behind a door\n", signal, context[CONTEXT_RIP]);
		exit(1);
	}
	context[CONTEXT_RIP] = (uint64_t)door_back;
	context[CONTEXT_RAX] = signal;
	context[CONTEXT_RSP] = door_stack;
	context[CONTEXT_FLAGS] = 0x202;
	context[CONTEXT_CS] = CODE64 | (uint64_t)DATA << 48;
}

static const int signals[] = { SIGILL, SIGBUS, SIGFPE, SIGSEGV, 5 /* SIGTRAP */ };
#define SIGNALS (sizeof(signals) / sizeof(signals[0]))

static void catch_all(void)
{
	struct {
		void *stack;
		int flags;
		size_t size;
	} stack = { map(NULL, 16 * PAGE, RW, PRIVATE_ANONYMOUS, -1), 0, 16 * PAGE };

	call(SIGALTSTACK, &stack, 0);
	for (unsigned i = 0; i < SIGNALS; i++)
		on_signal(signals[i], (void (*)(int))(void (*)(void))caught, SA_ONSTACK);
}

/* In a child that a signal ends: its wait status. */
static void (*bare_body)(void);

static void run_bare(void)
{
	for (unsigned i = 0; i < SIGNALS; i++)
		on_signal(signals[i], SIGNAL_DEFAULT, 0);
	bare_body();
}

int ends_bare(void (*body)(void))
{
	bare_body = body;
	return ends_with(run_bare);
}

/* Still ring 3, without the right to ports; and the kernel answers. */
void check_ring(const char *what)
{
	uint64_t cs, flags;

	__asm__ volatile("movq %%cs, %0" : "=r"(cs));
	__asm__ volatile("pushfq; popq %0" : "=r"(flags));
	if ((cs & 3) != 3 || (flags & FLAG_IOPL) || call(GETPID) <= 0) {
		print("wrong: %s: cs %lx, flags %lx\n", what, cs, flags);
		failures++;
	}
	tried++;
}

void try_bytes(const struct instruction *door, uint64_t value)
{
	memcpy(code, door->bytes, door->length);
	code[door->length] = 0xc3;
	if (!door_try(code, value) && !door->harmless) {
		print("wrong: %s (%x) is let through\n", door->name, door->bytes[1]);
		failures++;
	}
	check_ring(door->name);
}

static void try_all(const struct instruction *doors, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		try_bytes(&doors[i], 0);
		try_bytes(&doors[i], ~0ull);
		try_bytes(&doors[i], HOLE_END);
	}
}

#define TRY_ALL(doors) try_all(doors, sizeof(doors) / sizeof((doors)[0]))

/* ---- instructions ---- */

static void privileged(void)
{
	static const struct instruction doors[] = {
		{ "hlt", 1, false, { 0xf4 } },
		{ "cli", 1, false, { 0xfa } },
		{ "sti", 1, false, { 0xfb } },
		{ "clts", 2, false, { 0x0f, 0x06 } },
		{ "invd", 2, false, { 0x0f, 0x08 } },
		{ "wbinvd", 2, false, { 0x0f, 0x09 } },
		{ "sysret", 2, false, { 0x0f, 0x07 } },
		{ "sysretq", 3, false, { 0x48, 0x0f, 0x07 } },
		{ "rdmsr", 2, false, { 0x0f, 0x32 } },
		{ "wrmsr", 2, false, { 0x0f, 0x30 } },
		{ "lldt ax", 3, false, { 0x0f, 0x00, 0xd0 } },
		{ "ltr ax", 3, false, { 0x0f, 0x00, 0xd8 } },
		{ "lgdt [rsp]", 4, false, { 0x0f, 0x01, 0x14, 0x24 } },
		{ "lidt [rsp]", 4, false, { 0x0f, 0x01, 0x1c, 0x24 } },
		{ "lmsw ax", 3, false, { 0x0f, 0x01, 0xf0 } },
		{ "invlpg [rsp]", 4, false, { 0x0f, 0x01, 0x3c, 0x24 } },
		{ "swapgs", 3, false, { 0x0f, 0x01, 0xf8 } },
		{ "xsetbv", 3, false, { 0x0f, 0x01, 0xd1 } },
		{ "stac", 3, true, { 0x0f, 0x01, 0xcb } },
		{ "clac", 3, true, { 0x0f, 0x01, 0xca } },
		{ "monitor", 3, false, { 0x0f, 0x01, 0xc8 } },
		{ "mwait", 3, false, { 0x0f, 0x01, 0xc9 } },
		{ "vmrun", 3, false, { 0x0f, 0x01, 0xd8 } },
		{ "vmload", 3, false, { 0x0f, 0x01, 0xda } },
		{ "stgi", 3, false, { 0x0f, 0x01, 0xdc } },
		{ "clgi", 3, false, { 0x0f, 0x01, 0xdd } },
		{ "invlpga", 3, false, { 0x0f, 0x01, 0xdf } },
		{ "vmxoff", 3, false, { 0x0f, 0x01, 0xc4 } },
		{ "rsm", 2, false, { 0x0f, 0xaa } },
		{ "mov rax, cr0", 3, false, { 0x0f, 0x20, 0xc0 } },
		{ "mov cr0, rax", 3, false, { 0x0f, 0x22, 0xc0 } },
		{ "mov rax, cr2", 3, false, { 0x0f, 0x20, 0xd0 } },
		{ "mov cr2, rax", 3, false, { 0x0f, 0x22, 0xd0 } },
		{ "mov rax, cr3", 3, false, { 0x0f, 0x20, 0xd8 } },
		{ "mov cr3, rax", 3, false, { 0x0f, 0x22, 0xd8 } },
		{ "mov rax, cr4", 3, false, { 0x0f, 0x20, 0xe0 } },
		{ "mov cr4, rax", 3, false, { 0x0f, 0x22, 0xe0 } },
		{ "mov rax, cr8", 4, false, { 0x44, 0x0f, 0x20, 0xc0 } },
		{ "mov cr8, rax", 4, false, { 0x44, 0x0f, 0x22, 0xc0 } },
		{ "invpcid", 5, false, { 0x66, 0x0f, 0x38, 0x82, 0x04 } },
		{ "smsw eax", 3, true, { 0x0f, 0x01, 0xe0 } },
		{ "sldt eax", 3, true, { 0x0f, 0x00, 0xc0 } },
		{ "str eax", 3, true, { 0x0f, 0x00, 0xc8 } },
		{ "lar eax, eax", 3, true, { 0x0f, 0x02, 0xc0 } },
		{ "verw ax", 3, true, { 0x0f, 0x00, 0xe8 } },
	};

	TRY_ALL(doors);
}

/* DR0 to DR7, a trap after each instruction, and the traps that the processor has by itself. */
static void debug(void)
{
	static const struct instruction doors[] = {
		{ "int1", 1, false, { 0xf1 } },
		{ "int3", 1, false, { 0xcc } },
		{ "trap flag", 9, true, { 0x9c, 0x80, 0x4c, 0x24, 0x01, 0x01, 0x9d, 0x90, 0x90 } },
		/* TF, then a system call (getpid), whose first kernel instruction must not trap. */
		{ "trap flag and syscall",
		  12,
		  true,
		  { 0x6a, 0x27, 0x58, 0x9c, 0x80, 0x4c, 0x24, 0x01, 0x01, 0x9d, 0x0f, 0x05 } },
		{ "trap flag and sysenter",
		  9,
		  false,
		  { 0x9c, 0x80, 0x4c, 0x24, 0x01, 0x01, 0x9d, 0x0f, 0x34 } },
		/* mov ss, eax holds a trap back; int3 follows. */
		{ "mov ss and int3", 8, false, { 0x6a, 0x2b, 0x58, 0x8e, 0xd0, 0xcc, 0x90, 0x90 } },
		{ "mov ss and syscall",
		  10,
		  true,
		  { 0x6a, 0x2b, 0x58, 0x8e, 0xd0, 0x6a, 0x27, 0x58, 0x0f, 0x05 } },
	};
	struct instruction move = { "a debug register", 3, false, { 0x0f, 0x21, 0xc0 } };

	for (unsigned number = 0; number < 8; number++) {
		move.bytes[2] = 0xc0 | number << 3;
		move.bytes[1] = 0x21;
		try_bytes(&move, 0);
		move.bytes[1] = 0x23;
		try_bytes(&move, 0);
		try_bytes(&move, (uint64_t)code);
	}
	TRY_ALL(doors);
}

/* int n, every n. */
static void interrupts(void)
{
	struct instruction door = { "int n", 2, false, { 0xcd, 0 } };

	for (unsigned vector = 0; vector < 256; vector++) {
		door.bytes[1] = vector;
		/* One kind of host that emulates ring 0 keeps this one to itself. */
		door.harmless = vector == 0x1a;
		try_bytes(&door, 0);
	}
}

/* Every width, at ports near each bound that a bitmap could have. */
static void ports(void)
{
	static const struct instruction doors[] = {
		{ "in al, dx", 1, false, { 0xec } },	   { "in eax, dx", 1, false, { 0xed } },
		{ "in ax, dx", 2, false, { 0x66, 0xed } }, { "out dx, al", 1, false, { 0xee } },
		{ "out dx, eax", 1, false, { 0xef } },	   { "insb", 1, false, { 0x6c } },
		{ "outsb", 1, false, { 0x6e } },
	};
	static const struct instruction number[] = {
		{ "in al, 0x71", 2, false, { 0xe4, 0x71 } },
		{ "out 0x70, al", 2, false, { 0xe6, 0x70 } },
	};

	for (uint64_t port = 0; port < 0x10000; port = port < 0x20 ? port + 1 : port * 2 - 0x11) {
		for (unsigned i = 0; i < sizeof(doors) / sizeof(doors[0]); i++)
			try_bytes(&doors[i], port);
	}
	for (unsigned i = 0; i < sizeof(doors) / sizeof(doors[0]); i++)
		try_bytes(&doors[i], 0xffff);
	TRY_ALL(number);
}

static void sysenter(void)
{
	static const struct instruction doors[] = {
		{ "sysenter", 2, false, { 0x0f, 0x34 } },
		{ "sysexit", 2, false, { 0x0f, 0x35 } },
		{ "sysexitq", 3, false, { 0x48, 0x0f, 0x35 } },
	};

	TRY_ALL(doors);
}

/* ---- bases ---- */

static void fsgsbase(void)
{
	static const struct instruction doors[] = {
		{ "wrgsbase", 5, true, { 0xf3, 0x48, 0x0f, 0xae, 0xd8 } },
		{ "wrfsbase", 5, true, { 0xf3, 0x48, 0x0f, 0xae, 0xd0 } },
		{ "rdgsbase", 5, true, { 0xf3, 0x48, 0x0f, 0xae, 0xc8 } },
		{ "rdfsbase", 5, true, { 0xf3, 0x48, 0x0f, 0xae, 0xc0 } },
		{ "gs:", 9, true, { 0x65, 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0 } },
		{ "wrgsbase and page fault",
		  8,
		  false,
		  { 0xf3, 0x48, 0x0f, 0xae, 0xd8, 0x48, 0x8b, 0x00 } },
		{ "wrgsbase, fault", 7, false, { 0xf3, 0x48, 0x0f, 0xae, 0xd8, 0x0f, 0x0b } },
	};
	static const uint64_t bases[] = { USER_END, HOLE_START,	 HOLE_END - 1,
					  HOLE_END, KERNEL_TEXT, ~0ull - 7 };
	uint64_t base = 1;

	for (unsigned i = 0; i < sizeof(bases) / sizeof(bases[0]); i++) {
		for (unsigned n = 0; n < sizeof(doors) / sizeof(doors[0]); n++) {
			try_bytes(&doors[n], bases[i]);
			call(SCHED_YIELD);
			nap(1);
		}
		expect(syscall3(SYS_ARCH_PRCTL, ARCH_SET_GS, bases[i], 0) == -EPERM, "ARCH_SET_GS");
		expect(syscall3(SYS_ARCH_PRCTL, ARCH_SET_FS, bases[i], 0) == -EPERM, "ARCH_SET_FS");
		expect(syscall6(SYS_CLONE, CLONE_SETTLS | SIGCHLD, 0, 0, 0, bases[i], 0) == -EPERM,
		       "clone with a kernel's base");
	}
	syscall3(SYS_ARCH_PRCTL, ARCH_GET_GS, &base, 0);
	expect(base < USER_END, "ARCH_GET_GS tells of the kernel");
}

/* ---- addresses ---- */

static void try_address(uint64_t address)
{
	static const struct instruction doors[] = {
		{ "jmp rax", 2, false, { 0xff, 0xe0 } },
		{ "mov rbx, [rax]", 3, false, { 0x48, 0x8b, 0x18 } },
		{ "mov [rax], rbx", 3, false, { 0x48, 0x89, 0x18 } },
		{ "mov rsp, rax; push", 4, false, { 0x48, 0x89, 0xc4, 0x50 } },
		{ "mov rsp, rax; ud2", 5, false, { 0x48, 0x89, 0xc4, 0x0f, 0x0b } },
		{ "push rax; ret", 2, false, { 0x50, 0xc3 } },
		{ "prefetch", 3, true, { 0x0f, 0x0d, 0x08 } },
	};

	for (unsigned i = 0; i < sizeof(doors) / sizeof(doors[0]); i++)
		try_bytes(&doors[i], address);
	expect(call(READ, 0, address, 8) < 0, "read there");
	expect(call(WRITE, 1, address, 8) == -EFAULT, "write from there");
	expect(call(OPEN, address, 0, 0) == -EFAULT, "open of a name there");
	expect(call(RT_SIGPENDING, address, 8) == -EFAULT, "a result there");
	expect(map((void *)(address & -PAGE), PAGE, RW, PRIVATE_ANONYMOUS | MAP_FIXED, -1) == NULL,
	       "a mapping there");
}

static void canonical(void)
{
	static const uint64_t edges[] = { HOLE_START, HOLE_END };

	for (unsigned edge = 0; edge < 2; edge++) {
		for (uint64_t at = 0; at < 2 * AROUND; at += PAGE) {
			uint64_t page = edges[edge] - AROUND + at;

			/* The program's own half ends a page early; its stack may be there. */
			if (page + PAGE <= USER_END)
				continue;
			try_address(page + PAGE - 8);
			try_address(page + PAGE - 1);
		}
	}
	try_address(USER_END);
	expect(call(WRITE, 1, USER_END - 4, 8) == -EFAULT, "write across the end");
}

static const struct {
	const char *name;
	void (*run)(void);
} groups[] = {
	{ "privileged", privileged }, { "debug", debug },	  { "interrupts", interrupts },
	{ "ports", ports },	      { "sysenter", sysenter },	  { "gates", gates },
	{ "compat", compat },	      { "iret", iret },		  { "stack", stack_segment },
	{ "fsgsbase", fsgsbase },     { "canonical", canonical },
};

int main(int argc, char **argv)
{
	unsigned count = 0;

	code = map(NULL, PAGE, RW | PROT_EXEC, PRIVATE_ANONYMOUS | 0x40 /* MAP_32BIT */, -1);
	catch_all();
	for (unsigned i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
		if (argc > 1 && !equal(argv[1], groups[i].name))
			continue;
		groups[i].run();
		count++;
	}
	if (count && !failures)
		print("doors: %u tried, all are shut\n", tried);
	return count && !failures ? 0 : 1;
}

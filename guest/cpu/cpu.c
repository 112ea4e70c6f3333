/*
 * The processor's tables and features. Each feature is used only where CPUID offers it, and a plain
 * path exists beside it.
 */
#include "guest/cpu/cpu.h"
#include "guest/cpu/trap.h"
#include "guest/lib/asm.h"
#include "guest/lib/string.h"

/* The stacks that the double fault, NMI and machine check switch to, whatever RSP holds. */
enum { IST_DOUBLE_FAULT = 1, IST_NMI = 2, IST_MACHINE_CHECK = 3, IST_DEBUG = 4, IST_COUNT = 4 };

struct gate {
	uint16_t offset_low, selector;
	uint8_t ist, type;
	uint16_t offset_middle;
	uint32_t offset_high, reserved;
};

struct table_pointer {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

#define GATE_INTERRUPT	    0x8e
#define GATE_INTERRUPT_USER 0xee

#define FLAG_TF 0x100
#define FLAG_IF 0x200
#define FLAG_DF 0x400
#define FLAG_NT 0x4000
#define FLAG_AC 0x40000

_Static_assert(offsetof(struct cpu, number) == CPU_NUMBER, "cpu_number() looks there");

struct cpu_features cpu_features;
struct cpu cpus[CPU_MAX];
unsigned cpu_count = 1;
uint8_t cpu_smap; /* entry.S asks */

static struct gate idt[256];

static void tss_init(struct cpu *cpu)
{
	uint64_t base = (uint64_t)&cpu->tss;
	struct table_pointer pointer = { sizeof(cpu->gdt) - 1, (uint64_t)cpu->gdt };

	for (unsigned i = 0; i < IST_COUNT; i++)
		cpu->tss.ist[i] = (uint64_t)(cpu->ist_stack[i] + sizeof(cpu->ist_stack[i]));
	cpu->tss.io_bitmap = sizeof(cpu->tss);
	memcpy(cpu->gdt, gdt, sizeof(cpu->gdt));
	cpu->gdt[SELECTOR_USER_CODE32 / 8] = 0;
	cpu->gdt[SELECTOR_TSS / 8] = (sizeof(cpu->tss) - 1) | (base & 0xffffff) << 16 |
				     0x89ull << 40 | (base >> 24 & 0xff) << 56;
	cpu->gdt[SELECTOR_TSS / 8 + 1] = base >> 32;
	__asm__ volatile("lgdt %0" : : "m"(pointer));
	__asm__ volatile("ltr %w0" : : "r"(SELECTOR_TSS));
}

static void gate_set(unsigned vector, const char *entry, uint8_t type, uint8_t ist)
{
	uint64_t offset = (uint64_t)entry;

	idt[vector] = (struct gate){ .offset_low = (uint16_t)offset,
				     .selector = SELECTOR_KERNEL_CODE,
				     .ist = ist,
				     .type = type,
				     .offset_middle = (uint16_t)(offset >> 16),
				     .offset_high = (uint32_t)(offset >> 32) };
}

static void idt_fill(void)
{
	for (unsigned vector = 0; vector < VECTOR_EXCEPTIONS; vector++)
		gate_set(vector, trap_stubs + vector * 16, GATE_INTERRUPT, 0);
	for (unsigned vector = VECTOR_TIMER; vector <= VECTOR_LAST; vector++)
		gate_set(vector, trap_stubs + vector * 16, GATE_INTERRUPT, 0);
	gate_set(VECTOR_DEBUG, trap_debug, GATE_INTERRUPT, IST_DEBUG);
	gate_set(VECTOR_PAGE_FAULT, trap_page_fault, GATE_INTERRUPT, 0);
	gate_set(VECTOR_FLUSH, trap_flush, GATE_INTERRUPT, 0);
	gate_set(VECTOR_SPURIOUS, trap_spurious, GATE_INTERRUPT, 0);
	idt[VECTOR_BREAKPOINT].type = GATE_INTERRUPT_USER;
	idt[VECTOR_OVERFLOW].type = GATE_INTERRUPT_USER;
	idt[VECTOR_DOUBLE_FAULT].ist = IST_DOUBLE_FAULT;
	idt[VECTOR_NMI].ist = IST_NMI;
	idt[VECTOR_MACHINE_CHECK].ist = IST_MACHINE_CHECK;
}

static void syscall_init(struct cpu *cpu)
{
	cpu->self = cpu;
	cpu->number = cpu - cpus;
	msr_write(MSR_GS_BASE, (uint64_t)cpu);
	msr_write(MSR_KERNEL_GS_BASE, 0);
	msr_write(MSR_STAR,
		  (uint64_t)SELECTOR_USER_CODE32 << 48 | (uint64_t)SELECTOR_KERNEL_CODE << 32);
	msr_write(MSR_LSTAR, (uint64_t)syscall_entry);
	msr_write(MSR_CSTAR, (uint64_t)syscall_entry32);
	msr_write(MSR_FMASK, FLAG_TF | FLAG_IF | FLAG_DF | FLAG_NT | FLAG_AC);
}

static void xcr0_write(uint64_t value)
{
	__asm__ volatile("xsetbv" : : "c"(0), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)));
}

static uint64_t xcr0_read(void)
{
	uint32_t low, high;

	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return (uint64_t)high << 32 | low;
}

void cpu_find_features(bool emulated)
{
	uint32_t highest = cpuid(0, 0).eax;
	struct cpuid_result leaf = cpuid(1, 0);

	cpu_features.emulated = emulated;
	cpu_features.xsave = leaf.ecx >> 26 & 1;
	cpu_features.pcid = leaf.ecx >> 17 & 1;
	if (highest >= 7) {
		leaf = cpuid(7, 0);
		cpu_features.smep = leaf.ebx >> 7 & 1;
		cpu_features.smap = leaf.ebx >> 20 & 1;
		cpu_features.umip = leaf.ecx >> 2 & 1;
	}
	cpu_features.gigabyte_pages = cpuid(0x80000001, 0).edx >> 26 & 1;
	/* CPUID may show the host's processor, whose STAC, CLAC and CR4.PCIDE the emulator lacks.
	 */
	if (emulated)
		cpu_features.smap = cpu_features.pcid = false;
	cpu_smap = cpu_features.smap;
	if (!cpu_features.xsave)
		return;
	leaf = cpuid(0xd, 0);
	/* x87, SSE, AVX and AVX-512; others (PKRU, AMX) need more care than they are worth. */
	cpu_features.xcr0 = leaf.eax & 0xe7;
}

/* The bits for what CPUID offers. For each one that is missing there is a plain path elsewhere. */
static uint64_t cr4_wanted(void)
{
	return CR4_OSFXSR | CR4_OSXMMEXCPT | (cpu_features.smep ? CR4_SMEP : 0) |
	       (cpu_features.smap ? CR4_SMAP : 0) | (cpu_features.umip ? CR4_UMIP : 0) |
	       (cpu_features.pcid ? CR4_PCIDE : 0) | (cpu_features.xsave ? CR4_OSXSAVE : 0);
}

void cpu_init(struct cpu *cpu)
{
	struct table_pointer pointer = { sizeof(idt) - 1, (uint64_t)idt };

	if (cpu == cpus)
		idt_fill();
	tss_init(cpu);
	__asm__ volatile("lidt %0" : : "m"(pointer));
	syscall_init(cpu);
}

void cpu_enable(void)
{
	cr4_write(cr4_read() | cr4_wanted());
	__asm__ volatile("fninit");
	if (!cpu_features.xsave)
		return;
	xcr0_write(cpu_features.xcr0);
	/* KVM on QEMU's SVM never sees XSETBV and takes the value back at the next exit, which
	 * CPUID is; without XCR0 there is FXSAVE. An emulated ring 0 has no XGETBV. */
	cpuid(0, 0);
	if (!cpu_features.emulated && xcr0_read() != cpu_features.xcr0) {
		cpu_features.xsave = false;
		cpu_features.xcr0 = 0;
		cr4_write(cr4_read() & ~(uint64_t)CR4_OSXSAVE);
	}
}

void cpu_set_kernel_stack(uint64_t top)
{
	struct cpu *cpu = this_cpu();

	cpu->kernel_stack = top;
	cpu->tss.rsp[0] = top;
}

/* TLB flushes, shoot-down between CPUs, and address-space tags. */
#include "guest/cpu/tlb.h"
#include "guest/cpu/trap.h"
#include "guest/lib/asm.h"
#include "guest/lib/count.h"
#include "guest/lib/errno.h"
#include "guest/lib/text.h"
#include "guest/memory/space.h"
#include "guest/monitor/doorbell.h"
#include "guest/process/process.h"

extern uint64_t boot_pml4[];

uint64_t tlb_flush_ceiling = 32;
static uint64_t generation_last = 1; /* a new space's */

static void flush_local(uint64_t start, uint64_t end)
{
	/* The kernel's own entries are global: only this empties all of them. */
	if (start >= USER_END) {
		uint64_t cr4 = cr4_read();

		cr4_write(cr4 & ~CR4_PGE);
		cr4_write(cr4);
		vm_count.nr_tlb_local_flush_all++;
		return;
	}
	if ((end - start) >> PAGE_SHIFT > tlb_flush_ceiling) {
		cr3_write(cr3_read() & ~CR3_NO_FLUSH);
		vm_count.nr_tlb_local_flush_all++;
		return;
	}
	for (; start < end; start += PAGE_SIZE) {
		invlpg(start);
		vm_count.nr_tlb_local_flush_one++;
	}
}

void tlb_answer(void)
{
	struct cpu *cpu = this_cpu();

	if (!cpu->flush_wanted)
		return;
	flush_local(cpu->flush_start, cpu->flush_end);
	vm_count.nr_tlb_remote_flush_received++;
	__atomic_store_n(&cpu->flush_wanted, 0, __ATOMIC_RELEASE);
}

/* All are asked before the first is waited for. */
static void shoot_down(uint32_t targets, uint64_t start, uint64_t end)
{
	for (uint32_t left = targets; left; left &= left - 1) {
		struct cpu *cpu = &cpus[__builtin_ctz(left)];

		cpu->flush_start = start;
		cpu->flush_end = end;
		__atomic_store_n(&cpu->flush_wanted, 1, __ATOMIC_RELEASE);
		smp_interrupt(cpu, VECTOR_FLUSH);
	}
	for (uint32_t left = targets; left; left &= left - 1) {
		while (cpus[__builtin_ctz(left)].flush_wanted)
			doorbell_yield();
	}
	vm_count.nr_tlb_remote_flush++;
}

void tlb_flush_range(struct space *space, uint64_t start, uint64_t end)
{
	struct cpu *cpu = this_cpu();
	uint32_t self = 1u << cpu->number;

	if (cpu_features.pcid)
		space->tlb_generation = ++generation_last;
	if (space->cpus & self) {
		flush_local(start, end);
		if (cpu_features.pcid)
			cpu->pcid_generation[cpu->pcid] = space->tlb_generation;
	}
	if (unlikely(space->cpus & ~self))
		shoot_down(space->cpus & ~self, start, end);
}

void tlb_flush_kernel(void)
{
	uint32_t busy = 0;

	for (unsigned i = 0; i < cpu_count; i++) {
		struct cpu *cpu = &cpus[i];

		if (cpu == this_cpu()) {
			flush_local(USER_END, UINT64_MAX);
		} else if (cpu->current != cpu->idle) {
			busy |= 1u << i;
		} else {
			cpu->flush_start = USER_END;
			cpu->flush_end = UINT64_MAX;
			__atomic_store_n(&cpu->flush_wanted, 1, __ATOMIC_RELEASE);
		}
	}
	if (busy)
		shoot_down(busy, USER_END, UINT64_MAX);
}

void tlb_flush_page(struct space *space, uint64_t va)
{
	va = ROUND_DOWN(va, PAGE_SIZE);
	tlb_flush_range(space, va, va + PAGE_SIZE);
}

void tlb_flush_space(struct space *space)
{
	tlb_flush_range(space, 0, USER_END);
}

/* The tag under which this CPU runs the space, and whether what the TLB holds under it is right. */
static uint64_t pcid_of(struct cpu *cpu, struct space *space)
{
	unsigned i;

	for (i = 0; i < PCID_COUNT; i++) {
		if (cpu->pcid_space[i] == space->number)
			break;
	}
	if (i == PCID_COUNT) {
		i = cpu->pcid_next++ % PCID_COUNT;
		cpu->pcid_space[i] = space->number;
		cpu->pcid_generation[i] = 0;
	}
	cpu->pcid = i;
	if (cpu->pcid_generation[i] == space->tlb_generation) {
		vm_count.nr_tlb_switch_kept++;
		return (i + 1) | CR3_NO_FLUSH;
	}
	vm_count.nr_tlb_switch_flush++;
	cpu->pcid_generation[i] = space->tlb_generation;
	return i + 1;
}

void space_switch(struct space *space)
{
	struct cpu *cpu = this_cpu();
	uint32_t self = 1u << cpu->number;

	if (cpu->space == space)
		return;
	if (cpu->space)
		cpu->space->cpus &= ~self;
	cpu->space = space;
	if (!space) {
		cr3_write((uint64_t)boot_pml4 - IMAGE_BASE);
		return;
	}
	space->cpus |= self;
	cr3_write(space->root_physical | (cpu_features.pcid ? pcid_of(cpu, space) : 0));
}

void tlb_ceiling_text(struct text *text)
{
	text_add(text, "%lu\n", tlb_flush_ceiling);
}

int tlb_ceiling_store(const char *words)
{
	uint64_t value = 0;

	if (*words < '0' || *words > '9')
		return -EINVAL;
	for (; *words >= '0' && *words <= '9'; words++)
		value = value * 10 + (*words - '0');
	tlb_flush_ceiling = value;
	return 0;
}

/* Flushes of address spaces, their tags, and the switch between them. */
#include "guest/memory/flush.h"
#include "guest/cpu/cpu.h"
#include "guest/cpu/tlb.h"
#include "guest/lib/asm.h"
#include "guest/lib/count.h"
#include "guest/memory/space.h"

extern uint64_t boot_pml4[];

static uint64_t generation_last = 1; /* a new space's */

void tlb_flush_range(struct space *space, uint64_t start, uint64_t end)
{
	struct cpu *cpu = this_cpu();
	uint32_t self = 1u << cpu->number;

	if (cpu_features.pcid)
		space->tlb_generation = ++generation_last;
	if (space->cpus & self) {
		tlb_flush_local(start, end);
		if (cpu_features.pcid)
			cpu->pcid_generation[cpu->pcid] = space->tlb_generation;
	}
	if (unlikely(space->cpus & ~self))
		tlb_shoot_down(space->cpus & ~self, start, end);
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

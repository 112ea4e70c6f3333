/* TLB flushes, and shoot-down between CPUs. */
#include "guest/cpu/tlb.h"
#include "guest/cpu/cpu.h"
#include "guest/cpu/trap.h"
#include "guest/lib/asm.h"
#include "guest/lib/count.h"
#include "guest/lib/errno.h"
#include "guest/lib/layout.h"
#include "guest/lib/text.h"
#include "guest/monitor/doorbell.h"

uint64_t tlb_flush_ceiling = 32;

void tlb_flush_local(uint64_t start, uint64_t end)
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
	tlb_flush_local(cpu->flush_start, cpu->flush_end);
	vm_count.nr_tlb_remote_flush_received++;
	__atomic_store_n(&cpu->flush_wanted, 0, __ATOMIC_RELEASE);
}

/* All are asked before the first is waited for. */
void tlb_shoot_down(uint32_t targets, uint64_t start, uint64_t end)
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

void tlb_flush_kernel(void)
{
	uint32_t busy = 0;

	for (unsigned i = 0; i < cpu_count; i++) {
		struct cpu *cpu = &cpus[i];

		if (cpu == this_cpu()) {
			tlb_flush_local(USER_END, UINT64_MAX);
		} else if (cpu->current != cpu->idle) {
			busy |= 1u << i;
		} else {
			cpu->flush_start = USER_END;
			cpu->flush_end = UINT64_MAX;
			__atomic_store_n(&cpu->flush_wanted, 1, __ATOMIC_RELEASE);
		}
	}
	if (busy)
		tlb_shoot_down(busy, USER_END, UINT64_MAX);
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

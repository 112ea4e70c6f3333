/* The LDT. */
#include "guest/process/segment.h"
#include "guest/lib/errno.h"
#include "guest/lib/string.h"
#include "guest/memory/slab.h"
#include "guest/process/process.h"

#define TABLE_SIZE (SEGMENT_COUNT * sizeof(uint64_t))

/* Bits of a descriptor's upper half. */
#define DATA	 0x00001000u
#define WRITABLE 0x00000200u
#define ACCESSED 0x00000100u
#define RING_3	 0x00006000u
#define PRESENT	 0x00008000u
#define BIG	 0x00400000u
#define PAGES	 0x00800000u

#define SYSTEM_LDT 0x82ull

int segment_set(unsigned number, uint32_t base, uint32_t limit, bool pages, bool writable)
{
	struct process *process = current_process();
	uint32_t low = base << 16 | (limit & 0xffff);
	uint32_t high = (base & 0xff000000) | (base >> 16 & 0xff) | (limit & 0xf0000) | DATA |
			RING_3 | PRESENT | BIG | ACCESSED | (pages ? PAGES : 0) |
			(writable ? WRITABLE : 0);

	if (number >= SEGMENT_COUNT || limit > 0xfffff)
		return -EINVAL;
	if (!process->ldt)
		process->ldt = memory_alloc_zero(TABLE_SIZE);
	if (!process->ldt)
		return -ENOMEM;
	process->ldt[number] = (uint64_t)high << 32 | low;
	segment_load(process->ldt);
	return 0;
}

void segment_load(const uint64_t *ldt)
{
	struct cpu *cpu = this_cpu();
	uint64_t base = (uint64_t)ldt;

	cpu->ldt = ldt;
	cpu->gdt[SELECTOR_USER_CODE32 / 8] = ldt ? gdt[SELECTOR_USER_CODE32 / 8] : 0;
	if (!ldt) {
		__asm__ volatile("lldt %w0" : : "r"(0));
		return;
	}
	cpu->gdt[SELECTOR_LDT / 8] = (TABLE_SIZE - 1) | (base & 0xffffff) << 16 | SYSTEM_LDT << 40 |
				     (base >> 24 & 0xff) << 56;
	cpu->gdt[SELECTOR_LDT / 8 + 1] = base >> 32;
	__asm__ volatile("lldt %w0" : : "r"(SELECTOR_LDT));
}

int segment_copy(struct process *child)
{
	const struct process *parent = current_process();

	if (!parent->ldt)
		return 0;
	child->ldt = memory_alloc(TABLE_SIZE);
	if (!child->ldt)
		return -ENOMEM;
	memcpy(child->ldt, parent->ldt, TABLE_SIZE);
	return 0;
}

void segment_free(struct process *process)
{
	if (process->ldt && this_cpu()->ldt == process->ldt)
		segment_load(NULL);
	memory_free(process->ldt);
	process->ldt = NULL;
}

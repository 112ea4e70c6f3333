#include "ept/walk.h"

#define CR0_PG	      (1ul << 31)
#define CR4_LA57      (1ul << 12)
#define EFER_LMA      (1ul << 10)
#define ENTRY_PRESENT 1ul
#define ENTRY_LARGE   (1ul << 7)
#define ENTRY_ADDRESS 0x000ffffffffff000ul

/* Outside long mode only "paging off" is followed: nothing here runs 32-bit page tables. */
void ept_walk(struct ept_space *space, uint64_t cr0, uint64_t cr3, uint64_t cr4, uint64_t efer,
	      gva_t address, struct ept_walk *walk)
{
	uint64_t table = cr3 & ENTRY_ADDRESS;

	*walk = (struct ept_walk){ 0 };
	if (!(cr0 & CR0_PG)) {
		walk->present = true;
		walk->address = gpa(address.v);
		walk->page_size = PAGE_SIZE;
		return;
	}
	if (!(efer & EFER_LMA))
		return;
	for (int level = cr4 & CR4_LA57 ? 5 : 4; level >= 1; level--) {
		int shift = PAGE_SHIFT + 9 * (level - 1);
		uint64_t offset_mask = (1ul << shift) - 1;
		struct ept_walk_step *step = &walk->step[walk->step_count++];

		step->level = level;
		step->entry_at = gpa(table + (address.v >> shift & 511) * sizeof(step->entry));
		walk->error = ept_read(space, step->entry_at, &step->entry, sizeof(step->entry));
		if (walk->error != 0 || !(step->entry & ENTRY_PRESENT))
			return;
		table = step->entry & ENTRY_ADDRESS;
		if (level == 1 || (level <= 3 && (step->entry & ENTRY_LARGE))) {
			walk->present = true;
			walk->page_size = offset_mask + 1;
			walk->address = gpa((table & ~offset_mask) | (address.v & offset_mask));
			return;
		}
	}
}

/* TLB flushes. */
#include "guest/cpu/tlb.h"
#include "guest/cpu/asm.h"
#include "guest/memory/count.h"
#include "guest/memory/space.h"
#include "guest/process/process.h"

/* Beyond so many pages a whole flush is cheaper than one by one. */
#define FLUSH_ALL_PAGES 32

static bool is_loaded(const struct space *space)
{
	return current() && current_space() == space;
}

void tlb_flush_page(struct space *space, uint64_t va)
{
	if (!is_loaded(space))
		return;
	invlpg(va);
	vm_count.nr_tlb_local_flush_one++;
}

void tlb_flush_space(struct space *space)
{
	if (!is_loaded(space))
		return;
	cr3_write(cr3_read());
	vm_count.nr_tlb_local_flush_all++;
}

void tlb_flush_range(struct space *space, uint64_t start, uint64_t end)
{
	if ((end - start) >> PAGE_SHIFT > FLUSH_ALL_PAGES) {
		tlb_flush_space(space);
		return;
	}
	for (; start < end; start += PAGE_SIZE)
		tlb_flush_page(space, start);
}

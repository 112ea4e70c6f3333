/* TEMPORARY: copies everything. */
#include "guest/memory/fault.h"
#include "guest/memory/space.h"
#include "guest/lib/string.h"

struct space *space_fork(struct space *from)
{
	struct space *to = space_create();

	if (!to)
		return NULL;
	to->brk = from->brk;
	to->brk_start = from->brk_start;
	to->stack_limit = from->stack_limit;
	for (unsigned i = 0; i < from->area_count; i++) {
		space_add(to, from->area[i]);
		for (uint64_t va = from->area[i]->start; va < from->area[i]->end; va += PAGE_SIZE) {
			uint64_t *leaf = table_leaf(from->root, va), pte, p;

			if (!leaf) {
				va = ROUND_DOWN(va, LEAF_SIZE) + LEAF_SIZE - PAGE_SIZE;
				continue;
			}
			pte = leaf[leaf_index(va)];
			if (!pte_holds(pte) || (pte & PTE_FILE))
				continue;
			p = fault_translate(to, va, true);
			if (!p)
				p = fault_translate(to, va, false);
			if (p)
				memcpy(direct(p), direct(pte & PTE_FRAME), PAGE_SIZE);
		}
	}
	return to;
}

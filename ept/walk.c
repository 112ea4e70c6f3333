#include "ept/walk.h"

#include <errno.h>

#include "ept/access.h"

#define CR0_WP	      (1ull << 16)
#define CR0_PG	      (1ull << 31)
#define CR4_LA57      (1ull << 12)
#define CR4_SMEP      (1ull << 20)
#define CR4_SMAP      (1ull << 21)
#define CR4_PKE	      (1ull << 22)
#define EFER_LMA      (1ull << 10)
#define EFER_NXE      (1ull << 11)
#define RFLAGS_AC     (1ull << 18)
#define LARGE_PAT     (1ull << 12) /* of a large page's entry: not of its address */
#define KEY_MASK      15
#define ADDRESS_BITS  52
#define PKRU_NO_READ  1u
#define PKRU_NO_WRITE 2u

const char *ept_walk_level_name(int level)
{
	static const char *const names[] = { "", "PT", "PD", "PDPT", "PML4" };

	return names[level];
}

uint64_t ept_walk_reserved(const struct ept_paging *paging, int level, uint64_t entry)
{
	unsigned bits = paging->address_bits != 0 && paging->address_bits < ADDRESS_BITS
				? paging->address_bits
				: ADDRESS_BITS;
	uint64_t mask = ((1ull << ADDRESS_BITS) - 1) & ~((1ull << bits) - 1);

	if (!(paging->efer & EFER_NXE))
		mask |= EPT_NO_EXECUTE;
	if (level == 4 || (level == 3 && paging->no_gigabyte_pages))
		mask |= EPT_LARGE;
	else if (level > 1 && (entry & EPT_LARGE))
		mask |= (ept_walk_size(level) - 1) & EPT_ADDRESS & ~LARGE_PAT;
	return entry & mask;
}

bool ept_walk_ends_at_once(const struct ept_paging *paging, gva_t address, struct ept_walk *walk)
{
	if (!(paging->cr0 & CR0_PG)) {
		walk->end = EPT_WALK_PAGE;
		walk->paging_off = true;
		walk->address = gpa(address.v);
		walk->page_size = PAGE_SIZE;
	} else if (!(paging->efer & EFER_LMA)) {
		walk->end = EPT_WALK_NOT_LONG;
	} else if (paging->cr4 & CR4_LA57) {
		walk->end = EPT_WALK_FIVE_LEVELS;
	} else if (!ept_walk_is_canonical(address)) {
		walk->end = EPT_WALK_NON_CANONICAL;
	} else {
		return false;
	}
	return true;
}

/* Takes one step in the table; true: the walk goes on in the entry's. */
static bool step_into(ept_walk_read *read, void *context, const struct ept_paging *paging,
		      gva_t address, uint64_t table, struct ept_walk *walk)
{
	int level = EPT_WALK_LEVELS - walk->step_count;
	struct ept_walk_step *step = &walk->step[walk->step_count++];
	uint64_t offset_mask = ept_walk_size(level) - 1;

	step->level = level;
	step->index = (unsigned)(address.v / ept_walk_size(level) % EPT_TABLE_SIZE);
	step->entry_at = gpa(table + step->index * sizeof(step->entry));
	for (int i = walk->step_count - 2; i >= 0; i--)
		if ((walk->step[i].entry_at.v & PAGE_MASK) == table)
			step->same_as = walk->step[i].level;
	walk->error = read(context, step->entry_at, &step->entry, sizeof(step->entry));
	if (walk->error != 0) {
		walk->end = walk->error == -EFAULT ? EPT_WALK_NO_TABLE : EPT_WALK_UNREADABLE;
		return false;
	}
	if (!(step->entry & EPT_PRESENT)) {
		walk->end = EPT_WALK_NOT_PRESENT;
		return false;
	}
	step->reserved = ept_walk_reserved(paging, level, step->entry);
	if (step->reserved != 0) {
		walk->end = EPT_WALK_RESERVED;
		return false;
	}
	if (!ept_walk_is_leaf(level, step->entry))
		return true;
	walk->end = EPT_WALK_PAGE;
	walk->page_size = offset_mask + 1;
	walk->address = gpa((step->entry & EPT_ADDRESS & ~offset_mask) | (address.v & offset_mask));
	return false;
}

void ept_walk_with(ept_walk_read *read, void *context, const struct ept_paging *paging,
		   gva_t address, struct ept_walk *walk)
{
	uint64_t table = paging->cr3 & EPT_ADDRESS;

	*walk = (struct ept_walk){ 0 };
	if (ept_walk_ends_at_once(paging, address, walk))
		return;
	while (step_into(read, context, paging, address, table, walk))
		table = walk->step[walk->step_count - 1].entry & EPT_ADDRESS;
}

int ept_walk_look(void *space, gpa_t address, void *buffer, size_t length)
{
	return ept_look(space, address, buffer, length);
}

void ept_walk(struct ept_space *space, const struct ept_paging *paging, gva_t address,
	      struct ept_walk *walk)
{
	ept_walk_with(ept_walk_look, space, paging, address, walk);
}

/* The highest level whose entry has these bits so; 0: none. */
static int level_with(const struct ept_walk *walk, uint64_t bits, bool set)
{
	for (int i = 0; i < walk->step_count; i++)
		if (!(walk->step[i].entry & bits) != set)
			return walk->step[i].level;
	return 0;
}

static void forbid(struct ept_verdict *verdict, int level, const char *bit)
{
	*verdict = (struct ept_verdict){ false, level, bit };
}

/* The rules of protection keys: they know data accesses of user pages only. */
static bool key_forbids(const struct ept_walk *walk, const struct ept_paging *paging, bool user,
			enum ept_access access)
{
	uint64_t entry = walk->step[walk->step_count - 1].entry;
	unsigned key = (unsigned)(entry >> EPT_KEY_SHIFT & KEY_MASK);
	uint32_t rights = paging->pkru >> 2 * key;

	if (!(paging->cr4 & CR4_PKE) || access == EPT_ACCESS_EXECUTE)
		return false;
	if (rights & PKRU_NO_READ)
		return true;
	return access == EPT_ACCESS_WRITE && (rights & PKRU_NO_WRITE) &&
	       (user || (paging->cr0 & CR0_WP));
}

void ept_walk_judge(const struct ept_walk *walk, const struct ept_paging *paging, bool user,
		    enum ept_access access, struct ept_verdict *verdict)
{
	int supervisor_at = level_with(walk, EPT_USER, false);
	int leaf = EPT_WALK_LEVELS + 1 - walk->step_count, level;

	*verdict = (struct ept_verdict){ .allowed = true };
	if (walk->step_count == 0)
		return; /* paging is off */
	if (user && supervisor_at != 0) {
		forbid(verdict, supervisor_at, "U");
	} else if (access == EPT_ACCESS_EXECUTE) {
		level = paging->efer & EFER_NXE ? level_with(walk, EPT_NO_EXECUTE, true) : 0;
		if (level != 0)
			forbid(verdict, level, "NX");
		else if (!user && supervisor_at == 0 && (paging->cr4 & CR4_SMEP))
			forbid(verdict, 0, "SMEP");
	} else {
		level = access == EPT_ACCESS_WRITE && (user || (paging->cr0 & CR0_WP))
				? level_with(walk, EPT_WRITE, false)
				: 0;
		if (level != 0)
			forbid(verdict, level, "W");
		else if (!user && supervisor_at == 0 && (paging->cr4 & CR4_SMAP) &&
			 !(paging->rflags & RFLAGS_AC))
			forbid(verdict, 0, "SMAP");
		else if (supervisor_at == 0 && key_forbids(walk, paging, user, access))
			forbid(verdict, leaf, "key");
	}
}

#include "ept/maps.h"

#include <errno.h>

struct maps {
	ept_walk_read *read;
	void *read_context;
	const struct ept_paging *paging;
	ept_maps_visit *visit;
	void *visit_context;
	struct ept_maps_summary *summary;
	uint64_t above[EPT_WALK_LEVELS + 1]; /* the table at hand of each level */
};

static bool is_above(const struct maps *m, int level, uint64_t table)
{
	for (int i = EPT_WALK_LEVELS; i >= level; i--)
		if (m->above[i] == table)
			return true;
	return false;
}

static void walk_table(struct maps *m, int level, uint64_t table, uint64_t address,
		       uint64_t rights);

/* One present entry of the table of this level. */
static void walk_entry(struct maps *m, int level, uint64_t entry, uint64_t address, uint64_t rights)
{
	struct ept_maps_page page = { .address = gva(address), .size = ept_walk_size(level) };
	uint64_t next = entry & EPT_ADDRESS;

	rights = (rights & entry & (EPT_WRITE | EPT_USER)) | ((rights | entry) & EPT_NO_EXECUTE);
	if (ept_walk_reserved(m->paging, level, entry) != 0) {
		m->summary->reserved++;
	} else if (ept_walk_is_leaf(level, entry)) {
		page.physical = gpa(next & ~(page.size - 1));
		page.rights = rights;
		if (!m->visit(m->visit_context, &page))
			m->summary->cut = true;
	} else if (is_above(m, level, next)) {
		m->summary->in_itself++;
	} else {
		walk_table(m, level - 1, next, address, rights);
	}
}

static void walk_table(struct maps *m, int level, uint64_t table, uint64_t address, uint64_t rights)
{
	uint64_t entries[EPT_TABLE_SIZE];
	int error;

	if (m->summary->tables == EPT_MAPS_TABLES_MAX) {
		m->summary->cut = true;
		return;
	}
	m->summary->tables++;
	m->above[level] = table;
	error = m->read(m->read_context, gpa(table), entries, sizeof(entries));
	if (error != 0) {
		if (error == -EFAULT)
			m->summary->no_table++;
		else
			m->summary->unreadable++;
		return;
	}
	for (uint64_t i = 0; i < EPT_TABLE_SIZE && !m->summary->cut; i++) {
		uint64_t at = address + i * ept_walk_size(level);

		/* The upper half of the top table is where addresses have their upper bits set. */
		if (level == EPT_WALK_LEVELS)
			at = (uint64_t)((int64_t)(at << 16) >> 16);
		if (entries[i] & EPT_PRESENT)
			walk_entry(m, level, entries[i], at, rights);
	}
}

void ept_maps(ept_walk_read *read, void *read_context, const struct ept_paging *paging,
	      ept_maps_visit *visit, void *visit_context, struct ept_maps_summary *summary)
{
	struct maps m = { read, read_context, paging, visit, visit_context, summary, { 0 } };
	struct ept_walk nothing = { 0 };

	*summary = (struct ept_maps_summary){ .end = EPT_WALK_PAGE };
	if (ept_walk_ends_at_once(paging, gva(0), &nothing)) {
		summary->end = nothing.end;
		return;
	}
	for (int i = 0; i <= EPT_WALK_LEVELS; i++)
		m.above[i] = UINT64_MAX;
	walk_table(&m, EPT_WALK_LEVELS, paging->cr3 & EPT_ADDRESS, 0, EPT_WRITE | EPT_USER);
}

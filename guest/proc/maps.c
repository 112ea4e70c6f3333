/*
 * /proc's view of an address space. The page tables show which pages are in memory; a page that
 * several entries map counts in parts for Pss.
 */
#include "guest/proc/maps.h"
#include "guest/file/node.h"
#include "guest/lib/text.h"
#include "guest/memory/huge.h"

#define PATH_MAX  256
#define PSS_SHIFT 12 /* fraction bits of a sum of parts of pages */
#define PAGE_KB	  (PAGE_SIZE / 1024)

/* The figures of smaps for an area, or for all of them; in pages, except for pss. */
struct footprint {
	uint64_t size, resident, pss, pss_dirty, shared_clean, shared_dirty, private_clean,
		private_dirty, referenced, anonymous, huge, hugetlb, swap, locked;
};

static uint64_t bytes_of(const struct area *area)
{
	return area->end - area->start;
}

/* The area's name: a file's path, or what the process itself made. */
static const char *area_name(const struct space *space, const struct area *area, char *path)
{
	if (area->content) {
		if (!*node_of(area->content)->name)
			return "/dev/zero (deleted)";
		return node_path(node_of(area->content), path, PATH_MAX) < 0 ? "" : path;
	}
	if (area->flags & AREA_STACK)
		return "[stack]";
	if (area->start < space->brk && area->end > space->brk_start)
		return "[heap]";
	return area->flags & AREA_HUGETLB ? "/anon_hugepage (deleted)" : "";
}

static bool asked_to_read(const struct area *area)
{
	return (area->flags & (AREA_READ | AREA_NOT_ASKED)) == AREA_READ;
}

static void line(const struct space *space, const struct area *area, struct text *text)
{
	char path[PATH_MAX];
	const char *name = area_name(space, area, path);
	uint64_t used = text->used;

	text_add(text, "%08lx-%08lx %c%c%c%c %08lx %02x:%02x %u ", area->start, area->end,
		 asked_to_read(area) ? 'r' : '-', area->flags & AREA_WRITE ? 'w' : '-',
		 area->flags & AREA_EXEC ? 'x' : '-', area->flags & AREA_SHARED ? 's' : 'p',
		 area->content ? area->offset : 0, 0, area->content ? 1 : 0,
		 area->content ? node_of(area->content)->inode : 0);
	/* Names begin in one column. */
	while (*name && text->used - used < 73 && !text->failed)
		text_add(text, " ");
	text_add(text, "%s\n", name);
}

void space_maps_text(struct space *space, struct text *text)
{
	for (unsigned i = 0; i < space->area_count; i++)
		line(space, space->area[i], text);
}

/* Owners of a mapped page; the page cache is one, but no mapping. */
static uint64_t owners_of(uint64_t pte)
{
	bool counted = !(pte & PTE_FILE) || (pte & PTE_COUNTED);

	return counted ? pte_page(pte)->refs + (pte & PTE_FILE ? 0 : 1) : 1;
}

uint64_t space_pagemap_entry(const struct space *space, uint64_t va)
{
	uint64_t size, *entry = table_find(space->root, va, &size), pte = entry ? *entry : 0;

	if (pte_holds(pte))
		return PAGEMAP_PRESENT | (pte & PTE_FILE ? PAGEMAP_FILE : 0) |
		       (owners_of(pte) <= 1 ? PAGEMAP_EXCLUSIVE : 0) |
		       (pte_frame(pte) + (va & (size - 1)) / PAGE_SIZE);
	return pte & PTE_SWAP ? PAGEMAP_SWAPPED | pte_frame(pte) << 5 : 0;
}

/* One entry's share of a page: how many owners it has, and whether it is dirty. */
static void add_page(struct footprint *usage, uint64_t pte)
{
	bool dirty = pte & PTE_D;
	uint64_t owners = owners_of(pte);
	uint64_t part = (1ull << PSS_SHIFT) / (owners ? owners : 1);

	if (pte & PTE_COUNTED)
		dirty = pte_page(pte)->flags & PAGE_DIRTY;
	usage->resident++;
	usage->pss += part;
	usage->pss_dirty += dirty ? part : 0;
	usage->referenced += (pte & PTE_A) != 0;
	usage->anonymous += !(pte & PTE_FILE);
	if (owners > 1)
		*(dirty ? &usage->shared_dirty : &usage->shared_clean) += 1;
	else
		*(dirty ? &usage->private_dirty : &usage->private_clean) += 1;
}

static void add_huge(struct footprint *usage, const struct area *area, uint64_t pages)
{
	if (area->flags & AREA_HUGETLB) {
		usage->hugetlb += pages;
		return;
	}
	usage->huge += pages;
	usage->resident += pages;
	usage->pss += pages << PSS_SHIFT;
	usage->pss_dirty += pages << PSS_SHIFT;
	usage->private_dirty += pages;
	usage->referenced += pages;
	usage->anonymous += pages;
}

static void add_area(struct footprint *usage, const struct space *space, const struct area *area)
{
	uint64_t before = usage->pss;

	usage->size += bytes_of(area) >> PAGE_SHIFT;
	FOR_EACH_LEAF(space->root, va, next, area->start, area->end, entry)
	{
		const uint64_t *leaf = pte_table(*entry);

		if (!leaf) {
			add_huge(usage, area, (next - va) >> PAGE_SHIFT);
			continue;
		}
		for (uint64_t at = va; at < next; at += PAGE_SIZE) {
			uint64_t pte = leaf[leaf_index(at)];

			if (pte_holds(pte))
				add_page(usage, pte);
			else if (pte_used(pte))
				usage->swap++;
		}
	}
	usage->locked += area->flags & AREA_LOCKED ? usage->pss - before : 0;
}

static void numbers(const struct footprint *usage, struct text *text)
{
	const struct {
		const char *name;
		uint64_t kilobytes;
	} lines[] = {
		{ "Rss:", usage->resident * PAGE_KB },
		{ "Pss:", usage->pss * PAGE_KB >> PSS_SHIFT },
		{ "Pss_Dirty:", usage->pss_dirty * PAGE_KB >> PSS_SHIFT },
		{ "Shared_Clean:", usage->shared_clean * PAGE_KB },
		{ "Shared_Dirty:", usage->shared_dirty * PAGE_KB },
		{ "Private_Clean:", usage->private_clean * PAGE_KB },
		{ "Private_Dirty:", usage->private_dirty * PAGE_KB },
		{ "Referenced:", usage->referenced * PAGE_KB },
		{ "Anonymous:", usage->anonymous * PAGE_KB },
		{ "KSM:", 0 },
		{ "LazyFree:", 0 },
		{ "AnonHugePages:", usage->huge * PAGE_KB },
		{ "ShmemPmdMapped:", 0 },
		{ "FilePmdMapped:", 0 },
		{ "Shared_Hugetlb:", 0 },
		{ "Private_Hugetlb:", usage->hugetlb * PAGE_KB },
		{ "Swap:", usage->swap * PAGE_KB },
		{ "SwapPss:", usage->swap * PAGE_KB },
		{ "Locked:", usage->locked * PAGE_KB >> PSS_SHIFT },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(lines); i++)
		text_add(text, "%-16s%8lu kB\n", lines[i].name, lines[i].kilobytes);
}

static void flags_line(const struct area *area, struct text *text)
{
	static const struct {
		uint32_t flag;
		const char *name;
	} names[] = {
		{ AREA_READ, "rd" },	  { AREA_WRITE, "wr" },	    { AREA_EXEC, "ex" },
		{ AREA_SHARED, "sh" },	  { AREA_GROWSDOWN, "gd" }, { AREA_LOCKED, "lo" },
		{ AREA_NO_FORK, "dc" },	  { AREA_ACCOUNT, "ac" },   { AREA_NO_COUNT, "nr" },
		{ AREA_HUGETLB, "ht" },	  { AREA_HUGE, "hg" },	    { AREA_NO_HUGE, "nh" },
		{ AREA_WIPE_FORK, "wf" },
	};

	text_add(text, "VmFlags:");
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		if (names[i].flag == AREA_READ ? asked_to_read(area) : area->flags & names[i].flag)
			text_add(text, " %s", names[i].name);
	}
	text_add(text, " \n");
}

void space_smaps_text(struct space *space, struct text *text)
{
	for (unsigned i = 0; i < space->area_count; i++) {
		const struct area *area = space->area[i];
		uint64_t page = area->flags & AREA_GIGA	     ? GIGA_SIZE
				: area->flags & AREA_HUGETLB ? LEAF_SIZE
							     : PAGE_SIZE;
		struct footprint usage = { 0 };

		add_area(&usage, space, area);
		line(space, area, text);
		text_add(text, "%-16s%8lu kB\n", "Size:", bytes_of(area) / 1024);
		text_add(text, "%-16s%8lu kB\n", "KernelPageSize:", page / 1024);
		text_add(text, "%-16s%8lu kB\n", "MMUPageSize:", page / 1024);
		numbers(&usage, text);
		text_add(text, "THPeligible:    %8u\n",
			 (area->flags & (AREA_HUGE | AREA_NO_HUGE)) == AREA_HUGE);
		flags_line(area, text);
	}
}

void space_smaps_rollup_text(struct space *space, struct text *text)
{
	struct footprint usage = { 0 };
	unsigned count = space->area_count;

	for (unsigned i = 0; i < count; i++)
		add_area(&usage, space, space->area[i]);
	text_add(text, "%08lx-%08lx ---p 00000000 00:00 0 %30s[rollup]\n",
		 count ? space->area[0]->start : 0, count ? space->area[count - 1]->end : 0, "");
	numbers(&usage, text);
}

/* Page tables below and with `table`, which is `levels` above the leaves. */
static uint64_t tables_below(const uint64_t *table, unsigned entries, unsigned levels)
{
	uint64_t count = 1;

	for (unsigned i = 0; i < entries && levels > 0; i++) {
		const uint64_t *next = pte_table(table[i]);

		if (next)
			count += tables_below(next, TABLE_ENTRIES, levels - 1);
	}
	return count;
}

static uint64_t table_pages(const struct space *space)
{
	return tables_below(space->root, TABLE_ENTRIES / 2, 3);
}

/* Pages of areas of a kind: with all flags of `set` and none of `clear`. */
static uint64_t pages_of(const struct space *space, uint32_t set, uint32_t clear)
{
	uint64_t pages = 0;

	for (unsigned i = 0; i < space->area_count; i++) {
		const struct area *area = space->area[i];

		if ((area->flags & set) == set && !(area->flags & clear))
			pages += bytes_of(area) >> PAGE_SHIFT;
	}
	return pages;
}

void space_statm_text(const struct space *space, struct text *text)
{
	text_add(text, "%lu %lu %lu %lu 0 %lu 0\n", space->pages, space_resident(space),
		 space->resident[RESIDENT_FILE] + space->resident[RESIDENT_SHARED],
		 pages_of(space, AREA_EXEC, AREA_WRITE),
		 space->data_pages + pages_of(space, AREA_STACK, 0));
}

void space_status_text(struct space *space, struct text *text)
{
	const struct {
		const char *name;
		uint64_t pages;
	} lines[] = {
		{ "VmPeak:", space->pages_peak },
		{ "VmSize:", space->pages },
		{ "VmLck:", pages_of(space, AREA_LOCKED, 0) },
		{ "VmPin:", 0 },
		{ "VmHWM:", space_resident_max(space) },
		{ "VmRSS:", space_resident(space) },
		{ "RssAnon:", space->resident[RESIDENT_ANONYMOUS] },
		{ "RssFile:", space->resident[RESIDENT_FILE] },
		{ "RssShmem:", space->resident[RESIDENT_SHARED] },
		{ "VmData:", space->data_pages },
		{ "VmStk:", pages_of(space, AREA_STACK, 0) },
		{ "VmExe:", pages_of(space, AREA_EXEC, AREA_WRITE) },
		{ "VmLib:", 0 },
		{ "VmPTE:", table_pages(space) },
		{ "VmSwap:", space->resident[RESIDENT_SWAPPED] },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(lines); i++)
		text_add(text, "%s\t%8lu kB\n", lines[i].name, lines[i].pages * PAGE_KB);
}

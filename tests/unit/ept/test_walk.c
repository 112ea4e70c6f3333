/* The walker on tables made up here: every size, every way to stop, and tables that mean harm. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "ept/maps.h"

#define MEMORY 0x10000ul /* guest RAM here; tables lie in it, pages need not */
#define BROKEN 0xf000ul	 /* a page of it that cannot be read back */

#define CR0_WP	 (1ul << 16)
#define CR0_PG	 (1ul << 31)
#define CR4_LA57 (1ul << 12)
#define CR4_SMEP (1ul << 20)
#define CR4_SMAP (1ul << 21)
#define CR4_PKE	 (1ul << 22)
#define EFER_LMA (1ul << 10)
#define EFER_NXE (1ul << 11)

static uint64_t memory[MEMORY / 8];
static unsigned reads;
static struct ept_walk walk;
static struct ept_paging paging;

static int read_memory(void *context, gpa_t address, void *buffer, size_t length)
{
	reads++;
	if (address.v >= MEMORY || length > MEMORY - address.v)
		return -EFAULT;
	if ((address.v & PAGE_MASK) == BROKEN)
		return -EBADMSG;
	memcpy(buffer, (char *)memory + address.v, length);
	return 0;
}

static void set(uint64_t table, unsigned index, uint64_t entry)
{
	memory[table / 8 + index] = entry;
}

/* PML4 at 0x1000, PDPT at 0x2000, PD at 0x3000, PT at 0x4000: a page of each size. */
static void prepare(void)
{
	memset(memory, 0, sizeof(memory));
	set(0x1000, 0, 0x2007);
	set(0x1000, 256, 0x2007);
	set(0x2000, 0, 0x3007);
	set(0x2000, 1, 0x40000087);
	set(0x3000, 0, 0x4007);
	set(0x3000, 1, 0x600087);
	set(0x4000, 5, 0x9067);
	paging = (struct ept_paging){
		.cr0 = CR0_PG | CR0_WP,
		.cr3 = 0x1000,
		.efer = EFER_LMA | EFER_NXE,
		.address_bits = 46,
	};
}

static void go(uint64_t address)
{
	reads = 0;
	ept_walk_with(read_memory, NULL, &paging, gva(address), &walk);
	cr_assert_eq(reads, walk.step_count, "one read a step");
	cr_assert_leq(walk.step_count, EPT_WALK_LEVELS);
}

static void expect_page(uint64_t address, uint64_t translation, uint64_t size, int steps)
{
	go(address);
	cr_assert_eq(walk.end, EPT_WALK_PAGE);
	cr_assert_eq(walk.address.v, translation, "%#lx", walk.address.v);
	cr_assert_eq(walk.page_size, size);
	cr_assert_eq(walk.step_count, steps);
}

static void expect_end(uint64_t address, enum ept_walk_end end, int steps)
{
	go(address);
	cr_assert_eq(walk.end, end, "%d", walk.end);
	cr_assert_eq(walk.step_count, steps, "%d", walk.step_count);
}

Test(walk, pages_of_all_sizes)
{
	prepare();
	expect_page(0x5123, 0x9123, 4096, 4);
	cr_assert_eq(walk.step[0].level, 4);
	cr_assert_eq(walk.step[3].level, 1);
	cr_assert_eq(walk.step[3].index, 5);
	cr_assert_eq(walk.step[3].entry_at.v, 0x4028);
	cr_assert_eq(walk.step[3].entry, 0x9067);
	expect_page(0x212345, 0x612345, 2ul << 20, 3);
	expect_page(0x40001234, 0x40001234, 1ul << 30, 2);
	/* The upper half, and a CR3 with a PCID. */
	paging.cr3 |= 0x7;
	expect_page(0xffff800000005ffful, 0x9fff, 4096, 4);
	/* PAT of a large page is no part of its address. */
	set(0x3000, 1, 0x601087);
	expect_page(0x212345, 0x612345, 2ul << 20, 3);
}

Test(walk, paging_off)
{
	prepare();
	paging.cr0 = 0;
	expect_page(0x777, 0x777, 4096, 0);
	cr_assert(walk.paging_off);
}

Test(walk, refused_modes)
{
	prepare();
	paging.cr4 = CR4_LA57;
	expect_end(0x5123, EPT_WALK_FIVE_LEVELS, 0);
	paging.cr4 = 0;
	paging.efer = 0;
	expect_end(0x5123, EPT_WALK_NOT_LONG, 0);
}

Test(walk, not_present_at_each_level)
{
	prepare();
	expect_end(0x6000, EPT_WALK_NOT_PRESENT, 4);
	set(0x4000, 6, 0x9066); /* all but P */
	expect_end(0x6000, EPT_WALK_NOT_PRESENT, 4);
	expect_end(0x400000, EPT_WALK_NOT_PRESENT, 3);
	expect_end(0x80000000, EPT_WALK_NOT_PRESENT, 2);
	expect_end(1ul << 39, EPT_WALK_NOT_PRESENT, 1);
	/* An entry that is not present has no reserved bits. */
	set(0x4000, 6, ~1ul);
	expect_end(0x6000, EPT_WALK_NOT_PRESENT, 4);
	cr_assert_eq(walk.step[3].reserved, 0);
}

Test(walk, non_canonical)
{
	prepare();
	expect_end(0x0000800000000000ul, EPT_WALK_NON_CANONICAL, 0);
	expect_end(0xffff7ffffffffffful, EPT_WALK_NON_CANONICAL, 0);
	expect_end(0x8000000000005123ul, EPT_WALK_NON_CANONICAL, 0);
	expect_end(0x00007ffffffffffful, EPT_WALK_NOT_PRESENT, 1);
	expect_end(0xfffffffffffffffful, EPT_WALK_NOT_PRESENT, 1);
}

static void expect_reserved(uint64_t address, int steps, uint64_t bits)
{
	expect_end(address, EPT_WALK_RESERVED, steps);
	cr_assert_eq(walk.step[steps - 1].reserved, bits, "%#lx", walk.step[steps - 1].reserved);
}

Test(walk, reserved_bits)
{
	prepare();
	set(0x1000, 1, 0x2087); /* PS in a PML4 */
	expect_reserved(1ul << 39, 1, 1 << 7);
	set(0x3000, 2, 0x602087); /* an address that is not a multiple of 2 MiB */
	expect_reserved(0x400000, 3, 0x2000);
	set(0x2000, 2, 0x600087); /* nor of 1 GiB */
	expect_reserved(0x80000000, 2, 0x600000);
	paging.no_gigabyte_pages = true;
	expect_reserved(0x40001234, 2, 1 << 7);
	set(0x4000, 6, 0x9007 | 1ul << 46 | 1ul << 51); /* wider than the processor's addresses */
	expect_reserved(0x6000, 4, 1ul << 46 | 1ul << 51);
	set(0x4000, 6, 0x9007 | 1ul << 45);
	expect_page(0x6000, 0x9000 | 1ul << 45, 4096, 4);
	set(0x4000, 6, 0x9007 | EPT_NO_EXECUTE);
	expect_page(0x6000, 0x9000, 4096, 4);
	paging.efer &= ~EFER_NXE;
	expect_reserved(0x6000, 4, EPT_NO_EXECUTE);
	/* Bits 52 to 62 are software's and the key. */
	set(0x4000, 6, 0x9007 | 0x7ffull << 52);
	expect_page(0x6000, 0x9000, 4096, 4);
}

Test(walk, tables_outside_memory)
{
	prepare();
	set(0x1000, 1, MEMORY | 7);
	expect_end(1ul << 39, EPT_WALK_NO_TABLE, 2);
	cr_assert_eq(walk.error, -EFAULT);
	set(0x2000, 2, 0x3ffffffff000ul | 7);
	expect_end(0x80000000, EPT_WALK_NO_TABLE, 3);
	paging.cr3 = 0xffffffffff000ul;
	expect_end(0, EPT_WALK_NO_TABLE, 1);
	paging.cr3 = ~0ul;
	expect_end(0x7ffffffff000ul, EPT_WALK_NO_TABLE, 1);
}

Test(walk, table_that_cannot_be_read)
{
	prepare();
	set(0x3000, 3, BROKEN | 7);
	expect_end(0x600000, EPT_WALK_UNREADABLE, 4);
	cr_assert_eq(walk.error, -EBADMSG);
}

/* A page outside RAM is the second fold's affair. */
Test(walk, page_outside_memory)
{
	prepare();
	set(0x4000, 7, 0xfee00000 | 3);
	expect_page(0x7004, 0xfee00004, 4096, 4);
}

Test(walk, tables_in_themselves)
{
	prepare();
	set(0x1000, 510, 0x1007);
	expect_page(0xffffff7fbfdfe008ul, 0x1008, 4096, 4);
	cr_assert_eq(walk.step[0].same_as, 0);
	for (int i = 1; i < 4; i++)
		cr_assert_eq(walk.step[i].same_as, 4);
	/* The well-known way to reach a table's own entries. */
	expect_page(0xffffff7fbfc00028ul, 0x2028, 4096, 4);
	/* All entries of all levels are this one. */
	for (unsigned i = 0; i < 512; i++)
		set(0x1000, i, 0x1007);
	expect_page(0x123456789abcul, 0x1abc, 4096, 4);
}

/* --- permissions --- */

static struct ept_verdict judge(bool user, enum ept_access access)
{
	struct ept_verdict verdict;

	ept_walk_judge(&walk, &paging, user, access, &verdict);
	return verdict;
}

static void allowed(bool user, enum ept_access access)
{
	struct ept_verdict v = judge(user, access);

	cr_assert(v.allowed && v.bit == NULL, "user %d, access %d: %s at %d", user, access,
		  v.bit != NULL ? v.bit : "?", v.level);
}

static void forbidden(bool user, enum ept_access access, int level, const char *bit)
{
	struct ept_verdict v = judge(user, access);

	cr_assert(!v.allowed, "user %d, access %d", user, access);
	cr_assert_str_eq(v.bit, bit);
	cr_assert_eq(v.level, level, "%d", v.level);
}

Test(walk, all_may)
{
	prepare();
	go(0x5000);
	for (int access = 0; access < EPT_ACCESS_KINDS; access++) {
		allowed(true, (enum ept_access)access);
		allowed(false, (enum ept_access)access);
	}
	paging.cr0 = 0;
	go(0x5000);
	allowed(true, EPT_ACCESS_WRITE);
}

Test(walk, user_bit_at_each_level)
{
	static const struct {
		uint64_t table, entry;
		unsigned index;
		int level;
	} at[] = {
		{ 0x1000, 0x2003, 0, 4 },
		{ 0x2000, 0x3003, 0, 3 },
		{ 0x3000, 0x4003, 0, 2 },
		{ 0x4000, 0x9003, 5, 1 },
	};

	for (size_t i = 0; i < 4; i++) {
		prepare();
		set(at[i].table, at[i].index, at[i].entry);
		go(0x5000);
		forbidden(true, EPT_ACCESS_READ, at[i].level, "U");
		forbidden(true, EPT_ACCESS_WRITE, at[i].level, "U");
		forbidden(true, EPT_ACCESS_EXECUTE, at[i].level, "U");
		/* It is a supervisor's page: nor do SMEP and SMAP concern it. */
		paging.cr4 = CR4_SMEP | CR4_SMAP;
		allowed(false, EPT_ACCESS_READ);
		allowed(false, EPT_ACCESS_EXECUTE);
	}
}

Test(walk, write_bit_at_each_level)
{
	static const uint64_t table[] = { 0x1000, 0x2000, 0x3000, 0x4000 };
	static const uint64_t entry[] = { 0x2005, 0x3005, 0x4005, 0x9005 };

	for (int i = 0; i < 4; i++) {
		prepare();
		set(table[i], i == 3 ? 5 : 0, entry[i]);
		go(0x5000);
		allowed(true, EPT_ACCESS_READ);
		forbidden(true, EPT_ACCESS_WRITE, 4 - i, "W");
		forbidden(false, EPT_ACCESS_WRITE, 4 - i, "W");
		paging.cr0 &= ~CR0_WP;
		forbidden(true, EPT_ACCESS_WRITE, 4 - i, "W");
		allowed(false, EPT_ACCESS_WRITE);
	}
}

Test(walk, no_execute_at_each_level)
{
	static const uint64_t table[] = { 0x1000, 0x2000, 0x3000, 0x4000 };

	for (int i = 0; i < 4; i++) {
		prepare();
		memory[table[i] / 8 + (i == 3 ? 5 : 0)] |= EPT_NO_EXECUTE;
		go(0x5000);
		allowed(true, EPT_ACCESS_WRITE);
		forbidden(true, EPT_ACCESS_EXECUTE, 4 - i, "NX");
		forbidden(false, EPT_ACCESS_EXECUTE, 4 - i, "NX");
	}
}

Test(walk, smep_and_smap)
{
	prepare();
	go(0x5000);
	paging.cr4 = CR4_SMEP | CR4_SMAP;
	forbidden(false, EPT_ACCESS_EXECUTE, 0, "SMEP");
	forbidden(false, EPT_ACCESS_READ, 0, "SMAP");
	forbidden(false, EPT_ACCESS_WRITE, 0, "SMAP");
	allowed(true, EPT_ACCESS_READ);
	paging.rflags = 1 << 18;
	allowed(false, EPT_ACCESS_WRITE);
	forbidden(false, EPT_ACCESS_EXECUTE, 0, "SMEP");
}

Test(walk, protection_keys)
{
	prepare();
	memory[0x4000 / 8 + 5] |= 3ul << EPT_KEY_SHIFT;
	go(0x5000);
	paging.pkru = 2u << 6; /* key 3: no writing */
	allowed(true, EPT_ACCESS_WRITE);
	paging.cr4 = CR4_PKE;
	allowed(true, EPT_ACCESS_READ);
	forbidden(true, EPT_ACCESS_WRITE, 1, "key");
	forbidden(false, EPT_ACCESS_WRITE, 1, "key");
	allowed(true, EPT_ACCESS_EXECUTE);
	paging.cr0 &= ~CR0_WP;
	allowed(false, EPT_ACCESS_WRITE);
	paging.pkru = 1u << 6; /* no access */
	forbidden(true, EPT_ACCESS_READ, 1, "key");
	forbidden(false, EPT_ACCESS_READ, 1, "key");
	allowed(true, EPT_ACCESS_EXECUTE);
	paging.pkru = ~(3u << 6);
	allowed(true, EPT_ACCESS_WRITE);
}

Test(walk, bill)
{
	cr_assert_eq(ept_walk_references(4, 4), 24);
	cr_assert_eq(ept_walk_references(3, 4), 19);
	cr_assert_eq(ept_walk_references(2, 4), 14);
	cr_assert_eq(ept_walk_references(4, 3), 19);
	cr_assert_eq(ept_walk_references(0, 4), 4);
	cr_assert_eq(ept_walk_references(1, 0), 1);
}

/* --- whole address spaces --- */

static struct ept_maps_page pages[64];
static unsigned page_count, page_max = 64;
static struct ept_maps_summary summary;

static bool note(void *context, const struct ept_maps_page *page)
{
	if (page_count < 64)
		pages[page_count] = *page;
	return ++page_count < page_max;
}

static void map_all(void)
{
	page_count = 0;
	ept_maps(read_memory, NULL, &paging, note, NULL, &summary);
}

static void expect_mapped(unsigned i, uint64_t at, uint64_t physical, uint64_t size,
			  uint64_t rights)
{
	cr_assert_lt(i, page_count);
	cr_assert_eq(pages[i].address.v, at, "%#lx", pages[i].address.v);
	cr_assert_eq(pages[i].physical.v, physical, "%#lx", pages[i].physical.v);
	cr_assert_eq(pages[i].size, size);
	cr_assert_eq(pages[i].rights, rights, "%#lx", pages[i].rights);
}

Test(walk, maps)
{
	prepare();
	set(0x1000, 256, EPT_NO_EXECUTE | 0x2005);
	set(0x4000, 6, EPT_NO_EXECUTE | 0xa005);
	set(0x4000, 7, 0xb000);
	map_all();
	cr_assert_eq(summary.end, EPT_WALK_PAGE);
	cr_assert_eq(page_count, 8);
	expect_mapped(0, 0x5000, 0x9000, 4096, EPT_WRITE | EPT_USER);
	expect_mapped(1, 0x6000, 0xa000, 4096, EPT_USER | EPT_NO_EXECUTE);
	expect_mapped(2, 0x200000, 0x600000, 2 << 20, EPT_WRITE | EPT_USER);
	expect_mapped(3, 0x40000000, 0x40000000, 1 << 30, EPT_WRITE | EPT_USER);
	expect_mapped(4, 0xffff800000005000ul, 0x9000, 4096, EPT_USER | EPT_NO_EXECUTE);
	expect_mapped(7, 0xffff800040000000ul, 0x40000000, 1 << 30, EPT_USER | EPT_NO_EXECUTE);
	cr_assert_eq(summary.tables, 7);
	cr_assert(!summary.cut && summary.reserved + summary.no_table + summary.unreadable == 0);
}

Test(walk, maps_with_flaws)
{
	prepare();
	set(0x1000, 510, 0x1007);    /* itself */
	set(0x1000, 1, 0x2087);	     /* reserved */
	set(0x2000, 2, 0x200000007); /* no table */
	set(0x3000, 3, BROKEN | 7);  /* unreadable */
	map_all();
	cr_assert_eq(page_count, 6);
	cr_assert_eq(summary.in_itself, 1);
	cr_assert_eq(summary.reserved, 1);
	cr_assert_eq(summary.no_table, 2, "by both ways to the PDPT");
	cr_assert_eq(summary.unreadable, 2);
	page_max = 3;
	map_all();
	cr_assert(summary.cut && page_count == 3);
	paging.cr4 = CR4_LA57;
	map_all();
	cr_assert_eq(summary.end, EPT_WALK_FIVE_LEVELS);
	paging.cr0 = 0;
	map_all();
	cr_assert(summary.end == EPT_WALK_PAGE && summary.tables == 0);
}

/* Four pages that map all there is, 512 times over at each level. */
Test(walk, maps_of_hostile_tables)
{
	prepare();
	page_max = UINT32_MAX;
	for (unsigned i = 0; i < 512; i++) {
		set(0x1000, i, 0x2007);
		set(0x2000, i, 0x3007);
		set(0x3000, i, 0x4007);
		set(0x4000, i, 0x9007);
	}
	map_all();
	cr_assert(summary.cut);
	cr_assert_eq(summary.tables, EPT_MAPS_TABLES_MAX);
	for (unsigned i = 0; i < 512; i++)
		set(0x1000, i, 0x1007);
	map_all();
	cr_assert(!summary.cut && page_count == 0 && summary.in_itself == 512);
}

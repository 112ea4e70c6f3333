/*
 * Translations of a made-up guest, as JSON and as text, against tests/unit/golden. With
 * BIFOLD_GOLDEN=update in the environment the files are written anew instead: read the difference.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/ask/maps.h"
#include "vmm/machine/translation.h"
#include "vmm/common/translation_text.h"

#define MEMORY 0x10000ul

static uint64_t memory[MEMORY / 8];
static struct ept_paging paging;
static struct translation t;

static int read_memory(void *context, gpa_t address, void *buffer, size_t length)
{
	if (address.v >= MEMORY || length > MEMORY - address.v)
		return -EFAULT;
	if (address.v >= 0xf000)
		return -EBADMSG;
	memcpy(buffer, (char *)memory + address.v, length);
	return 0;
}

static void set(uint64_t table, unsigned index, uint64_t entry)
{
	memory[table / 8 + index] = entry;
}

/* The guest: CR3 0x1000, and something of everything. */
static void prepare(void)
{
	memset(memory, 0, sizeof(memory));
	set(0x1000, 0, 0x2027);
	set(0x1000, 1, 0x20007);
	set(0x1000, 2, 0x2087);
	set(0x1000, 510, 0x1063);
	set(0x2000, 0, 0x3027);
	set(0x2000, 1, 0x400000e7);
	set(0x3000, 0, 0x4027);
	set(0x3000, 1, 0x80000000006001e3);
	set(0x3000, 2, 0xf007);
	set(0x4000, 5, 0x9027);
	set(0x4000, 6, 0x1d80000000009865);
	set(0x4000, 7, 0xfee00000000 | 0x11b);
	set(0x4000, 8, 0x77777777777776);
	paging = (struct ept_paging){
		.cr0 = 1ul << 31 | 1ul << 16,
		.cr3 = 0x1000,
		.cr4 = 1ul << 20,
		.efer = 1ul << 10 | 1ul << 11,
		.address_bits = 46,
	};
}

static void fold(struct fold *f, uint64_t address, const struct mm_look *look)
{
	*f = (struct fold){
		.address = gpa(address),
		.place = { address < MEMORY * 0x1000, 0, address, hva(0x7f0000000000 + address),
			   PAGE_SIZE },
		.managed = true,
		.look = *look,
		.host = { .known = true, .present = look->state == FRAME_MAPPED },
	};
}

static const struct mm_look resident = { FRAME_MAPPED, FRAME_MAPPED, .slot = MM_LOOK_NO_SLOT };

static void make(uint64_t address, const char *layer)
{
	t = (struct translation){
		.address = gva(address),
		.paging = paging,
		.second_layer = layer,
		.second_levels = 4,
	};
	ept_walk_with(read_memory, NULL, &paging, gva(address), &t.walk);
	for (int i = 0; i < t.walk.step_count; i++)
		fold(&t.table[i], t.walk.step[i].entry_at.v, &resident);
	if (t.walk.end == EPT_WALK_PAGE)
		fold(&t.page, t.walk.address.v, &resident);
}

static void print(FILE *out, const char *title)
{
	json_t *json = translation_to_json(&t);

	cr_assert_not_null(json);
	fprintf(out, "--- %s\n", title);
	cr_assert_eq(translation_print(json, out), 0);
	fputc('\n', out);
	json_decref(json);
}

static void expect_golden(const char *name, const char *text)
{
	char path[512], *golden;
	size_t size = 0;
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", GOLDEN_FOLDER, name);
	if (getenv("BIFOLD_GOLDEN") != NULL) {
		file = fopen(path, "w");
		cr_assert_not_null(file);
		fputs(text, file);
		fclose(file);
		return;
	}
	golden = calloc(1, 1 << 20);
	file = fopen(path, "r");
	cr_assert_not_null(file, "%s", path);
	size = fread(golden, 1, (1 << 20) - 1, file);
	fclose(file);
	cr_assert(size == strlen(text) && memcmp(golden, text, size) == 0,
		  "%s differs; it is now:\n%s", name, text);
	free(golden);
}

static void page_of_4k(void)
{
	make(0x5123, "ept");
	t.table[3].look = (struct mm_look){ FRAME_SWAPPED, FRAME_SWAPPED, .slot = 17 };
	t.table[3].host.present = false;
	t.page.look = (struct mm_look){ FRAME_COMPRESSED, FRAME_COMPRESSED, .length = 1203,
					.codec = "lz4", .slot = MM_LOOK_NO_SLOT };
	t.page.host.present = false;
	t.has_kvm_pages = true;
	t.kvm[KVM_STAT_PAGES_4K] = 3120;
}

static void print_pages(FILE *out)
{
	page_of_4k();
	print(out, "a page of 4 KiB, compressed; its PT in the swap");
	make(0x201234, "npt");
	t.page.host.frame = 0x1dc291;
	t.page.host.has_flags = true;
	t.page.host.flags = 1 << 3 | 1 << 4 | 1 << 5;
	print(out, "a page of 2 MiB");
	make(0x40001234, "shadow");
	t.page.place.is_ram = true;
	t.page.look.slot = 3;
	t.page.look.pins = 1;
	print(out, "a page of 1 GiB, on a shadow");
	paging.cr4 |= 1ul << 22;
	paging.pkru = 2u << 6;
	make(0x6000, "ept");
	t.page.look = (struct mm_look){ FRAME_SAME_FILLED, FRAME_SAME_FILLED,
					.word = 0x2020202020202020, .slot = MM_LOOK_NO_SLOT };
	t.page.host = (struct ept_host_page){ 0 };
	print(out, "with a key, same-filled, nothing known of the host");
	make(0x5000, "ept");
	t.page.look = (struct mm_look){ FRAME_RELEASING, FRAME_SWAPPED, .slot = 4 };
	print(out, "on its way out");
	t.page.managed = false;
	t.second_levels = 5;
	print(out, "unmanaged, five levels of EPT");
	make(0xffffff7fbfdfe008ul, "ept");
	print(out, "a table in itself");
	paging.cr0 = 0;
	make(0x777, "ept");
	print(out, "paging off");
}

static void print_ends(FILE *out)
{
	make(0x8000, "ept");
	print(out, "not present, last level");
	make(3ul << 39, "shadow");
	print(out, "not present, first level");
	make(2ul << 39, "ept");
	print(out, "reserved bits");
	make(1ul << 39, "ept");
	print(out, "no table");
	make(0x400000, "ept");
	print(out, "a table that cannot be read");
	make(0x7000, "ept");
	print(out, "no memory at the end");
	make(0x800000000000, "ept");
	print(out, "not canonical");
	paging.cr4 |= 1ul << 12;
	t.cr3_given = true;
	make(0x5000, "ept");
	t.cr3_given = true;
	t.vcpu = 3;
	print(out, "five levels");
	paging.efer = 0;
	make(0x5000, "ept");
	print(out, "not in long mode");
}

Test(translation, text)
{
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	prepare();
	print_pages(out);
	prepare();
	print_ends(out);
	fclose(out);
	expect_golden("translation.txt", text);
	free(text);
}

Test(translation, json)
{
	json_t *json;
	char *text, *line;

	prepare();
	page_of_4k();
	json = translation_to_json(&t);
	text = json_dumps(json, JSON_INDENT(2));
	cr_assert(asprintf(&line, "%s\n", text) > 0);
	expect_golden("translation.json", line);
	json_decref(json);
	free(text);
	free(line);
}

/* An answer that comes over a socket may be anything. */
Test(translation, prints_whatever_comes)
{
	static const char *const answers[] = {
		"[]",
		"{}",
		"{\"address\":1,\"end\":2}",
		"{\"address\":\"0x1\",\"end\":\"page\",\"steps\":7,\"guest_physical\":[],"
		"\"second\":3,\"bill\":[]}",
		"{\"address\":\"0x1\",\"end\":\"page\",\"steps\":[1,null,{},{\"entry\":\"x\","
		"\"bits\":"
		"[1,"
		"\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\","
		"\"b\"],\"in\":7}],\"guest_physical\":\"0x1\",\"second\":{\"memory\":true}}",
	};
	FILE *out = fopen("/dev/null", "w");

	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		json_t *json = json_loads(answers[i], JSON_DECODE_ANY, NULL);

		cr_assert_not_null(json);
		cr_assert_eq(translation_print(json, out), i < 2 ? -EINVAL : 0);
		json_decref(json);
	}
	cr_assert_eq(translation_print(NULL, out), -EINVAL);
	fclose(out);
}

/* --- address spaces --- */

static const char maps_json[] =
	"{\"program\":\"/bin/"
	"<sort>\",\"second_layer\":\"npt\",\"date\":\"2026-11-30T00:10:00Z\",\"vcpu\":1,\"cr3\":"
	"\"0x1000\",\"followed\":true,\"tables\":9,\"in_itself\":1,"
	"\"reserved\":2,"
	"\"no_table\":3,\"unreadable\":4,\"cut\":true,\"ranges\":["
	"{\"start\":\"0x400000\",\"last\":\"0x43ffff\",\"bytes\":262144,\"user\":true,\"write\":"
	"false,"
	"\"execute\":true,\"pages\":{\"4K\":64},\"frames\":{\"mapped\":40,\"compressed\":20,"
	"\"swapped\":4}},"
	"{\"start\":\"0xffff800000000000\",\"last\":\"0xffff80003fffffff\",\"bytes\":1073741824,"
	"\"user\":false,\"write\":true,\"execute\":false,\"pages\":{\"2M\":256,\"1G\":1},"
	"\"frames\":{\"untouched\":1000,\"outside\":12,\"same_filled\":5}}]}";

static void print_maps(const char *name, int (*print_one)(const json_t *, FILE *))
{
	json_t *maps = json_loads(maps_json, 0, NULL);
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	cr_assert_eq(print_one(maps, out), 0);
	fclose(out);
	expect_golden(name, text);
	free(text);
	json_decref(maps);
}

Test(translation, maps_as_text)
{
	print_maps("maps.txt", maps_print);
}

Test(translation, maps_as_picture)
{
	print_maps("maps.svg", maps_draw);
}

static char *draw_maps(const char *json)
{
	json_t *maps = json_loads(json, 0, NULL);
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	cr_assert_not_null(maps);
	cr_assert_eq(maps_draw(maps, out), 0);
	fclose(out);
	json_decref(maps);
	return text;
}

/* How wide the box with that title is, behind the legend. */
static double width_of(const char *svg, const char *title)
{
	const char *at = strstr(svg, title);
	double width = 0;

	cr_assert_not_null(at, "%s", title);
	while (at > svg && strncmp(at, " width=\"", 8) != 0)
		at--;
	sscanf(at, " width=\"%lf", &width);
	return width;
}

/* A page and 61 MiB are not drawn alike: each doubling is a step of the same length. */
Test(translation, maps_bars_have_a_scale)
{
	char *svg = draw_maps("{\"ranges\":["
			      "{\"bytes\":4096,\"frames\":{\"mapped\":1}},"
			      "{\"bytes\":8192,\"frames\":{\"mapped\":2}},"
			      "{\"bytes\":63963136,\"frames\":{\"swapped\":15616}}]}");
	double page = width_of(svg, ">1 mapped<");

	cr_assert_gt(page, 1);
	cr_assert_float_eq(width_of(svg, ">2 mapped<"), 2 * page, 0.02);
	cr_assert_float_eq(width_of(svg, ">15616 swapped<"), page * (log2(15616) + 1), 0.2);
	cr_assert_not_null(strstr(svg, ">4 KiB<"));
	free(svg);
}

/* No two states are filled alike. */
Test(translation, maps_states_differ)
{
	static const char *const states[] = { "mapped",	   "watched",	 "evicting",	"filling",
					      "releasing", "compressed", "same_filled", "swapped",
					      "untouched", "released",	 "unmanaged",	"outside" };
	char json[512], fill[12][32], *svg, *at;
	int used = snprintf(json, sizeof(json), "{\"ranges\":[{\"bytes\":49152,\"frames\":{");

	for (int i = 0; i < 12; i++)
		used += snprintf(json + used, sizeof(json) - (size_t)used, "%s\"%s\":1",
				 i > 0 ? "," : "", states[i]);
	snprintf(json + used, sizeof(json) - (size_t)used, "}}]}");
	svg = at = draw_maps(json);
	for (int i = 0; i < 12; i++) {
		at = strstr(at, "height=\"11\" fill=\"");
		cr_assert_not_null(at, "%d states in the legend", i);
		at += strlen("height=\"11\" fill=\"");
		sscanf(at, "%31[^\"]", fill[i]);
		for (int j = 0; j < i; j++)
			cr_assert_str_neq(fill[i], fill[j], "%d and %d", i, j);
	}
	free(svg);
}

Test(translation, maps_of_whatever_comes)
{
	static const char *const answers[] = {
		"[]",
		"{\"ranges\":{}}",
		"{\"ranges\":[]}",
		"{\"ranges\":[1,null,{\"start\":7,\"bytes\":-1,\"pages\":3,\"frames\":{"
		"\"mapped\":-5}},"
		"{\"pages\":{\"4K\":\"<\"},\"frames\":{\"swapped\":\"<\",\"mapped\":1e99}}]}",
	};
	FILE *out = fopen("/dev/null", "w");

	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		json_t *json = json_loads(answers[i], 0, NULL);

		cr_assert_not_null(json);
		cr_assert_eq(maps_print(json, out), i < 2 ? -EINVAL : 0);
		cr_assert_eq(maps_draw(json, out), i < 2 ? -EINVAL : 0);
		json_decref(json);
	}
	fclose(out);
}

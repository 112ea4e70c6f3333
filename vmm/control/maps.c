#include "vmm/control/maps.h"

#include <string.h>
#include <time.h>

#include "ept/maps.h"
#include "ept/space.h"
#include "mm/look.h"
#include "vmm/common/host.h"
#include "vmm/common/json.h"
#include "vmm/machine/machine.h"

#define RIGHTS (EPT_WRITE | EPT_USER | EPT_NO_EXECUTE)

struct range {
	uint64_t start, end; /* the last byte's address + 1; 0 at the very top */
	uint64_t rights;
	uint64_t pages[3]; /* of 4 KiB, 2 MiB, 1 GiB */
	uint64_t frames[FRAME_STATES];
	uint64_t unmanaged, outside; /* frames: the host kernel's; not memory at all */
};

struct gathering {
	struct machine *machine;
	json_t *ranges;
	struct range at; /* the range at hand; start == end: none yet */
	uint64_t frames; /* counted so far */
};

static void set_count(json_t *object, const char *name, uint64_t value)
{
	if (value > 0)
		json_object_set_new(object, name, json_integer((json_int_t)value));
}

static json_t *range_to_json(const struct range *r)
{
	static const char *const sizes[] = { "4K", "2M", "1G" };
	json_t *pages = json_object(), *frames = json_object();

	for (int i = 0; i < 3; i++)
		set_count(pages, sizes[i], r->pages[i]);
	for (int i = 0; i < FRAME_STATES; i++)
		set_count(frames, frame_state_name((enum frame_state)i), r->frames[i]);
	set_count(frames, "unmanaged", r->unmanaged);
	set_count(frames, "outside", r->outside);
	return json_pack("{s:o, s:o, s:I, s:b, s:b, s:b, s:o, s:o}", "start", json_hex(r->start),
			 "last", json_hex(r->end - 1), "bytes", (json_int_t)(r->end - r->start),
			 "user", (r->rights & EPT_USER) != 0, "write", (r->rights & EPT_WRITE) != 0,
			 "execute", !(r->rights & EPT_NO_EXECUTE), "pages", pages, "frames",
			 frames);
}

static void finish_range(struct gathering *g)
{
	if (g->at.start != g->at.end)
		json_array_append_new(g->ranges, range_to_json(&g->at));
	g->at = (struct range){ 0 };
}

/* The part of [first, first + count) that lies in one piece of RAM. */
static uint64_t count_in(struct gathering *g, const struct ept_range *ram, uint64_t first,
			 uint64_t count)
{
	uint64_t low = ram->start.v >> PAGE_SHIFT, high = low + (ram->length >> PAGE_SHIFT);
	uint64_t end = first + count;

	if (first > low)
		low = first;
	if (end < high)
		high = end;
	if (low >= high)
		return 0;
	if (machine_mm(g->machine) == NULL)
		g->at.unmanaged += high - low;
	else
		mm_look_count(machine_mm(g->machine), gfn(low), high - low, g->at.frames);
	return high - low;
}

static bool add_page(void *context, const struct ept_maps_page *page)
{
	struct gathering *g = context;
	uint64_t count = page->size >> PAGE_SHIFT, inside = 0;
	const struct ept_range *ram;
	size_t pieces = ept_space_ranges(machine_space(g->machine), &ram);

	if (g->at.start == g->at.end || g->at.end != page->address.v ||
	    g->at.rights != (page->rights & RIGHTS)) {
		finish_range(g);
		if (json_array_size(g->ranges) == MAPS_RANGES_MAX)
			return false;
		g->at.start = page->address.v;
		g->at.rights = page->rights & RIGHTS;
	}
	g->at.end = page->address.v + page->size;
	g->at.pages[(page->size >= 2 << 20) + (page->size >= 1 << 30)]++;
	for (size_t i = 0; i < pieces; i++)
		inside += count_in(g, &ram[i], gpa_to_gfn(page->physical).v, count);
	g->at.outside += count - inside;
	g->frames += inside;
	return g->frames < MAPS_FRAMES_MAX;
}

/* In UTC, as ISO 8601 has it. */
static json_t *date_now(void)
{
	time_t now = time(NULL);
	char text[32];
	struct tm date;

	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &date));
	return json_string(text);
}

/* A path need not be UTF-8. */
static json_t *program_name(const struct machine *machine)
{
	json_t *name = json_string(machine_about(machine)->name);

	return name != NULL ? name : json_string("?");
}

json_t *maps_to_json(struct machine *machine, unsigned vcpu, const struct ept_paging *paging)
{
	struct gathering g = { .machine = machine, .ranges = json_array() };
	struct ept_maps_summary s;

	ept_maps(ept_walk_look, machine_space(machine), paging, add_page, &g, &s);
	finish_range(&g);
	return json_pack("{s:o, s:s, s:o, s:i, s:o, s:b, s:o, s:I, s:I, s:I, s:I, s:I, s:b}",
			 "program", program_name(machine), "second_layer", host_second_layer(),
			 "date", date_now(), "vcpu", (int)vcpu, "cr3", json_hex(paging->cr3),
			 "followed", s.end == EPT_WALK_PAGE && s.tables > 0, "ranges", g.ranges,
			 "tables", (json_int_t)s.tables, "in_itself", (json_int_t)s.in_itself,
			 "reserved", (json_int_t)s.reserved, "no_table", (json_int_t)s.no_table,
			 "unreadable", (json_int_t)s.unreadable, "cut", s.cut);
}

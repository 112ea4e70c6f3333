/* A translation as JSON. Addresses and raw entries are strings, "0x...". */
#include <errno.h>
#include <string.h>

#include "vmm/common/json.h"
#include "vmm/machine/translation.h"

static void set(json_t *object, const char *name, json_t *value)
{
	json_object_set_new(object, name, value);
}

static json_t *bits_to_json(int level, uint64_t entry)
{
	bool leaf = ept_walk_is_leaf(level, entry);
	const struct {
		uint64_t bit;
		const char *name;
		bool leaf_only;
	} bits[] = {
		{ EPT_PRESENT, "P", false }, { EPT_WRITE, "W", false },
		{ EPT_USER, "U", false },    { EPT_ACCESSED, "A", false },
		{ EPT_DIRTY, "D", true },    { EPT_LARGE, level > 1 ? "PS" : "PAT", false },
		{ EPT_GLOBAL, "G", true },   { EPT_NO_EXECUTE, "NX", false },
	};
	json_t *names = json_array();

	if (!(entry & EPT_PRESENT))
		return names; /* the rest is the guest kernel's own */
	for (size_t i = 0; i < sizeof(bits) / sizeof(bits[0]); i++)
		if ((entry & bits[i].bit) && (leaf || !bits[i].leaf_only))
			json_array_append_new(names, json_string(bits[i].name));
	return names;
}

static void add_state(json_t *object, const struct mm_look *look)
{
	set(object, "state", json_string(frame_state_name(look->state)));
	if (look->state != look->content)
		set(object, "content", json_string(frame_state_name(look->content)));
	if (look->content == FRAME_SAME_FILLED ||
	    (look->content == FRAME_RELEASED && look->word != 0))
		set(object, "value", json_hex(look->word));
	if (look->content == FRAME_COMPRESSED) {
		set(object, "bytes", json_integer(look->length));
		set(object, "compressor", json_string(look->codec));
	}
	if (look->slot != MM_LOOK_NO_SLOT)
		set(object, "slot", json_integer(look->slot));
	if (look->in_balloon)
		set(object, "in_balloon", json_true());
	if (look->pins > 0)
		set(object, "pins", json_integer(look->pins));
}

static json_t *fold_to_json(const struct fold *fold)
{
	json_t *object = json_object();
	char flags[160];

	set(object, "memory", json_boolean(fold->place.is_ram));
	if (!fold->place.is_ram)
		return object;
	set(object, "memslot", json_integer(fold->place.memslot));
	set(object, "offset", json_hex(fold->place.offset));
	set(object, "frame", json_hex(gpa_to_gfn(fold->address).v));
	if (fold->managed)
		add_state(object, &fold->look);
	set(object, "host_virtual", json_hex(fold->place.hva.v));
	set(object, "backing_page_size", json_integer((json_int_t)fold->place.backing_page_size));
	if (fold->host.known)
		set(object, "host_mapped", json_boolean(fold->host.present));
	if (fold->host.frame != 0)
		set(object, "host_frame", json_hex(fold->host.frame));
	if (fold->host.has_flags)
		set(object, "host_flags",
		    json_string(ept_host_page_flags(fold->host.flags, flags, sizeof(flags))));
	return object;
}

static json_t *step_to_json(const struct ept_walk *walk, int i, const struct fold *table)
{
	const struct ept_walk_step *step = &walk->step[i];
	bool was_read = i + 1 < walk->step_count ||
			(walk->end != EPT_WALK_NO_TABLE && walk->end != EPT_WALK_UNREADABLE);
	json_t *object = json_object();

	set(object, "level", json_integer(step->level));
	set(object, "table", json_string(ept_walk_level_name(step->level)));
	set(object, "index", json_integer(step->index));
	set(object, "at", json_hex(step->entry_at.v));
	if (was_read) {
		set(object, "entry", json_sprintf("0x%016llx", (unsigned long long)step->entry));
		set(object, "bits", bits_to_json(step->level, step->entry));
		set(object, "key", json_integer((json_int_t)(step->entry >> EPT_KEY_SHIFT & 15)));
	}
	if (step->reserved != 0)
		set(object, "reserved", json_hex(step->reserved));
	if (step->same_as != 0)
		set(object, "same_as", json_string(ept_walk_level_name(step->same_as)));
	set(object, "in", fold_to_json(table));
	return object;
}

/* Why the walk ended where it did. */
static json_t *reason_to_json(const struct ept_walk *walk)
{
	const struct ept_walk_step *last =
		&walk->step[walk->step_count > 0 ? walk->step_count - 1 : 0];
	const char *name = ept_walk_level_name(last->level);

	switch (walk->end) {
	case EPT_WALK_PAGE:
		return json_string(walk->paging_off ? "paging is off: the address is physical"
						    : "a page");
	case EPT_WALK_NOT_PRESENT:
		return json_sprintf("first layer, %s: P is clear, nothing is mapped there", name);
	case EPT_WALK_RESERVED:
		return json_sprintf("first layer, %s: reserved bits are set (0x%llx)", name,
				    (unsigned long long)last->reserved);
	case EPT_WALK_NO_TABLE:
		return json_sprintf("second layer: the %s lies at 0x%llx, where the guest has no "
				    "memory",
				    name, (unsigned long long)(last->entry_at.v & PAGE_MASK));
	case EPT_WALK_UNREADABLE:
		return json_sprintf("second layer: the %s at 0x%llx cannot be read back: %s", name,
				    (unsigned long long)(last->entry_at.v & PAGE_MASK),
				    walk->error == -EBADMSG ? "its stored data is damaged"
							    : strerror(-walk->error));
	case EPT_WALK_NON_CANONICAL:
		return json_string("the address is not canonical: bits 63 to 47 differ");
	case EPT_WALK_FIVE_LEVELS:
		return json_string("the guest has five levels of page tables (CR4.LA57), which "
				   "this walker does not follow");
	default:
		return json_string("the guest is not in long mode: its page tables are not "
				   "followed");
	}
}

static json_t *verdict_to_json(const struct translation *t, bool user, enum ept_access access)
{
	struct ept_verdict verdict;
	json_t *object;

	ept_walk_judge(&t->walk, &t->paging, user, access, &verdict);
	object = json_pack("{s:b}", "allowed", verdict.allowed);
	if (!verdict.allowed)
		set(object, "bit", json_string(verdict.bit));
	if (verdict.level != 0)
		set(object, "table", json_string(ept_walk_level_name(verdict.level)));
	return object;
}

static json_t *access_to_json(const struct translation *t)
{
	static const char *const who[] = { "kernel", "user" };
	static const char *const what[EPT_ACCESS_KINDS] = { "read", "write", "execute" };
	json_t *object = json_object();

	for (int user = 1; user >= 0; user--) {
		json_t *rights = json_object();

		for (int access = 0; access < EPT_ACCESS_KINDS; access++)
			set(rights, what[access],
			    verdict_to_json(t, user != 0, (enum ept_access)access));
		set(object, who[user], rights);
	}
	return object;
}

static void add_cached(json_t *cached, const char *what, unsigned references)
{
	json_array_append_new(cached,
			      json_pack("{s:s, s:i}", "what", what, "references", (int)references));
}

/*
 * Where caches cut a walk. Paging-structure caches save the upper levels of one layer or both, the
 * nested TLB the second layer's part for the guest's tables; the formula is the same with what is
 * left of each.
 */
static json_t *cached_to_json(bool shadow, unsigned g, unsigned h)
{
	json_t *cached = json_array();

	if (shadow) {
		add_cached(cached, "a paging-structure cache has the shadow's last table", 1);
	} else {
		add_cached(cached, "a paging-structure cache has the guest's last table",
			   ept_walk_references(1, h));
		add_cached(cached, "a nested TLB has where the guest's tables are", g + h);
		add_cached(cached, "paging-structure caches have the last table of both layers",
			   ept_walk_references(1, 1));
	}
	add_cached(cached, "the TLB has the page", 0);
	return cached;
}

/* The larger a page of the backing is, the fewer tables lead to it. */
static unsigned second_levels(const struct translation *t)
{
	uint64_t size = t->page.place.backing_page_size;

	return t->second_levels - (size >= 2 << 20) - (size >= 1 << 30);
}

static json_t *bill_to_json(const struct translation *t)
{
	bool shadow = strcmp(t->second_layer, "shadow") == 0;
	bool whole = t->walk.end == EPT_WALK_PAGE;
	unsigned g = (unsigned)t->walk.step_count, h = second_levels(t);
	unsigned both = whole ? ept_walk_references(g, h) : g * (h + 1);
	json_t *bill = json_pack("{s:i, s:i, s:b, s:i, s:i}", "guest_levels", (int)g,
				 "second_levels", (int)h, "complete", whole, "references",
				 (int)both, "references_one_layer", (int)g);

	if (shadow)
		set(bill, "references_shadow", json_integer(h));
	if (whole)
		set(bill, "cached", cached_to_json(shadow, g, h));
	return bill;
}

static json_t *second_to_json(const struct translation *t)
{
	json_t *second = fold_to_json(&t->page);
	json_t *pages;

	set(second, "layer", json_string(t->second_layer));
	if (!t->has_kvm_pages || t->kvm[KVM_STAT_PAGES_4K] == UINT64_MAX)
		return second;
	pages = json_pack("{s:I, s:I, s:I}", "4K", (json_int_t)t->kvm[KVM_STAT_PAGES_4K], "2M",
			  (json_int_t)t->kvm[KVM_STAT_PAGES_2M], "1G",
			  (json_int_t)t->kvm[KVM_STAT_PAGES_1G]);
	set(second, "kvm_mappings", pages);
	return second;
}

static const char *const ends[] = {
	[EPT_WALK_PAGE] = "page",
	[EPT_WALK_NOT_PRESENT] = "not_present",
	[EPT_WALK_RESERVED] = "reserved",
	[EPT_WALK_NO_TABLE] = "no_table",
	[EPT_WALK_UNREADABLE] = "unreadable",
	[EPT_WALK_NON_CANONICAL] = "non_canonical",
	[EPT_WALK_FIVE_LEVELS] = "five_levels",
	[EPT_WALK_NOT_LONG] = "not_long_mode",
};

json_t *translation_to_brief(const struct translation *t)
{
	json_t *object = json_object();
	char may[EPT_ACCESS_KINDS + 1] = "rwx";

	set(object, "address", json_hex(t->address.v));
	set(object, "end", json_string(ends[t->walk.end]));
	if (t->walk.end != EPT_WALK_PAGE) {
		set(object, "reason", reason_to_json(&t->walk));
		return object;
	}
	for (int access = 0; access < EPT_ACCESS_KINDS; access++) {
		struct ept_verdict verdict;

		ept_walk_judge(&t->walk, &t->paging, true, (enum ept_access)access, &verdict);
		if (!verdict.allowed)
			may[access] = '-';
	}
	set(object, "guest_physical", json_hex(t->walk.address.v));
	set(object, "page_size", json_integer((json_int_t)t->walk.page_size));
	set(object, "may", json_string(may));
	if (!t->page.place.is_ram)
		set(object, "state", json_string("outside"));
	else if (t->page.managed)
		add_state(object, &t->page.look);
	else
		set(object, "state", json_string("unmanaged"));
	return object;
}

json_t *translation_to_json(const struct translation *t)
{
	json_t *object = json_object(), *steps = json_array();

	set(object, "address", json_hex(t->address.v));
	set(object, "vcpu", json_integer(t->vcpu));
	set(object, "cr3", json_hex(t->paging.cr3));
	set(object, "cr3_given", json_boolean(t->cr3_given));
	for (int i = 0; i < t->walk.step_count; i++)
		json_array_append_new(steps, step_to_json(&t->walk, i, &t->table[i]));
	set(object, "steps", steps);
	set(object, "end", json_string(ends[t->walk.end]));
	set(object, "reason", reason_to_json(&t->walk));
	if (t->walk.end == EPT_WALK_PAGE) {
		set(object, "guest_physical", json_hex(t->walk.address.v));
		set(object, "page_size", json_integer((json_int_t)t->walk.page_size));
		set(object, "access", access_to_json(t));
		set(object, "second", second_to_json(t));
	}
	/* Where there is no table, what a processor still reads of the second layer is not ours to
	 * say. */
	if (t->walk.step_count > 0 && t->walk.end != EPT_WALK_NO_TABLE)
		set(object, "bill", bill_to_json(t));
	return object;
}

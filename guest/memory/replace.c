/* Page replacement. replace.h has the pieces; owner.h finds the entries that map a page. */
#include "guest/memory/replace.h"
#include "guest/cpu/clock.h"
#include "guest/lib/count.h"
#include "guest/lib/errno.h"
#include "guest/lib/string.h"
#include "guest/lib/text.h"
#include "guest/memory/hooks.h"
#include "guest/memory/owner.h"
#include "guest/memory/pressure.h"
#include "guest/memory/reserve.h"
#include "guest/memory/space.h"
#include "guest/memory/trim.h"
#include "guest/monitor/doorbell.h"

#define OWNER_MAX 16
#define SAMPLE	  32 /* pages the LRU approximation looks at to pick one */

struct replace_set replace_main = { .limit = UINT64_MAX };
static struct replace_set window;
static const struct space *window_space;
static uint64_t window_start, window_end;
uint64_t replace_evictions;
static uint32_t lru_now; /* picks so far: the clock of page->stamp */

static struct replace_set *set_of(const struct page *page)
{
	return page->flags & PAGE_WINDOW ? &window : &replace_main;
}

static void append(struct replace_set *set, struct page *page)
{
	uint32_t frame = page_frame(page);

	page->next = 0;
	page->prev = set->last;
	if (set->last)
		page_of_frame(set->last)->next = frame;
	else
		set->first = frame;
	set->last = frame;
	set->count++;
}

static void unlink(struct replace_set *set, struct page *page)
{
	if (page->next)
		page_of_frame(page->next)->prev = page->prev;
	else
		set->last = page->prev;
	if (page->prev)
		page_of_frame(page->prev)->next = page->next;
	else
		set->first = page->next;
	set->count--;
}

static void to_the_end(struct replace_set *set, struct page *page)
{
	unlink(set, page);
	append(set, page);
}

static bool take_accessed(struct page *page)
{
	struct owner owner[OWNER_MAX];
	bool young = page->flags & PAGE_YOUNG;

	page->flags &= ~PAGE_YOUNG;
	return page_take_accessed(owner, page_owners(page, owner, OWNER_MAX)) || young;
}

/* --- the policies --- */

static struct page *first_of(struct replace_set *set)
{
	return set->first ? page_of_frame(set->first) : NULL;
}

/* First in, first out. */
static struct page *fifo_pick(struct replace_set *set)
{
	return first_of(set);
}

/* Round like a clock's hand: who was touched since the hand came by has another round. */
static struct page *clock_pick(struct replace_set *set)
{
	for (uint64_t i = 0; i < set->count && take_accessed(first_of(set)); i++)
		to_the_end(set, first_of(set));
	return first_of(set);
}

/* Least recently used, as far as accessed bits tell: of the SAMPLE pages that waited longest, the
 * one whose bit was last seen set the longest ago. In a small set all are looked at every time. */
static struct page *lru_pick(struct replace_set *set)
{
	struct page *oldest = NULL, *page;
	uint32_t frame = set->first, last = set->last;

	lru_now += 2;
	for (unsigned i = 0; i < SAMPLE && frame; i++) {
		page = page_of_frame(frame);
		frame = frame == last ? 0 : page->next;
		/* A page that came in since the last pick was touched then, before all that were
		 * touched since. */
		if (take_accessed(page) && !(page->flags & PAGE_NEW))
			page->stamp = lru_now;
		page->flags &= ~PAGE_NEW;
		if (!oldest || (int32_t)(page->stamp - oldest->stamp) < 0)
			oldest = page;
		if (set->count > SAMPLE)
			to_the_end(set, page);
	}
	return oldest;
}

static const struct replace_ops policies[] = {
	{ "clock", clock_pick },
	{ "fifo", fifo_pick },
	{ "lru", lru_pick },
};
static const struct replace_ops *policy = &policies[0];

int replace_choose(const char *name)
{
	for (unsigned i = 0; i < ARRAY_SIZE(policies); i++) {
		if (strcmp(policies[i].name, name))
			continue;
		policy = &policies[i];
		return 0;
	}
	log_line(QUIRE_LEVEL_ERROR, "policy=%s: there are clock, fifo and lru; it stays %s", name,
		 policy->name);
	return -EINVAL;
}

void replace_text(struct text *text)
{
	text_add(text, "%s\n", policy->name);
}

/* --- pages come and go --- */

static bool in_window(const struct owner *owner)
{
	return owner->space == window_space && owner->va >= window_start && owner->va < window_end;
}

void replace_add(struct page *page, uint64_t *leaf, unsigned index)
{
	struct owner owner = { table_space(leaf), table_address(leaf) + index * PAGE_SIZE, leaf,
			       index };

	page_set_owner(page, page_of_address(leaf), index);
	page->flags = PAGE_REPLACE | PAGE_NEW;
	page->stamp = lru_now + 1;
	if (unlikely(window_space) && in_window(&owner))
		page->flags |= PAGE_WINDOW;
	append(set_of(page), page);
	while (unlikely(window.count > window.limit) && (page->flags & PAGE_WINDOW) &&
	       replace_evict(&window))
		;
}

void replace_remove(struct page *page)
{
	if (!(page->flags & PAGE_REPLACE))
		return;
	unlink(set_of(page), page);
	page->flags = 0;
}

void replace_move(struct page *page, struct page *target)
{
	struct replace_set *set = set_of(page);

	target->flags = 0;
	if (!(page->flags & PAGE_REPLACE))
		return;
	target->flags = page->flags;
	target->stamp = page->stamp;
	target->next = page->next;
	target->prev = page->prev;
	*(page->next ? &page_of_frame(page->next)->prev : &set->last) = page_frame(target);
	*(page->prev ? &page_of_frame(page->prev)->next : &set->first) = page_frame(target);
	page->flags = 0;
}

/* The distance: how many pages went out since this one did. A page that would have stayed had
 * memory been larger by that much. */
void replace_refault(uint32_t slot)
{
	uint64_t distance = replace_evictions - swap_stamp(slot);

	vm_count.pswpin++;
	vm_count.workingset_refault_anon++;
	vm_count.refault_distance_last = distance;
	vm_count.refault_distance_average +=
		(int64_t)(distance - vm_count.refault_distance_average) / 8;
	/* Shorter than memory itself: a thrash, not a visitor. */
	if (distance <= replace_main.count + window.count)
		vm_count.workingset_thrash++;
}

static bool is_locked(const struct owner *owner, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		const struct area *area = space_find(owner[i].space, owner[i].va);

		if (area && (area->flags & AREA_LOCKED))
			return true;
	}
	return false;
}

static bool evict(struct page *page)
{
	struct owner owner[OWNER_MAX];
	unsigned count = page_owners(page, owner, OWNER_MAX);
	struct replace_set *set = set_of(page);
	uint32_t slot = page->slot;

	if (count != page->refs + 1 || is_locked(owner, count) || (!slot && swap_is_full()))
		return false;
	page_hide(owner, count);
	if (slot && page_is_dirty(owner, count)) {
		swap_free(slot);
		slot = 0;
	}
	if (slot)
		vm_count.swap_clean_drops++;
	else
		slot = swap_store(page_address(page));
	page->slot = slot;
	if (!slot)
		return false;
	unlink(set, page);
	page->flags = 0;
	page_move_to_swap(page, owner, count, slot);
	replace_evictions++;
	vm_count.pswpout++;
	return true;
}

bool replace_evict(struct replace_set *set)
{
	for (uint64_t i = 0, count = set->count; i < count; i++) {
		struct page *page = policy->pick(set);

		if (!page)
			return false;
		if (evict(page))
			return true;
		to_the_end(set, page);
	}
	return false;
}

bool memory_reclaim(unsigned pages)
{
	static bool inside;
	uint64_t start = clock_now(), before = page_free_total, freed;
	/* Below that it would be for the kernel only. */
	uint64_t enough = MAX(before, (uint64_t)PAGE_RESERVE);

	if (inside)
		return false;
	inside = true;
	vm_count.pgscan++;
	/* Memory that is set aside and not used goes before memory that is in use. */
	reservations_break();
	while (swap_on && page_free_total < enough + pages && replace_evict(&replace_main))
		;
	if (page_free_total <= enough)
		memory_trim();
	if (page_free_total <= enough)
		memory_hooks.shrink_balloon(pages);
	/* Only when those that were killed are gone is it known whether that was enough. */
	if (page_free_total <= enough && !spaces_doomed)
		memory_hooks.kill();
	freed = page_free_total - before;
	vm_count.pgsteal += freed;
	inside = false;
	pressure_stalled(clock_now() - start);
	return freed > 0;
}

/* --- the window --- */

static const char *number(const char *at, uint64_t *value)
{
	*value = 0;
	while (*at == ' ')
		at++;
	for (; *at >= '0' && *at <= '9'; at++)
		*value = *value * 10 + (*at - '0');
	return at;
}

/* "START LENGTH PAGES", decimal; all zero: no window. Pages that are there already stay where they
 * are. */
int window_store(const char *words)
{
	uint64_t start, length, pages;

	words = number(number(number(words, &start), &length), &pages);
	while (*words == ' ')
		words++;
	if (*words || start % PAGE_SIZE || length > USER_END || start > USER_END - length ||
	    (length && !swap_on))
		return -EINVAL;
	while (window.first) {
		struct page *page = first_of(&window);

		unlink(&window, page);
		page->flags &= ~PAGE_WINDOW;
		append(&replace_main, page);
	}
	window_space = length ? current_space() : NULL;
	window_start = start;
	window_end = start + length;
	window.limit = pages;
	return 0;
}

const struct space *replace_window(uint64_t *start, uint64_t *end)
{
	if (window_space) {
		*start = window_start;
		*end = window_end;
	}
	return window_space;
}

void window_text(struct text *text)
{
	text_add(text, "%lu %lu %lu\n", window_start, window_end - window_start, window.limit);
}

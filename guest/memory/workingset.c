/* The working set by scans of accessed bits. */
#include "guest/memory/workingset.h"
#include "guest/cpu/clock.h"
#include "guest/cpu/cpu.h"
#include "guest/cpu/timer.h"
#include "guest/lib/count.h"
#include "guest/lib/errno.h"
#include "guest/lib/text.h"
#include "guest/memory/flush.h"
#include "guest/memory/huge.h"
#include "guest/memory/replace.h"
#include "guest/memory/space.h"

#define MS	  1000000ull /* ns */
#define MS_MAX	  3600000
#define PTES_STEP 4

static void scan(struct timer *timer);

uint64_t workingset_estimate;
static struct timer scan_timer = { .expired = scan };
static uint64_t interval; /* ms; 0: no scans */

/* Takes the accessed bit, perhaps while another CPU sets the dirty one. */
static bool take_accessed(uint64_t *pte)
{
	if (!(*pte & PTE_A))
		return false;
	__atomic_fetch_and(pte, ~PTE_A, __ATOMIC_RELAXED);
	return true;
}

/* The accessed pages of [va, end), which the leaf covers. Most of most tables is empty. */
static uint64_t scan_leaf(uint64_t *leaf, uint64_t va, uint64_t end)
{
	uint64_t *pte = leaf + leaf_index(va), *last = pte + ((end - va) >> PAGE_SHIFT);
	uint64_t accessed = 0;

	for (; pte < last; pte++) {
		while (pte + PTES_STEP <= last && !(pte[0] | pte[1] | pte[2] | pte[3]))
			pte += PTES_STEP;
		if (pte == last)
			break;
		if (!pte_holds(*pte) || !take_accessed(pte))
			continue;
		accessed++;
		if (pte_anonymous(*pte))
			replace_note_young(pte_page(*pte));
	}
	return accessed;
}

static uint64_t scan_range(struct space *space, uint64_t start, uint64_t end)
{
	uint64_t accessed = 0;

	FOR_EACH_LEAF(space->root, va, next, start, end, entry)
	{
		uint64_t *leaf = pte_table(*entry);

		if (leaf)
			accessed += scan_leaf(leaf, va, next);
		else if (take_accessed(entry))
			accessed += huge_size(space->root, va, entry) >> PAGE_SHIFT;
	}
	if (accessed > 0)
		tlb_flush_range(space, start, end);
	return accessed;
}

static void scan(struct timer *timer)
{
	uint64_t start = 0, end = USER_END, accessed = 0;
	const struct space *only = replace_window(&start, &end);

	for (struct space *space = space_list; space; space = space->next) {
		if (!only || space == only)
			accessed += scan_range(space, start, end);
	}
	workingset_estimate = accessed;
	vm_count.workingset_scans++;
	timer_set(timer, clock_now() + interval * MS);
}

int workingset_window_store(const char *words)
{
	uint64_t ms = 0;

	if (!*words)
		return -EINVAL;
	for (; *words >= '0' && *words <= '9' && ms <= MS_MAX; words++)
		ms = ms * 10 + (*words - '0');
	if (*words || ms > MS_MAX)
		return -EINVAL;
	interval = ms;
	workingset_estimate = 0;
	timer_clear(&scan_timer);
	if (ms)
		timer_set(&scan_timer, clock_now() + ms * MS);
	return 0;
}

void workingset_window_text(struct text *text)
{
	text_add(text, "%lu\n", interval);
}

/*
 * Page replacement chooses the anonymous page that goes to the swap when memory is short.
 *
 * Replaceable pages are on the list of a set, oldest first. There is one set for all, and a second,
 * the window: a range of one address space that may keep only so many pages (/proc/sys/vm/window,
 * "START LENGTH PAGES"), so that a program can watch a policy at work on a few frames.
 *
 * A policy picks from a set. It is one of a table, chosen by policy=NAME on the command line or by
 * /proc/sys/vm/replacement.
 */
#ifndef GUEST_MEMORY_REPLACE_H
#define GUEST_MEMORY_REPLACE_H

#include "guest/memory/page.h"
#include "guest/memory/swap.h"

struct space;
struct text;

struct replace_set {
	uint32_t first, last; /* frames; 0: none */
	uint64_t count, limit;
};

struct replace_ops {
	const char *name;
	/* required: a page of the set, which stays on it; NULL when it has none */
	struct page *(*pick)(struct replace_set *set);
};

extern uint64_t replace_evictions; /* pages that went to the swap so far: its clock */

/* An anonymous page that is mapped by this entry now; and before it is freed. */
void replace_add(struct page *page, uint64_t *leaf, unsigned index);
void replace_remove(struct page *page);

/* `target`, which is on no list, takes the place of the page that moves there. */
void replace_move(struct page *page, struct page *target);

/* Somebody else took the page's accessed bit, which was set. */
static inline void replace_note_young(struct page *page)
{
	if (page->flags & PAGE_REPLACE)
		page->flags |= PAGE_YOUNG;
}

/* A page came back from the slot: counts the refault and its distance. */
void replace_refault(uint32_t slot);

/* Evicts one page of the set. False when none could go. */
bool replace_evict(struct replace_set *set);
extern struct replace_set replace_main;

/* Gets memory from wherever it can: the swap, reservations, free tables, at last a process that is
 * killed. False when there is none. */
bool memory_reclaim(unsigned pages);

/* Unknown names leave the default, with a line of the log. 0 or -EINVAL. */
int replace_choose(const char *name);
void replace_text(struct text *text);
/* The space that has a window, and the window's range; NULL: there is none, and nothing is
 * changed. */
const struct space *replace_window(uint64_t *start, uint64_t *end);
int window_store(const char *words);
void window_text(struct text *text);

#endif

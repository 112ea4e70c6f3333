/*
 * Contiguous allocation: runs of pages, of any length, out of one region of physical memory that is
 * set aside at boot (contiguous=SIZE on the command line) and used for nothing else. A device
 * without scatter and gather needs it, and it is the oldest way to share memory out.
 *
 * Free runs, the holes, are a list by address; one that is given back merges with its neighbours.
 * The place of a request is chosen by one of three fits: first (the lowest hole that is large
 * enough), best (the smallest), worst (the largest). Equal holes: the lower one.
 *
 * /proc/contiguous shows all that, and takes commands: "fit first|best|worst", "alloc PAGES",
 * "free NUMBER"; /proc/contiguous_runs lists the holes and the runs: number, first page of the
 * region, pages. External fragmentation is the share of free memory that is not in the largest
 * hole: 1 - largest / free.
 */
#ifndef GUEST_MEMORY_CONTIGUOUS_H
#define GUEST_MEMORY_CONTIGUOUS_H

#include "guest/memory/page.h"

struct text;

/* Chooses the region, as high as there is room in the usable ranges less `keep`, at most half of
 * memory. Once, before page_init(), to which the returned range goes as one to keep; it is empty
 * when there is no room, or none is wanted. */
struct page_range contiguous_place(uint64_t bytes, const struct page_range *usable,
				   unsigned usable_count, const struct page_range *keep,
				   unsigned keep_count);

/* Makes the region one hole. After page_init(). */
void contiguous_init(struct page_range region);

/* A run of `pages` pages, whose content is whatever was there. Its number, from 1, and its first
 * frame; -ENOMEM: no hole is large enough (or there is no memory for the record); -EINVAL: 0 pages;
 * -ENODEV: no region. */
int64_t contiguous_alloc(uint64_t pages, uint64_t *frame);

/* 0, or -ENOENT: there is no such run. */
int contiguous_free(uint64_t number);

int contiguous_store(const char *words);
void contiguous_text(struct text *text);
void contiguous_runs_text(struct text *text);

#endif

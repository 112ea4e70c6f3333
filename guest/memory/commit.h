/*
 * Overcommit: limits the memory that programs may be promised, by Linux's three modes
 * (/proc/sys/vm/overcommit_memory). It counts as promised the private areas that are or were
 * writable, each copy that a fork makes, and shared anonymous memory, once for all that share it,
 * for as long as it is there (cache_promise()).
 */
#ifndef GUEST_MEMORY_COMMIT_H
#define GUEST_MEMORY_COMMIT_H

#include "guest/lib/types.h"

#define OVERCOMMIT_GUESS  0 /* refuse only what can never be: one request above RAM and swap */
#define OVERCOMMIT_ALWAYS 1
#define OVERCOMMIT_NEVER  2 /* all promises together stay within commit_limit() */

extern unsigned overcommit_mode, overcommit_ratio;
extern uint64_t overcommit_kbytes; /* in place of a ratio; 0: the ratio counts */
extern uint64_t committed_pages;

/* Swap, and overcommit_ratio percent of RAM or overcommit_kbytes; pages. */
uint64_t commit_limit(void);

/* Whether `pages` more may be promised. Nothing is counted yet. */
bool commit_allows(uint64_t pages);

/* Whether the promises are within the limit once `pages` of them are given back: always true,
 * except in the mode where all promises count. */
bool commit_holds_without(uint64_t pages);

/* Writes to the files under /proc/sys/vm. 0 or -EINVAL. */
int overcommit_memory_store(const char *text);
int overcommit_ratio_store(const char *text);
int overcommit_kbytes_store(const char *text);

struct text;
void overcommit_memory_text(struct text *text);
void overcommit_ratio_text(struct text *text);
void overcommit_kbytes_text(struct text *text);

/* CommitLimit and Committed_AS. */
void commit_meminfo_text(struct text *text);

#endif

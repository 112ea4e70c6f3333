/*
 * Whether something leaks in the kernel.
 *
 * /proc/sys/vm/drop_caches gives back what the kernel only keeps (memory/trim.h). Then the pages
 * that are neither free nor of slabs, and the objects in use of every slab cache, must be as many
 * as before: exactly. The same objects may lie in a slab more or less, and the page tables of
 * kernel stacks stay for good, so those are not counted. A CPU may still be on its way off a dead
 * thread's stack: a difference has a moment to go away.
 *
 * The caller itself has the same in use each time. On another kernel nothing leaks.
 */
#ifndef GUEST_PROGRAMS_TESTS_LEAKS_H
#define GUEST_PROGRAMS_TESTS_LEAKS_H

#include "guest/programs/runtime/tasks.h"

/* Notes what is in use. */
void leaks_init(void);

/* Whether as much is in use as the last time, and notes what is. Reaps children that end. */
bool leaks_none(void);

/* Prints what the last leaks_none() found, by the name of who did it. */
void leaks_say(const char *name);

#endif

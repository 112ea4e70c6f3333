/* Page faults: maps the missing page, or says why it may not be mapped. */
#ifndef GUEST_MEMORY_FAULT_H
#define GUEST_MEMORY_FAULT_H

#include "guest/memory/space.h"

enum fault_result {
	FAULT_DONE,	 /* the access can be made again */
	FAULT_NO_AREA,	 /* SIGSEGV */
	FAULT_ACCESS,	 /* SIGSEGV: mapped, without this access */
	FAULT_STACK_END, /* SIGSEGV: below the stack's limit, in its guard */
	FAULT_PAST_END,	 /* SIGBUS: mapped beyond the end of the file */
	FAULT_NO_MEMORY, /* SIGKILL */
};

/* Makes va accessible for `access` (one of AREA_READ, AREA_WRITE, AREA_EXEC), or says why not. */
enum fault_result fault_resolve(struct space *space, uint64_t va, uint32_t access);

/* The same for the kernel's own access, which cannot wait until the processes that the OOM killer
 * chose are gone: until then it may have some of the kernel's reserve. */
enum fault_result fault_resolve_now(struct space *space, uint64_t va, uint32_t access);

/* Brings in all pages of [start, end), which is mapped: for the access, or as each area allows.
 * 0, -ENOMEM, or -EFAULT (beyond a file's end, or no access there). */
int fault_populate_for(struct space *space, uint64_t start, uint64_t end, uint32_t access);
int fault_populate(struct space *space, uint64_t start, uint64_t end);

/* In words, for a line of the log. */
const char *fault_reason(enum fault_result result);

/* Physical address of va, made accessible first; the entry is marked as accessed (and written).
 * 0 when it cannot be. */
uint64_t fault_translate(struct space *space, uint64_t va, bool write);

#endif

/* The page behind an address of our own, as the host kernel describes it. */
#ifndef EPT_HOST_PAGE_H
#define EPT_HOST_PAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"

struct ept_host_page {
	bool known;	/* /proc/self/pagemap could be read */
	bool present;	/* the address has a page-table entry */
	bool swapped;	/* the host's own swap holds it */
	uint64_t frame; /* host frame number; 0: not for us to know (it takes CAP_SYS_ADMIN) */
	bool has_flags;
	uint64_t flags; /* as in /proc/kpageflags */
};

void ept_host_page_get(hva_t address, struct ept_host_page *page);

/* The flags' names, as many as fit, with spaces between. Returns text. */
const char *ept_host_page_flags(uint64_t flags, char *text, unsigned size);

#endif

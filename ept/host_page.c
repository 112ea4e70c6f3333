#include "ept/host_page.h"

#include <fcntl.h>
#include <linux/kernel-page-flags.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#define PAGEMAP_PRESENT (1ull << 63)
#define PAGEMAP_SWAPPED (1ull << 62)
#define PAGEMAP_FRAME	((1ull << 55) - 1)

/* Open for good, for pages are asked about by the thousand; -1: not for us. */
static int pagemap_fd, flags_fd;

static void open_files(void)
{
	pagemap_fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	flags_fd = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
}

static bool read_word(int fd, uint64_t index, uint64_t *word)
{
	return pread(fd, word, sizeof(*word), (off_t)(index * sizeof(*word))) == sizeof(*word);
}

void ept_host_page_get(hva_t address, struct ept_host_page *page)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	uint64_t entry;

	pthread_once(&once, open_files);
	*page = (struct ept_host_page){ 0 };
	page->known = read_word(pagemap_fd, address.v >> PAGE_SHIFT, &entry);
	if (!page->known)
		return;
	page->present = entry & PAGEMAP_PRESENT;
	page->swapped = entry & PAGEMAP_SWAPPED;
	if (!page->present)
		return;
	/* The kernel shows 0 to processes that may not know. */
	page->frame = entry & PAGEMAP_FRAME;
	page->has_flags = page->frame != 0 && read_word(flags_fd, page->frame, &page->flags);
}

const char *ept_host_page_flags(uint64_t flags, char *text, unsigned size)
{
	static const struct {
		unsigned bit;
		const char *name;
	} names[] = {
		{ KPF_LOCKED, "locked" },
		{ KPF_REFERENCED, "referenced" },
		{ KPF_UPTODATE, "uptodate" },
		{ KPF_DIRTY, "dirty" },
		{ KPF_LRU, "lru" },
		{ KPF_ACTIVE, "active" },
		{ KPF_WRITEBACK, "writeback" },
		{ KPF_MMAP, "mmap" },
		{ KPF_ANON, "anon" },
		{ KPF_SWAPCACHE, "swapcache" },
		{ KPF_SWAPBACKED, "swapbacked" },
		{ KPF_HUGE, "huge" },
		{ KPF_UNEVICTABLE, "unevictable" },
		{ KPF_THP, "thp" },
		{ KPF_ZERO_PAGE, "zero" },
	};
	unsigned length = 0;

	text[0] = '\0';
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!(flags >> names[i].bit & 1))
			continue;
		length += (unsigned)snprintf(text + length, size - length, "%s%s",
					     length > 0 ? " " : "", names[i].name);
		if (length >= size)
			break;
	}
	return text;
}

#include "ept/host_page.h"

#include <fcntl.h>
#include <linux/kernel-page-flags.h>
#include <stdio.h>
#include <unistd.h>

#define PAGEMAP_PRESENT (1ull << 63)
#define PAGEMAP_SWAPPED (1ull << 62)
#define PAGEMAP_FRAME	((1ull << 55) - 1)

static bool read_word(const char *path, uint64_t index, uint64_t *word)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool good;

	if (fd < 0)
		return false;
	good = pread(fd, word, sizeof(*word), (off_t)(index * sizeof(*word))) == sizeof(*word);
	close(fd);
	return good;
}

void ept_host_page_get(hva_t address, struct ept_host_page *page)
{
	uint64_t entry;

	*page = (struct ept_host_page){ 0 };
	page->known = read_word("/proc/self/pagemap", address.v >> PAGE_SHIFT, &entry);
	if (!page->known)
		return;
	page->present = entry & PAGEMAP_PRESENT;
	page->swapped = entry & PAGEMAP_SWAPPED;
	if (!page->present)
		return;
	/* The kernel shows 0 to whoever may not know. */
	page->frame = entry & PAGEMAP_FRAME;
	page->has_flags =
		page->frame != 0 && read_word("/proc/kpageflags", page->frame, &page->flags);
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

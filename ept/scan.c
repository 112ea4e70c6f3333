/*
 * Which pages of the guest view are mapped. PAGEMAP_SCAN answers for a whole range at once, 6 to 12
 * ns a page; where the kernel lacks it (before Linux 6.7), /proc/self/pagemap has a word a page.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>

#include "ept/internal.h"

/* At a time. No more regions come back than half of that. */
#define PAGES_MAX 256u

#define PAGEMAP_PRESENT (1ull << 63) /* in a word of /proc/self/pagemap */

/* As Linux 6.7 and later have them: Documentation/admin-guide/mm/pagemap.rst. */
struct scan_region {
	uint64_t start, end, categories;
};

struct scan_request {
	uint64_t size, flags, start, end, walk_end, regions, region_count, max_pages;
	uint64_t inverted, mask, any_of, returned;
};

#define SCAN_REQUEST	  _IOWR('f', 16, struct scan_request)
#define SCAN_PAGE_PRESENT (1u << 3)

/* -ENOTTY: this kernel cannot. */
static int scan_regions(struct ept_space *space, uint64_t start, uint32_t count, bool *mapped)
{
	struct scan_region regions[PAGES_MAX / 2 + 1];
	struct scan_request request = {
		.size = sizeof(request),
		.start = start,
		.end = start + ((uint64_t)count << PAGE_SHIFT),
		.regions = (uintptr_t)regions,
		.region_count = sizeof(regions) / sizeof(regions[0]),
		.mask = SCAN_PAGE_PRESENT,
		.returned = SCAN_PAGE_PRESENT,
	};
	int found;

	do {
		found = space->host->ioctl(space->pagemap, SCAN_REQUEST, &request);
	} while (found < 0 && errno == EINTR);
	if (found < 0)
		return -errno;
	memset(mapped, 0, count);
	for (int i = 0; i < found; i++) {
		uint64_t first = (regions[i].start - start) >> PAGE_SHIFT;
		uint64_t end = (regions[i].end - start) >> PAGE_SHIFT;

		for (uint64_t page = first; page < end && page < count; page++)
			mapped[page] = true;
	}
	return 0;
}

static int read_words(struct ept_space *space, uint64_t start, uint32_t count, bool *mapped)
{
	uint64_t words[PAGES_MAX];
	size_t size = count * sizeof(words[0]);
	ssize_t n;

	do {
		n = space->host->pread(space->pagemap, words, size,
				       (off_t)((start >> PAGE_SHIFT) * sizeof(words[0])));
	} while (n < 0 && errno == EINTR);
	if (n != (ssize_t)size)
		return n < 0 ? -errno : -EIO;
	for (uint32_t i = 0; i < count; i++)
		mapped[i] = (words[i] & PAGEMAP_PRESENT) != 0;
	return 0;
}

int ept_scan(void *backing, gfn_t first, uint32_t count, bool *mapped)
{
	struct ept_space *space = backing;
	uint64_t start = (uintptr_t)space->guest_view + gfn_to_gpa(first).v;

	for (uint32_t done = 0; done < count;) {
		uint32_t n = count - done < PAGES_MAX ? count - done : PAGES_MAX;
		uint64_t at = start + ((uint64_t)done << PAGE_SHIFT);
		int error = scan_regions(space, at, n, mapped + done);

		if (error == -ENOTTY)
			error = read_words(space, at, n, mapped + done);
		if (error != 0)
			return error;
		done += n;
	}
	return 0;
}

#include "vmm/bench/pages.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

#define POOL "/sys/kernel/mm/hugepages/hugepages-%" PRIu64 "kB/%s"

static void path_of(enum bench_page size, const char *name, char path[96])
{
	snprintf(path, 96, POOL, bench_page_size[size].bytes >> 10, name);
}

static int read_number(enum bench_page size, const char *name, uint64_t *value)
{
	char path[96], text[32];
	ssize_t n;
	int fd;

	path_of(size, name, path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return -EIO;
	text[n] = '\0';
	*value = strtoull(text, NULL, 10);
	return 0;
}

/* The kernel takes the number, and comes as near to it as memory allows. */
static int set_total(enum bench_page size, uint64_t total)
{
	char path[96], text[32];
	int fd, length, error = 0;

	path_of(size, "nr_hugepages", path);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	length = snprintf(text, sizeof(text), "%" PRIu64, total);
	if (write(fd, text, (size_t)length) != length)
		error = -errno;
	close(fd);
	return error;
}

static int add(struct bench_pages *pages, enum bench_page size, uint64_t missing)
{
	uint64_t before, after;
	int error = read_number(size, "nr_hugepages", &before);

	if (error == 0)
		error = set_total(size, before + missing);
	if (error == 0)
		error = read_number(size, "nr_hugepages", &after);
	if (error == 0 && after > before)
		pages->added[size] += after - before;
	return error;
}

int bench_pages_need(struct bench_pages *pages, enum bench_page size, uint64_t count, bool reserve,
		     char *reason, size_t reason_size)
{
	const char *name = bench_page_size[size].name;
	uint64_t free_pages = 0, total = 0;
	char path[96];
	int error = 0;

	if (size == BENCH_4K)
		return 0;
	path_of(size, "nr_hugepages", path);
	if (read_number(size, "free_hugepages", &free_pages) != 0 ||
	    read_number(size, "nr_hugepages", &total) != 0) {
		snprintf(reason, reason_size, "this host has no pages of %s", name);
		return -ENOMEM;
	}
	if (free_pages < count && reserve) {
		error = add(pages, size, count - free_pages);
		read_number(size, "free_hugepages", &free_pages);
	}
	if (free_pages >= count)
		return 0;
	if (reserve)
		snprintf(reason, reason_size,
			 "needs %" PRIu64 " free pages of %s; the host could set aside %" PRIu64
			 "%s%s",
			 count, name, free_pages, error != 0 ? ": " : "",
			 error != 0 ? strerror(-error) : "");
	else
		snprintf(reason, reason_size,
			 "needs %" PRIu64 " free pages of %s, has %" PRIu64
			 ": as root, --reserve, or echo %" PRIu64 " >%s",
			 count, name, free_pages, total - free_pages + count, path);
	return -ENOMEM;
}

void bench_pages_release(struct bench_pages *pages)
{
	for (int size = 0; size < BENCH_PAGES; size++) {
		uint64_t total;

		if (pages->added[size] == 0)
			continue;
		/* Without the pages we added, whatever others have done since. */
		if (read_number((enum bench_page)size, "nr_hugepages", &total) != 0 ||
		    set_total((enum bench_page)size,
			      total > pages->added[size] ? total - pages->added[size] : 0) != 0)
			log_warn("cannot give back %" PRIu64 " pages of %s", pages->added[size],
				 bench_page_size[size].name);
		pages->added[size] = 0;
	}
}

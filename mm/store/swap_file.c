/*
 * The swap file with plain system calls. It never has a name: O_TMPFILE, or where the filesystem
 * has none, a temporary name that is removed at once. O_DIRECT keeps the host's page cache from
 * holding a second copy of what was just pushed out of memory.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "mm/store/swap.h"

static int open_unlinked(const char *directory)
{
	char *path;
	int fd, error;

	if (asprintf(&path, "%s/.bifold-swap-XXXXXX", directory) < 0)
		return -ENOMEM;
	fd = mkostemp(path, O_CLOEXEC);
	error = -errno;
	if (fd >= 0)
		unlink(path);
	free(path);
	return fd >= 0 ? fd : error;
}

int swap_file_open(const char *directory, bool *direct)
{
	int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0) {
		/* No O_TMPFILE there: EOPNOTSUPP, or EISDIR where the kernel does not know it. */
		if (errno != EOPNOTSUPP && errno != EISDIR)
			return -errno;
		fd = open_unlinked(directory);
		if (fd < 0)
			return fd;
	}
	*direct = fcntl(fd, F_SETFL, O_DIRECT) == 0;
	if (!*direct)
		log_debug("swap: the filesystem of %s takes no O_DIRECT; its page cache will hold "
			  "a second copy",
			  directory);
	return fd;
}

int swap_file_punch(int fd, uint64_t offset, uint64_t length)
{
	int result;

	do
		result = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
				   (off_t)length);
	while (result != 0 && errno == EINTR);
	return result == 0 ? 0 : -errno;
}

static int plain_open(const char *directory, void **file)
{
	bool direct;
	int fd = swap_file_open(directory, &direct);

	if (fd < 0)
		return fd;
	*file = (void *)(intptr_t)fd;
	return 0;
}

static void plain_close(void *file)
{
	close((int)(intptr_t)file);
}

static void plain_transfer(void *file, struct mm_swap_request *requests, unsigned count)
{
	int fd = (int)(intptr_t)file;

	for (unsigned i = 0; i < count; i++) {
		struct mm_swap_request *r = &requests[i];
		int vectors = (int)r->vector_count;
		ssize_t n = r->write ? pwritev(fd, r->vectors, vectors, (off_t)r->offset)
				     : preadv(fd, r->vectors, vectors, (off_t)r->offset);

		r->result = n >= 0 ? n : -errno;
	}
}

static int plain_punch(void *file, uint64_t offset, uint64_t length)
{
	return swap_file_punch((int)(intptr_t)file, offset, length);
}

const struct mm_swap_io mm_swap_io_plain = {
	.open = plain_open,
	.close = plain_close,
	.transfer = plain_transfer,
	.punch = plain_punch,
};

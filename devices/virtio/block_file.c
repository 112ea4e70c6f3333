#include "devices/virtio/block_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

/* The file mode may allow what the device does not: the open succeeds, and every write fails. */
static bool refuses_writes(int fd)
{
	struct stat status;
	int read_only = 0;

	return fstat(fd, &status) == 0 && S_ISBLK(status.st_mode) &&
	       ioctl(fd, BLKROGET, &read_only) == 0 && read_only != 0;
}

/*
 * Does not wait, as opening a FIFO would; but io_uring answers -EAGAIN where a descriptor says so
 * for good. A block device that is mounted, or else in the host's use, is not to be written.
 */
static int open_path(const char *path, bool read_only)
{
	int flags = (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
	struct stat status;
	int fd;

	if (!read_only && stat(path, &status) == 0 && S_ISBLK(status.st_mode))
		flags |= O_EXCL;
	fd = open(path, flags);
	if (fd >= 0 && !read_only && refuses_writes(fd)) {
		close(fd);
		fd = -1;
		errno = EROFS;
	}
	if (fd >= 0) {
		fcntl(fd, F_SETFL, 0);
		return fd;
	}
	fd = -errno;
	if ((fd == -EACCES || fd == -EROFS || fd == -EPERM) && !read_only)
		log_error("disk %s cannot be written: %s (read-only: --disk %s,ro)", path,
			  strerror(-fd), path);
	else if (fd == -EISDIR)
		log_error("disk %s is a directory, not a raw image or a block device", path);
	else
		log_error("disk %s cannot be opened: %s", path, strerror(-fd));
	return fd;
}

static int find_size(const char *path, struct block_file *file)
{
	struct stat status;

	if (fstat(file->fd, &status) != 0 ||
	    (S_ISBLK(status.st_mode) && ioctl(file->fd, BLKGETSIZE64, &file->bytes) != 0)) {
		int error = -errno;

		log_error("disk %s: its size cannot be found: %s", path, strerror(-error));
		return error;
	}
	if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode)) {
		log_error("disk %s is neither a raw image nor a block device", path);
		return -EINVAL;
	}
	if (S_ISREG(status.st_mode))
		file->bytes = (uint64_t)status.st_size;
	if (file->bytes == 0) {
		log_error("disk %s is empty", path);
		return -EINVAL;
	}
	if (file->bytes % BLOCK_SECTOR != 0) {
		log_error("disk %s has %" PRIu64 " bytes, which is not a multiple of %u: a raw "
			  "image is whole sectors",
			  path, file->bytes, BLOCK_SECTOR);
		return -EINVAL;
	}
	return 0;
}

static int lock(const char *path, const struct block_file *file)
{
	struct flock whole = { .l_type = file->read_only ? F_RDLCK : F_WRLCK,
			       .l_whence = SEEK_SET };
	int error;

	if (fcntl(file->fd, F_OFD_SETLK, &whole) == 0)
		return 0;
	error = -errno;
	if (error == -EAGAIN || error == -EACCES)
		log_error("disk %s is in use: another run has it%s, or this one has it twice", path,
			  file->read_only ? " for writing" : "");
	else
		log_error("disk %s cannot be locked: %s", path, strerror(-error));
	return error == -EACCES ? -EAGAIN : error;
}

int block_file_open(const char *path, bool read_only, struct block_file *file)
{
	int error;

	*file = (struct block_file){ .read_only = read_only };
	file->fd = open_path(path, read_only);
	if (file->fd < 0)
		return file->fd;
	error = find_size(path, file);
	if (error == 0)
		error = lock(path, file);
	if (error != 0)
		block_file_close(file);
	return error;
}

void block_file_close(struct block_file *file)
{
	close(file->fd);
	file->fd = -1;
}

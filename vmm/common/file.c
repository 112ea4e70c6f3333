#include "vmm/common/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

/* A FIFO that nobody writes is opened at once, and then is of the wrong kind. */
int file_open_input(const char *path, int *fd, uint64_t *size)
{
	struct stat status;
	int error = 0;

	*fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (*fd < 0 || fstat(*fd, &status) != 0) {
		error = -errno;
		log_error("%s: %m", path);
	} else if (!S_ISREG(status.st_mode)) {
		error = -EINVAL;
		log_error("%s is not a regular file", path);
	} else if (status.st_size == 0) {
		error = -EINVAL;
		log_error("%s is empty", path);
	}
	if (error == 0) {
		*size = (uint64_t)status.st_size;
		return 0;
	}
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	return error;
}

static int open_output(const char *path, FILE **file)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0666);
	struct stat status;
	int error = 0;

	*file = NULL;
	if (fd < 0 || fstat(fd, &status) != 0) {
		error = -errno;
		if (error == -ENXIO)
			log_error("%s: nobody reads there", path);
		else
			log_error("%s: %m", path);
	} else if (S_ISBLK(status.st_mode)) {
		error = -EINVAL;
		log_error("%s is a block device, and would be overwritten", path);
	} else {
		*file = fdopen(fd, "w");
		error = *file != NULL ? 0 : -errno;
		if (error != 0)
			log_error("%s: %m", path);
	}
	if (error != 0 && fd >= 0)
		close(fd);
	return error;
}

int file_open_output(const char *path, FILE **file)
{
	if (strcmp(path, "-") != 0)
		return open_output(path, file);
	*file = stdout;
	return 0;
}

int file_begin(FILE *file)
{
	struct stat status;
	int fd = fileno(file);

	if (file == stdout)
		return 0;
	if (fstat(fd, &status) != 0 || fcntl(fd, F_SETFL, 0) != 0)
		return -errno;
	return S_ISREG(status.st_mode) && ftruncate(fd, 0) != 0 ? -errno : 0;
}

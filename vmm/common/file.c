#include "vmm/common/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
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

/* *made: it was not there. A name that leads nowhere makes the file at its end. */
static int open_output(const char *path, int *fd, bool *made, struct stat *status)
{
	int error = 0;

	*made = stat(path, status) != 0 && errno == ENOENT;
	*fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0666);
	if (*fd < 0 || fstat(*fd, status) != 0) {
		error = -errno;
		if (error == -ENXIO)
			log_error("%s: nobody reads there", path);
		else
			log_error("%s: %m", path);
	} else if (S_ISBLK(status->st_mode)) {
		error = -EINVAL;
		log_error("%s is a block device, and would be overwritten", path);
	}
	if (error != 0 && *fd >= 0)
		close(*fd);
	return error;
}

static int open_stream(struct file_output *output, int fd)
{
	int error;

	output->file = fdopen(fd, "w");
	if (output->file != NULL)
		return 0;
	error = -errno;
	log_error("%s: %m", output->path);
	close(fd);
	return error;
}

/* The file that we made, if it is the one that the path still leads to; a link on the way stays. */
static void remove_empty(const char *path, const struct stat *made)
{
	char *target = realpath(path, NULL);
	struct stat status;

	if (target != NULL && stat(target, &status) == 0 && status.st_size == 0 &&
	    status.st_dev == made->st_dev && status.st_ino == made->st_ino)
		unlink(target);
	free(target);
}

/*
 * A regular file is let go again until file_begin(), and one that was not there is removed: so
 * nothing is left of a command that fails, or is killed, meanwhile.
 */
int file_open_output(const char *path, struct file_output *output)
{
	struct stat status;
	bool made;
	int fd, error;

	*output = (struct file_output){ .path = path };
	if (strcmp(path, "-") == 0) {
		output->file = stdout;
		return 0;
	}
	error = open_output(path, &fd, &made, &status);
	if (error != 0)
		return error;
	if (!S_ISREG(status.st_mode))
		return open_stream(output, fd);
	close(fd);
	if (made)
		remove_empty(path, &status);
	return 0;
}

static int open_again(struct file_output *output)
{
	struct stat status;
	int fd, error = open_output(output->path, &fd, &output->made, &status);

	if (error != 0)
		return error;
	error = open_stream(output, fd);
	if (error != 0 && output->made)
		remove_empty(output->path, &status);
	return error;
}

int file_begin(struct file_output *output)
{
	struct stat status;
	int fd, error = output->file == NULL ? open_again(output) : 0;

	if (error != 0 || output->file == stdout)
		return error;
	fd = fileno(output->file);
	if (fstat(fd, &status) == 0 && fcntl(fd, F_SETFL, 0) == 0 &&
	    (!S_ISREG(status.st_mode) || ftruncate(fd, 0) == 0))
		return 0;
	error = -errno;
	log_error("%s: %m", output->path);
	return error;
}

static int close_stream(FILE *file, const char *path, int error)
{
	if (fflush(file) != 0 && error == 0)
		error = -errno;
	if (ferror(file) && error == 0)
		error = -EIO;
	if (file != stdout && fclose(file) != 0 && error == 0)
		error = -errno;
	if (error != 0)
		log_error("%s: %s", file == stdout ? "standard output" : path, strerror(-error));
	return error;
}

int file_end(struct file_output *output, int error)
{
	struct stat status;
	bool made;

	if (output->file == NULL)
		return error;
	made = output->made && fstat(fileno(output->file), &status) == 0;
	error = close_stream(output->file, output->path, error);
	output->file = NULL;
	if (made)
		remove_empty(output->path, &status);
	return error;
}

#include "vmm/control/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"

#define BACKLOG 64
/* Monitors hold the folder's lock for the time of a few system calls. */
#define LOCK_TRIES    1000
#define LOCK_PAUSE_US 1000

static int address_of(const char *path, struct sockaddr_un *address)
{
	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (path[0] == '\0' || strlen(path) >= sizeof(address->sun_path))
		return -ENAMETOOLONG;
	strcpy(address->sun_path, path);
	return 0;
}

int control_socket_connect(const char *path)
{
	struct sockaddr_un address;
	struct stat status;
	int error = address_of(path, &address), fd;

	if (error != 0)
		return error;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	error = -errno;
	close(fd);
	/* The kernel's answer for a file that is no socket is the same as for a socket without a
	 * listener. */
	if (error == -ECONNREFUSED && stat(path, &status) == 0 && !S_ISSOCK(status.st_mode))
		error = -ENOTSOCK;
	return error;
}

/* Removes a dead socket at path. Returns why the path is not free, or NULL when it is. */
static const char *make_way(const char *path)
{
	struct stat status;
	int fd;

	if (lstat(path, &status) != 0)
		return errno == ENOENT ? NULL : strerror(errno);
	if (!S_ISSOCK(status.st_mode))
		return "something that is no socket is there; it is left alone";
	fd = control_socket_connect(path);
	if (fd >= 0) {
		close(fd);
		return "somebody answers there already";
	}
	if (fd != -ECONNREFUSED)
		return strerror(-fd);
	return unlink(path) == 0 || errno == ENOENT ? NULL : strerror(errno);
}

/*
 * Between finding that a dead socket lies there and listening on a new one nobody else may do the
 * same: he would take ours for the dead one. The lock is on the folder, so that nothing is left
 * behind. A folder that may not be read, or has no locks, is used without: *fd is -1 then. 0, or
 * -EBUSY: somebody keeps it.
 */
static int lock_folder(const char *path, int *fd)
{
	char *copy = strdup(path);
	int error = 0;

	*fd = copy != NULL ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	free(copy);
	for (int i = 0; *fd >= 0 && i < LOCK_TRIES; i++) {
		error = flock(*fd, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
		if (error != EWOULDBLOCK && error != EINTR)
			return 0;
		usleep(LOCK_PAUSE_US);
	}
	if (*fd < 0)
		return 0;
	close(*fd);
	return -EBUSY;
}

static int open_locked(const char *path, const struct sockaddr_un *address,
		       struct control_socket *out)
{
	const char *obstacle;
	struct stat status;
	int error;

	obstacle = make_way(path);
	if (obstacle != NULL) {
		log_error("--control %s: %s", path, obstacle);
		return -EADDRINUSE;
	}
	out->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* The mode of the socket becomes that of the file: there is no moment at which others may.
	 */
	if (out->fd < 0 || fchmod(out->fd, 0600) != 0 ||
	    bind(out->fd, (const struct sockaddr *)address, sizeof(*address)) != 0)
		goto fail;
	out->path = strdup(path);
	if (out->path == NULL || lstat(path, &status) != 0)
		goto fail_bound;
	out->device = status.st_dev;
	out->inode = status.st_ino;
	if (listen(out->fd, BACKLOG) == 0)
		return 0;

fail_bound:
	error = -errno;
	unlink(path);
	errno = -error;
fail:
	error = -errno;
	log_error("--control %s: %m", path);
	if (out->fd >= 0)
		close(out->fd);
	free(out->path);
	return error;
}

int control_socket_open(const char *path, struct control_socket *out)
{
	struct sockaddr_un address;
	int error = address_of(path, &address), folder;

	*out = (struct control_socket){ .fd = -1 };
	if (error != 0) {
		log_error("--control %s: a socket's path has 1 to %zu bytes", path,
			  sizeof(address.sun_path) - 1);
		return error;
	}
	error = lock_folder(path, &folder);
	if (error != 0) {
		log_error("--control %s: somebody keeps its folder locked", path);
		return error;
	}
	error = open_locked(path, &address, out);
	if (folder >= 0)
		close(folder);
	return error;
}

void control_socket_close(struct control_socket *socket)
{
	struct stat status;

	if (lstat(socket->path, &status) == 0 && status.st_dev == socket->device &&
	    status.st_ino == socket->inode)
		unlink(socket->path);
	close(socket->fd);
	free(socket->path);
}

#include "base/outlet.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

int outlet_open(struct outlet *outlet, int fd)
{
	struct stat status;
	char path[32];

	*outlet = (struct outlet){ .fd = -1, .way = OUTLET_WRITE };
	if (fstat(fd, &status) != 0)
		return -errno;
	if (S_ISSOCK(status.st_mode)) {
		outlet->way = OUTLET_SOCKET;
	} else if (S_ISFIFO(status.st_mode) || isatty(fd)) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		outlet->fd = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
		if (outlet->fd >= 0)
			return 0;
		outlet->way = OUTLET_POLLED;
	}
	outlet->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	return outlet->fd >= 0 ? 0 : -errno;
}

void outlet_close(struct outlet *outlet)
{
	if (outlet->fd >= 0)
		close(outlet->fd);
	outlet->fd = -1;
}

static ssize_t put_once(const struct outlet *outlet, const void *bytes, size_t length)
{
	struct pollfd ready = { .fd = outlet->fd, .events = POLLOUT };

	switch (outlet->way) {
	case OUTLET_SOCKET:
		return send(outlet->fd, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL);
	case OUTLET_POLLED:
		if (poll(&ready, 1, 0) == 0) {
			errno = EAGAIN;
			return -1;
		}
		return write(outlet->fd, bytes, length < PIPE_BUF ? length : PIPE_BUF);
	case OUTLET_WRITE:
		break;
	}
	return write(outlet->fd, bytes, length);
}

ssize_t outlet_put(const struct outlet *outlet, const void *bytes, size_t length)
{
	ssize_t n;

	do {
		n = put_once(outlet, bytes, length);
	} while (n < 0 && errno == EINTR);
	return n;
}

/*
 * The interface that ept/ needs of the host kernel, in one place, so that tests can replace it.
 */
#ifndef EPT_HOST_H
#define EPT_HOST_H

#include <sys/types.h>

struct ept_host_ops {
	int (*ioctl)(int fd, unsigned long request, void *argument); /* userfaultfd and VM ioctls */
	int (*madvise)(void *address, size_t length, int advice);
	int (*fallocate)(int fd, int mode, off_t offset, off_t length);
	ssize_t (*pread)(int fd, void *buffer, size_t length, off_t offset); /* guest RAM */
	ssize_t (*read)(int fd, void *buffer, size_t length); /* userfaultfd messages */
};

extern const struct ept_host_ops ept_host; /* the real one */

#endif

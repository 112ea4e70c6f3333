/* Makes, finds and removes the socket's file. */
#ifndef VMM_CONTROL_SOCKET_H
#define VMM_CONTROL_SOCKET_H

#include <sys/types.h>

struct control_socket {
	int fd; /* listening, non-blocking */
	char *path;
	dev_t device; /* what was made at path, to remove only that */
	ino_t inode;
};

/* 0 or -errno, with a line logged; see control_create(). */
int control_socket_open(const char *path, struct control_socket *socket);
void control_socket_close(struct control_socket *socket);

/* A connection, blocking, or -errno. */
int control_socket_connect(const char *path);

#endif

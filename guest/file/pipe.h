/* Pipes: bytes from one process to another, through a ring in the kernel. */
#ifndef GUEST_FILE_PIPE_H
#define GUEST_FILE_PIPE_H

#include "guest/file/file.h"

/* Both ends, each with one reference. 0, -ENOMEM, or -ENFILE: pipes have a quarter
 * of the memory already. */
int pipe_create(uint32_t flags, struct file **reader, struct file **writer);

#endif

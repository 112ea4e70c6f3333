/* Files that the user names, opened without waiting for anybody, and of a kind that makes sense. */
#ifndef VMM_COMMON_FILE_H
#define VMM_COMMON_FILE_H

#include <stdint.h>
#include <stdio.h>

/* A regular file with something in it, to read. 0 or -errno, logged. */
int file_open_input(const char *path, int *fd, uint64_t *size);

/*
 * Opens an output that is written once, at the end: a file (made if it is not there, and left as it
 * is until file_begin()), a FIFO with a reader, a terminal or another character device; "-" is
 * standard output, which the caller must not close. 0 or -errno, logged.
 */
int file_open_output(const char *path, FILE **file);

/* Empties it, but for standard output. Writes from now on wait for the reader. 0 or -errno. */
int file_begin(FILE *file);

#endif

/* Files that the user names, opened without waiting for anybody, and of a kind that makes sense. */
#ifndef VMM_COMMON_FILE_H
#define VMM_COMMON_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* A regular file with something in it, to read. 0 or -errno, logged. */
int file_open_input(const char *path, int *fd, uint64_t *size);

/*
 * An output that is written once, at the end of some work, and tried before it, so that a name that
 * cannot be written costs no work: file_open_output(), the work, file_begin(), the writing,
 * file_end(). Until file_begin() a regular file is as it was, or is not there; after file_end() it
 * has something in it, or was there before.
 */
struct file_output {
	const char *path; /* the caller's; NULL: none is wanted */
	FILE *file;	  /* to write to, from file_begin() to file_end() */
	bool made;	  /* by file_begin() */
};

/*
 * A file, a FIFO with a reader, a terminal or another character device; "-" is standard output, and
 * output->file is stdout from now on. 0 or -errno, logged.
 */
int file_open_output(const char *path, struct file_output *output);

/* Makes or empties it, but for standard output. Writes from now on wait for the reader. 0 or
 * -errno, logged. */
int file_begin(struct file_output *output);

/* Writes out what is buffered and closes, but for standard output. error: of the writing so far, 0
 * or -errno. That, or the first of its own, logged. Does nothing where there is nothing to close.
 */
int file_end(struct file_output *output, int error);

#endif

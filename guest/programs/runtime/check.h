/*
 * Shared by the programs that check the kernel: marks on pages, children, and /proc/self/smaps.
 */
#ifndef GUEST_PROGRAMS_RUNTIME_CHECK_H
#define GUEST_PROGRAMS_RUNTIME_CHECK_H

#include "guest/programs/runtime/runtime.h"

#define MIB (1ul << 20)
#define RW  (PROT_READ | PROT_WRITE)

/* Says what is wrong and counts it when the condition does not hold. */
void expect(bool condition, const char *what);
extern unsigned failures;

/* mmap; NULL when it fails. at: with MAP_FIXED. */
void *map(void *at, size_t size, int protection, int flags, int fd);

/* One word of each page. */
void mark(void *memory, size_t pages, uint64_t seed);
bool marked(const void *memory, size_t pages, uint64_t seed);
bool is_zero(const void *memory, size_t size);

/* Runs the body in a forked child; its wait status, body's result being the exit status. */
int in_child(int (*body)(void *), void *argument);
#define DIED_OF(status) ((status)&0x7f)

/* The file's text, up to the buffer's size; ended by 0. */
const char *read_text(const char *path);

/* Writes the words to the file at once: how many bytes it took, or -errno. */
long try_write(const char *path, const char *words);

/* The same. False: it does not take all of them. */
bool write_text(const char *path, const char *words);

/* The same; without it the program ends. */
void must_write(const char *path, const char *words);

/* The number in decimal, ended by 0; how many digits that were. */
unsigned put_number(char *to, uint64_t value);

/* The number behind the name, which begins a line of the file, such as "MemFree:"; -1: there is
 * none. */
long file_number(const char *path, const char *name);

/* The first line that begins with the words, or NULL. */
const char *line_of(const char *text, const char *words);

/* The next number of the line, or -1; moves on behind it. */
long parse_number(const char **at);

/* The line of /proc/self/maps (or smaps) for the area that holds the address: where it begins in
 * `text`, or NULL. */
const char *area_line(const char *text, const void *address);

/* A number of the area in /proc/self/smaps, such as "Rss:", in kB; -1 when it is not there. */
long area_number(const void *address, const char *name);

/* Whether the text begins with the words. */
bool begins(const char *text, const char *words);

#endif

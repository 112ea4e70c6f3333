/*
 * The runtime of quire's own programs: entry, system calls, text. No libc, so that a program is
 * what it says and nothing more.
 */
#ifndef GUEST_PROGRAMS_RUNTIME_RUNTIME_H
#define GUEST_PROGRAMS_RUNTIME_RUNTIME_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE 4096ul

/* Linux's numbers for x86-64, those that the programs use. */
enum {
	SYS_READ = 0,
	SYS_WRITE = 1,
	SYS_OPEN = 2,
	SYS_CLOSE = 3,
	SYS_FSTAT = 5,
	SYS_POLL = 7,
	SYS_LSEEK = 8,
	SYS_MMAP = 9,
	SYS_MPROTECT = 10,
	SYS_MUNMAP = 11,
	SYS_BRK = 12,
	SYS_RT_SIGACTION = 13,
	SYS_IOCTL = 16,
	SYS_PREAD = 17,
	SYS_PWRITE = 18,
	SYS_READV = 19,
	SYS_WRITEV = 20,
	SYS_SCHED_YIELD = 24,
	SYS_MREMAP = 25,
	SYS_MSYNC = 26,
	SYS_MINCORE = 27,
	SYS_MADVISE = 28,
	SYS_NANOSLEEP = 35,
	SYS_GETPID = 39,
	SYS_FORK = 57,
	SYS_VFORK = 58,
	SYS_EXECVE = 59,
	SYS_EXIT = 60,
	SYS_WAIT4 = 61,
	SYS_KILL = 62,
	SYS_UNAME = 63,
	SYS_FTRUNCATE = 77,
	SYS_GETCWD = 79,
	SYS_MKDIR = 83,
	SYS_UNLINK = 87,
	SYS_READLINK = 89,
	SYS_GETTIMEOFDAY = 96,
	SYS_GETRUSAGE = 98,
	SYS_GETDENTS64 = 217,
	SYS_CLOCK_GETTIME = 228,
	SYS_EXIT_GROUP = 231,
	SYS_DUP3 = 292,
	SYS_GETRANDOM = 318,
};

#define PROT_READ     1
#define PROT_WRITE    2
#define PROT_EXEC     4
#define MAP_SHARED    0x01
#define MAP_PRIVATE   0x02
#define MAP_FIXED     0x10
#define MAP_ANONYMOUS 0x20
#define MAP_NORESERVE 0x4000

struct timespec {
	int64_t seconds, nanoseconds;
};

static inline long syscall6(long number, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}

#define syscall3(number, a, b, c) syscall6(number, (long)(a), (long)(b), (long)(c), 0, 0, 0)

/* The program. Its result is the exit status. */
int main(int argc, char **argv);

__attribute__((noreturn)) void exit(int status);
void *memcpy(void *to, const void *from, size_t length);
void *memset(void *to, int byte, size_t length);
size_t strlen(const char *text);
bool equal(const char *a, const char *b);

/* %d %u %x %s with l, and a width; one write a call. */
__attribute__((format(printf, 1, 2))) void print(const char *format, ...);
__attribute__((format(printf, 1, 2))) void print_error(const char *format, ...);

/* A number, perhaps with K, M or G behind it. False when it is none. */
bool parse_size(const char *text, uint64_t *value);

/* Fresh memory, or NULL. More than the machine has may be asked for: it is not counted. */
void *map_memory(size_t size, int protection);

/* ns of the monotonic clock. */
uint64_t now(void);

/* A 64-bit mix: equal inputs, equal outputs, and no pattern between them. */
static inline uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ull;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

#endif

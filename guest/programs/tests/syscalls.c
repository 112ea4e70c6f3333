/*
 * Bad calls and what Linux answers to them: a table, each line a call. Then that every call
 * survives every kind of bad pointer. Status 0 when all is as on Linux.
 */
#include "guest/programs/runtime/runtime.h"

#define KERNEL	  0xffffffff80200000
#define DIRECT	  0xffff800000200000
#define HOLE	  0x10000000000
#define AT_FDCWD  (-100)
#define CALL_LAST 461

enum {
	EPERM = 1,
	ENOENT = 2,
	ESRCH = 3,
	EBADF = 9,
	ECHILD = 10,
	ENOMEM = 12,
	EACCES = 13,
	EFAULT = 14,
	EEXIST = 17,
	ENOTDIR = 20,
	EISDIR = 21,
	EINVAL = 22,
	ENOTTY = 25,
	ESPIPE = 29,
	ERANGE = 34,
	ENAMETOOLONG = 36,
	ENOSYS = 38,
};

static char buffer[4096];
static char long_path[5000];

static const struct bad_call {
	const char *what;
	long number, a, b, c, d, e, f;
	long want;
} calls[] = {
	{ "no such call", 9999, 0, 0, 0, 0, 0, 0, -ENOSYS },
	{ "negative call", -1, 0, 0, 0, 0, 0, 0, -ENOSYS },
	{ "read from bad fd", SYS_READ, 99, (long)buffer, 1, 0, 0, 0, -EBADF },
	{ "read from -1", SYS_READ, -1, (long)buffer, 1, 0, 0, 0, -EBADF },
	{ "read from stdout", SYS_READ, 1, (long)buffer, 1, 0, 0, 0, -EBADF },
	{ "write to stdin", SYS_WRITE, 0, (long)buffer, 1, 0, 0, 0, -EBADF },
	{ "write from null", SYS_WRITE, 1, 0, 1, 0, 0, 0, -EFAULT },
	{ "write from kernel", SYS_WRITE, 1, (long)KERNEL, 1, 0, 0, 0, -EFAULT },
	{ "write from direct map", SYS_WRITE, 1, (long)DIRECT, 1, 0, 0, 0, -EFAULT },
	{ "write from a hole", SYS_WRITE, 1, HOLE, 1, 0, 0, 0, -EFAULT },
	{ "write that wraps", SYS_WRITE, 1, -16, 64, 0, 0, 0, -EFAULT },
	{ "write of nothing", SYS_WRITE, 1, (long)buffer, 0, 0, 0, 0, 0 },
	{ "writev, too many", SYS_WRITEV, 1, (long)buffer, 5000, 0, 0, 0, -EINVAL },
	{ "writev from a hole", SYS_WRITEV, 1, HOLE, 1, 0, 0, 0, -EFAULT },
	{ "readv from a hole", SYS_READV, 0, HOLE, 1, 0, 0, 0, -EFAULT },
	{ "open null", SYS_OPEN, 0, 0, 0, 0, 0, 0, -EFAULT },
	{ "open kernel", SYS_OPEN, (long)KERNEL, 0, 0, 0, 0, 0, -EFAULT },
	{ "open nothing", SYS_OPEN, (long)"", 0, 0, 0, 0, 0, -ENOENT },
	{ "open missing", SYS_OPEN, (long)"/missing", 0, 0, 0, 0, 0, -ENOENT },
	{ "open below a file", SYS_OPEN, (long)"/dev/null/x", 0, 0, 0, 0, 0, -ENOTDIR },
	{ "open long path", SYS_OPEN, (long)long_path, 0, 0, 0, 0, 0, -ENAMETOOLONG },
	{ "create in a missing folder", SYS_OPEN, (long)"/missing/new", 0102, 0644, 0, 0, 0,
	  -ENOENT },
	{ "open directory to write", SYS_OPEN, (long)"/", 1, 0, 0, 0, 0, -EISDIR },
	{ "create what is there", SYS_OPEN, (long)"/dev/null", 0301, 0644, 0, 0, 0, -EEXIST },
	{ "mkdir of what is there", SYS_MKDIR, (long)"/dev", 0755, 0, 0, 0, 0, -EEXIST },
	{ "close bad fd", SYS_CLOSE, 99, 0, 0, 0, 0, 0, -EBADF },
	{ "fstat to null", SYS_FSTAT, 0, 0, 0, 0, 0, 0, -EFAULT },
	{ "fstat bad fd", SYS_FSTAT, 99, (long)buffer, 0, 0, 0, 0, -EBADF },
	{ "lseek on the console", SYS_LSEEK, 1, 0, 0, 0, 0, 0, -ESPIPE },
	{ "tcgets on the console", SYS_IOCTL, 1, 0x5401, (long)buffer, 0, 0, 0, -ENOTTY },
	{ "getdents of the console", SYS_GETDENTS64, 0, (long)buffer, 4096, 0, 0, 0, -ENOTDIR },
	{ "getcwd, small", SYS_GETCWD, (long)buffer, 1, 0, 0, 0, 0, -ERANGE },
	{ "readlink of no link", SYS_READLINK, (long)"/dev/null", (long)buffer, 10, 0, 0, 0,
	  -EINVAL },
	{ "dup3 to itself", SYS_DUP3, 1, 1, 0, 0, 0, 0, -EINVAL },
	{ "dup3 of bad fd", SYS_DUP3, 99, 5, 0, 0, 0, 0, -EBADF },
	{ "mmap of nothing", SYS_MMAP, 0, 0, 3, 0x22, -1, 0, -EINVAL },
	{ "mmap of too much", SYS_MMAP, 0, 1l << 62, 3, 0x22, -1, 0, -ENOMEM },
	{ "mmap, odd offset", SYS_MMAP, 0, 4096, 1, 2, 0, 1, -EINVAL },
	{ "mmap of bad fd", SYS_MMAP, 0, 4096, 1, 2, 99, 0, -EBADF },
	{ "mmap, no type", SYS_MMAP, 0, 4096, 3, 0x20, -1, 0, -EINVAL },
	{ "mmap fixed, kernel", SYS_MMAP, (long)DIRECT, 4096, 3, 0x32, -1, 0, -ENOMEM },
	{ "mmap fixed, odd", SYS_MMAP, HOLE + 1, 4096, 3, 0x32, -1, 0, -EINVAL },
	{ "munmap odd", SYS_MUNMAP, 1, 4096, 0, 0, 0, 0, -EINVAL },
	{ "munmap of nothing", SYS_MUNMAP, HOLE, 0, 0, 0, 0, 0, -EINVAL },
	{ "munmap of a hole", SYS_MUNMAP, HOLE, 4096, 0, 0, 0, 0, 0 },
	{ "munmap of the kernel", SYS_MUNMAP, (long)DIRECT, 4096, 0, 0, 0, 0, -EINVAL },
	{ "munmap that wraps", SYS_MUNMAP, HOLE, -4096, 0, 0, 0, 0, -EINVAL },
	{ "mprotect of a hole", SYS_MPROTECT, HOLE, 4096, 1, 0, 0, 0, -ENOMEM },
	{ "mprotect odd", SYS_MPROTECT, HOLE + 1, 4096, 1, 0, 0, 0, -EINVAL },
	{ "mremap of a hole", SYS_MREMAP, HOLE, 4096, 8192, 1, 0, 0, -EFAULT },
	{ "mremap to nothing", SYS_MREMAP, HOLE, 4096, 0, 1, 0, 0, -EINVAL },
	{ "madvise, no such advice", SYS_MADVISE, HOLE, 4096, 777, 0, 0, 0, -EINVAL },
	{ "madvise of a hole", SYS_MADVISE, HOLE, 4096, 4, 0, 0, 0, -ENOMEM },
	{ "sigaction of SIGKILL", SYS_RT_SIGACTION, 9, (long)buffer, 0, 8, 0, 0, -EINVAL },
	{ "sigaction of no signal", SYS_RT_SIGACTION, 65, 0, 0, 8, 0, 0, -EINVAL },
	{ "sigaction, bad size", SYS_RT_SIGACTION, 2, 0, 0, 4, 0, 0, -EINVAL },
	{ "kill of nobody", SYS_KILL, 9999, 0, 0, 0, 0, 0, -ESRCH },
	{ "kill with no signal", SYS_KILL, 1, 99, 0, 0, 0, 0, -EINVAL },
	{ "wait without a child", SYS_WAIT4, -1, 0, 0, 0, 0, 0, -ECHILD },
	{ "clock that is none", SYS_CLOCK_GETTIME, 77, (long)buffer, 0, 0, 0, 0, -EINVAL },
	{ "clock to null", SYS_CLOCK_GETTIME, 1, 0, 0, 0, 0, 0, -EFAULT },
	{ "clock to kernel", SYS_CLOCK_GETTIME, 1, (long)KERNEL, 0, 0, 0, 0, -EFAULT },
	{ "uname to a hole", SYS_UNAME, HOLE, 0, 0, 0, 0, 0, -EFAULT },
	{ "getrandom, bad flags", SYS_GETRANDOM, (long)buffer, 8, 99, 0, 0, 0, -EINVAL },
	{ "getrandom to kernel", SYS_GETRANDOM, (long)KERNEL, 8, 0, 0, 0, 0, -EFAULT },
	{ "execve of missing", SYS_EXECVE, (long)"/missing", 0, 0, 0, 0, 0, -ENOENT },
	{ "execve of null", SYS_EXECVE, 0, 0, 0, 0, 0, 0, -EFAULT },
	{ "execve of a device", SYS_EXECVE, (long)"/dev/null", 0, 0, 0, 0, 0, -EACCES },
	{ "execve, bad argv", SYS_EXECVE, (long)"/dev/null", (long)HOLE, 0, 0, 0, 0, -EFAULT },
};

/* Calls that must not be made at random: they end the program or may wait for ever. */
static bool ends_or_waits(long number)
{
	switch (number) {
	case 0: /* read, readv, pread64: the console may have nothing */
	case 17:
	case 19:
	case 7: /* poll, select, pause, nanosleep and their kin */
	case 23:
	case 34:
	case 35:
	case 230:
	case 270:
	case 271:
	case 128: /* rt_sigtimedwait, rt_sigsuspend */
	case 130:
	case 202: /* futex */
	case 3:	  /* close */
	case 15:  /* rt_sigreturn */
	case 9:	  /* mmap, mprotect, munmap, brk, mremap, madvise: the program's own memory */
	case 10:
	case 11:
	case 12:
	case 25:
	case 28:
	case 56: /* clone, fork, vfork, exit, wait4 */
	case 57:
	case 58:
	case 60:
	case 61:
	case 247:
	case 37: /* alarm and timers */
	case 38:
	case 62: /* kill and its kin */
	case 200:
	case 231:
	case 234:
	case 158: /* arch_prctl */
		return true;
	default:
		return false;
	}
}

/* Every call with every argument a bad pointer: it may answer what it likes. */
static void survive(void)
{
	static const long bad[] = { 0,	1,     (long)KERNEL,   (long)DIRECT, HOLE,
				    -1, -4096, 0x7fffffffefff, 1l << 63,     0x7ffffffff000 };

	for (long number = 0; number <= CALL_LAST; number++) {
		for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
			if (!ends_or_waits(number))
				syscall6(number, bad[i], bad[i], bad[i], bad[i], bad[i], bad[i]);
		}
	}
}

int main(int argc, char **argv)
{
	unsigned wrong = 0, count = sizeof(calls) / sizeof(calls[0]);

	for (unsigned i = 0; i < sizeof(long_path) - 1; i++)
		long_path[i] = '/';
	long_path[0] = 'x';
	for (unsigned i = 0; i < count; i++) {
		const struct bad_call *c = &calls[i];
		long got = syscall6(c->number, c->a, c->b, c->c, c->d, c->e, c->f);

		if (got != c->want) {
			print("syscalls: %s: %ld, on Linux %ld\n", c->what, got, c->want);
			wrong++;
		}
	}
	survive();
	print("%u calls, %u wrong\n", count, wrong);
	return wrong ? 1 : 0;
}

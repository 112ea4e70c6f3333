/*
 * The system calls, by area. Each takes its arguments as the registers hold them and returns as
 * Linux's does: a result or -errno. Arguments that are 32 bits in Linux are cut to that inside.
 */
#ifndef GUEST_CALL_CALL_H
#define GUEST_CALL_CALL_H

#include "guest/lib/types.h"

typedef uint64_t reg_t;

/* file.c, path.c */
int64_t call_read(reg_t fd, reg_t buffer, reg_t length);
int64_t call_write(reg_t fd, reg_t buffer, reg_t length);
int64_t call_readv(reg_t fd, reg_t vectors, reg_t count);
int64_t call_writev(reg_t fd, reg_t vectors, reg_t count);
int64_t call_pread64(reg_t fd, reg_t buffer, reg_t length, reg_t offset);
int64_t call_pwrite64(reg_t fd, reg_t buffer, reg_t length, reg_t offset);
int64_t call_pipe(reg_t descriptors);
int64_t call_pipe2(reg_t descriptors, reg_t flags);
int64_t call_sendfile(reg_t out, reg_t in, reg_t offset, reg_t count);
int64_t call_lseek(reg_t fd, reg_t offset, reg_t whence);
int64_t call_close(reg_t fd);
int64_t call_dup(reg_t fd);
int64_t call_dup2(reg_t fd, reg_t to);
int64_t call_dup3(reg_t fd, reg_t to, reg_t flags);
int64_t call_fcntl(reg_t fd, reg_t command, reg_t argument);
int64_t call_flock(reg_t fd, reg_t operation);
int64_t call_ioctl(reg_t fd, reg_t request, reg_t argument);
int64_t call_getdents64(reg_t fd, reg_t buffer, reg_t size);
int64_t call_fadvise64(reg_t fd);
int64_t call_fsync(reg_t fd);
int64_t call_open(reg_t path, reg_t flags, reg_t mode);
int64_t call_creat(reg_t path, reg_t mode);
int64_t call_openat(reg_t directory, reg_t path, reg_t flags, reg_t mode);
int64_t call_stat(reg_t path, reg_t buffer);
int64_t call_lstat(reg_t path, reg_t buffer);
int64_t call_fstat(reg_t fd, reg_t buffer);
int64_t call_newfstatat(reg_t directory, reg_t path, reg_t buffer, reg_t flags);
int64_t call_statx(reg_t directory, reg_t path, reg_t flags, reg_t mask, reg_t buffer);
int64_t call_access(reg_t path, reg_t mode);
int64_t call_faccessat(reg_t directory, reg_t path, reg_t mode);
int64_t call_faccessat2(reg_t directory, reg_t path, reg_t mode, reg_t flags);
int64_t call_readlink(reg_t path, reg_t buffer, reg_t size);
int64_t call_readlinkat(reg_t directory, reg_t path, reg_t buffer, reg_t size);
int64_t call_getcwd(reg_t buffer, reg_t size);
int64_t call_chdir(reg_t path);
int64_t call_fchdir(reg_t fd);
int64_t call_umask(reg_t mask);
int64_t call_statfs(reg_t path, reg_t buffer);
int64_t call_fstatfs(reg_t fd, reg_t buffer);

/* path.c: the program's path in the kernel, to be freed by memory_free(); where a relative one
 * begins; and both with the lookup. 0 or -errno. */
struct node;
int64_t call_get_path(reg_t address, char **path);
int call_path_start(int directory, const char *path, struct node **start);
int64_t call_find(reg_t directory, reg_t address, bool follow, struct node **node);

/* lock.c: fcntl's F_GETLK and F_SETLK. own: of the open file, not of the process. */
struct file;
int64_t call_get_lock(struct file *file, bool own, reg_t address);
int64_t call_set_lock(int fd, bool own, bool wait, reg_t address);

/* change.c */
int64_t call_mkdir(reg_t path, reg_t mode);
int64_t call_mkdirat(reg_t directory, reg_t path, reg_t mode);
int64_t call_rmdir(reg_t path);
int64_t call_unlink(reg_t path);
int64_t call_unlinkat(reg_t directory, reg_t path, reg_t flags);
int64_t call_rename(reg_t old, reg_t path);
int64_t call_renameat(reg_t old_directory, reg_t old, reg_t directory, reg_t path);
int64_t call_renameat2(reg_t old_directory, reg_t old, reg_t directory, reg_t path, reg_t flags);
int64_t call_link(reg_t old, reg_t path);
int64_t call_linkat(reg_t old_directory, reg_t old, reg_t directory, reg_t path, reg_t flags);
int64_t call_symlink(reg_t target, reg_t path);
int64_t call_symlinkat(reg_t target, reg_t directory, reg_t path);
int64_t call_truncate(reg_t path, reg_t size);
int64_t call_ftruncate(reg_t fd, reg_t size);
int64_t call_fallocate(reg_t fd, reg_t mode, reg_t offset, reg_t length);
int64_t call_chmod(reg_t path, reg_t mode);
int64_t call_fchmod(reg_t fd, reg_t mode);
int64_t call_fchmodat(reg_t directory, reg_t path, reg_t mode);
int64_t call_chown(reg_t path, reg_t uid, reg_t gid);
int64_t call_lchown(reg_t path, reg_t uid, reg_t gid);
int64_t call_fchown(reg_t fd, reg_t uid, reg_t gid);
int64_t call_fchownat(reg_t directory, reg_t path, reg_t uid, reg_t gid, reg_t flags);
int64_t call_utimensat(reg_t directory, reg_t path, reg_t times, reg_t flags);
int64_t call_memfd_create(reg_t name, reg_t flags);

/* poll.c */
int64_t call_poll(reg_t descriptors, reg_t count, reg_t timeout_ms);
int64_t call_ppoll(reg_t descriptors, reg_t count, reg_t timeout);
int64_t call_select(reg_t count, reg_t in, reg_t out, reg_t except, reg_t timeout);
int64_t call_pselect6(reg_t count, reg_t in, reg_t out, reg_t except, reg_t timeout);

/* memory.c */
int64_t call_brk(reg_t end);
int64_t call_mmap(reg_t address, reg_t length, reg_t protection, reg_t flags, reg_t fd,
		  reg_t offset);
int64_t call_munmap(reg_t address, reg_t length);
int64_t call_mprotect(reg_t address, reg_t length, reg_t protection);
int64_t call_mremap(reg_t address, reg_t old_length, reg_t length, reg_t flags, reg_t to);

/* advice.c */
int64_t call_madvise(reg_t address, reg_t length, reg_t advice);
int64_t call_msync(reg_t address, reg_t length, reg_t flags);
int64_t call_mincore(reg_t address, reg_t length, reg_t vector);
int64_t call_mlock(reg_t address, reg_t length);
int64_t call_munlock(reg_t address, reg_t length);

/* process.c */
int64_t call_exit(reg_t status);
int64_t call_exit_group(reg_t status);
int64_t call_fork(void);
int64_t call_vfork(void);
int64_t call_clone3(reg_t arguments, reg_t size);
int64_t call_waitid(reg_t kind, reg_t id, reg_t info, reg_t options, reg_t usage);
int64_t call_gettid(void);
int64_t call_getsid(reg_t pid);
int64_t call_getpgrp(void);
int64_t call_setsid(void);
int64_t call_sched_setaffinity(reg_t tid, reg_t size, reg_t mask);
int64_t call_getcpu(reg_t cpu, reg_t node);
int64_t call_personality(reg_t wanted);
int64_t call_clone(reg_t flags, reg_t stack, reg_t parent_tid, reg_t child_tid, reg_t tls);
int64_t call_execve(reg_t path, reg_t arguments, reg_t environment);
int64_t call_wait4(reg_t pid, reg_t status, reg_t options, reg_t usage);
int64_t call_getpid(void);
int64_t call_getppid(void);
int64_t call_getpgid(reg_t pid);
int64_t call_setpgid(reg_t pid, reg_t group);
int64_t call_zero(void);

/* identity.c */
int64_t call_getuid(void);
int64_t call_getgid(void);
int64_t call_geteuid(void);
int64_t call_getegid(void);
int64_t call_setuid(reg_t id);
int64_t call_setgid(reg_t id);
int64_t call_setreuid(reg_t real, reg_t effective);
int64_t call_setregid(reg_t real, reg_t effective);
int64_t call_setresuid(reg_t real, reg_t effective, reg_t saved);
int64_t call_setresgid(reg_t real, reg_t effective, reg_t saved);
int64_t call_getresuid(reg_t real, reg_t effective, reg_t saved);
int64_t call_getresgid(reg_t real, reg_t effective, reg_t saved);
int64_t call_getgroups(reg_t size, reg_t list);
int64_t call_setgroups(reg_t size, reg_t list);

int64_t call_sched_yield(void);
int64_t call_sched_getaffinity(reg_t pid, reg_t size, reg_t mask);
int64_t call_arch_prctl(reg_t code, reg_t address);
int64_t call_set_tid_address(reg_t address);
int64_t call_set_robust_list(reg_t head, reg_t length);
int64_t call_prctl(reg_t option, reg_t argument);
int64_t call_futex(reg_t address, reg_t operation, reg_t value, reg_t timeout, reg_t to,
		   reg_t last);
int64_t call_prlimit64(reg_t pid, reg_t resource, reg_t new_limit, reg_t old_limit);
int64_t call_getrlimit(reg_t resource, reg_t limit);
int64_t call_setrlimit(reg_t resource, reg_t limit);

/* signal.c */
int64_t call_rt_sigaction(reg_t signal, reg_t action, reg_t old, reg_t size);
int64_t call_rt_sigprocmask(reg_t how, reg_t set, reg_t old, reg_t size);
int64_t call_rt_sigpending(reg_t set, reg_t size);
int64_t call_sigaltstack(reg_t stack, reg_t old);
int64_t call_kill(reg_t pid, reg_t signal);
int64_t call_tkill(reg_t tid, reg_t signal);
int64_t call_tgkill(reg_t group, reg_t tid, reg_t signal);
int64_t call_pause(void);
int64_t call_rt_sigreturn(void);
int64_t call_rt_sigsuspend(reg_t set, reg_t size);
int64_t call_rt_sigtimedwait(reg_t set, reg_t info, reg_t timeout, reg_t size);
int64_t call_rt_sigqueueinfo(reg_t pid, reg_t signal, reg_t info);

/* segment.c */
int64_t call_modify_ldt(reg_t function, reg_t address, reg_t size);

/* time.c */
int64_t call_clock_gettime(reg_t clock, reg_t time);
int64_t call_clock_getres(reg_t clock, reg_t time);
int64_t call_clock_nanosleep(reg_t clock, reg_t flags, reg_t time, reg_t left);
int64_t call_nanosleep(reg_t time, reg_t left);
int64_t call_gettimeofday(reg_t time, reg_t zone);
int64_t call_time(reg_t result);
int64_t call_times(reg_t buffer);
int64_t call_getrusage(reg_t who, reg_t usage);
int64_t call_alarm(reg_t seconds);
int64_t call_getitimer(reg_t which, reg_t value);
int64_t call_setitimer(reg_t which, reg_t value, reg_t old);

/* info.c */
int64_t call_uname(reg_t buffer);
int64_t call_sysinfo(reg_t buffer);
int64_t call_getrandom(reg_t buffer, reg_t length, reg_t flags);

/* [address, address + length) in whole pages of the program's half; false when it is not. */
bool call_page_range(reg_t address, reg_t length, uint64_t *end);

/* Whether [start, end) begins or ends inside a page of a MAP_HUGETLB area. */
struct space;
bool call_cuts_huge(const struct space *space, uint64_t start, uint64_t end);

/* Reads a timespec into ns. 0, -EFAULT or -EINVAL. */
int call_read_time(uint64_t address, uint64_t *ns);

/* ns from now to the deadline of clock_now(), 0 at least; and the same written to the program's
 * timespec, which may be none. Where it cannot be written it is left as it was. */
uint64_t call_time_left(uint64_t deadline);
void call_write_time_left(uint64_t address, uint64_t deadline);

/* Fills and writes struct rusage. told: of the same use, before. */
struct usage;
struct time_split;
int call_write_usage(uint64_t address, const struct usage *usage, struct time_split *told);

#endif

/* Linux's x86-64 structures and constants, as far as quire's system calls use them. */
#ifndef GUEST_LIB_LINUX_H
#define GUEST_LIB_LINUX_H

#include "guest/lib/types.h"

struct linux_timespec {
	int64_t seconds, nanoseconds;
};

struct linux_timeval {
	int64_t seconds, microseconds;
};

struct linux_stat {
	uint64_t device, inode, links;
	uint32_t mode, uid, gid, padding;
	uint64_t rdev;
	int64_t size, block_size, blocks;
	struct linux_timespec accessed, modified, changed;
	int64_t unused[3];
};

struct linux_statx_time {
	int64_t seconds;
	uint32_t nanoseconds;
	int32_t reserved;
};

struct linux_statx {
	uint32_t mask, block_size;
	uint64_t attributes;
	uint32_t links, uid, gid;
	uint16_t mode, padding0;
	uint64_t inode, size, blocks, attributes_mask;
	struct linux_statx_time accessed, born, changed, modified;
	uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
	uint64_t mount;
	uint64_t padding1[13];
};

struct linux_dirent64 {
	uint64_t inode;
	int64_t next;
	uint16_t length;
	uint8_t type;
	char name[];
};

/* The release is the Linux whose calls these are; static glibc asks for 3.2 at least. */
#define UNAME_RELEASE "6.1.0-quire"
#define UNAME_VERSION "#1 bifold"

struct linux_utsname {
	char system[65], node[65], release[65], version[65], machine[65], domain[65];
};

struct linux_rlimit {
	uint64_t current, maximum;
};

struct linux_sysinfo {
	int64_t uptime;
	uint64_t loads[3];
	uint64_t total, free, shared, buffers, swap_total, swap_free;
	uint16_t processes, padding;
	uint64_t high_total, high_free;
	uint32_t unit;
	uint8_t rest[4];
};

struct linux_rusage {
	struct linux_timeval user, system;
	int64_t max_resident, shared, data, stack, minor_faults, major_faults, swaps;
	int64_t in_blocks, out_blocks, sent, received, signals, voluntary, involuntary;
};

struct linux_itimerval {
	struct linux_timeval interval, value;
};

struct linux_pollfd {
	int32_t fd;
	int16_t events, revents;
};

struct linux_sigaction {
	uint64_t handler, flags, restorer, mask;
};

struct linux_sigaltstack {
	uint64_t stack;
	int32_t flags, padding;
	uint64_t size;
};

struct linux_tms {
	int64_t user, system, children_user, children_system;
};

#define PROT_READ  1
#define PROT_WRITE 2
#define PROT_EXEC  4

#define MAP_SHARED	    0x01
#define MAP_PRIVATE	    0x02
#define MAP_SHARED_VALIDATE 0x03
#define MAP_TYPE	    0x0f
#define MAP_FIXED	    0x10
#define MAP_ANONYMOUS	    0x20
#define MAP_32BIT	    0x40
#define MAP_GROWSDOWN	    0x100
#define MAP_LOCKED	    0x2000
#define MAP_NORESERVE	    0x4000
#define MAP_POPULATE	    0x8000
#define MAP_HUGETLB	    0x40000
#define MAP_FIXED_NOREPLACE 0x100000
#define MAP_HUGE_SHIFT	    26

#define MREMAP_MAYMOVE	 1
#define MREMAP_FIXED	 2
#define MREMAP_DONTUNMAP 4

#define AT_FDCWD	    (-100)
#define AT_SYMLINK_NOFOLLOW 0x100
#define AT_EMPTY_PATH	    0x1000

#define CLONE_VM	     0x00000100
#define CLONE_FS	     0x00000200
#define CLONE_FILES	     0x00000400
#define CLONE_SIGHAND	     0x00000800
#define CLONE_VFORK	     0x00004000
#define CLONE_THREAD	     0x00010000
#define CLONE_PARENT	     0x00008000
#define CLONE_SYSVSEM	     0x00040000
#define CLONE_SETTLS	     0x00080000
#define CLONE_PARENT_SETTID  0x00100000
#define CLONE_CHILD_CLEARTID 0x00200000
#define CLONE_DETACHED	     0x00400000
#define CLONE_CHILD_SETTID   0x01000000
#define CLONE_SIGNAL_MASK    0xff

#define WAIT_NO_HANG 1

#define USER_HZ 100

#endif

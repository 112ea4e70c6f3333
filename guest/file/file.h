/*
 * Open files, and the table of them that a process has.
 *
 * A file's ops table defines what it does; a hook that is NULL gives the error that stands beside
 * it. Buffers are the current process's own (user addresses), checked where they are used.
 */
#ifndef GUEST_FILE_FILE_H
#define GUEST_FILE_FILE_H

#include "guest/file/node.h"
#include "guest/memory/user.h"

#define OPEN_ACCESS	03
#define OPEN_READ	00
#define OPEN_WRITE	01
#define OPEN_READ_WRITE 02
#define OPEN_CREATE	0100
#define OPEN_EXCLUSIVE	0200
#define OPEN_TRUNCATE	01000
#define OPEN_APPEND	02000
#define OPEN_NONBLOCK	04000
#define OPEN_DIRECTORY	0200000
#define OPEN_NOFOLLOW	0400000
#define OPEN_CLOEXEC	02000000
#define OPEN_PATH	010000000

#define POLL_IN	    0x001
#define POLL_OUT    0x004
#define POLL_ERROR  0x008
#define POLL_HANGUP 0x010
#define POLL_NVAL   0x020

/* Woken whenever the answer of a file's poll hook changes. */
extern const char poll_channel;

struct process;

struct file {
	const struct file_ops *ops;
	struct node *node;
	uint64_t offset;
	uint32_t flags; /* as opened */
	uint32_t refs;
	uint8_t *text; /* a file's of /proc: its bytes when last read from the start */
	uint64_t text_size;
	void *private; /* the ops' own */
};

/* All return bytes or 0, or -errno. */
struct file_ops {
	/* optional: after the file is made */
	int64_t (*open)(struct file *file);
	/* optional (-EINVAL): reads at *offset, and moves it */
	int64_t (*read)(struct file *file, const struct io_vector *vector, unsigned count,
			uint64_t *offset);
	/* optional (-EINVAL) */
	int64_t (*write)(struct file *file, const struct io_vector *vector, unsigned count,
			 uint64_t *offset);
	/* optional (-ENOTDIR): directory entries in getdents64's form */
	int64_t (*list)(struct file *file, uint64_t buffer, uint64_t size);
	/* optional (always ready): POLL_IN and POLL_OUT as they are now */
	unsigned (*poll)(struct file *file);
	/* optional (-ENOTTY): ioctl */
	int64_t (*control)(struct file *file, uint32_t request, uint64_t argument);
	/* optional (nothing to do): fsync */
	int64_t (*sync)(struct file *file);
	/* optional (the node's): where SEEK_END is; and then nothing is beyond it */
	uint64_t (*size)(const struct file *file);
	/* optional: last reference gone */
	void (*close)(struct file *file);
	bool seekable;
	bool anonymous_map; /* a mapping of it is anonymous memory (/dev/zero) */
};

extern const struct file_ops regular_ops, directory_ops;
extern const struct file_ops console_in_ops, console_out_ops, console_error_ops, tty_ops;
extern const struct file_ops null_ops, zero_ops, full_ops, random_ops;

#define FIFO_INODE 1000 /* of what has no node */

struct file_slot {
	struct file *file;
	bool close_on_exec;
};

struct file_table {
	struct file_slot *slot;
	unsigned size; /* slots there are now */
	unsigned full; /* so many of the first are in use; perhaps more */
	unsigned refs;
};

/* A file on `node`; NULL when memory is out. */
struct file *file_create(const struct file_ops *ops, struct node *node, uint32_t flags);
struct file *file_get(struct file *file);
void file_put(struct file *file);

/* Opens `path` of the current process; mode is a new file's. 0 or -errno. */
int file_open(struct node *from, const char *path, uint32_t flags, uint32_t mode,
	      struct file **opened);

struct file_table *file_table_create(void);
struct file_table *file_table_copy(const struct file_table *from);
void file_table_put(struct file_table *table);
void file_table_close_on_exec(struct file_table *table);

/* The lowest free descriptor from `lowest` on takes the file (its reference moves). fd or -errno,
 * and then the reference is still the caller's. */
int file_install(struct file_table *table, struct file *file, int lowest, bool close_on_exec);

/* The current process's open file, or NULL. No reference is taken: the table keeps it. */
struct file *file_of(int fd);

int file_close(struct file_table *table, int fd);

/* The hooks for the files of a process that begins or ends: see process/hooks.h. */
int files_copy(struct process *child, bool share);
void files_close(struct process *process);
void files_release(struct process *process);

/* Reads bytes of the kernel's `data` at *offset, as a read op. */
int64_t file_read_from(const uint8_t *data, uint64_t size, const struct io_vector *vector,
		       unsigned count, uint64_t *offset);

/* Adds /dev to the tree. */
void device_init(void);

#endif

/* System calls that find, open and describe files. */
#include "guest/call/call.h"
#include "guest/file/file.h"
#include "guest/file/permission.h"
#include "guest/lib/errno.h"
#include "guest/lib/linux.h"
#include "guest/lib/string.h"
#include "guest/memory/page.h"
#include "guest/memory/slab.h"
#include "guest/memory/user.h"
#include "guest/proc/proc.h"
#include "guest/process/process.h"

#define STATFS_MAGIC 0x858458f6 /* ramfs */
#define STATX_BASIC  0x7ff
#define ACCESS_WRITE 2
#define AT_EACCESS   0x200
#define IO_BLOCK     65536 /* stdio sizes its buffers by it: fewer, larger calls */
#define NS_PER_S     1000000000ull

struct linux_statfs {
	int64_t type, block_size;
	uint64_t blocks, blocks_free, blocks_available, files, files_free;
	int32_t id[2];
	int64_t name_length, fragment_size, flags, spare[4];
};

/* A path of the program, in the kernel; to be freed by memory_free(). */
int64_t call_get_path(reg_t address, char **path)
{
	int64_t length;

	*path = memory_alloc(PATH_LIMIT);
	if (!*path)
		return -ENOMEM;
	length = user_read_string(*path, address, PATH_LIMIT);
	if (length >= 0)
		return 0;
	memory_free(*path);
	return length;
}

/* Where a relative path begins. */
int call_path_start(int directory, const char *path, struct node **start)
{
	struct file *file;

	*start = current_process()->directory;
	if (*path == '/' || directory == AT_FDCWD)
		return 0;
	file = file_of(directory);
	if (!file)
		return -EBADF;
	if (!file->node || (file->node->mode & MODE_TYPE) != MODE_DIRECTORY)
		return -ENOTDIR;
	*start = file->node;
	return 0;
}

int64_t call_find(reg_t directory, reg_t address, bool follow, struct node **node)
{
	struct node *start;
	char *path;
	int64_t error = call_get_path(address, &path);

	if (error)
		return error;
	error = call_path_start(directory, path, &start);
	if (!error)
		error = node_lookup(start, path, follow, node);
	memory_free(path);
	return error;
}

/* A /proc/PID/fd/N that does not lead to a node, and the links to it, open what is already open. */
static struct file *open_again(struct node *start, const char *path)
{
	struct file *file = NULL;
	struct node *node;

	if (!node_lookup(start, path, true, &node))
		file = proc_open_file(node);
	return file ? file_get(file) : NULL;
}

int64_t call_openat(reg_t directory, reg_t address, reg_t flags, reg_t mode)
{
	struct file *file = NULL;
	struct node *start;
	char *path;
	int64_t result = call_get_path(address, &path);

	if (result)
		return result;
	result = call_path_start(directory, path, &start);
	if (!result && !(flags & OPEN_NOFOLLOW))
		file = open_again(start, path);
	if (!result && !file)
		result = file_open(start, path, flags, mode & ~(reg_t)current_process()->umask,
				   &file);
	memory_free(path);
	if (result)
		return result;
	result = file_install(current_process()->files, file, 0, flags & OPEN_CLOEXEC);
	if (result < 0)
		file_put(file);
	return result;
}

int64_t call_open(reg_t path, reg_t flags, reg_t mode)
{
	return call_openat(AT_FDCWD, path, flags, mode);
}

int64_t call_creat(reg_t path, reg_t mode)
{
	return call_openat(AT_FDCWD, path, OPEN_CREATE | OPEN_TRUNCATE | OPEN_WRITE, mode);
}

static bool is_device(const struct node *node)
{
	uint32_t type = node->mode & MODE_TYPE;

	return type == MODE_CHARACTER || type == MODE_BLOCK;
}

static void fill_stat(const struct node *node, struct linux_stat *stat)
{
	struct linux_timespec time = { node->content.mtime / NS_PER_S,
				       node->content.mtime % NS_PER_S };

	*stat = (struct linux_stat){
		.device = 1,
		.inode = node->inode,
		.links = node->links,
		.mode = node->mode,
		.uid = node->uid,
		.gid = node->gid,
		.rdev = is_device(node) ? node->device : 0,
		.size = node->content.size,
		.block_size = IO_BLOCK,
		.blocks = (node->content.size + 511) / 512,
		.accessed = time,
		.modified = time,
		.changed = time,
	};
}

/* The console has no node: it looks like a pipe, which is what it behaves like. */
static void fill_stat_of_file(const struct file *file, struct linux_stat *stat)
{
	if (file->node)
		fill_stat(file->node, stat);
	else
		*stat = (struct linux_stat){ .device = 2,
					     .inode = FIFO_INODE,
					     .links = 1,
					     .mode = MODE_FIFO | 0600,
					     .block_size = IO_BLOCK };
}

static int64_t stat_at(reg_t directory, reg_t address, unsigned flags, struct linux_stat *stat)
{
	struct file *file;
	struct node *node;
	char first = 1;
	int64_t error;

	if ((flags & AT_EMPTY_PATH) && user_read(&first, address, 1))
		return -EFAULT;
	if (!first && (int)directory != AT_FDCWD) {
		if (!file_of(directory))
			return -EBADF;
		fill_stat_of_file(file_of(directory), stat);
		return 0;
	}
	if (!first) {
		fill_stat(current_process()->directory, stat);
		return 0;
	}
	error = call_find(directory, address, !(flags & AT_SYMLINK_NOFOLLOW), &node);
	if (error)
		return error;
	file = flags & AT_SYMLINK_NOFOLLOW ? NULL : proc_open_file(node);
	if (file)
		fill_stat_of_file(file, stat);
	else
		fill_stat(node, stat);
	return 0;
}

int64_t call_newfstatat(reg_t directory, reg_t path, reg_t buffer, reg_t flags)
{
	struct linux_stat stat;
	int64_t error;

	if (flags & ~(reg_t)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | 0x800))
		return -EINVAL;
	error = stat_at(directory, path, flags, &stat);
	return error ? error : user_write(buffer, &stat, sizeof(stat));
}

int64_t call_stat(reg_t path, reg_t buffer)
{
	return call_newfstatat(AT_FDCWD, path, buffer, 0);
}

int64_t call_lstat(reg_t path, reg_t buffer)
{
	return call_newfstatat(AT_FDCWD, path, buffer, AT_SYMLINK_NOFOLLOW);
}

int64_t call_fstat(reg_t fd, reg_t buffer)
{
	struct linux_stat stat;
	struct file *file = file_of(fd);

	if (!file)
		return -EBADF;
	fill_stat_of_file(file, &stat);
	return user_write(buffer, &stat, sizeof(stat));
}

int64_t call_statx(reg_t directory, reg_t path, reg_t flags, reg_t mask, reg_t buffer)
{
	struct linux_stat stat;
	int64_t error = stat_at(directory, path, flags, &stat);
	struct linux_statx_time time = { .seconds = stat.modified.seconds };
	struct linux_statx wide;

	if (error)
		return error;
	wide = (struct linux_statx){
		.mask = STATX_BASIC,
		.block_size = IO_BLOCK,
		.links = stat.links,
		.uid = stat.uid,
		.gid = stat.gid,
		.mode = stat.mode,
		.inode = stat.inode,
		.size = stat.size,
		.blocks = stat.blocks,
		.accessed = time,
		.changed = time,
		.modified = time,
		.rdev_major = stat.rdev >> 8,
		.rdev_minor = stat.rdev & 0xff,
		.dev_minor = stat.device,
	};
	return user_write(buffer, &wide, sizeof(wide));
}

int64_t call_faccessat2(reg_t directory, reg_t path, reg_t mode, reg_t flags)
{
	struct node *node;
	int64_t error;

	if ((uint32_t)mode > 7)
		return -EINVAL;
	error = call_find(directory, path, !(flags & AT_SYMLINK_NOFOLLOW), &node);
	if (error)
		return error;
	if ((mode & ACCESS_WRITE) && node->fixed)
		return -EACCES;
	/* The bits of `mode` are those of a node's. */
	if (flags & AT_EACCESS)
		return permission_allows(node, mode) ? 0 : -EACCES;
	return permission_allows_real(node, mode) ? 0 : -EACCES;
}

int64_t call_faccessat(reg_t directory, reg_t path, reg_t mode)
{
	return call_faccessat2(directory, path, mode, 0);
}

int64_t call_access(reg_t path, reg_t mode)
{
	return call_faccessat2(AT_FDCWD, path, mode, 0);
}

int64_t call_readlinkat(reg_t directory, reg_t path, reg_t buffer, reg_t size)
{
	struct node *node;
	int64_t length, error;

	if ((int)size <= 0)
		return -EINVAL;
	error = call_find(directory, path, false, &node);
	if (error)
		return error;
	if ((node->mode & MODE_TYPE) != MODE_SYMLINK)
		return -EINVAL;
	if (node->refresh)
		node->refresh(node);
	if (node->content.size == 0)
		return -ENOENT;
	length = MIN(node->content.size, (uint64_t)(int)size);
	return user_write(buffer, node->content.data, length) ? -EFAULT : length;
}

int64_t call_readlink(reg_t path, reg_t buffer, reg_t size)
{
	return call_readlinkat(AT_FDCWD, path, buffer, size);
}

int64_t call_getcwd(reg_t buffer, reg_t size)
{
	char path[512];
	int64_t length = node_path(current_process()->directory, path, sizeof(path));

	if (length < 0)
		return length;
	if ((uint64_t)length > size)
		return -ERANGE;
	return user_write(buffer, path, length) ? -EFAULT : length;
}

static int64_t change_directory(struct node *node)
{
	if ((node->mode & MODE_TYPE) != MODE_DIRECTORY)
		return -ENOTDIR;
	if (!permission_allows(node, MAY_EXECUTE))
		return -EACCES;
	node_put(current_process()->directory);
	current_process()->directory = node_get(node);
	return 0;
}

int64_t call_chdir(reg_t path)
{
	struct node *node;
	int64_t error = call_find(AT_FDCWD, path, true, &node);

	return error ? error : change_directory(node);
}

int64_t call_fchdir(reg_t fd)
{
	struct file *file = file_of(fd);

	if (!file)
		return -EBADF;
	return file->node ? change_directory(file->node) : -ENOTDIR;
}

int64_t call_umask(reg_t mask)
{
	uint32_t old = current_process()->umask;

	current_process()->umask = mask & 0777;
	return old;
}

static int64_t write_statfs(reg_t buffer)
{
	struct linux_statfs statfs = {
		.type = STATFS_MAGIC,
		.block_size = PAGE_SIZE,
		.name_length = NAME_LIMIT,
		.fragment_size = PAGE_SIZE,
		.blocks = page_total,
		.blocks_free = page_free_count(),
		.blocks_available = page_free_count(),
	};

	return user_write(buffer, &statfs, sizeof(statfs));
}

int64_t call_statfs(reg_t path, reg_t buffer)
{
	struct node *node;
	int64_t error = call_find(AT_FDCWD, path, true, &node);

	return error ? error : write_statfs(buffer);
}

int64_t call_fstatfs(reg_t fd, reg_t buffer)
{
	return file_of(fd) ? write_statfs(buffer) : -EBADF;
}

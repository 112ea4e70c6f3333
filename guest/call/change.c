/* System calls that change the tree, and the attributes of files. */
#include "guest/call/call.h"
#include "guest/file/file.h"
#include "guest/file/permission.h"
#include "guest/lib/errno.h"
#include "guest/lib/linux.h"
#include "guest/lib/string.h"
#include "guest/memory/cache.h"
#include "guest/memory/slab.h"
#include "guest/memory/user.h"
#include "guest/process/process.h"

#define AT_REMOVEDIR	 0x200
#define RENAME_NOREPLACE 1

#define FALLOCATE_KEEP_SIZE 1
#define FALLOCATE_PUNCH	    2

#define TIME_NOW  0x3fffffff
#define TIME_OMIT 0x3ffffffe
#define NS_PER_S  1000000000ull

#define MEMFD_CLOEXEC 1
#define MEMFD_NAME    249

static uint32_t with_umask(reg_t mode)
{
	return mode & 07777 & ~current_process()->umask;
}

/* A new node at the program's path. */
static int64_t make(reg_t directory, reg_t address, uint32_t mode, struct node **made)
{
	struct node *start;
	char *path;
	int64_t error = call_get_path(address, &path);

	if (error)
		return error;
	error = call_path_start(directory, path, &start);
	if (!error)
		error = node_make(start, path, mode, made);
	memory_free(path);
	return error;
}

int64_t call_mkdirat(reg_t directory, reg_t path, reg_t mode)
{
	struct node *node;

	return make(directory, path, MODE_DIRECTORY | with_umask(mode), &node);
}

int64_t call_mkdir(reg_t path, reg_t mode)
{
	return call_mkdirat(AT_FDCWD, path, mode);
}

int64_t call_unlinkat(reg_t directory, reg_t path, reg_t flags)
{
	struct node *node;
	int64_t error;

	if (flags & ~(reg_t)AT_REMOVEDIR)
		return -EINVAL;
	error = call_find(directory, path, false, &node);
	return error ? error : node_remove(node, flags & AT_REMOVEDIR);
}

int64_t call_unlink(reg_t path)
{
	return call_unlinkat(AT_FDCWD, path, 0);
}

int64_t call_rmdir(reg_t path)
{
	return call_unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

int64_t call_renameat2(reg_t old_directory, reg_t old, reg_t directory, reg_t address, reg_t flags)
{
	struct node *node, *start;
	char *path;
	int64_t error;

	if (flags & ~(reg_t)RENAME_NOREPLACE)
		return -EINVAL;
	error = call_find(old_directory, old, false, &node);
	if (!error)
		error = call_get_path(address, &path);
	if (error)
		return error;
	error = call_path_start(directory, path, &start);
	if (!error)
		error = node_move(node, start, path, !(flags & RENAME_NOREPLACE));
	memory_free(path);
	return error;
}

int64_t call_renameat(reg_t old_directory, reg_t old, reg_t directory, reg_t path)
{
	return call_renameat2(old_directory, old, directory, path, 0);
}

int64_t call_rename(reg_t old, reg_t path)
{
	return call_renameat2(AT_FDCWD, old, AT_FDCWD, path, 0);
}

/* A node has one name: as on other file systems without hard links. */
int64_t call_linkat(reg_t old_directory, reg_t old, reg_t directory, reg_t path, reg_t flags)
{
	struct node *node;
	int64_t error = call_find(old_directory, old, false, &node);

	if (error)
		return error;
	error = call_find(directory, path, false, &node);
	return !error ? -EEXIST : error == -ENOENT ? -EPERM : error;
}

int64_t call_link(reg_t old, reg_t path)
{
	return call_linkat(AT_FDCWD, old, AT_FDCWD, path, 0);
}

int64_t call_symlinkat(reg_t target, reg_t directory, reg_t path)
{
	struct node *node;
	char *text;
	int64_t error = call_get_path(target, &text);

	if (error)
		return error;
	error = *text ? make(directory, path, MODE_SYMLINK | 0777, &node) : -ENOENT;
	if (error) {
		memory_free(text);
		return error;
	}
	node->content.data = (const uint8_t *)text;
	node->own_data = true;
	node->content.size = strlen(text);
	return 0;
}

int64_t call_symlink(reg_t target, reg_t path)
{
	return call_symlinkat(target, AT_FDCWD, path);
}

static int64_t set_size(struct node *node, int64_t size)
{
	if ((node->mode & MODE_TYPE) == MODE_DIRECTORY)
		return -EISDIR;
	if (size < 0 || node->ops != &regular_ops)
		return -EINVAL;
	if ((uint64_t)size > node->content.size && (uint64_t)size > process_file_limit())
		return process_file_too_large();
	return cache_truncate(&node->content, size);
}

int64_t call_truncate(reg_t path, reg_t size)
{
	struct node *node;
	int64_t error = call_find(AT_FDCWD, path, true, &node);

	if (!error && !permission_allows(node, MAY_WRITE))
		error = -EACCES;
	return error ? error : set_size(node, size);
}

/* A file open for writing that has pages. */
static int64_t writable(reg_t fd, struct node **node)
{
	struct file *file = file_of(fd);

	if (!file)
		return -EBADF;
	if ((file->flags & OPEN_ACCESS) == OPEN_READ || file->ops != &regular_ops)
		return -EINVAL;
	*node = file->node;
	return 0;
}

int64_t call_ftruncate(reg_t fd, reg_t size)
{
	struct node *node;
	int64_t error = writable(fd, &node);

	return error ? error : set_size(node, size);
}

int64_t call_fallocate(reg_t fd, reg_t mode, reg_t offset, reg_t length)
{
	struct node *node;
	int64_t error = writable(fd, &node);
	bool major;

	if (error)
		return error == -EINVAL ? -EBADF : error;
	if ((int64_t)offset < 0 || (int64_t)length <= 0)
		return -EINVAL;
	if (length > FILE_SIZE_MAX || offset > FILE_SIZE_MAX - length)
		return -EFBIG;
	if (mode == (FALLOCATE_PUNCH | FALLOCATE_KEEP_SIZE))
		return cache_punch(&node->content, offset, offset + length);
	if (mode & ~(reg_t)FALLOCATE_KEEP_SIZE)
		return -EOPNOTSUPP;
	if (!(mode & FALLOCATE_KEEP_SIZE) && offset + length > node->content.size)
		error = offset + length > process_file_limit()
				? process_file_too_large()
				: cache_truncate(&node->content, offset + length);
	for (uint64_t at = offset; at < offset + length && at < node->content.size && !error;
	     at += PAGE_SIZE) {
		if (!cache_frame(&node->content, at >> PAGE_SHIFT, true, &major))
			error = -ENOSPC;
	}
	return error;
}

static int64_t set_mode(struct node *node, reg_t mode)
{
	if (!permission_owns(node))
		return -EPERM;
	node->mode = (node->mode & MODE_TYPE) | (mode & 07777);
	return 0;
}

int64_t call_fchmodat(reg_t directory, reg_t path, reg_t mode)
{
	struct node *node;
	int64_t error = call_find(directory, path, true, &node);

	return error ? error : set_mode(node, mode);
}

int64_t call_chmod(reg_t path, reg_t mode)
{
	return call_fchmodat(AT_FDCWD, path, mode);
}

int64_t call_fchmod(reg_t fd, reg_t mode)
{
	struct file *file = file_of(fd);

	return !file ? -EBADF : file->node ? set_mode(file->node, mode) : 0;
}

static int64_t set_owner(struct node *node, reg_t uid, reg_t gid)
{
	bool same = (uint32_t)uid == UINT32_MAX || (uint32_t)uid == node->uid;
	bool own = (uint32_t)gid == UINT32_MAX || identity_in_group(gid, ID_EFFECTIVE);

	/* The owner of a file may give it to another of his groups. */
	if (!identity_is_root() && !(same && own && permission_owns(node)))
		return -EPERM;
	if ((uint32_t)uid != UINT32_MAX)
		node->uid = uid;
	if ((uint32_t)gid != UINT32_MAX)
		node->gid = gid;
	return 0;
}

int64_t call_fchownat(reg_t directory, reg_t path, reg_t uid, reg_t gid, reg_t flags)
{
	struct node *node;
	int64_t error = call_find(directory, path, !(flags & AT_SYMLINK_NOFOLLOW), &node);

	return error ? error : set_owner(node, uid, gid);
}

int64_t call_chown(reg_t path, reg_t uid, reg_t gid)
{
	return call_fchownat(AT_FDCWD, path, uid, gid, 0);
}

int64_t call_lchown(reg_t path, reg_t uid, reg_t gid)
{
	return call_fchownat(AT_FDCWD, path, uid, gid, AT_SYMLINK_NOFOLLOW);
}

int64_t call_fchown(reg_t fd, reg_t uid, reg_t gid)
{
	struct file *file = file_of(fd);

	return !file ? -EBADF : file->node ? set_owner(file->node, uid, gid) : 0;
}

static int64_t set_times(struct node *node, reg_t address)
{
	struct linux_timespec time[2] = { [1] = { .nanoseconds = TIME_NOW } };

	if (address && user_read(time, address, sizeof(time)))
		return -EFAULT;
	if (!permission_owns(node) && (address || !permission_allows(node, MAY_WRITE)))
		return address ? -EPERM : -EACCES;
	if (time[1].nanoseconds == TIME_NOW)
		cache_modified(&node->content);
	else if (time[1].nanoseconds >= (int64_t)NS_PER_S && time[1].nanoseconds != TIME_OMIT)
		return -EINVAL;
	else if (time[1].nanoseconds != TIME_OMIT)
		node->content.mtime = time[1].seconds * NS_PER_S + time[1].nanoseconds;
	return 0;
}

int64_t call_utimensat(reg_t directory, reg_t path, reg_t times, reg_t flags)
{
	struct file *file = file_of(directory);
	struct node *node;
	int64_t error;

	if (!path)
		return !file ? -EBADF : file->node ? set_times(file->node, times) : 0;
	error = call_find(directory, path, !(flags & AT_SYMLINK_NOFOLLOW), &node);
	return error ? error : set_times(node, times);
}

int64_t call_memfd_create(reg_t name, reg_t flags)
{
	struct node *node;
	struct file *file;
	char *text;
	int64_t result;

	if (flags & ~(reg_t)MEMFD_CLOEXEC)
		return -EINVAL;
	result = call_get_path(name, &text);
	if (result)
		return result;
	result = strlen(text) > MEMFD_NAME ? -EINVAL : 0;
	node = result ? NULL : node_create_unnamed(0);
	file = node ? file_create(&regular_ops, node, 2) : NULL;
	node_put(node);
	memory_free(text);
	if (!file)
		return result ? result : -ENOMEM;
	result = file_install(current_process()->files, file, 0, flags & MEMFD_CLOEXEC);
	if (result < 0)
		file_put(file);
	return result;
}

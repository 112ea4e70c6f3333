/* System calls on open files. */
#include "guest/call/call.h"
#include "guest/file/file.h"
#include "guest/file/pipe.h"
#include "guest/lib/errno.h"
#include "guest/lib/linux.h"
#include "guest/memory/slab.h"
#include "guest/memory/user.h"
#include "guest/process/process.h"

#define IO_MAX	   0x7ffff000ull /* bytes one call moves at most, as on Linux */
#define VECTOR_MAX 1024

#define SEEK_FROM_START	  0
#define SEEK_FROM_CURRENT 1
#define SEEK_FROM_END	  2

#define FCNTL_DUP	    0
#define FCNTL_GET_FD	    1
#define FCNTL_SET_FD	    2
#define FCNTL_GET_FLAGS	    3
#define FCNTL_SET_FLAGS	    4
#define FCNTL_GET_LOCK	    5
#define FCNTL_SET_LOCK	    6
#define FCNTL_SET_LOCKW	    7
#define FCNTL_GET_LOCK_OWN  36 /* of the open file, not of the process */
#define FCNTL_SET_LOCK_OWN  37
#define FCNTL_SET_LOCKW_OWN 38
#define FCNTL_DUP_CLOEXEC   1030
#define FLAGS_CHANGEABLE    (OPEN_APPEND | OPEN_NONBLOCK)

static bool may_read(const struct file *file)
{
	return !(file->flags & OPEN_PATH) && (file->flags & OPEN_ACCESS) != OPEN_WRITE;
}

static bool may_write(const struct file *file)
{
	return !(file->flags & OPEN_PATH) && (file->flags & OPEN_ACCESS) != OPEN_READ;
}

static int64_t transfer(struct file *file, bool write, const struct io_vector *vector,
			unsigned count, uint64_t *offset)
{
	if (write)
		return file->ops->write ? file->ops->write(file, vector, count, offset) : -EINVAL;
	return file->ops->read ? file->ops->read(file, vector, count, offset) : -EINVAL;
}

static int64_t transfer_one(int fd, bool write, reg_t buffer, reg_t length, uint64_t *offset)
{
	struct io_vector vector = { buffer, MIN(length, IO_MAX) };
	struct file *file = file_of(fd);
	int64_t result;

	if (!file || !(write ? may_write(file) : may_read(file)))
		return -EBADF;
	if (offset && !file->ops->seekable)
		return -ESPIPE;
	if (!user_range(buffer, vector.length))
		return -EFAULT;
	/* A transfer may wait, and another thread may close the descriptor. */
	file_get(file);
	result = transfer(file, write, &vector, 1, offset ? offset : &file->offset);
	file_put(file);
	return result;
}

int64_t call_read(reg_t fd, reg_t buffer, reg_t length)
{
	return transfer_one(fd, false, buffer, length, NULL);
}

int64_t call_write(reg_t fd, reg_t buffer, reg_t length)
{
	return transfer_one(fd, true, buffer, length, NULL);
}

int64_t call_pread64(reg_t fd, reg_t buffer, reg_t length, reg_t offset)
{
	return (int64_t)offset < 0 ? -EINVAL : transfer_one(fd, false, buffer, length, &offset);
}

int64_t call_pwrite64(reg_t fd, reg_t buffer, reg_t length, reg_t offset)
{
	return (int64_t)offset < 0 ? -EINVAL : transfer_one(fd, true, buffer, length, &offset);
}

/* The program's vectors in the kernel, checked, cut to IO_MAX bytes in all. */
static int64_t read_vectors(reg_t address, unsigned count, struct io_vector *vector)
{
	uint64_t total = 0;

	if (user_read(vector, address, count * sizeof(*vector)))
		return -EFAULT;
	for (unsigned i = 0; i < count; i++) {
		if ((int64_t)vector[i].length < 0)
			return -EINVAL;
		if (!user_range(vector[i].base, vector[i].length))
			return -EFAULT;
		vector[i].length = MIN(vector[i].length, IO_MAX - total);
		total += vector[i].length;
	}
	return 0;
}

static int64_t transfer_vectors(int fd, bool write, reg_t address, unsigned count)
{
	struct io_vector few[8], *vector = few;
	struct file *file = file_of(fd);
	int64_t result;

	if (!file || !(write ? may_write(file) : may_read(file)))
		return -EBADF;
	if (count > VECTOR_MAX)
		return -EINVAL;
	if (count > ARRAY_SIZE(few))
		vector = memory_alloc(count * sizeof(*vector));
	if (!vector)
		return -ENOMEM;
	result = read_vectors(address, count, vector);
	if (!result) {
		file_get(file);
		result = transfer(file, write, vector, count, &file->offset);
		file_put(file);
	}
	if (vector != few)
		memory_free(vector);
	return result;
}

int64_t call_readv(reg_t fd, reg_t vectors, reg_t count)
{
	return count > VECTOR_MAX ? -EINVAL : transfer_vectors(fd, false, vectors, count);
}

int64_t call_writev(reg_t fd, reg_t vectors, reg_t count)
{
	return count > VECTOR_MAX ? -EINVAL : transfer_vectors(fd, true, vectors, count);
}

int64_t call_pipe2(reg_t address, reg_t flags)
{
	struct file_table *table = current_process()->files;
	struct file *reader, *writer;
	int32_t fd[2];
	int error;

	if (flags & ~(reg_t)(OPEN_CLOEXEC | OPEN_NONBLOCK))
		return -EINVAL;
	error = pipe_create(flags, &reader, &writer);
	if (error)
		return error;
	fd[0] = file_install(table, reader, 0, flags & OPEN_CLOEXEC);
	fd[1] = fd[0] < 0 ? fd[0] : file_install(table, writer, 0, flags & OPEN_CLOEXEC);
	if (fd[1] >= 0 && !user_write(address, fd, sizeof(fd)))
		return 0;
	error = fd[1] < 0 ? fd[1] : -EFAULT;
	if (fd[1] >= 0)
		file_close(table, fd[1]);
	else
		file_put(writer);
	if (fd[0] >= 0)
		file_close(table, fd[0]);
	else
		file_put(reader);
	return error;
}

int64_t call_pipe(reg_t address)
{
	return call_pipe2(address, 0);
}

/* There is no path from file to file but through the program's memory: callers read and write then.
 */
int64_t call_sendfile(reg_t out, reg_t in, reg_t offset, reg_t count)
{
	return file_of(out) && file_of(in) ? -EINVAL : -EBADF;
}

static uint64_t file_size(const struct file *file)
{
	if (file->ops->size)
		return file->ops->size(file);
	return file->text ? file->text_size : file->node ? file->node->content.size : 0;
}

int64_t call_lseek(reg_t fd, reg_t offset, reg_t whence)
{
	struct file *file = file_of(fd);
	int64_t base, to;

	if (!file || (file->flags & OPEN_PATH))
		return -EBADF;
	if (!file->ops->seekable)
		return -ESPIPE;
	if (whence > SEEK_FROM_END)
		return -EINVAL;
	base = whence == SEEK_FROM_START     ? 0
	       : whence == SEEK_FROM_CURRENT ? (int64_t)file->offset
					     : (int64_t)file_size(file);
	if (__builtin_add_overflow(base, (int64_t)offset, &to))
		return -EOVERFLOW;
	if (to < 0 || (file->ops->size && (uint64_t)to > file_size(file)))
		return -EINVAL;
	file->offset = to;
	return to;
}

int64_t call_close(reg_t fd)
{
	return file_close(current_process()->files, fd);
}

static int64_t duplicate(int fd, int lowest, bool close_on_exec)
{
	struct file *file = file_of(fd);
	int result;

	if (!file)
		return -EBADF;
	result = file_install(current_process()->files, file, lowest, close_on_exec);
	if (result >= 0)
		file_get(file);
	return result;
}

int64_t call_dup(reg_t fd)
{
	return duplicate(fd, 0, false);
}

static int64_t duplicate_to(int fd, int to, bool close_on_exec)
{
	struct file *file = file_of(fd);

	if (!file || (unsigned)to >= FILE_TABLE_MAX)
		return -EBADF;
	file_get(file);
	if (file_of(to))
		file_close(current_process()->files, to);
	to = file_install(current_process()->files, file, to, close_on_exec);
	if (to < 0)
		file_put(file);
	return to;
}

int64_t call_dup2(reg_t fd, reg_t to)
{
	if ((int)fd == (int)to)
		return file_of(fd) ? (int)fd : -EBADF;
	return duplicate_to(fd, to, false);
}

int64_t call_dup3(reg_t fd, reg_t to, reg_t flags)
{
	if ((int)fd == (int)to || (flags & ~(reg_t)OPEN_CLOEXEC))
		return -EINVAL;
	return duplicate_to(fd, to, flags & OPEN_CLOEXEC);
}

/* The commands on record locks. */
static int64_t lock_control(int fd, int command, reg_t argument)
{
	struct file *file = file_of(fd);

	if (file->flags & OPEN_PATH)
		return -EBADF;
	switch (command) {
	case FCNTL_GET_LOCK:
	case FCNTL_GET_LOCK_OWN:
		return call_get_lock(file, command == FCNTL_GET_LOCK_OWN, argument);
	case FCNTL_SET_LOCK:
	case FCNTL_SET_LOCKW:
		return call_set_lock(fd, false, command == FCNTL_SET_LOCKW, argument);
	case FCNTL_SET_LOCK_OWN:
	case FCNTL_SET_LOCKW_OWN:
		return call_set_lock(fd, true, command == FCNTL_SET_LOCKW_OWN, argument);
	default:
		return -EINVAL;
	}
}

int64_t call_fcntl(reg_t fd, reg_t command, reg_t argument)
{
	struct file *file = file_of(fd);
	struct file_slot *slot;

	if (!file)
		return -EBADF;
	slot = &current_process()->files->slot[(int)fd];
	switch ((int)command) {
	case FCNTL_DUP:
	case FCNTL_DUP_CLOEXEC:
		if (argument >= FILE_TABLE_MAX)
			return -EINVAL;
		return duplicate(fd, argument, (int)command == FCNTL_DUP_CLOEXEC);
	case FCNTL_GET_FD:
		return slot->close_on_exec;
	case FCNTL_SET_FD:
		slot->close_on_exec = argument & 1;
		return 0;
	case FCNTL_GET_FLAGS:
		return file->flags;
	case FCNTL_SET_FLAGS:
		file->flags &= ~FLAGS_CHANGEABLE;
		file->flags |= argument & FLAGS_CHANGEABLE;
		return 0;
	default:
		return lock_control(fd, command, argument);
	}
}

int64_t call_ioctl(reg_t fd, reg_t request, reg_t argument)
{
	struct file *file = file_of(fd);
	int64_t result = -ENOTTY;

	if (!file || (file->flags & OPEN_PATH))
		return -EBADF;
	if (!file->ops->control)
		return result;
	file_get(file);
	result = file->ops->control(file, request, argument);
	file_put(file);
	return result;
}

int64_t call_getdents64(reg_t fd, reg_t buffer, reg_t size)
{
	struct file *file = file_of(fd);

	if (!file || (file->flags & OPEN_PATH))
		return -EBADF;
	if (!file->ops->list)
		return -ENOTDIR;
	return file->ops->list(file, buffer, (uint32_t)size);
}

int64_t call_fadvise64(reg_t fd)
{
	return file_of(fd) ? 0 : -EBADF;
}

int64_t call_fsync(reg_t fd)
{
	struct file *file = file_of(fd);
	int64_t result = 0;

	if (!file)
		return -EBADF;
	if (!file->ops->seekable)
		return -EINVAL;
	file_get(file);
	if (file->ops->sync)
		result = file->ops->sync(file);
	file_put(file);
	return result;
}

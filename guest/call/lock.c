/* System calls on locks of files. */
#include "guest/call/call.h"
#include "guest/file/lock.h"
#include "guest/lib/errno.h"
#include "guest/memory/user.h"
#include "guest/process/process.h"

#define FLOCK_SHARED	1
#define FLOCK_EXCLUSIVE 2
#define FLOCK_DONT_WAIT 4
#define FLOCK_UNLOCK	8

/* Linux's struct flock. */
struct flock {
	int16_t type, whence;
	int64_t start, length;
	int32_t pid;
};

/* The bytes that it means, counted from the file's start. */
static int64_t find_range(const struct file *file, const struct flock *flock,
			  struct file_lock *lock)
{
	int64_t base;

	if (flock->whence < 0 || flock->whence > 2)
		return -EINVAL;
	base = flock->whence == 0   ? 0
	       : flock->whence == 1 ? (int64_t)file->offset
				    : (int64_t)file->node->content.size;
	if (__builtin_add_overflow(base, flock->start, &lock->start))
		return -EOVERFLOW;
	if (lock->start < 0)
		return -EINVAL;
	lock->end = LOCK_END;
	if (flock->length > 0 && __builtin_add_overflow(lock->start, flock->length - 1, &lock->end))
		return -EOVERFLOW;
	if (flock->length < 0) {
		lock->end = lock->start - 1;
		lock->start += flock->length;
	}
	return lock->start < 0 ? -EINVAL : 0;
}

static int64_t read_lock(struct file *file, bool own, reg_t address, struct flock *flock,
			 struct file_lock *lock)
{
	if (!file->node)
		return -ENOLCK;
	if (user_read(flock, address, sizeof(*flock)))
		return -EFAULT;
	if (flock->type < LOCK_READ || flock->type > LOCK_NONE || (own && flock->pid))
		return -EINVAL;
	*lock = (struct file_lock){ .kind = own ? LOCK_OPEN_FILE : LOCK_PROCESS,
				    .type = flock->type,
				    .owner = own ? (void *)file : current_process()->files,
				    .pid = own ? -1 : current_process()->pid };
	return find_range(file, flock, lock);
}

int64_t call_get_lock(struct file *file, bool own, reg_t address)
{
	const struct file_lock *found;
	struct file_lock lock;
	struct flock flock;
	int64_t error = read_lock(file, own, address, &flock, &lock);

	if (!error && lock.type == LOCK_NONE)
		error = -EINVAL;
	if (error)
		return error;
	found = lock_find(file->node, &lock);
	flock.type = LOCK_NONE;
	if (found)
		flock = (struct flock){ .type = found->type,
					.start = found->start,
					.length = found->end == LOCK_END
							  ? 0
							  : found->end - found->start + 1,
					.pid = found->pid };
	return user_write(address, &flock, sizeof(flock));
}

int64_t call_set_lock(int fd, bool own, bool wait, reg_t address)
{
	struct file *file = file_of(fd);
	uint32_t access = file->flags & OPEN_ACCESS;
	struct file_lock lock;
	struct flock flock;
	int64_t error = read_lock(file, own, address, &flock, &lock);

	if (error)
		return error;
	if ((lock.type == LOCK_READ && access == OPEN_WRITE) ||
	    (lock.type == LOCK_WRITE && access == OPEN_READ))
		return -EBADF;
	/* Another thread may close the descriptor meanwhile: then nobody would take the lock away.
	 */
	file_get(file);
	error = lock_set(file->node, &lock, wait);
	if (!error && !own && lock.type != LOCK_NONE && file_of(fd) != file) {
		lock.type = LOCK_NONE;
		lock_set(file->node, &lock, false);
		error = -EBADF;
	}
	file_put(file);
	return error;
}

int64_t call_flock(reg_t fd, reg_t operation)
{
	struct file *file = file_of(fd);
	struct file_lock lock = {
		.kind = LOCK_WHOLE, .owner = file, .pid = current_process()->pid, .end = LOCK_END
	};
	int64_t result;

	if (!file || (file->flags & OPEN_PATH))
		return -EBADF;
	if (!file->node)
		return -ENOLCK;
	switch ((int)operation & ~FLOCK_DONT_WAIT) {
	case FLOCK_SHARED:
		lock.type = LOCK_READ;
		break;
	case FLOCK_EXCLUSIVE:
		lock.type = LOCK_WRITE;
		break;
	case FLOCK_UNLOCK:
		lock.type = LOCK_NONE;
		break;
	default:
		return -EINVAL;
	}
	file_get(file);
	result = lock_set(file->node, &lock, !(operation & FLOCK_DONT_WAIT));
	file_put(file);
	return result;
}

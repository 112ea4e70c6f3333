/* Files of the root archive, its directories, and files whose text is made when they are opened. */
#include "guest/call/linux.h"
#include "guest/file/cache.h"
#include "guest/file/file.h"
#include "guest/lib/errno.h"
#include "guest/lib/string.h"
#include "guest/memory/user.h"

static int64_t regular_read(struct file *file, const struct io_vector *vector, unsigned count,
			    uint64_t *offset)
{
	return cache_read(file->node, vector, count, offset);
}

static int64_t regular_write(struct file *file, const struct io_vector *vector, unsigned count,
			     uint64_t *offset)
{
	if (file->flags & OPEN_APPEND)
		*offset = file->node->size;
	return cache_write(file->node, vector, count, offset);
}

const struct file_ops regular_ops = { .read = regular_read,
				      .write = regular_write,
				      .seekable = true };

static int64_t generated_read(struct file *file, const struct io_vector *vector, unsigned count,
			      uint64_t *offset)
{
	return file_read_from(file->text, file->text_size, vector, count, offset);
}

const struct file_ops generated_ops = { .read = generated_read, .seekable = true };

/* The entry at or behind `position`: 0 is the directory, 1 its parent, others are by cookie. */
static const struct node *entry_at(const struct node *directory, uint64_t position,
				   const char **name)
{
	const struct node *node = directory->child;

	if (position < 2) {
		*name = position == 0 ? "." : "..";
		return position == 0 ? directory : directory->parent;
	}
	while (node && node->cookie < position)
		node = node->sibling;
	if (node)
		*name = node->name;
	return node;
}

static int64_t directory_list(struct file *file, uint64_t buffer, uint64_t size)
{
	uint64_t used = 0, next;

	for (;; file->offset = next) {
		struct linux_dirent64 entry;
		const char *name;
		const struct node *node = entry_at(file->node, file->offset, &name);
		uint64_t length, record;

		if (!node)
			return used;
		next = file->offset < 2 ? file->offset + 1 : node->cookie + 1;
		length = strlen(name) + 1;
		record = ROUND_UP(offsetof(struct linux_dirent64, name) + length, 8);
		if (record > size - used)
			return used > 0 ? (int64_t)used : -EINVAL;
		entry = (struct linux_dirent64){ node->inode, next, (uint16_t)record,
						 (uint8_t)(node->mode >> 12) };
		if (user_write(buffer + used, &entry, offsetof(struct linux_dirent64, name)) ||
		    user_write(buffer + used + offsetof(struct linux_dirent64, name), name, length))
			return used > 0 ? (int64_t)used : -EFAULT;
		used += record;
	}
}

static int64_t directory_read(struct file *file, const struct io_vector *vector, unsigned count,
			      uint64_t *offset)
{
	return -EISDIR;
}

const struct file_ops directory_ops = { .read = directory_read,
					.list = directory_list,
					.seekable = true };

/* Files of the root archive, and its directories. */
#include "guest/file/file.h"
#include "guest/lib/errno.h"
#include "guest/lib/linux.h"
#include "guest/lib/string.h"
#include "guest/memory/cache.h"
#include "guest/memory/user.h"
#include "guest/process/process.h"

static int64_t regular_read(struct file *file, const struct io_vector *vector, unsigned count,
			    uint64_t *offset)
{
	return cache_read(&file->node->content, vector, count, offset);
}

static uint64_t vectors_length(const struct io_vector *vector, unsigned count)
{
	uint64_t length = 0;

	while (count-- > 0)
		length += vector[count].length;
	return length;
}

static int64_t regular_write(struct file *file, const struct io_vector *vector, unsigned count,
			     uint64_t *offset)
{
	if (file->flags & OPEN_APPEND)
		*offset = file->node->content.size;
	if (unlikely(*offset >= process_file_limit()) && vectors_length(vector, count) > 0)
		return process_file_too_large();
	return cache_write(&file->node->content, vector, count, process_file_limit(), offset);
}

static int64_t regular_sync(struct file *file)
{
	cache_write_back(&file->node->content);
	return 0;
}

const struct file_ops regular_ops = {
	.read = regular_read, .write = regular_write, .sync = regular_sync, .seekable = true
};

/* The entry at or behind `position`: 0 is the directory, 1 its parent, others are by cookie, or as
 * the folder has them. */
static bool entry_at(const struct node *directory, uint64_t position, struct directory_entry *entry)
{
	const struct node *node = position == 0 ? directory : directory->parent;

	if (position < 2) {
		*entry = (struct directory_entry){ position == 0 ? "." : "..", node->inode,
						   node->mode, position + 1, "" };
		return true;
	}
	if (directory->folder)
		return directory->folder->next(directory, position, entry);
	return node_child_at(directory, position, entry);
}

static int64_t directory_list(struct file *file, uint64_t buffer, uint64_t size)
{
	struct directory_entry at;
	uint64_t used = 0;

	for (; entry_at(file->node, file->offset, &at); file->offset = at.next) {
		struct linux_dirent64 entry;
		uint64_t length = strlen(at.name) + 1;
		uint64_t record = ROUND_UP(offsetof(struct linux_dirent64, name) + length, 8);

		if (record > size - used)
			return used > 0 ? (int64_t)used : -EINVAL;
		entry = (struct linux_dirent64){ at.inode, at.next, (uint16_t)record,
						 (uint8_t)(at.mode >> 12) };
		if (user_write(buffer + used, &entry, offsetof(struct linux_dirent64, name)) ||
		    user_write(buffer + used + offsetof(struct linux_dirent64, name), at.name,
			       length))
			return used > 0 ? (int64_t)used : -EFAULT;
		used += record;
	}
	return used;
}

static int64_t directory_read(struct file *file, const struct io_vector *vector, unsigned count,
			      uint64_t *offset)
{
	return -EISDIR;
}

const struct file_ops directory_ops = { .read = directory_read,
					.list = directory_list,
					.seekable = true };

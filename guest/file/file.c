/* Open files and descriptor tables. */
#include "guest/file/file.h"
#include "guest/file/lock.h"
#include "guest/file/permission.h"
#include "guest/lib/errno.h"
#include "guest/lib/string.h"
#include "guest/memory/cache.h"
#include "guest/memory/slab.h"
#include "guest/memory/user.h"
#include "guest/process/process.h"

#define TABLE_SIZE_FIRST 16

struct file *file_create(const struct file_ops *ops, struct node *node, uint32_t flags)
{
	struct file *file = memory_alloc_zero(sizeof(*file));

	if (!file)
		return NULL;
	file->ops = ops;
	file->node = node ? node_get(node) : NULL;
	file->flags = flags;
	file->refs = 1;
	return file;
}

struct file *file_get(struct file *file)
{
	file->refs++;
	return file;
}

void file_put(struct file *file)
{
	if (--file->refs > 0)
		return;
	if (file->node && file->node->locks)
		lock_forget(file->node, file);
	if (file->ops->close)
		file->ops->close(file);
	node_put(file->node);
	memory_free(file->text);
	memory_free(file);
}

static unsigned rights_of(uint32_t flags)
{
	uint32_t access = flags & OPEN_ACCESS;

	return (access != OPEN_WRITE ? MAY_READ : 0) |
	       (access != OPEN_READ || (flags & OPEN_TRUNCATE) ? MAY_WRITE : 0);
}

/* Whether a node that exists can be opened with these flags: 0 or -errno. */
static int check_open(const struct node *node, uint32_t flags)
{
	uint32_t type = node->mode & MODE_TYPE;

	if ((flags & OPEN_CREATE) && (flags & OPEN_EXCLUSIVE))
		return -EEXIST;
	if (type == MODE_SYMLINK && !(flags & OPEN_PATH))
		return -ELOOP;
	if (type != MODE_DIRECTORY && (flags & OPEN_DIRECTORY))
		return -ENOTDIR;
	if (flags & OPEN_PATH)
		return 0;
	if (type == MODE_DIRECTORY && ((flags & OPEN_ACCESS) != OPEN_READ || (flags & OPEN_CREATE)))
		return -EISDIR;
	if (!permission_allows(node, rights_of(flags)))
		return -EACCES;
	if (node->ops != &regular_ops && type == MODE_REGULAR &&
	    (flags & OPEN_ACCESS) != OPEN_READ && !node->ops->write)
		return -EACCES;
	return 0;
}

int file_open(struct node *from, const char *path, uint32_t flags, uint32_t mode,
	      struct file **opened)
{
	bool exclusive = (flags & OPEN_CREATE) && (flags & OPEN_EXCLUSIVE);
	struct node *node;
	struct file *file;
	int64_t error = node_lookup(from, path, !(flags & OPEN_NOFOLLOW) && !exclusive, &node);

	if (error == -ENOENT && (flags & OPEN_CREATE) && *path && !(flags & OPEN_DIRECTORY))
		error = node_make(from, path, MODE_REGULAR | (mode & 07777), &node);
	else if (!error)
		error = check_open(node, flags);
	if (error)
		return error;
	file = file_create(
		node->ops, node,
		flags & ~(uint32_t)(OPEN_CLOEXEC | OPEN_CREATE | OPEN_EXCLUSIVE | OPEN_TRUNCATE));
	if (!file)
		return -ENOMEM;
	if (file->ops->open && !(flags & OPEN_PATH))
		error = file->ops->open(file);
	if (!error && (flags & OPEN_TRUNCATE) && !(flags & OPEN_PATH) && node->ops == &regular_ops)
		error = cache_truncate(&node->content, 0);
	if (error) {
		file_put(file);
		return error;
	}
	*opened = file;
	return 0;
}

struct file_table *file_table_create(void)
{
	struct file_table *table = memory_alloc(sizeof(*table));

	if (!table)
		return NULL;
	table->slot = memory_alloc_zero(TABLE_SIZE_FIRST * sizeof(*table->slot));
	table->size = TABLE_SIZE_FIRST;
	table->full = 0;
	table->refs = 1;
	if (table->slot)
		return table;
	memory_free(table);
	return NULL;
}

struct file_table *file_table_copy(const struct file_table *from)
{
	struct file_table *table = memory_alloc(sizeof(*table));

	if (!table)
		return NULL;
	table->slot = memory_alloc(from->size * sizeof(*table->slot));
	table->size = from->size;
	table->full = from->full;
	table->refs = 1;
	if (!table->slot) {
		memory_free(table);
		return NULL;
	}
	memcpy(table->slot, from->slot, from->size * sizeof(*table->slot));
	for (unsigned i = 0; i < table->size; i++) {
		if (table->slot[i].file)
			table->slot[i].file->refs++;
	}
	return table;
}

/* A process that closes any descriptor of a file gives all its record locks on it; O_PATH's is a
 * descriptor of the name alone. */
static void close_file(struct file_table *table, struct file *file)
{
	if (file->node && file->node->locks && !(file->flags & OPEN_PATH))
		lock_forget(file->node, table);
	file_put(file);
}

void file_table_put(struct file_table *table)
{
	if (--table->refs > 0)
		return;
	for (unsigned i = 0; i < table->size; i++) {
		if (table->slot[i].file)
			close_file(table, table->slot[i].file);
	}
	memory_free(table->slot);
	memory_free(table);
}

void file_table_close_on_exec(struct file_table *table)
{
	for (unsigned i = 0; i < table->size; i++) {
		if (table->slot[i].file && table->slot[i].close_on_exec)
			file_close(table, i);
	}
}

static int grow(struct file_table *table, unsigned wanted)
{
	unsigned size = table->size;
	struct file_slot *slot;

	while (size <= wanted)
		size *= 2;
	slot = memory_alloc_zero(size * sizeof(*slot));
	if (!slot)
		return -ENOMEM;
	memcpy(slot, table->slot, table->size * sizeof(*slot));
	memory_free(table->slot);
	table->slot = slot;
	table->size = size;
	return 0;
}

int file_install(struct file_table *table, struct file *file, int lowest, bool close_on_exec)
{
	unsigned fd = MAX((unsigned)lowest, table->full);

	while (fd < table->size && table->slot[fd].file)
		fd++;
	if (fd >= FILE_TABLE_MAX)
		return -EMFILE;
	if (fd >= table->size && grow(table, fd))
		return -ENOMEM;
	table->slot[fd] = (struct file_slot){ file, close_on_exec };
	if ((unsigned)lowest <= table->full)
		table->full = fd + 1;
	return fd;
}

struct file *file_of(int fd)
{
	struct file_table *table = current_process()->files;

	return (unsigned)fd < table->size ? table->slot[fd].file : NULL;
}

int file_close(struct file_table *table, int fd)
{
	struct file *file = (unsigned)fd < table->size ? table->slot[fd].file : NULL;

	if (!file)
		return -EBADF;
	table->slot[fd] = (struct file_slot){ 0 };
	table->full = MIN(table->full, (unsigned)fd);
	close_file(table, file);
	return 0;
}

int files_copy(struct process *child, bool share)
{
	const struct process *parent = current_process();

	child->files = share ? parent->files : file_table_copy(parent->files);
	if (!child->files)
		return -ENOMEM;
	child->files->refs += share;
	child->directory = node_get(parent->directory);
	child->executable = node_get(parent->executable);
	return 0;
}

void files_close(struct process *process)
{
	if (process->files)
		file_table_put(process->files);
	process->files = NULL;
}

void files_release(struct process *process)
{
	node_put(process->directory);
	node_put(process->executable);
}

int64_t file_read_from(const uint8_t *data, uint64_t size, const struct io_vector *vector,
		       unsigned count, uint64_t *offset)
{
	int64_t total = 0;

	for (; count > 0 && *offset < size; vector++, count--) {
		uint64_t length = MIN(vector->length, size - *offset);

		if (length == 0)
			continue;
		if (user_write(vector->base, data + *offset, length))
			return total ? total : -EFAULT;
		*offset += length;
		total += length;
	}
	return total;
}

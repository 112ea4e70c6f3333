/* /proc: the few files that static programs look for. Text is made when the file is opened. */
#include "guest/file/file.h"
#include "guest/file/proc.h"
#include "guest/lib/errno.h"
#include "guest/lib/format.h"
#include "guest/lib/string.h"
#include "guest/memory/page.h"
#include "guest/memory/slab.h"

#define TEXT_MAX 2048

static struct node *executable_link;
static char executable_path[512];

static int64_t give_text(struct file *file, const char *text, ...)
{
	va_list list;

	file->text = memory_alloc(TEXT_MAX);
	if (!file->text)
		return -ENOMEM;
	va_start(list, text);
	file->text_size = format_list((char *)file->text, TEXT_MAX, text, list);
	va_end(list);
	return 0;
}

static int64_t meminfo_open(struct file *file)
{
	uint64_t total = page_total * (PAGE_SIZE / 1024);
	uint64_t free = page_free_total * (PAGE_SIZE / 1024);

	return give_text(
		file,
		"MemTotal:       %8lu kB\nMemFree:        %8lu kB\nMemAvailable:   %8lu kB\n"
		"Buffers:        %8lu kB\nCached:         %8lu kB\n"
		"SwapTotal:      %8lu kB\nSwapFree:       %8lu kB\n",
		total, free, free, 0ul, 0ul, 0ul, 0ul);
}

static int64_t cpuinfo_open(struct file *file)
{
	return give_text(file, "processor\t: 0\nvendor_id\t: quire\nmodel name\t: virtual CPU\n"
			       "address sizes\t: 48 bits virtual\n\n");
}

static int64_t generated_read(struct file *file, const struct io_vector *vector, unsigned count,
			      uint64_t *offset)
{
	return file_read_from(file->text, file->text_size, vector, count, offset);
}

static const struct file_ops meminfo_ops = { .open = meminfo_open,
					     .read = generated_read,
					     .seekable = true };
static const struct file_ops cpuinfo_ops = { .open = cpuinfo_open,
					     .read = generated_read,
					     .seekable = true };

/* Opened through call_openat(), which gives the file that is open already. */
const struct file_ops open_fd_ops = { .seekable = false };

static void add_file(struct node *directory, const char *name, const struct file_ops *ops)
{
	struct node *node = directory ? node_add(directory, name, MODE_REGULAR | 0444) : NULL;

	if (node)
		node->ops = ops;
}

void proc_init(void)
{
	static const char *const numbers[] = { "0", "1", "2" };
	struct node *proc = node_child(node_root, "proc", 4), *self, *fd;

	if (!proc)
		proc = node_add(node_root, "proc", MODE_DIRECTORY | 0555);
	if (!proc)
		return;
	add_file(proc, "meminfo", &meminfo_ops);
	add_file(proc, "cpuinfo", &cpuinfo_ops);
	self = node_add(proc, "self", MODE_DIRECTORY | 0555);
	if (!self)
		return;
	executable_link = node_add(self, "exe", MODE_SYMLINK | 0777);
	fd = node_add(self, "fd", MODE_DIRECTORY | 0500);
	for (unsigned i = 0; fd && i < ARRAY_SIZE(numbers); i++) {
		struct node *node = node_add(fd, numbers[i], MODE_CHARACTER | 0600);

		if (!node)
			return;
		node->ops = &open_fd_ops;
		node->device = i;
	}
}

void proc_set_executable(const struct node *executable)
{
	static const struct node *last;
	int64_t length;

	if (!executable_link || executable == last)
		return;
	last = executable;
	length = node_path(executable, executable_path, sizeof(executable_path));
	executable_link->data = (const uint8_t *)executable_path;
	executable_link->size = length > 0 ? length - 1 : 0;
}

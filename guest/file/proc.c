/* /proc: the few files that static programs look for. Text is made when the file is opened. */
#include "guest/file/file.h"
#include "guest/file/proc.h"
#include "guest/file/text.h"
#include "guest/lib/errno.h"
#include "guest/lib/string.h"
#include "guest/memory/commit.h"
#include "guest/memory/count.h"
#include "guest/memory/huge.h"
#include "guest/memory/maps.h"
#include "guest/memory/fragment.h"
#include "guest/memory/page.h"
#include "guest/memory/slab.h"

static struct node *executable_link;
static char executable_path[512];

static void meminfo_text(struct text *text)
{
	uint64_t total = page_total * (PAGE_SIZE / 1024);
	uint64_t free = page_free_total * (PAGE_SIZE / 1024);

	text_add(text,
		 "MemTotal:       %8lu kB\nMemFree:        %8lu kB\nMemAvailable:   %8lu kB\n"
		 "Buffers:        %8lu kB\nCached:         %8lu kB\n"
		 "SwapTotal:      %8lu kB\nSwapFree:       %8lu kB\n",
		 total, free, free, 0ul, 0ul, 0ul, 0ul);
	commit_meminfo_text(text);
	huge_meminfo_text(text);
}

static void cpuinfo_text(struct text *text)
{
	text_add(text, "processor\t: 0\nvendor_id\t: quire\nmodel name\t: virtual CPU\n"
		       "address sizes\t: 48 bits virtual\n\n");
}

static const struct proc_file {
	const char *name;
	void (*write)(struct text *text);
} files[] = {
	{ "cpuinfo", cpuinfo_text },	   { "meminfo", meminfo_text },
	{ "vmstat", vmstat_text },	   { "self/maps", self_maps_text },
	{ "self/smaps", self_smaps_text }, { "self/statm", self_statm_text },
	{ "buddyinfo", buddyinfo_text },
	{ "extfrag_index", extfrag_index_text },
	{ "unusable_index", unusable_index_text },
};

static int64_t proc_open(struct file *file)
{
	struct text text = { 0 };

	files[file->node->device].write(&text);
	file->text = (uint8_t *)text.at;
	file->text_size = text.used;
	if (!text.failed)
		return 0;
	text_finish(&text);
	file->text = NULL;
	return -ENOMEM;
}

static int64_t generated_read(struct file *file, const struct io_vector *vector, unsigned count,
			      uint64_t *offset)
{
	return file_read_from(file->text, file->text_size, vector, count, offset);
}

static const struct file_ops proc_ops = { .open = proc_open,
					  .read = generated_read,
					  .seekable = true };

/* Opened through call_openat(), which gives the file that is open already. */
const struct file_ops open_fd_ops = { .seekable = false };

static void add_file(struct node *directory, unsigned number)
{
	const char *name = files[number].name;
	struct node *node;

	for (const char *at = name; *at; at++)
		name = *at == '/' ? at + 1 : name;
	node = node_add(directory, name, MODE_REGULAR | 0444);

	if (!node)
		return;
	node->ops = &proc_ops;
	node->device = number;
}

void proc_init(void)
{
	static const char *const numbers[] = { "0", "1", "2" };
	struct node *proc = node_child(node_root, "proc", 4), *self, *fd;

	if (!proc)
		proc = node_add(node_root, "proc", MODE_DIRECTORY | 0555);
	if (!proc)
		return;
	proc->fixed = true;
	self = node_add(proc, "self", MODE_DIRECTORY | 0555);
	if (!self)
		return;
	for (unsigned i = 0; i < ARRAY_SIZE(files); i++)
		add_file(strncmp(files[i].name, "self/", 5) ? proc : self, i);
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

/* /proc: the few files that static programs look for. Text is made when the file is opened. */
#include "guest/cpu/tlb.h"
#include "guest/file/file.h"
#include "guest/file/text.h"
#include "guest/lib/errno.h"
#include "guest/lib/string.h"
#include "guest/memory/commit.h"
#include "guest/memory/compact.h"
#include "guest/memory/contiguous.h"
#include "guest/memory/count.h"
#include "guest/memory/huge.h"
#include "guest/memory/maps.h"
#include "guest/memory/fragment.h"
#include "guest/memory/page.h"
#include "guest/memory/pressure.h"
#include "guest/memory/replace.h"
#include "guest/memory/slab.h"
#include "guest/memory/trim.h"
#include "guest/memory/workingset.h"
#include "guest/process/process.h"
#include "guest/memory/user.h"

#define STORE_MAX 255

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
	text_add(text, "KernelStack:    %8lu kB\n", thread_stack_pages * (PAGE_SIZE / 1024));
	huge_meminfo_text(text);
}

static void cpuinfo_text(struct text *text)
{
	text_add(text, "processor\t: 0\nvendor_id\t: quire\nmodel name\t: virtual CPU\n"
		       "address sizes\t: 48 bits virtual\n\n");
}

static const struct proc_file {
	const char *name; /* perhaps with folders before it */
	void (*write)(struct text *text); /* optional: it reads as nothing */
	/* optional (-EACCES): a write of at most STORE_MAX bytes, ended by a zero; 0 or -errno */
	int (*store)(const char *words);
} files[] = {
	{ "buddyinfo", buddyinfo_text, NULL },
	{ "contiguous", contiguous_text, contiguous_store },
	{ "contiguous_runs", contiguous_runs_text, NULL },
	{ "cpuinfo", cpuinfo_text, NULL },
	{ "extfrag_index", extfrag_index_text, NULL },
	{ "meminfo", meminfo_text, NULL },
	{ "pressure/memory", pressure_text, NULL },
	{ "self/maps", self_maps_text, NULL },
	{ "self/smaps", self_smaps_text, NULL },
	{ "self/statm", self_statm_text, NULL },
	{ "sys/vm/compact_memory", compact_memory_text, compact_memory_store },
	{ "sys/vm/drop_caches", NULL, drop_caches_store },
	{ "sys/vm/extfrag_threshold", extfrag_threshold_text, extfrag_threshold_store },
	{ "sys/vm/overcommit_memory", overcommit_memory_text, overcommit_memory_store },
	{ "sys/vm/overcommit_ratio", overcommit_ratio_text, overcommit_ratio_store },
	{ "slabinfo", slabinfo_text, NULL },
	{ "sys/vm/replacement", replace_text, replace_choose },
	{ "sys/vm/tlb_flush_ceiling", tlb_ceiling_text, tlb_ceiling_store },
	{ "sys/vm/window", window_text, window_store },
	{ "sys/vm/workingset_window", workingset_window_text, workingset_window_store },
	{ "unusable_index", unusable_index_text, NULL },
	{ "vmstat", vmstat_text, NULL },
};

static int64_t proc_open(struct file *file)
{
	struct text text = { 0 };

	if (files[file->node->device].write)
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

static int64_t proc_write(struct file *file, const struct io_vector *vector, unsigned count,
			  uint64_t *offset)
{
	const struct proc_file *entry = &files[file->node->device];
	char words[STORE_MAX + 1];
	int error;

	if (!entry->store)
		return -EACCES;
	if (count != 1 || vector->length > STORE_MAX)
		return -EINVAL;
	if (user_read(words, vector->base, vector->length))
		return -EFAULT;
	words[vector->length] = 0;
	if (vector->length > 0 && words[vector->length - 1] == '\n')
		words[vector->length - 1] = 0;
	error = entry->store(words);
	return error ? error : (int64_t)vector->length;
}

static const struct file_ops proc_ops = {
	.open = proc_open, .read = generated_read, .write = proc_write, .seekable = true
};

/* Opened through call_openat(), which gives the file that is open already. */
const struct file_ops open_fd_ops = { .seekable = false };

static struct node *folder_of(struct node *directory, const char *name, size_t length)
{
	struct node *folder = node_child(directory, name, length);
	char *copy = folder ? NULL : memory_alloc(length + 1);

	if (!copy)
		return folder;
	string_copy(copy, name, length + 1);
	return node_add(directory, copy, MODE_DIRECTORY | 0555);
}

static void add_file(struct node *directory, unsigned number)
{
	uint32_t mode = MODE_REGULAR | (files[number].store ? 0644 : 0444);
	const char *name = files[number].name;
	struct node *node;

	for (const char *end = name; *end; end++) {
		if (*end != '/')
			continue;
		directory = folder_of(directory, name, end - name);
		if (!directory)
			return;
		name = end + 1;
	}
	node = node_add(directory, name, mode);
	if (!node)
		return;
	node->ops = &proc_ops;
	node->device = number;
}

/* /proc/self/exe: the program of whoever asks. */
static void refresh_executable(struct node *link)
{
	int64_t length =
		node_path(current_process()->executable, executable_path, sizeof(executable_path));

	link->data = (const uint8_t *)executable_path;
	link->size = length > 0 ? length - 1 : 0;
}

void proc_init(void)
{
	static const char *const numbers[] = { "0", "1", "2" };
	struct node *proc = node_child(node_root, "proc", 4), *self, *fd, *executable;

	if (!proc)
		proc = node_add(node_root, "proc", MODE_DIRECTORY | 0555);
	if (!proc)
		return;
	proc->fixed = true;
	self = node_add(proc, "self", MODE_DIRECTORY | 0555);
	if (!self)
		return;
	for (unsigned i = 0; i < ARRAY_SIZE(files); i++)
		add_file(proc, i);
	executable = node_add(self, "exe", MODE_SYMLINK | 0777);
	if (executable)
		executable->refresh = refresh_executable;
	fd = node_add(self, "fd", MODE_DIRECTORY | 0500);
	for (unsigned i = 0; fd && i < ARRAY_SIZE(numbers); i++) {
		struct node *node = node_add(fd, numbers[i], MODE_CHARACTER | 0600);

		if (!node)
			return;
		node->ops = &open_fd_ops;
		node->device = i;
	}
}

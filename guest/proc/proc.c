/*
 * /proc: global files, and a directory for each process.
 *
 * The directory of a process is made when somebody looks for it and goes with the process's record;
 * the link of a descriptor likewise, when somebody looks for that one. A node of /proc/PID has the
 * number of its process; nodes that outlive it (open files) have none then.
 *
 * A file's text is made when it is read from the start, so that reading a file again shows the
 * present state.
 */
#include "guest/proc/proc.h"
#include "guest/cpu/tlb.h"
#include "guest/file/file.h"
#include "guest/lib/errno.h"
#include "guest/lib/format.h"
#include "guest/lib/linux.h"
#include "guest/lib/string.h"
#include "guest/lib/text.h"
#include "guest/memory/commit.h"
#include "guest/memory/compact.h"
#include "guest/memory/contiguous.h"
#include "guest/memory/fragment.h"
#include "guest/memory/pressure.h"
#include "guest/memory/replace.h"
#include "guest/memory/slab.h"
#include "guest/memory/trim.h"
#include "guest/memory/user.h"
#include "guest/memory/workingset.h"
#include "guest/proc/meminfo.h"
#include "guest/proc/status.h"
#include "guest/process/load.h"
#include "guest/process/process.h"

#define STORE_MAX  255
#define NAME_ROOM  12
#define TEXT_FIRST 4096 /* whole pages: /proc/slabinfo does not show itself */

/* Inode numbers: 2048 a process. */
#define INODE_FIRST    0x80000000u
#define INODE_SHIFT    11
#define INODE_OF_FILES 1
#define INODE_OF_LINKS 1024

/* Positions in the list of /proc: the global files, then the processes. */
#define POSITION_OF_PIDS (1ull << 32)
#define POSITION_OF_FDS	 2

static void version_text(struct text *text)
{
	text_add(text, "Linux version %s (bifold) %s\n", UNAME_RELEASE, UNAME_VERSION);
}

static void mounts_text(struct text *text)
{
	text_add(text, "rootfs / rootfs rw 0 0\nproc /proc proc rw 0 0\n");
}

static void filesystems_text(struct text *text)
{
	text_add(text, "nodev\trootfs\nnodev\tproc\n");
}

static const struct proc_file {
	const char *name;		  /* perhaps with folders before it */
	void (*write)(struct text *text); /* optional: it reads as nothing */
	/* optional (-EACCES): a write of at most STORE_MAX bytes, ended by a zero; 0 or -errno */
	int (*store)(const char *words);
} files[] = {
	{ "buddyinfo", buddyinfo_text, NULL },
	{ "contiguous", contiguous_text, contiguous_store },
	{ "contiguous_runs", contiguous_runs_text, NULL },
	{ "cpuinfo", cpuinfo_text, NULL },
	{ "extfrag_index", extfrag_index_text, NULL },
	{ "filesystems", filesystems_text, NULL },
	{ "loadavg", loadavg_text, NULL },
	{ "meminfo", meminfo_text, NULL },
	{ "mounts", mounts_text, NULL },
	{ "pressure/memory", pressure_text, NULL },
	{ "slabinfo", slabinfo_text, NULL },
	{ "stat", stat_text, NULL },
	{ "sys/vm/compact_memory", compact_memory_text, compact_memory_store },
	{ "sys/vm/drop_caches", NULL, drop_caches_store },
	{ "sys/vm/extfrag_threshold", extfrag_threshold_text, extfrag_threshold_store },
	{ "sys/vm/overcommit_kbytes", overcommit_kbytes_text, overcommit_kbytes_store },
	{ "sys/vm/overcommit_memory", overcommit_memory_text, overcommit_memory_store },
	{ "sys/vm/overcommit_ratio", overcommit_ratio_text, overcommit_ratio_store },
	{ "sys/vm/replacement", replace_text, replace_choose },
	{ "sys/vm/tlb_flush_ceiling", tlb_ceiling_text, tlb_ceiling_store },
	{ "sys/vm/window", window_text, window_store },
	{ "sys/vm/workingset_window", workingset_window_text, workingset_window_store },
	{ "unusable_index", unusable_index_text, NULL },
	{ "uptime", uptime_text, NULL },
	{ "version", version_text, NULL },
	{ "vmstat", vmstat_text, NULL },
};

static const struct process_file {
	const char *name;
	uint32_t mode;
	void (*write)(struct process *process, struct text *text);
	/* Optional: as above; and in place of write, as a file's read. */
	int (*store)(struct process *process, const char *words);
	int64_t (*read)(const struct process *process, const struct io_vector *vector,
			unsigned count, uint64_t *offset);
} process_files[] = {
	{ "cmdline", 0444, .write = process_cmdline_text },
	{ "comm", 0644, .write = process_comm_text, .store = process_comm_store },
	{ "environ", 0400, .write = process_environ_text },
	{ "maps", 0444, .write = process_maps_text },
	{ "oom_score", 0444, .write = process_oom_score_text },
	{ "oom_score_adj", 0644, .write = process_oom_adjust_text,
	  .store = process_oom_adjust_store },
	{ "pagemap", 0400, .read = process_pagemap_read },
	{ "smaps", 0444, .write = process_smaps_text },
	{ "smaps_rollup", 0444, .write = process_rollup_text },
	{ "stat", 0444, .write = process_stat_text },
	{ "statm", 0444, .write = process_statm_text },
	{ "status", 0444, .write = process_status_text },
};

/* The text of the last link that was read: it is copied before anything else happens. */
static char link_text[PATH_LIMIT];

static const struct file_ops process_file_ops;

static bool grow_text(struct text *text, size_t length)
{
	size_t size = text->size ? text->size : TEXT_FIRST;
	char *grown;

	while (size - text->used < length)
		size *= 2;
	grown = memory_alloc(size);
	if (!grown)
		return false;
	memcpy(grown, text->at, text->used);
	memory_free(text->at);
	text->at = grown;
	text->size = size;
	return true;
}

/* A file's text as it is now. */
static int make_text(struct file *file)
{
	const struct node *node = file->node;
	struct text text = { .grow = grow_text };

	if (node->ops == &process_file_ops) {
		struct process *process = process_find(node->pid);

		if (!process)
			return -ESRCH;
		process_files[node->device].write(process, &text);
	} else if (files[node->device].write) {
		files[node->device].write(&text);
	}
	if (text.failed) {
		memory_free(text.at);
		return -ENOMEM;
	}
	memory_free(file->text);
	file->text = (uint8_t *)text.at;
	file->text_size = text.used;
	return 0;
}

static int64_t proc_read(struct file *file, const struct io_vector *vector, unsigned count,
			 uint64_t *offset)
{
	int error = *offset == 0 || !file->text ? make_text(file) : 0;

	return error ? error : file_read_from(file->text, file->text_size, vector, count, offset);
}

static int64_t process_file_read(struct file *file, const struct io_vector *vector, unsigned count,
				 uint64_t *offset)
{
	const struct process_file *entry = &process_files[file->node->device];
	const struct process *process = process_find(file->node->pid);

	if (!entry->read)
		return proc_read(file, vector, count, offset);
	return process ? entry->read(process, vector, count, offset) : -ESRCH;
}

/* Copies the words that are written, and ends them with a zero; a newline at the end is left
 * out. */
static int64_t take_words(char words[STORE_MAX + 1], const struct io_vector *vector, unsigned count)
{
	if (count != 1 || vector->length > STORE_MAX)
		return -EINVAL;
	if (user_read(words, vector->base, vector->length))
		return -EFAULT;
	words[vector->length] = 0;
	if (vector->length > 0 && words[vector->length - 1] == '\n')
		words[vector->length - 1] = 0;
	return 0;
}

static int64_t global_write(struct file *file, const struct io_vector *vector, unsigned count,
			    uint64_t *offset)
{
	const struct proc_file *entry = &files[file->node->device];
	char words[STORE_MAX + 1];
	int64_t error = entry->store ? take_words(words, vector, count) : -EACCES;

	if (!error)
		error = entry->store(words);
	return error ? error : (int64_t)vector->length;
}

static int64_t process_file_write(struct file *file, const struct io_vector *vector, unsigned count,
				  uint64_t *offset)
{
	const struct process_file *entry = &process_files[file->node->device];
	struct process *process = process_find(file->node->pid);
	char words[STORE_MAX + 1];
	int64_t error = entry->store ? take_words(words, vector, count) : -EACCES;

	if (!error)
		error = process ? entry->store(process, words) : -ESRCH;
	return error ? error : (int64_t)vector->length;
}

static const struct file_ops global_ops = { .read = proc_read,
					    .write = global_write,
					    .seekable = true };
static const struct file_ops process_file_ops = { .read = process_file_read,
						  .write = process_file_write,
						  .seekable = true };

/* Opened through call_openat(), which gives the file that is open already. */
static const struct file_ops open_fd_ops = { .seekable = false };

/* The number that is the name, or -1. */
static int parse_number(const char *name, size_t length)
{
	unsigned number = 0;

	if (length == 0 || (*name == '0' && length > 1))
		return -1;
	for (; length > 0; name++, length--) {
		if (*name < '0' || *name > '9' || number >= TID_MAX)
			return -1;
		number = number * 10 + (*name - '0');
	}
	return (int)number;
}

static uint32_t inode_of(int pid, unsigned which)
{
	return INODE_FIRST | (((uint32_t)pid << INODE_SHIFT) + which);
}

static struct node *add_numbered(struct node *directory, int number, uint32_t mode)
{
	char *name = memory_alloc(NAME_ROOM);
	struct node *node;

	if (!name)
		return NULL;
	format(name, NAME_ROOM, "%d", number);
	node = node_add(directory, name, mode);
	if (!node) {
		memory_free(name);
		return NULL;
	}
	node->own_name = true;
	cache_modified(&node->content);
	return node;
}

static void set_link(struct node *link, const char *text)
{
	string_copy(link_text, text, sizeof(link_text));
	link->content.data = (const uint8_t *)link_text;
	link->content.size = strlen(link_text);
}

/* A node's path; of a node that is in the tree no more the last one it had. */
static void set_link_to(struct node *link, const struct node *to)
{
	static const char deleted[] = " (deleted)";

	set_link(link, "/memfd:");
	if ((*to->name || to == node_root) && node_path(to, link_text, sizeof(link_text)) < 0)
		link_text[0] = 0;
	link->content.size = strlen(link_text);
	if (to->links == 0 && link->content.size + sizeof(deleted) <= sizeof(link_text))
		link->content.size +=
			string_copy(link_text + link->content.size, deleted, sizeof(deleted));
}

/* The targets of exe, cwd and root. */
static struct node *jump_executable(struct node *link)
{
	const struct process *process = process_find(link->pid);

	return process && process->space ? process->executable : NULL;
}

static struct node *jump_directory(struct node *link)
{
	const struct process *process = process_find(link->pid);

	return process && process->space ? process->directory : NULL;
}

static struct node *jump_root(struct node *link)
{
	return process_find(link->pid) ? node_root : NULL;
}

static void refresh_jump(struct node *link)
{
	const struct node *to = link->jump(link);

	if (to)
		set_link_to(link, to);
	else
		set_link(link, "");
}

static const struct process_link {
	const char *name;
	struct node *(*jump)(struct node *link);
} process_links[] = {
	{ "cwd", jump_directory },
	{ "exe", jump_executable },
	{ "root", jump_root },
};

struct file *proc_open_file(const struct node *link)
{
	const struct process *process;

	if (link->ops != &open_fd_ops)
		return NULL;
	process = process_find(link->pid);
	if (!process || !process->files || link->device >= process->files->size)
		return NULL;
	return process->files->slot[link->device].file;
}

/* A file with a node is opened anew; a pipe and the console are the file that is open. */
static struct node *jump_file(struct node *link)
{
	const struct file *file = proc_open_file(link);

	return !file ? NULL : file->node ? file->node : link;
}

static void refresh_file(struct node *link)
{
	const struct file *file = proc_open_file(link);

	if (file && file->node)
		set_link_to(link, file->node);
	else
		set_link(link, "");
	if (file && !file->node)
		link->content.size = format(link_text, sizeof(link_text), "pipe:[%d]", FIFO_INODE);
}

/* As Linux has it: what the descriptor allows, the owner may. */
static uint32_t link_mode(const struct file *file)
{
	static const uint16_t modes[] = { 0500, 0300, 0700, 0700 };

	return MODE_SYMLINK | (file->flags & OPEN_PATH ? 0 : modes[file->flags & OPEN_ACCESS]);
}

static struct node *find_fd(struct node *directory, const char *name, size_t length)
{
	const struct process *process = process_find(directory->pid);
	struct node *link = node_child(directory, name, length);
	int fd = parse_number(name, length);
	const struct file *file = NULL;

	if (process && process->files && fd >= 0 && (unsigned)fd < process->files->size)
		file = process->files->slot[fd].file;
	if (!file) {
		if (link)
			node_remove_all(link);
		return NULL;
	}
	if (!link)
		link = add_numbered(directory, fd, link_mode(file));
	if (!link)
		return NULL;
	link->mode = link_mode(file);
	link->inode = inode_of(directory->pid, INODE_OF_LINKS + fd);
	link->ops = &open_fd_ops;
	link->device = fd;
	link->pid = directory->pid;
	link->jump = jump_file;
	link->refresh = refresh_file;
	return link;
}

static bool next_fd(const struct node *directory, uint64_t position, struct directory_entry *entry)
{
	const struct process *process = process_find(directory->pid);
	const struct file_table *table = process ? process->files : NULL;
	uint64_t fd = position - POSITION_OF_FDS;

	while (table && fd < table->size && !table->slot[fd].file)
		fd++;
	if (!table || fd >= table->size)
		return false;
	format(entry->number, sizeof(entry->number), "%lu", fd);
	entry->name = entry->number;
	entry->inode = inode_of(directory->pid, INODE_OF_LINKS + fd);
	entry->mode = MODE_SYMLINK;
	entry->next = POSITION_OF_FDS + fd + 1;
	return true;
}

static const struct folder_ops fd_folder = { find_fd, next_fd };

/* One of the nodes in a process's directory. */
static struct node *add_inner(struct node *directory, const char *name, uint32_t mode,
			      unsigned which)
{
	struct node *node = node_add(directory, name, mode);

	if (!node)
		return NULL;
	node->pid = directory->pid;
	node->inode = inode_of(directory->pid, INODE_OF_FILES + which);
	node->content.mtime = directory->content.mtime;
	return node;
}

static bool fill_directory(struct node *directory)
{
	struct node *node;
	unsigned which = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(process_files); i++, which++) {
		node = add_inner(directory, process_files[i].name,
				 MODE_REGULAR | process_files[i].mode, which);
		if (!node)
			return false;
		node->ops = &process_file_ops;
		node->device = i;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(process_links); i++, which++) {
		node = add_inner(directory, process_links[i].name, MODE_SYMLINK | 0777, which);
		if (!node)
			return false;
		node->jump = process_links[i].jump;
		node->refresh = refresh_jump;
	}
	node = add_inner(directory, "fd", MODE_DIRECTORY | 0500, which);
	if (!node)
		return false;
	node->fixed = true;
	node->folder = &fd_folder;
	return true;
}

static struct node *directory_of(struct node *proc, struct process *process)
{
	struct node *directory = process->entry;

	if (directory)
		return directory;
	directory = add_numbered(proc, process->pid, MODE_DIRECTORY | 0555);
	if (!directory)
		return NULL;
	directory->pid = process->pid;
	directory->inode = inode_of(process->pid, 0);
	directory->fixed = true;
	if (!fill_directory(directory)) {
		node_remove_all(directory);
		return NULL;
	}
	process->entry = directory;
	return directory;
}

void proc_forget(struct process *process)
{
	if (process->entry)
		node_remove_all(process->entry);
	process->entry = NULL;
}

static struct node *find_process(struct node *proc, const char *name, size_t length)
{
	int pid = parse_number(name, length);
	struct process *process = pid > 0 ? process_find(pid) : NULL;

	if (pid > 0)
		return process ? directory_of(proc, process) : NULL;
	return node_child(proc, name, length);
}

/* The process with the lowest number from `pid` on. */
static const struct process *process_from(uint64_t pid)
{
	const struct process *found = NULL;

	for (const struct process *process = process_list; process; process = process->next) {
		if ((uint64_t)process->pid >= pid && (!found || process->pid < found->pid))
			found = process;
	}
	return found;
}

static bool next_process(const struct node *proc, uint64_t position, struct directory_entry *entry)
{
	const struct process *process;

	while (position < POSITION_OF_PIDS && node_child_at(proc, position, entry)) {
		if (parse_number(entry->name, strlen(entry->name)) < 0)
			return true;
		position = entry->next;
	}
	process = process_from(position < POSITION_OF_PIDS ? 0 : position - POSITION_OF_PIDS);
	if (!process)
		return false;
	format(entry->number, sizeof(entry->number), "%d", process->pid);
	entry->name = entry->number;
	entry->inode = inode_of(process->pid, 0);
	entry->mode = MODE_DIRECTORY;
	entry->next = POSITION_OF_PIDS + process->pid + 1;
	return true;
}

static const struct folder_ops process_folder = { find_process, next_process };

static struct node *folder_of(struct node *directory, const char *name, size_t length)
{
	struct node *folder = node_child(directory, name, length);
	char *copy = folder ? NULL : memory_alloc(length + 1);

	if (!copy)
		return folder;
	string_copy(copy, name, length + 1);
	folder = node_add(directory, copy, MODE_DIRECTORY | 0555);
	if (folder)
		folder->fixed = true;
	return folder;
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
	node->ops = &global_ops;
	node->device = number;
}

/* /proc/self: the process that asks. */
static void refresh_self(struct node *link)
{
	char number[NAME_ROOM];

	format(number, sizeof(number), "%d", current_process()->pid);
	set_link(link, number);
}

void proc_init(void)
{
	struct node *proc = node_child(node_root, "proc", 4), *self;

	if (!proc)
		proc = node_add(node_root, "proc", MODE_DIRECTORY | 0555);
	if (!proc)
		return;
	proc->fixed = true;
	for (unsigned i = 0; i < ARRAY_SIZE(files); i++)
		add_file(proc, i);
	self = node_add(proc, "self", MODE_SYMLINK | 0777);
	if (self)
		self->refresh = refresh_self;
	proc->folder = &process_folder;
}

/* The tree of nodes, and the archive it is read from. */
#include "guest/file/node.h"
#include "guest/file/file.h"
#include "guest/file/permission.h"
#include "guest/lib/errno.h"
#include "guest/lib/string.h"
#include "guest/memory/cache.h"
#include "guest/memory/page.h"
#include "guest/memory/slab.h"
#include "guest/monitor/doorbell.h"

#define LINK_DEPTH_MAX 40

/* cpio "newc": ASCII, each number 8 hexadecimal digits. */
struct cpio_header {
	char magic[6];
	char inode[8], mode[8], uid[8], gid[8], links[8], mtime[8], size[8];
	char dev_major[8], dev_minor[8], rdev_major[8], rdev_minor[8], name_size[8], check[8];
};

struct node *node_root;
static uint32_t inode_last;

static bool parse_hex(const char *digits, uint32_t *value)
{
	*value = 0;
	for (unsigned i = 0; i < 8; i++) {
		char c = digits[i];
		unsigned digit;

		if (c >= '0' && c <= '9')
			digit = c - '0';
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			digit = (c | 0x20) - 'a' + 10;
		else
			return false;
		*value = *value << 4 | digit;
	}
	return true;
}

struct node *node_child(const struct node *directory, const char *name, size_t length)
{
	struct node *node = directory->child;

	for (; node; node = node->sibling) {
		if (!strncmp(node->name, name, length) && !node->name[length])
			return node;
	}
	return NULL;
}

bool node_child_at(const struct node *directory, uint64_t position, struct directory_entry *entry)
{
	const struct node *node = directory->child;

	while (node && node->cookie < position)
		node = node->sibling;
	if (node)
		*entry = (struct directory_entry){ node->name, node->inode, node->mode,
						   node->cookie + 1, "" };
	return node != NULL;
}

static struct node *find_child(struct node *directory, const char *name, size_t length)
{
	if (directory->folder)
		return directory->folder->find(directory, name, length);
	return node_child(directory, name, length);
}

struct node *node_create(const char *name, uint32_t mode)
{
	struct node *node = memory_alloc_zero(sizeof(*node));

	if (!node)
		return NULL;
	node->name = name;
	node->mode = mode;
	node->links = (mode & MODE_TYPE) == MODE_DIRECTORY ? 2 : 1;
	node->inode = ++inode_last;
	node->refs = 1;
	node->ops = (mode & MODE_TYPE) == MODE_DIRECTORY ? &directory_ops : &regular_ops;
	return node;
}

struct node *node_create_unnamed(uint64_t size)
{
	struct node *node = node_create("", MODE_REGULAR | 0600);

	if (node) {
		node->links = 0;
		node->content.size = size;
	}
	return node;
}

struct node *node_get(struct node *node)
{
	node->refs++;
	return node;
}

void node_hold(struct content *content)
{
	node_get(node_of(content));
}

void node_drop(struct content *content)
{
	node_put(node_of(content));
}

void node_put(struct node *node)
{
	while (node && --node->refs == 0) {
		struct node *parent = node->parent;

		cache_finish(&node->content);
		if (node->own_name)
			memory_free((void *)node->name);
		if (node->own_data)
			memory_free((void *)node->content.data);
		memory_free(node);
		node = parent;
	}
}

/* At the end of the list, so that a listing that goes on finds it once. */
static void link_child(struct node *parent, struct node *node)
{
	static uint64_t cookie_last = 2;

	node->parent = node_get(parent);
	node->cookie = ++cookie_last;
	node->sibling = NULL;
	node->previous = parent->last_child;
	if (parent->last_child)
		parent->last_child->sibling = node;
	else
		parent->child = node;
	parent->last_child = node;
}

/* It still holds its parent. */
static void unlink_child(struct node *node)
{
	struct node *parent = node->parent;

	if (node->sibling)
		node->sibling->previous = node->previous;
	else
		parent->last_child = node->previous;
	if (node->previous)
		node->previous->sibling = node->sibling;
	else
		parent->child = node->sibling;
}

struct node *node_add(struct node *parent, const char *name, uint32_t mode)
{
	struct node *node = node_create(name, mode);

	if (node && parent)
		link_child(parent, node);
	return node;
}

static char *copy_name(const char *name, size_t length)
{
	char *copy = memory_alloc(length + 1);

	if (!copy)
		return NULL;
	memcpy(copy, name, length);
	copy[length] = 0;
	return copy;
}

static struct node *add_directory(struct node *parent, const char *name, size_t length)
{
	char *copy = copy_name(name, length);

	return copy ? node_add(parent, copy, MODE_DIRECTORY | 0755) : NULL;
}

/* The node for an archive's path; directories that the archive does not name are made. */
static struct node *make_path(const char *path, uint32_t mode)
{
	struct node *node = node_root;

	for (;;) {
		const char *end;
		struct node *child;

		while (*path == '/' || (path[0] == '.' && (path[1] == '/' || !path[1])))
			path++;
		if (!*path || !node)
			return node;
		for (end = path; *end && *end != '/'; end++)
			;
		child = node_child(node, path, end - path);
		if (!child)
			child = *end ? add_directory(node, path, end - path)
				     : node_add(node, path, mode);
		node = child;
		path = end;
	}
}

/* A file as its header in the archive describes it, checked against the archive's end. */
struct entry {
	const char *name;
	const uint8_t *data;
	uint64_t next; /* offset of the next header */
	uint32_t mode, uid, gid, mtime, size;
};

static bool parse_entry(const uint8_t *archive, uint64_t size, uint64_t at, struct entry *entry)
{
	const struct cpio_header *header = (const void *)(archive + at);
	uint32_t name_size;
	uint64_t data_at;

	if (size - at < sizeof(*header) || memcmp(header->magic, "07070", 5) ||
	    (header->magic[5] != '1' && header->magic[5] != '2'))
		return false;
	if (!parse_hex(header->mode, &entry->mode) || !parse_hex(header->uid, &entry->uid) ||
	    !parse_hex(header->gid, &entry->gid) || !parse_hex(header->mtime, &entry->mtime) ||
	    !parse_hex(header->size, &entry->size) || !parse_hex(header->name_size, &name_size))
		return false;
	if (name_size == 0 || name_size > size - at - sizeof(*header))
		return false;
	entry->name = (const char *)(header + 1);
	if (entry->name[name_size - 1])
		return false;
	data_at = ROUND_UP(at + sizeof(*header) + name_size, 4);
	if (data_at > size || entry->size > size - data_at)
		return false;
	entry->data = archive + data_at;
	entry->next = ROUND_UP(data_at + entry->size, 4);
	return true;
}

static void add_entry(const struct entry *entry)
{
	struct node *node = make_path(entry->name, entry->mode);

	if (!node)
		return;
	node->mode = entry->mode;
	node->uid = entry->uid;
	node->gid = entry->gid;
	node->content.mtime = entry->mtime * 1000000000ull;
	if ((entry->mode & MODE_TYPE) == MODE_DIRECTORY) {
		node->ops = &directory_ops;
		return;
	}
	node->content.data = entry->data;
	node->content.size = node->content.archived = entry->size;
}

/* Zeros may stand between entries, up to a page's end above all. */
static uint64_t skip_padding(const uint8_t *archive, uint64_t size, uint64_t at)
{
	uint64_t page = ROUND_UP(at, PAGE_SIZE);

	if (at >= size || archive[at])
		return at;
	if (page < size && archive[page])
		return page;
	while (at < size && !archive[at])
		at += 4;
	return at;
}

void node_init(const uint8_t *archive, uint64_t size)
{
	struct entry entry;
	uint64_t at = 0;

	node_root = node_add(NULL, "", MODE_DIRECTORY | 0755);
	CHECK(node_root != NULL);
	node_root->parent = node_root;
	while (at < size) {
		if (!parse_entry(archive, size, at, &entry)) {
			log_line(QUIRE_LEVEL_ERROR, "the root archive is broken at byte %lu", at);
			return;
		}
		if (!strcmp(entry.name, "TRAILER!!!"))
			return;
		add_entry(&entry);
		at = skip_padding(archive, size, entry.next);
	}
}

/* A link's target in front of the rest of the path, which is empty or begins with a slash. */
static int splice_link(struct node *link, const char *rest, char *buffer)
{
	size_t rest_length = strlen(rest);

	if (link->refresh)
		link->refresh(link);
	if (link->content.size + rest_length + 1 > PATH_LIMIT)
		return -ENAMETOOLONG;
	memmove(buffer + link->content.size, rest, rest_length + 1);
	memcpy(buffer, link->content.data, link->content.size);
	return 0;
}

/* The walk goes on at *child, or where that is NULL then at *node with *path. */
static int follow_link(struct node **node, struct node **child, const char **path, char *buffer,
		       unsigned *links)
{
	int error;

	if (++*links > LINK_DEPTH_MAX)
		return -ELOOP;
	if ((*child)->jump) {
		*child = (*child)->jump(*child);
		return *child ? 0 : -ENOENT;
	}
	error = splice_link(*child, *path, buffer);
	*path = buffer;
	*node = **path == '/' ? node_root : *node;
	*child = NULL;
	return error;
}

static int walk(struct node *from, const char *path, bool follow, char *buffer, struct node **found)
{
	struct node *node = *path == '/' ? node_root : from;
	unsigned links = 0;
	int error;

	for (;;) {
		const char *end;
		struct node *child;
		bool last;

		while (*path == '/')
			path++;
		if (!*path)
			break;
		if ((node->mode & MODE_TYPE) != MODE_DIRECTORY)
			return -ENOTDIR;
		if (!permission_allows(node, MAY_EXECUTE))
			return -EACCES;
		for (end = path; *end && *end != '/'; end++)
			;
		if (end - path > NAME_LIMIT)
			return -ENAMETOOLONG;
		if (end - path <= 2 && path[0] == '.' && (end - path == 1 || path[1] == '.'))
			child = end - path == 1 ? node : node->parent;
		else
			child = find_child(node, path, end - path);
		if (!child)
			return -ENOENT;
		for (last = true, path = end; *end; end++)
			last = last && *end == '/';
		if ((child->mode & MODE_TYPE) == MODE_SYMLINK && (follow || !last || *path)) {
			error = follow_link(&node, &child, &path, buffer, &links);
			if (error)
				return error;
			if (!child)
				continue;
		}
		if (last && *path && (child->mode & MODE_TYPE) != MODE_DIRECTORY)
			return -ENOTDIR;
		node = child;
	}
	*found = node;
	return 0;
}

int node_lookup(struct node *from, const char *path, bool follow, struct node **found)
{
	char *buffer;
	int error;

	if (!*path)
		return -ENOENT;
	buffer = memory_alloc(PATH_LIMIT);
	if (!buffer)
		return -ENOMEM;
	error = walk(from, path, follow, buffer, found);
	memory_free(buffer);
	return error;
}

int node_place(struct node *from, const char *path, struct node **directory, const char **name,
	       size_t *length)
{
	const char *end = path + strlen(path), *start;
	char *upper;
	int error;

	if (!*path)
		return -ENOENT;
	while (end > path && end[-1] == '/')
		end--;
	for (start = end; start > path && start[-1] != '/'; start--)
		;
	if (end - start > NAME_LIMIT)
		return -ENAMETOOLONG;
	*name = start;
	*length = end - start;
	/* "/", ".", "..": nothing can be made there. */
	if (start == end || (*length <= 2 && start[0] == '.' && (*length == 1 || start[1] == '.')))
		return -EEXIST;
	if (start == path) {
		*directory = from;
		return 0;
	}
	upper = copy_name(path, start - path);
	if (!upper)
		return -ENOMEM;
	error = node_lookup(from, upper, true, directory);
	memory_free(upper);
	if (!error && ((*directory)->mode & MODE_TYPE) != MODE_DIRECTORY)
		error = -ENOTDIR;
	return error;
}

int node_make(struct node *from, const char *path, uint32_t mode, struct node **made)
{
	struct node *directory;
	const char *name;
	char *copy;
	size_t length;
	int error = node_place(from, path, &directory, &name, &length);

	if (error)
		return error;
	if (node_child(directory, name, length))
		return -EEXIST;
	if (directory->fixed || !permission_allows(directory, MAY_WRITE | MAY_EXECUTE))
		return -EACCES;
	/* Removed while it is somebody's current directory. */
	if (directory->links == 0)
		return -ENOENT;
	copy = copy_name(name, length);
	*made = copy ? node_add(directory, copy, mode) : NULL;
	if (!*made) {
		memory_free(copy);
		return -ENOMEM;
	}
	(*made)->own_name = true;
	permission_give(*made);
	cache_modified(&(*made)->content);
	cache_modified(&directory->content);
	directory->links += (mode & MODE_TYPE) == MODE_DIRECTORY;
	return 0;
}

static int may_remove(const struct node *node, bool directory)
{
	bool is_directory = (node->mode & MODE_TYPE) == MODE_DIRECTORY;

	if (node == node_root)
		return -EBUSY;
	if (node->parent->fixed || node->fixed || !permission_to_remove(node))
		return -EACCES;
	if (directory && !is_directory)
		return -ENOTDIR;
	if (!directory && is_directory)
		return -EISDIR;
	return is_directory && node->child ? -ENOTEMPTY : 0;
}

int node_remove(struct node *node, bool directory)
{
	int error = may_remove(node, directory);

	if (error)
		return error;
	unlink_child(node);
	cache_modified(&node->parent->content);
	node->parent->links -= directory;
	node->links = 0;
	node_put(node);
	return 0;
}

void node_remove_all(struct node *directory)
{
	while (directory->child)
		node_remove_all(directory->child);
	unlink_child(directory);
	directory->links = 0;
	directory->pid = 0;
	node_put(directory);
}

static bool is_inside(const struct node *node, const struct node *directory)
{
	for (; node != node_root; node = node->parent) {
		if (node == directory)
			return true;
	}
	return false;
}

int node_move(struct node *node, struct node *from, const char *path, bool replace)
{
	bool is_directory = (node->mode & MODE_TYPE) == MODE_DIRECTORY;
	struct node *directory, *there;
	const char *name;
	char *copy;
	size_t length;
	int error = node_place(from, path, &directory, &name, &length);

	if (error)
		return error == -EEXIST ? -EBUSY : error;
	if (node == node_root)
		return -EBUSY;
	if (directory->fixed || node->parent->fixed || node->fixed || !permission_to_remove(node) ||
	    !permission_allows(directory, MAY_WRITE | MAY_EXECUTE))
		return -EACCES;
	if (is_directory && is_inside(directory, node))
		return -EINVAL;
	there = node_child(directory, name, length);
	if (there == node)
		return 0;
	if (there && !replace)
		return -EEXIST;
	copy = copy_name(name, length);
	if (!copy)
		return -ENOMEM;
	error = there ? node_remove(there, is_directory) : 0;
	if (error) {
		memory_free(copy);
		return error;
	}
	unlink_child(node);
	node->parent->links -= is_directory;
	node_put(node->parent);
	directory->links += is_directory;
	if (node->own_name)
		memory_free((void *)node->name);
	node->name = copy;
	node->own_name = true;
	link_child(directory, node);
	cache_modified(&directory->content);
	return 0;
}

int64_t node_path(const struct node *node, char *buffer, size_t size)
{
	char reversed[64 * 8];
	size_t at = sizeof(reversed), length;

	reversed[--at] = 0;
	if (node == node_root)
		reversed[--at] = '/';
	for (; node != node_root; node = node->parent) {
		length = strlen(node->name);
		if (length + 1 > at)
			return -ERANGE;
		at -= length;
		memcpy(reversed + at, node->name, length);
		reversed[--at] = '/';
	}
	length = sizeof(reversed) - at;
	if (length > size)
		return -ERANGE;
	memcpy(buffer, reversed + at, length);
	return length;
}

/*
 * Nodes: the files and directories of the root, made once from the root archive (cpio "newc") that
 * the monitor put in memory. A regular file's bytes stay where they are in the archive. The root is
 * read-only.
 */
#ifndef GUEST_FILE_NODE_H
#define GUEST_FILE_NODE_H

#include "guest/lib/types.h"

#define MODE_TYPE      0170000
#define MODE_FIFO      0010000
#define MODE_CHARACTER 0020000
#define MODE_DIRECTORY 0040000
#define MODE_REGULAR   0100000
#define MODE_SYMLINK   0120000

struct file_ops;
struct area;

struct node {
	struct node *parent, *child, *sibling;
	const char *name;
	const uint8_t *data; /* file's bytes or link's target, in the archive */
	uint64_t size;
	uint32_t mode, uid, gid, links, mtime;
	uint32_t inode;
	uint32_t device;	    /* of a character device: major << 8 | minor */
	const struct file_ops *ops; /* how an open file of it behaves */
	struct area *mappings;	    /* areas that map it (memory/space.h) */
	uint32_t refs;		    /* STUB */
	uint32_t *cache;	    /* STUB: frames by page, or NULL */
};

#define PATH_LIMIT 4096
#define NAME_LIMIT 255

/* Reads the archive of `size` bytes at `archive`. A broken one ends where it breaks, with a line of
 * the log. */
void node_init(const uint8_t *archive, uint64_t size);

extern struct node *node_root;

/* Walks `path` from `from`. follow: a link at the end is followed. 0 or -errno, result through
 * *found. */
int node_lookup(struct node *from, const char *path, bool follow, struct node **found);

/* The child with this name of `length` bytes, or NULL. */
struct node *node_child(const struct node *directory, const char *name, size_t length);

/* Adds a child; the name must stay. NULL when memory is out. */
struct node *node_add(struct node *parent, const char *name, uint32_t mode);

/* The node's path from the root, into buffer. Returns its length with the final 0, or -ERANGE. */
int64_t node_path(const struct node *node, char *buffer, size_t size);

#endif

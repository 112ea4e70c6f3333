/*
 * Nodes: the files and directories of the root. They begin as the root archive (cpio "newc") that
 * the monitor put in memory; a regular file's bytes stay where they are there until they are
 * written (memory/cache.h). A node has one name: there are no hard links.
 *
 * A node lives while it is in the tree (one reference) or somebody holds it: an open file, a
 * mapping, a process's directory or program, or a node below it. So `parent` is there as long as
 * the node is.
 */
#ifndef GUEST_FILE_NODE_H
#define GUEST_FILE_NODE_H

#include "guest/lib/types.h"
#include "guest/memory/cache.h"

#define MODE_TYPE      0170000
#define MODE_FIFO      0010000
#define MODE_CHARACTER 0020000
#define MODE_DIRECTORY 0040000
#define MODE_BLOCK     0060000
#define MODE_REGULAR   0100000
#define MODE_SYMLINK   0120000

struct file_lock;
struct file_ops;
struct node;

/* A line of a directory's list. */
struct directory_entry {
	const char *name;
	uint32_t inode, mode;
	uint64_t next;	 /* position behind it */
	char number[16]; /* room for a name that is made up */
};

/* A directory whose content the kernel makes up on demand. */
struct folder_ops {
	/* the child, which stays in the tree for at least the current system call, or NULL */
	struct node *(*find)(struct node *directory, const char *name, size_t length);
	/* the entry at or behind the position, which is 2 or more; false at the end */
	bool (*next)(const struct node *directory, uint64_t position,
		     struct directory_entry *entry);
};

struct node {
	struct content content; /* the first: node_of() */
	struct node *parent, *child, *last_child, *sibling, *previous;
	const char *name;
	struct file_lock *locks; /* lock.h */
	uint32_t refs;
	uint32_t mode, uid, gid, links;
	uint32_t inode;
	uint32_t device;		    /* of a device: major << 8 | minor */
	uint64_t cookie;		    /* its place in the directory's list, for getdents */
	const struct file_ops *ops;	    /* how an open file of it behaves */
	void (*refresh)(struct node *link); /* or NULL: makes a link's target before it is read */
	/* or NULL: where a link leads, whatever its text says; itself: it is not to be followed */
	struct node *(*jump)(struct node *link);
	const struct folder_ops *folder; /* or NULL */
	int pid;			 /* whose it is, below /proc; 0: nobody's (any more) */
	bool own_name, own_data;	 /* by memory_alloc() */
	bool fixed; /* a directory of the kernel's: nothing is added or removed */
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

/* The child with this name of `length` bytes, or NULL. Of a directory with folder ops: one of those
 * that are there without them. */
struct node *node_child(const struct node *directory, const char *name, size_t length);
bool node_child_at(const struct node *directory, uint64_t position, struct directory_entry *entry);

/* Adds a child; the name must stay. NULL when memory is out. */
struct node *node_add(struct node *parent, const char *name, uint32_t mode);

/* A node in no tree, whose one reference is the caller's. NULL when memory is out. */
struct node *node_create(const char *name, uint32_t mode);

/* A file of no name, `size` bytes, all hole; the caller has its one reference. NULL: memory is out.
 */
struct node *node_create_unnamed(uint64_t size);

/* The node that has this content; NULL for NULL. */
static inline struct node *node_of(struct content *content)
{
	return (struct node *)content;
}

struct node *node_get(struct node *node);
void node_put(struct node *node);

/* The same for callers that have only the content. */
void node_hold(struct content *content);
void node_drop(struct content *content);

/* Where a new name would be: the directory, and the last word of the path, `length` bytes at *name.
 * 0 or -errno. */
int node_place(struct node *from, const char *path, struct node **directory, const char **name,
	       size_t *length);

/* Makes a node of `mode` there, in the tree. 0, -EEXIST, -ENOMEM and the like. */
int node_make(struct node *from, const char *path, uint32_t mode, struct node **made);

/* Takes a node out of the tree. directory: it must be one, and empty; else it must be none. */
int node_remove(struct node *node, bool directory);

/* Takes a directory of the kernel's and all in it out of the tree; a node of it that somebody holds
 * stays, as nobody's. */
void node_remove_all(struct node *directory);

/* Moves a node to another place. replace: a node that is there may go. */
int node_move(struct node *node, struct node *from, const char *path, bool replace);

/* The node's path from the root, into buffer. Returns its length with the final 0, or -ERANGE. Not
 * for a node that never had a place. */
int64_t node_path(const struct node *node, char *buffer, size_t size);

#endif

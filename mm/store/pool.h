/*
 * The compressed pool: small objects, one per stored page, in host memory. Size classes in blocks
 * of POOL_BLOCK_SIZE; empty blocks go back to the host. The caller's lock covers every call but
 * pool_trim_give().
 *
 * Each object keeps its owner (a frame number), a length and a checksum that the caller chose and
 * verifies. Handles are 32 bits; an object may be moved, and then moved() is called.
 */
#ifndef MM_STORE_POOL_H
#define MM_STORE_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define POOL_BLOCK_SIZE	 (32u * 1024)
#define POOL_HEADER_SIZE 16u
#define POOL_OBJECT_MAX	 3624u /* bytes: the largest class less its header */

struct pool;

struct pool_host {
	/* Asked before host memory is taken: false refuses. */
	bool (*charge)(void *context, uint64_t bytes);
	/* Told after it was given back. */
	void (*uncharge)(void *context, uint64_t bytes);
	/* The owner's object has a new handle. */
	void (*moved)(void *context, uint32_t owner, uint32_t handle);
	void *context;
};

struct pool_object {
	uint32_t owner;
	uint32_t length; /* bytes */
	uint64_t checksum;
};

/* Address space for max_bytes of blocks, or 256 GiB; no memory is held yet. 0 or -ENOMEM. */
int pool_create(uint64_t max_bytes, const struct pool_host *host, struct pool **pool);
void pool_destroy(struct pool *pool); /* gives every block back, without uncharge(); takes NULL */

/*
 * Host memory of the pool's own tables, in bytes: at the start, and with all blocks in use. Growth
 * in between is charged along with the blocks, and stays.
 */
uint64_t pool_table_bytes_least(void);
uint64_t pool_table_bytes(uint64_t max_bytes);

/*
 * Keep length bytes (1 .. POOL_OBJECT_MAX). 0 and *handle, or -ENOMEM: no block may be had and
 * no larger class has room.
 */
int pool_store(struct pool *pool, const struct pool_object *object, const void *data,
	       uint32_t *handle);

/* Copy the object out: data has room for POOL_OBJECT_MAX bytes. */
void pool_load(const struct pool *pool, uint32_t handle, struct pool_object *object, void *data);

void pool_free(struct pool *pool, uint32_t handle);

/*
 * Empty blocks are given back to the host once there are more than will soon be used again; until
 * then they stay charged. Three steps, for the second is done without the lock: taking a few blocks
 * out of use (false: none is due), giving their memory back, and ending their charge.
 */
#define POOL_TRIM_MAX 16

struct pool_trim {
	uint32_t blocks[POOL_TRIM_MAX];
	unsigned count;
};

bool pool_trim_begin(struct pool *pool, struct pool_trim *trim);
void pool_trim_give(const struct pool *pool, const struct pool_trim *trim);
void pool_trim_end(struct pool *pool, const struct pool_trim *trim);

/*
 * Moves the objects of sparse blocks into fuller ones of their class, for at most max_blocks
 * blocks, where that gives blocks back. Returns how many went. Takes a few microseconds a block.
 */
unsigned pool_compact(struct pool *pool, unsigned max_blocks);

/*
 * The owners of the objects in the oldest blocks (by when the block was opened), whole blocks at a
 * time, up to max owners; how many. A block of more than max objects holds many pages for its
 * bytes: it is passed over, or, if dense ones are wanted too and nothing else was found before it,
 * so many of its owners are named, and it takes no new objects until it is empty. *cursor starts at
 * 0 and continues a walk while the lock is held; it is 0 again at the end.
 */
unsigned pool_oldest(struct pool *pool, uint32_t *cursor, bool dense, uint32_t *owners,
		     unsigned max);

uint64_t pool_bytes(const struct pool *pool);  /* what it has charged: all blocks, their table */
uint64_t pool_stored(const struct pool *pool); /* bytes of live objects */
uint32_t pool_objects(const struct pool *pool);

/* Verify the identities in pool.c. Prints breaches to out (may be NULL); how many. */
int pool_check(const struct pool *pool, FILE *out);

#endif

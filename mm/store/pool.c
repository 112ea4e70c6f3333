/*
 * How it works. A reserved range of address space is cut in blocks of POOL_BLOCK_SIZE. A block
 * belongs to one class while it is in use and holds per_block[class] slots of equal size, each with
 * a header. A slot never used lies beyond the block's `bump`; a slot freed is chained through its
 * header. The classes follow from slots per block, closely enough that rounding up costs 4% on
 * average.
 *
 * A class keeps its blocks in groups by fullness. Stores go to the fullest block that has room, so
 * that sparse blocks drain; compaction empties the sparsest of a class into the others once the
 * class has more than a block's worth of free slots to spare. All blocks in use are also on one
 * list by age, which is what write-back to the swap follows. A block that is written back by parts
 * is closed to stores, or young objects would take the places of the old ones as fast as they go.
 *
 * An emptied block is a spare, charged all the same. All but a few spares go back to the host with
 * the next trim; those few stay, because a block given back and faulted in anew costs several
 * microseconds.
 *
 * Invariants (pool_check):
 *   charged == (blocks in use + spare blocks + leaving blocks) * POOL_BLOCK_SIZE +
 *              table_bytes(blocks ever used)
 *   a block in use has 1 .. per_block live slots and lies in the group of its fullness
 *   the live slots' lengths sum up to `stored`, their number to `objects`
 */
#include "mm/store/pool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/addr.h"
#include "base/check.h"
#include "base/lock.h"

#define NO_BLOCK     UINT32_MAX
#define NO_SLOT	     UINT16_MAX
#define SLOT_BITS    9
#define GROUP_COUNT  4 /* fullness quarters; full blocks are in GROUP_FULL */
#define GROUP_FULL   GROUP_COUNT
#define LENGTH_FREE  0 /* in a header: the slot is free */
#define SPARES_MIN   2
#define SPARES_SHARE 64 /* one spare block to so many in use */
#define LARGER_TRIED 4	/* larger classes a store may borrow from when no block is to be had */

/* Slots per block, by class; sizes are what the block divided by that gives, to 8 bytes. */
static const uint16_t per_block[] = { 9,  10, 11, 12, 13, 14, 15, 16, 17,  18,	20,  22, 24,
				      27, 30, 34, 38, 43, 50, 60, 75, 100, 150, 250, 512 };
#define CLASS_COUNT (sizeof(per_block) / sizeof(per_block[0]))

struct slot_header {
	uint64_t checksum;
	uint32_t owner;	 /* of a free slot: the next free one */
	uint16_t length; /* LENGTH_FREE, or bytes after the header */
	uint16_t unused;
};
_Static_assert(sizeof(struct slot_header) == POOL_HEADER_SIZE, "header size");

struct block {
	uint32_t prev, next; /* in the group; next also chains spares and given-back blocks */
	uint32_t older, newer;
	uint16_t live;
	uint16_t bump; /* slots from here on were never used */
	uint16_t free; /* chain of freed slots */
	uint8_t class;
	uint8_t group;
	bool closed; /* counts as full */
};

struct size_class {
	uint32_t size;
	uint32_t slots;	       /* per block */
	uint64_t blocks, live; /* closed blocks are not counted */
	uint32_t group[GROUP_COUNT + 1];
};

struct pool {
	struct pool_host host;
	char *base;
	size_t mapped; /* bytes of address space */
	struct block *blocks;
	uint32_t block_max, block_bump;
	uint32_t spare, spare_count; /* empty, memory kept */
	uint32_t leaving;	     /* blocks between pool_trim_begin() and pool_trim_end() */
	uint32_t given_back;	     /* empty, memory gone */
	uint32_t oldest, newest;
	uint32_t used_count;
	uint64_t charged, stored;
	uint32_t objects;
	struct size_class class[CLASS_COUNT];
};

static struct slot_header *slot_at(const struct pool *pool, uint32_t block, uint32_t slot)
{
	size_t size = pool->class[pool->blocks[block].class].size;

	return (struct slot_header *)(pool->base + (size_t)block * POOL_BLOCK_SIZE + slot * size);
}

/* The most blocks, as far as handles can name them: 256 GiB of compressed pages, whatever the
 * guest's size. */
static uint32_t block_max_of(uint64_t max_bytes)
{
	uint64_t blocks = max_bytes / POOL_BLOCK_SIZE + 1, most = (1u << (32 - SLOT_BITS)) - 1;

	return (uint32_t)(blocks < most ? blocks : most);
}

/* Host memory of the block table while so many blocks have been used. */
static uint64_t table_bytes(uint64_t blocks)
{
	return (blocks * sizeof(struct block) + PAGE_SIZE - 1) & PAGE_MASK;
}

uint64_t pool_table_bytes_least(void)
{
	return sizeof(struct pool);
}

uint64_t pool_table_bytes(uint64_t max_bytes)
{
	return sizeof(struct pool) + table_bytes(block_max_of(max_bytes));
}

int pool_create(uint64_t max_bytes, const struct pool_host *host, struct pool **out)
{
	struct pool *pool = calloc(1, sizeof(*pool));
	size_t table;

	if (pool == NULL)
		return -ENOMEM;
	pool->host = *host;
	pool->block_max = block_max_of(max_bytes);
	pool->mapped = (size_t)pool->block_max * POOL_BLOCK_SIZE;
	table = (size_t)pool->block_max * sizeof(struct block);
	pool->base = mmap(NULL, pool->mapped, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	pool->blocks = mmap(NULL, table, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (pool->base == MAP_FAILED || pool->blocks == MAP_FAILED) {
		pool_destroy(pool);
		return -ENOMEM;
	}
	/* No guest data in core dumps; huge pages would hold more memory than is charged. */
	madvise(pool->base, pool->mapped, MADV_DONTDUMP);
	madvise(pool->base, pool->mapped, MADV_NOHUGEPAGE);
	pool->spare = pool->given_back = pool->oldest = pool->newest = NO_BLOCK;
	for (size_t c = 0; c < CLASS_COUNT; c++) {
		pool->class[c].size = POOL_BLOCK_SIZE / per_block[c] & ~7u;
		pool->class[c].slots = per_block[c];
		for (unsigned g = 0; g <= GROUP_COUNT; g++)
			pool->class[c].group[g] = NO_BLOCK;
	}
	CHECK(pool->class[0].size - POOL_HEADER_SIZE == POOL_OBJECT_MAX);
	*out = pool;
	return 0;
}

void pool_destroy(struct pool *pool)
{
	if (pool == NULL)
		return;
	if (pool->base != NULL && pool->base != MAP_FAILED)
		munmap(pool->base, pool->mapped);
	if (pool->blocks != NULL && pool->blocks != MAP_FAILED)
		munmap(pool->blocks, (size_t)pool->block_max * sizeof(struct block));
	free(pool);
}

static unsigned group_of(const struct pool *pool, const struct block *b)
{
	uint32_t slots = pool->class[b->class].slots;

	return b->live == slots || b->closed ? GROUP_FULL : b->live * GROUP_COUNT / slots;
}

static void group_remove(struct pool *pool, uint32_t id)
{
	struct block *b = &pool->blocks[id];

	if (b->prev != NO_BLOCK)
		pool->blocks[b->prev].next = b->next;
	else
		pool->class[b->class].group[b->group] = b->next;
	if (b->next != NO_BLOCK)
		pool->blocks[b->next].prev = b->prev;
}

static void group_add(struct pool *pool, uint32_t id)
{
	struct block *b = &pool->blocks[id];
	uint32_t *head;

	b->group = (uint8_t)group_of(pool, b);
	head = &pool->class[b->class].group[b->group];
	b->prev = NO_BLOCK;
	b->next = *head;
	if (*head != NO_BLOCK)
		pool->blocks[*head].prev = id;
	*head = id;
}

static void regroup(struct pool *pool, uint32_t id)
{
	if (pool->blocks[id].group == group_of(pool, &pool->blocks[id]))
		return;
	group_remove(pool, id);
	group_add(pool, id);
}

/* An empty block: a spare, one given back before, or one never used. NO_BLOCK: refused. */
static uint32_t block_obtain(struct pool *pool)
{
	uint32_t id = pool->spare;
	uint64_t bytes = POOL_BLOCK_SIZE;

	if (id != NO_BLOCK) {
		pool->spare = pool->blocks[id].next;
		pool->spare_count--;
		return id;
	}
	id = pool->given_back;
	if (id == NO_BLOCK && pool->block_bump == pool->block_max)
		return NO_BLOCK;
	if (id == NO_BLOCK)
		bytes += table_bytes(pool->block_bump + 1) - table_bytes(pool->block_bump);
	if (!pool->host.charge(pool->host.context, bytes))
		return NO_BLOCK;
	pool->charged += bytes;
	if (id != NO_BLOCK)
		pool->given_back = pool->blocks[id].next;
	else
		id = pool->block_bump++;
	return id;
}

static uint32_t block_open(struct pool *pool, unsigned class)
{
	uint32_t id = block_obtain(pool);
	struct block *b;

	if (id == NO_BLOCK)
		return NO_BLOCK;
	b = &pool->blocks[id];
	*b = (struct block){
		.class = (uint8_t) class, .free = NO_SLOT, .older = pool->newest, .newer = NO_BLOCK
	};
	if (pool->newest != NO_BLOCK)
		pool->blocks[pool->newest].newer = id;
	else
		pool->oldest = id;
	pool->newest = id;
	pool->used_count++;
	pool->class[class].blocks++;
	group_add(pool, id);
	return id;
}

bool pool_trim_begin(struct pool *pool, struct pool_trim *trim)
{
	trim->count = 0;
	while (trim->count < POOL_TRIM_MAX &&
	       pool->spare_count > SPARES_MIN + pool->used_count / SPARES_SHARE) {
		uint32_t id = pool->spare;

		pool->spare = pool->blocks[id].next;
		pool->spare_count--;
		trim->blocks[trim->count++] = id;
	}
	pool->leaving += trim->count;
	return trim->count > 0;
}

void pool_trim_give(const struct pool *pool, const struct pool_trim *trim)
{
	LOCK_CHECK();
	for (unsigned i = 0; i < trim->count; i++)
		madvise(pool->base + (size_t)trim->blocks[i] * POOL_BLOCK_SIZE, POOL_BLOCK_SIZE,
			MADV_DONTNEED);
}

void pool_trim_end(struct pool *pool, const struct pool_trim *trim)
{
	uint64_t bytes = (uint64_t)trim->count * POOL_BLOCK_SIZE;

	for (unsigned i = 0; i < trim->count; i++) {
		pool->blocks[trim->blocks[i]].next = pool->given_back;
		pool->given_back = trim->blocks[i];
	}
	pool->leaving -= trim->count;
	pool->charged -= bytes;
	pool->host.uncharge(pool->host.context, bytes);
}

static void block_close(struct pool *pool, uint32_t id)
{
	struct block *b = &pool->blocks[id];

	group_remove(pool, id);
	if (b->older != NO_BLOCK)
		pool->blocks[b->older].newer = b->newer;
	else
		pool->oldest = b->newer;
	if (b->newer != NO_BLOCK)
		pool->blocks[b->newer].older = b->older;
	else
		pool->newest = b->older;
	pool->used_count--;
	pool->class[b->class].blocks -= !b->closed;
	b->next = pool->spare;
	pool->spare = id;
	pool->spare_count++;
}

/* The smallest class that holds length bytes. */
static unsigned class_of(const struct pool *pool, uint32_t length)
{
	unsigned low = 0, high = CLASS_COUNT - 1; /* sizes fall */

	while (low < high) {
		unsigned middle = (low + high + 1) / 2;

		if (pool->class[middle].size - POOL_HEADER_SIZE >= length)
			low = middle;
		else
			high = middle - 1;
	}
	return low;
}

/* The fullest block of the class that has room. */
static uint32_t block_with_room(const struct pool *pool, unsigned class)
{
	for (int g = GROUP_COUNT - 1; g >= 0; g--)
		if (pool->class[class].group[g] != NO_BLOCK)
			return pool->class[class].group[g];
	return NO_BLOCK;
}

static uint32_t put(struct pool *pool, uint32_t id, const struct pool_object *object,
		    const void *data)
{
	struct block *b = &pool->blocks[id];
	uint32_t slot = b->free;
	struct slot_header *header;

	if (slot != NO_SLOT) {
		header = slot_at(pool, id, slot);
		b->free = (uint16_t)header->owner;
	} else {
		slot = b->bump++;
		header = slot_at(pool, id, slot);
	}
	*header = (struct slot_header){ object->checksum, object->owner, (uint16_t)object->length,
					0 };
	memcpy(header + 1, data, object->length);
	b->live++;
	pool->class[b->class].live++;
	regroup(pool, id);
	return id << SLOT_BITS | slot;
}

/* Without the accounting of bytes and objects: also for moving. */
static void take(struct pool *pool, uint32_t id, uint32_t slot)
{
	struct block *b = &pool->blocks[id];
	struct slot_header *header = slot_at(pool, id, slot);

	CHECK(slot < b->bump && header->length != LENGTH_FREE);
	header->length = LENGTH_FREE;
	header->owner = b->free;
	b->free = (uint16_t)slot;
	b->live--;
	pool->class[b->class].live -= !b->closed;
	if (b->live == 0)
		block_close(pool, id);
	else
		regroup(pool, id);
}

int pool_store(struct pool *pool, const struct pool_object *object, const void *data,
	       uint32_t *handle)
{
	unsigned class = class_of(pool, object->length);
	uint32_t id = block_with_room(pool, class);

	CHECK(object->length >= 1 && object->length <= POOL_OBJECT_MAX);
	if (id == NO_BLOCK)
		id = block_open(pool, class);
	for (unsigned i = 0; id == NO_BLOCK && i<LARGER_TRIED &&class> 0; i++)
		id = block_with_room(pool, --class);
	if (id == NO_BLOCK)
		return -ENOMEM;
	*handle = put(pool, id, object, data);
	pool->stored += object->length;
	pool->objects++;
	return 0;
}

static struct slot_header *header_of(const struct pool *pool, uint32_t handle)
{
	uint32_t id = handle >> SLOT_BITS, slot = handle & ((1u << SLOT_BITS) - 1);
	struct slot_header *header;

	CHECK(id < pool->block_bump && slot < pool->blocks[id].bump);
	header = slot_at(pool, id, slot);
	CHECK(header->length != LENGTH_FREE);
	return header;
}

void pool_load(const struct pool *pool, uint32_t handle, struct pool_object *object, void *data)
{
	const struct slot_header *header = header_of(pool, handle);

	*object = (struct pool_object){ header->owner, header->length, header->checksum };
	CHECK(header->length <= POOL_OBJECT_MAX);
	memcpy(data, header + 1, header->length);
}

void pool_free(struct pool *pool, uint32_t handle)
{
	pool->stored -= header_of(pool, handle)->length;
	pool->objects--;
	take(pool, handle >> SLOT_BITS, handle & ((1u << SLOT_BITS) - 1));
}

/* Move every object of block id into other blocks of its class, which have the room. */
static void evacuate(struct pool *pool, uint32_t id)
{
	struct block *b = &pool->blocks[id];
	uint32_t left = b->live;

	for (uint32_t slot = 0; left > 0; slot++) {
		struct slot_header *header = slot_at(pool, id, slot);
		struct pool_object object;
		uint32_t target, handle;

		if (header->length == LENGTH_FREE)
			continue;
		target = block_with_room(pool, b->class);
		if (target == id) /* the sparsest is in the last group: others are behind it */
			target = b->next;
		if (target == NO_BLOCK)
			return;
		object = (struct pool_object){ header->owner, header->length, header->checksum };
		handle = put(pool, target, &object, header + 1);
		pool->host.moved(pool->host.context, object.owner, handle);
		take(pool, id, slot); /* the last one closes the block */
		left--;
	}
}

/* The sparsest of the first blocks in the class's lowest group. */
static uint32_t sparsest(const struct pool *pool, unsigned class)
{
	uint32_t best = NO_BLOCK;

	for (unsigned g = 0; g < GROUP_COUNT && best == NO_BLOCK; g++) {
		uint32_t id = pool->class[class].group[g];

		for (int i = 0; i < 16 && id != NO_BLOCK; i++, id = pool->blocks[id].next)
			if (best == NO_BLOCK || pool->blocks[id].live < pool->blocks[best].live)
				best = id;
	}
	return best;
}

unsigned pool_compact(struct pool *pool, unsigned max_blocks)
{
	unsigned done = 0;

	for (unsigned class = 0; class < CLASS_COUNT; class ++) {
		const struct size_class *c = &pool->class[class];

		/* Free slots: worth it from an eighth of the class on, and two blocks at least. */
		while (done < max_blocks) {
			uint64_t free = c->blocks * c->slots - c->live;

			uint32_t id = sparsest(pool, class);

			if (free < 2 * c->slots || free * 8 < c->blocks * c->slots ||
			    id == NO_BLOCK)
				break;
			evacuate(pool, id);
			done++;
		}
	}
	return done;
}

static void close_to_stores(struct pool *pool, uint32_t id)
{
	struct block *b = &pool->blocks[id];

	if (b->closed)
		return;
	pool->class[b->class].blocks--;
	pool->class[b->class].live -= b->live;
	b->closed = true;
	regroup(pool, id);
}

/* The block's owners, up to max. */
static unsigned owners_of(const struct pool *pool, uint32_t id, uint32_t *owners, unsigned max)
{
	unsigned count = 0;

	for (uint32_t slot = 0; slot < pool->blocks[id].bump && count < max; slot++) {
		const struct slot_header *header = slot_at(pool, id, slot);

		if (header->length != LENGTH_FREE)
			owners[count++] = header->owner;
	}
	return count;
}

unsigned pool_oldest(struct pool *pool, uint32_t *cursor, bool dense, uint32_t *owners,
		     unsigned max)
{
	uint32_t id = *cursor == 0 ? pool->oldest : *cursor - 1;
	unsigned count = 0;

	for (; id != NO_BLOCK && count < max; id = pool->blocks[id].newer) {
		struct block *b = &pool->blocks[id];

		if (b->live > max && !dense)
			continue;
		if (count + b->live > max && count > 0)
			break;
		if (b->live > max)
			close_to_stores(pool, id);
		count += owners_of(pool, id, owners + count, max - count);
	}
	*cursor = id + 1; /* NO_BLOCK + 1 is 0 */
	return count;
}

uint64_t pool_bytes(const struct pool *pool)
{
	return pool->charged;
}

uint64_t pool_stored(const struct pool *pool)
{
	return pool->stored;
}

uint32_t pool_objects(const struct pool *pool)
{
	return pool->objects;
}

static int breach(FILE *out, const char *what, uint64_t a, uint64_t b)
{
	if (out != NULL)
		fprintf(out, "pool: %s: %llu, %llu\n", what, (unsigned long long)a,
			(unsigned long long)b);
	return 1;
}

int pool_check(const struct pool *pool, FILE *out)
{
	uint64_t stored = 0, objects = 0, used = 0, should;
	int bad = 0;

	for (uint32_t id = pool->oldest; id != NO_BLOCK; id = pool->blocks[id].newer) {
		const struct block *b = &pool->blocks[id];
		uint32_t live = 0;

		for (uint32_t slot = 0; slot < b->bump; slot++) {
			uint32_t length = slot_at(pool, id, slot)->length;

			live += length != LENGTH_FREE;
			stored += length;
		}
		if (live != b->live || live == 0)
			bad += breach(out, "live slots of a block", live, b->live);
		if (b->group != group_of(pool, b))
			bad += breach(out, "group of a block", b->group, group_of(pool, b));
		objects += live;
		used++;
	}
	if (used != pool->used_count)
		bad += breach(out, "blocks in use", used, pool->used_count);
	should = (used + pool->spare_count + pool->leaving) * POOL_BLOCK_SIZE +
		 table_bytes(pool->block_bump);
	if (pool->charged != should)
		bad += breach(out, "charged", pool->charged, should);
	if (stored != pool->stored)
		bad += breach(out, "stored bytes", stored, pool->stored);
	if (objects != pool->objects)
		bad += breach(out, "objects", objects, pool->objects);
	return bad;
}

/* The compressed pool by itself: classes, density, giving back, compaction, and a random model. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "mm/store/pool.h"
#include "tests/unit/mm/fake.h"

#define OBJECTS 4096

static struct {
	struct pool *pool;
	uint64_t charged, limit;
	uint32_t handle[OBJECTS];
	uint32_t length[OBJECTS]; /* 0: not stored */
	uint32_t version[OBJECTS];
	uint64_t stored;
	uint32_t count, moves;
} p;

static bool charge(void *context, uint64_t bytes)
{
	if (p.charged + bytes > p.limit)
		return false;
	p.charged += bytes;
	return true;
}

static void uncharge(void *context, uint64_t bytes)
{
	p.charged -= bytes;
}

static void moved(void *context, uint32_t owner, uint32_t handle)
{
	p.handle[owner] = handle;
	p.moves++;
}

static void begin(uint64_t limit)
{
	struct pool_host host = { charge, uncharge, moved, NULL };

	memset(&p, 0, sizeof(p));
	p.limit = limit;
	cr_assert_eq(pool_create(MIB(32), &host, &p.pool), 0);
}

static void end(void)
{
	cr_assert_eq(pool_check(p.pool, stderr), 0);
	cr_assert_eq(pool_bytes(p.pool), p.charged);
	cr_assert_eq(pool_stored(p.pool), p.stored);
	cr_assert_eq(pool_objects(p.pool), p.count);
	pool_destroy(p.pool);
}

static void make(unsigned char *data, uint32_t owner)
{
	for (uint32_t i = 0; i < p.length[owner]; i++)
		data[i] = (unsigned char)(owner * 31 + p.version[owner] * 7 + i);
}

static int store(uint32_t owner, uint32_t length)
{
	unsigned char data[POOL_OBJECT_MAX];
	struct pool_object object = { owner, length, owner * 1000003ull + length };
	int error;

	p.length[owner] = length;
	p.version[owner]++;
	make(data, owner);
	error = pool_store(p.pool, &object, data, &p.handle[owner]);
	if (error != 0) {
		p.length[owner] = 0;
		return error;
	}
	p.stored += length;
	p.count++;
	return 0;
}

static void expect(uint32_t owner)
{
	unsigned char data[POOL_OBJECT_MAX], should[POOL_OBJECT_MAX];
	struct pool_object object;

	pool_load(p.pool, p.handle[owner], &object, data);
	make(should, owner);
	cr_assert_eq(object.owner, owner);
	cr_assert_eq(object.length, p.length[owner]);
	cr_assert_eq(object.checksum, owner * 1000003ull + object.length);
	cr_assert_eq(memcmp(data, should, object.length), 0);
}

static void trim(void)
{
	struct pool_trim t;

	while (pool_trim_begin(p.pool, &t)) {
		cr_assert_eq(pool_check(p.pool, stderr), 0, "between the steps");
		pool_trim_give(p.pool, &t);
		pool_trim_end(p.pool, &t);
	}
}

static void drop(uint32_t owner)
{
	pool_free(p.pool, p.handle[owner]);
	p.stored -= p.length[owner];
	p.length[owner] = 0;
	p.count--;
}

Test(pool, every_length)
{
	begin(MIB(32));
	for (uint32_t length = 1; length <= POOL_OBJECT_MAX; length++)
		cr_assert_eq(store(length, length), 0);
	for (uint32_t length = 1; length <= POOL_OBJECT_MAX; length++)
		expect(length);
	/* Headers, rounding up and half-filled blocks included, seven bytes of eight are data. */
	cr_assert_gt(pool_stored(p.pool) * 8, pool_bytes(p.pool) * 7, "%llu of %llu",
		     (unsigned long long)pool_stored(p.pool),
		     (unsigned long long)pool_bytes(p.pool));
	for (uint32_t length = 1; length <= POOL_OBJECT_MAX; length++)
		drop(length);
	cr_assert_gt(pool_bytes(p.pool), 5 * POOL_BLOCK_SIZE + pool_table_bytes(MIB(32)),
		     "nothing goes before it is trimmed");
	trim();
	/* A few spares, and the table of all blocks ever used. */
	cr_assert_leq(pool_bytes(p.pool), 4 * POOL_BLOCK_SIZE + pool_table_bytes(MIB(32)),
		      "empty blocks were kept");
	end();
}

Test(pool, refusal_leaves_nothing_and_borrows_a_larger_slot)
{
	begin(POOL_BLOCK_SIZE + PAGE_SIZE); /* a block, and its place in the table */
	cr_assert_eq(store(0, 3000), 0);
	cr_assert_eq(store(1, 2900), 0, "a slot of the larger class was free");
	cr_assert_eq(store(2, 100), -ENOMEM, "far too large a slot was taken");
	expect(0);
	expect(1);
	drop(0);
	drop(1);
	cr_assert_eq(store(2, 100), 0);
	drop(2);
	end();
}

Test(pool, compaction_gives_blocks_back)
{
	uint64_t before;

	begin(MIB(32));
	for (uint32_t i = 0; i < OBJECTS; i++)
		cr_assert_eq(store(i, 2000), 0);
	before = pool_bytes(p.pool);
	for (uint32_t i = 0; i < OBJECTS; i++)
		if (i % 4 != 0)
			drop(i);
	while (pool_compact(p.pool, 8) > 0)
		cr_assert_eq(pool_check(p.pool, stderr), 0);
	cr_assert_gt(p.moves, 0);
	trim();
	cr_assert_lt(pool_bytes(p.pool), before / 3);
	for (uint32_t i = 0; i < OBJECTS; i += 4)
		expect(i);
	end();
}

/* A guest of 1 TiB: more than handles can name, and no reason to have none. */
Test(pool, of_a_giant)
{
	struct pool_host host = { charge, uncharge, moved, NULL };

	memset(&p, 0, sizeof(p));
	p.limit = MIB(32);
	cr_assert_eq(pool_create(1ull << 40, &host, &p.pool), 0);
	cr_assert_lt(pool_table_bytes(1ull << 40), MIB(512));
	for (uint32_t i = 0; i < 200; i++)
		cr_assert_eq(store(i, 2000), 0);
	for (uint32_t i = 0; i < 200; i++)
		expect(i);
	end();
}

Test(pool, oldest_first)
{
	uint32_t cursor = 0, owners[64];
	unsigned n;

	begin(MIB(32));
	for (uint32_t i = 0; i < 200; i++)
		cr_assert_eq(store(i, 2000), 0);
	n = pool_oldest(p.pool, &cursor, false, owners, 64);
	cr_assert(n > 32 && n <= 64);
	for (unsigned i = 0; i < n; i++)
		cr_assert_lt(owners[i], 64);
	cr_assert_neq(cursor, 0);
	do
		n = pool_oldest(p.pool, &cursor, false, owners, 64);
	while (cursor != 0);
	cr_assert_gt(n, 0);
	cr_assert_gt(owners[n - 1], 180);
	end();
}

/* A block of many small objects goes by parts; no young object takes the place of one that went. */
Test(pool, dense_blocks_go_by_parts)
{
	uint32_t cursor = 0, owners[64], next = 400, blocks;
	unsigned n;

	begin(MIB(32));
	for (uint32_t i = 0; i < 400; i++)
		cr_assert_eq(store(i, 200), 0);
	n = pool_oldest(p.pool, &cursor, false, owners, 64);
	cr_assert_eq(n, 0, "passed over, unless they are wanted");
	cr_assert_eq(cursor, 0);
	blocks = (uint32_t)(pool_bytes(p.pool) / POOL_BLOCK_SIZE);
	for (uint32_t left = 150; left > 0; left -= n) {
		cursor = 0;
		n = pool_oldest(p.pool, &cursor, true, owners, 64);
		cr_assert_geq(n, left < 64 ? left : 64);
		n = n < left ? n : left;
		for (unsigned i = 0; i < n; i++) {
			cr_assert_lt(owners[i], 150, "the oldest block's");
			drop(owners[i]);
			cr_assert_eq(store(next++, 200), 0);
		}
		pool_compact(p.pool, 8);
		cr_assert_eq(pool_check(p.pool, stderr), 0);
	}
	for (uint32_t i = 150; i < next; i++)
		expect(i);
	/* The one that was emptied is a spare now. */
	cr_assert_leq(pool_bytes(p.pool) / POOL_BLOCK_SIZE, blocks + 1);
	end();
}

Test(pool, random_model)
{
	uint64_t seed = test_seed(), rng = seed, steps = test_steps(400000);

	fprintf(stderr, "pool: BIFOLD_SEED=%llu\n", (unsigned long long)seed);
	begin(MIB(5));
	for (uint64_t i = 0; i < steps; i++) {
		uint32_t owner = rng_below(&rng, OBJECTS);

		if (p.length[owner] > 0) {
			expect(owner);
			drop(owner);
		} else {
			int error = store(owner, 1 + rng_below(&rng, POOL_OBJECT_MAX));

			cr_assert(error == 0 || error == -ENOMEM);
		}
		if (i % 64 == 0)
			pool_compact(p.pool, 2);
		if (i % 1000 == 0) {
			uint32_t cursor = 0, owners[40];
			unsigned n = pool_oldest(p.pool, &cursor, true, owners, 40);

			for (unsigned k = 0; k < n; k++) {
				expect(owners[k]);
				drop(owners[k]);
			}
		}
		if (i % 4096 == 0)
			cr_assert_eq(pool_check(p.pool, stderr), 0);
		cr_assert_leq(p.charged, p.limit);
	}
	for (uint32_t i = 0; i < OBJECTS; i++)
		if (p.length[i] > 0) {
			expect(i);
			drop(i);
		}
	end();
}

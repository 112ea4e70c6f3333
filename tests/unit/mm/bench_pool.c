/*
 * How densely the pool keeps lz4's output, against malloc (glibc): live bytes / host bytes, freshly
 * filled, then after two thirds of the objects were freed at random and as many stored anew three
 * times over, then with a third left. Not a test. malloc's host bytes are the growth of arena and
 * mmapped memory by mallinfo2(); its own header needs are met by a 16-byte header as the pool's.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "mm/store/codec.h"
#include "mm/store/pool.h"
#include "tests/unit/mm/fake.h"

#define OBJECTS 16384

static struct {
	struct pool *pool;
	uint32_t handle[OBJECTS];
	void *block[OBJECTS];
	uint32_t length[OBJECTS];
	bool live[OBJECTS];
	unsigned char *data; /* POOL_OBJECT_MAX each */
	size_t malloc_base;
	uint64_t pool_ns, malloc_ns, operations;
} b;

static bool charge(void *context, uint64_t bytes)
{
	return true;
}

static void uncharge(void *context, uint64_t bytes)
{
}

static void moved(void *context, uint32_t owner, uint32_t handle)
{
	b.handle[owner] = handle;
}

static size_t malloc_bytes(void)
{
	struct mallinfo2 info = mallinfo2();

	return info.arena + info.hblkhd;
}

/* Text of a given part of random bytes, as real heaps mix them. */
static void mixed(unsigned char *page, uint32_t i, uint64_t *rng)
{
	content_make(page, CONTENT_TEXT, i, 1);
	for (uint32_t at = 0, n = rng_below(rng, PAGE_SIZE * 3 / 4); at < n; at += 8) {
		uint64_t v = rng_next(rng);

		memcpy(page + at, &v, sizeof(v));
	}
}

static void store(uint32_t i)
{
	unsigned char *data = b.data + (size_t)i * POOL_OBJECT_MAX;
	struct pool_object object = { i, b.length[i], 0 };
	uint64_t began = clock_now_ns();

	if (pool_store(b.pool, &object, data, &b.handle[i]) != 0)
		abort();
	b.pool_ns += clock_now_ns() - began;
	began = clock_now_ns();
	b.block[i] = malloc(b.length[i] + POOL_HEADER_SIZE);
	memcpy((char *)b.block[i] + POOL_HEADER_SIZE, data, b.length[i]);
	b.malloc_ns += clock_now_ns() - began;
	b.live[i] = true;
	b.operations++;
}

static void drop(uint32_t i)
{
	if (!b.live[i])
		return;
	pool_free(b.pool, b.handle[i]);
	free(b.block[i]);
	b.live[i] = false;
}

static void report(const char *when)
{
	uint64_t live = 0;

	for (uint32_t i = 0; i < OBJECTS; i++)
		live += b.live[i] ? b.length[i] : 0;
	while (pool_compact(b.pool, 100) > 0)
		;
	for (struct pool_trim trim; pool_trim_begin(b.pool, &trim);) {
		pool_trim_give(b.pool, &trim);
		pool_trim_end(b.pool, &trim);
	}
	malloc_trim(0);
	printf("  %-22s pool %5.1f%%  malloc %5.1f%%\n", when,
	       100.0 * (double)live / (double)pool_bytes(b.pool),
	       100.0 * (double)live / (double)(malloc_bytes() - b.malloc_base));
}

static void run(const char *name, int kind)
{
	struct pool_host host = { charge, uncharge, moved, NULL };
	struct codec codec;
	unsigned char page[PAGE_SIZE] __attribute__((aligned(8)));
	uint64_t rng = 88172645463325252ull, total = 0;

	memset(&b, 0, sizeof(b));
	b.data = malloc((size_t)OBJECTS * POOL_OBJECT_MAX);
	if (b.data == NULL || pool_create(1ull << 28, &host, &b.pool) != 0 ||
	    codec_init(&codec, MM_COMPRESSOR_LZ4) != 0)
		abort();
	for (uint32_t i = 0; i < OBJECTS; i++) {
		do {
			if (kind < 0)
				mixed(page, i, &rng);
			else
				content_make(page, kind, i, 1);
			b.length[i] = (uint32_t)codec_compress(&codec, page,
							       b.data + (size_t)i * POOL_OBJECT_MAX,
							       POOL_OBJECT_MAX);
		} while (b.length[i] == 0);
		total += b.length[i];
	}
	b.malloc_base = malloc_bytes();
	printf("%s: %llu objects of %llu bytes on average\n", name, (unsigned long long)OBJECTS,
	       (unsigned long long)total / OBJECTS);
	for (uint32_t i = 0; i < OBJECTS; i++)
		store(i);
	report("fresh");
	for (int round = 0; round < 3; round++) {
		for (uint32_t i = 0; i < OBJECTS; i++)
			if (rng_below(&rng, 3) != 0)
				drop(i);
		for (uint32_t i = 0; i < OBJECTS; i++)
			if (!b.live[i])
				store(i);
	}
	report("after churn");
	for (uint32_t i = 0; i < OBJECTS; i++)
		if (rng_below(&rng, 3) != 0)
			drop(i);
	report("a third left");
	printf("  store: pool %llu ns, malloc %llu ns\n",
	       (unsigned long long)(b.pool_ns / b.operations),
	       (unsigned long long)(b.malloc_ns / b.operations));
	for (uint32_t i = 0; i < OBJECTS; i++)
		drop(i);
	pool_destroy(b.pool);
	codec_finish(&codec);
	free(b.data);
	malloc_trim(0);
}

int main(void)
{
	run("half-compressible pages", CONTENT_HALF);
	run("text pages", CONTENT_TEXT);
	run("text and random, mixed", -1);
	return 0;
}

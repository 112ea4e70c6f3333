/*
 * A backing without a guest: pages in an array, a present and a mapped bit each, and a simulated
 * guest that touches them. It checks mm from outside: no page released while the guest can reach
 * it, no absent page read, none filled twice. A breach aborts the test with a sentence.
 *
 * The fake's own lock makes a guest's access atomic against unmap, as the hardware does.
 */
#ifndef TESTS_UNIT_MM_FAKE_H
#define TESTS_UNIT_MM_FAKE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "mm/mm.h"

enum fake_op {
	FAKE_ZERO,
	FAKE_FILL,
	FAKE_MAP,
	FAKE_UNMAP,
	FAKE_SEAL,
	FAKE_SCAN,
	FAKE_RELEASE,
	FAKE_WAKE,
	FAKE_READ,
	FAKE_OPS,
};

struct fake {
	struct mm *mm;
	uint32_t frame_count;
	uint32_t hole_first, hole_count; /* frames that do not exist: before fake_config() */
	unsigned char *memory;
	unsigned char *present, *mapped;
	unsigned char *sealed; /* with MM_WATCH_SCAN: the guest may not write it */
	bool scans;	       /* touches are found by scanning: before fake_config() */
	pthread_mutex_t lock;

	/*
	 * An operation fails with `error` after `after` more frames, `times` times; those before it
	 * are done. spare_first: the first frame of a call always goes well. untold: so many of
	 * them are done and not told (of unmap and release the host says nothing).
	 */
	struct {
		int error;
		uint32_t after;
		uint32_t times;
		uint32_t untold;
		bool spare_first;
	} inject[FAKE_OPS];

	uint64_t calls[FAKE_OPS];
	uint64_t frames[FAKE_OPS];

	/* Called after a range was unmapped or sealed, before its eviction goes on; no lock is
	 * held. */
	void (*unmapped)(struct fake *fake, gfn_t first, uint32_t count);
	/* Called when mm asks for a frame's page in order to store it; no lock is held. */
	void (*paged)(struct fake *fake, gfn_t frame);
	/* Called before a range's pages are given back; no lock is held. */
	void (*releasing)(struct fake *fake, gfn_t first, uint32_t count);
	void *context;

	bool map_failed;	/* once: some permissions may be missing */
	unsigned failure_count; /* failed() calls */
	struct mm_failure failure;
	bool expect_failure;
	bool no_poison; /* released pages are not overwritten: benchmarks */
};

extern const struct mm_backing_ops fake_ops;

void fake_init(struct fake *fake, uint32_t frame_count);
void fake_finish(struct fake *fake);

/* A configuration over fake: no budget, sfifo, lz4, no swap, no background thread. */
struct mm_config fake_config(struct fake *fake);

/* mm_create() that must succeed; the fake remembers it. */
struct mm *fake_create(struct fake *fake, const struct mm_config *config);

/*
 * Each frame's state against what is really present and mapped. Aborts with a sentence when they
 * differ. Nothing may be under way.
 */
void fake_compare(struct fake *fake);

/* Check, compare, destroy, finish: no breach, nothing leaked. */
void fake_end(struct fake *fake);

/*
 * The guest touches a frame: faults until it may reach it, then calls access on the page with the
 * fake's lock held. 0 or what mm_fault() said.
 */
int fake_access(struct fake *fake, uint32_t frame, bool write,
		void (*access)(void *page, void *context), void *context);

/* Simple accesses: one word at the page's start. */
uint64_t fake_read(struct fake *fake, uint32_t frame);
void fake_write(struct fake *fake, uint32_t frame, uint64_t word);

/* Whole pages by kind: what they hold follows from frame, version and kind. */
enum content {
	CONTENT_ZERO,
	CONTENT_WORD,
	CONTENT_HALF,	/* half compressible */
	CONTENT_TEXT,	/* words */
	CONTENT_RANDOM, /* incompressible */
	CONTENT_KINDS,
};
void content_make(void *page, enum content kind, uint32_t frame, uint32_t version);
int fake_put(struct fake *fake, uint32_t frame, enum content kind, uint32_t version);
/* Is it what was put? Aborts with a sentence otherwise; returns mm_fault()'s error. */
int fake_expect(struct fake *fake, uint32_t frame, enum content kind, uint32_t version);

/* A small quick generator: tests print its seed. */
static inline uint64_t rng_next(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	*state = x;
	return x * 0x2545f4914f6cdd1dull;
}

static inline uint32_t rng_below(uint64_t *state, uint32_t bound)
{
	return (uint32_t)((rng_next(state) >> 32) * bound >> 32);
}

/* BIFOLD_SEED, or one from the clock; never 0. BIFOLD_STEPS, or the default. */
uint64_t test_seed(void);
uint64_t test_steps(uint64_t standard);

/*
 * A swap file in memory that fails as told. One at a time: it is what test_swap_io opens.
 */
struct swap_fault {
	int error;	 /* returned instead of doing the transfer; 0: none */
	uint64_t after;	 /* transfers to let through before */
	uint64_t times;	 /* then so many fail */
	uint32_t cut_to; /* instead of an error: move only so many bytes */
};

struct swap_memory {
	unsigned char *bytes;
	uint64_t size;
	struct swap_fault write, read;
	uint32_t random_trouble; /* of 1000 transfers, so many come back short, EINTR or EAGAIN */
	uint32_t random_refusal; /* of 1000 writes, so many say ENOSPC or EIO */
	uint64_t capacity;	 /* pages the disk has room for; 0: for all */
	uint64_t allocated;	 /* pages that are on it */
	int punch_error;
	uint64_t punches;
	uint64_t rng;
	uint64_t reads, writes, bytes_read, bytes_written;
	void (*transferring)(void *context, bool write); /* before each; no lock is held */
	void *context;
	pthread_mutex_t lock;
};
extern struct swap_memory swap_memory;
extern const struct mm_swap_io test_swap_io;
void swap_memory_reset(void);

#endif

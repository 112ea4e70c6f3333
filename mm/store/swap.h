/*
 * The swap store: one file without a name, in slots of a page. Slots are handed out next-fit in
 * runs, so a batch of evictions becomes few large sequential writes, and its way back few large
 * reads. For each slot a 128-bit hash (hash.h) of its content is kept in memory: it verifies what
 * is read, and tells at an eviction whether a page still equals its old copy.
 *
 * mm's lock covers slots and hashes; swap_write() and swap_read() are called without it and may
 * run side by side.
 */
#ifndef MM_STORE_SWAP_H
#define MM_STORE_SWAP_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/uio.h>

#include "mm/store/hash.h"

#define SWAP_NO_SLOT UINT32_MAX
#define SWAP_BATCH   256u /* pages in one swap_write() or swap_read() at most */

/* One transfer: a contiguous range of the file, page-aligned memory. */
struct mm_swap_request {
	bool write;
	uint64_t offset; /* bytes */
	struct iovec *vectors;
	unsigned vector_count;
	int64_t result; /* out: bytes moved (may be short), or -errno */
};

/*
 * The file operations. Tests put their own in between to inject failures; swap.c itself resubmits
 * requests that come back short, with -EINTR or with -EAGAIN.
 */
struct mm_swap_io {
	/* A file without a name in directory. 0 and *file, or -errno. */
	int (*open)(const char *directory, void **file);
	void (*close)(void *file);
	/* Carry out all requests, fill in their results, then return. From any thread. */
	void (*transfer)(void *file, struct mm_swap_request *requests, unsigned count);
	/* Give a range's blocks back to the disk: it reads as zeros. 0 or -errno. */
	int (*punch)(void *file, uint64_t offset, uint64_t length);
};

/* io_uring, or pread and pwrite where the host refuses it. O_DIRECT where the filesystem can. */
extern const struct mm_swap_io mm_swap_io_file;

/* The same without io_uring. */
extern const struct mm_swap_io mm_swap_io_plain;

/* Shared by both. swap_file_open() returns the file's descriptor, or -errno. *direct: it was opened
 * O_DIRECT. */
int swap_file_open(const char *directory, bool *direct);
int swap_file_punch(int fd, uint64_t offset, uint64_t length);

struct swap;

/* One page on its way. */
struct swap_page {
	uint32_t slot;
	void *memory; /* PAGE_SIZE bytes, page-aligned */
	int error;    /* out: 0, -EIO (also a short read), -EBADMSG (wrong hash), -ENOSPC, ... */
};

/* 0, -ENOMEM, or what io's open said. io NULL: the real one. key stays the caller's. */
int swap_create(const char *directory, uint32_t slot_count, const struct mm_swap_io *io,
		const struct hash_key *key, struct swap **swap);
void swap_destroy(struct swap *swap); /* takes NULL */

/* Host memory for slot_count slots: at the start, and with all slots used. */
uint64_t swap_table_bytes_least(uint32_t slot_count);

/*
 * Up to want contiguous slots: the first one and *got, or SWAP_NO_SLOT. Slots above the highest
 * one used so far need a page of hashes now and then; charge says whether it may be had. While the
 * disk is full only slots are handed out that lie on it already.
 */
uint32_t swap_alloc(struct swap *swap, uint32_t want, uint32_t *got,
		    bool (*charge)(void *context, uint64_t bytes), void *context);
void swap_free(struct swap *swap, uint32_t slot);

/* The hash of a slot's content: set before the slot is read, by its owner. */
void swap_set_hash(struct swap *swap, uint32_t slot, XXH128_hash_t hash);
bool swap_hash_equal(const struct swap *swap, uint32_t slot, XXH128_hash_t hash);

/*
 * Write or read count pages (up to SWAP_BATCH); each page's error tells its outcome. Reading
 * verifies. Neighbours in the list with neighbouring slots share a request.
 */
void swap_write(struct swap *swap, struct swap_page *pages, unsigned count);
void swap_read(struct swap *swap, struct swap_page *pages, unsigned count);

/*
 * Notes the outcome of a write, under the lock, before its slots are freed or used: which slots lie
 * on the disk now, and whether it is full. True when the write failed only for want of room for new
 * slots, and there are free ones that lie on the disk already.
 */
bool swap_wrote(struct swap *swap, const struct swap_page *pages, unsigned count);

/* Is the disk full, as far as is known? And: it may have got room; find out with the next write. */
bool swap_is_full(const struct swap *swap);
void swap_try_to_grow(struct swap *swap);

/*
 * Free slots that lie on the disk are given back to it once there are many more than will soon be
 * used again. Three steps, for the second is done without the lock: taking a run of slots out of
 * use (false: none is due), punching, and letting go of them.
 */
bool swap_punch_begin(struct swap *swap, uint32_t *first, uint32_t *count);
int swap_punch(struct swap *swap, uint32_t first, uint32_t count);
void swap_punch_end(struct swap *swap, uint32_t first, uint32_t count, int error);
bool swap_punch_due(const struct swap *swap);

/*
 * Reads one slot as it stands in the file, for a caller with no claim on it: the slot may change
 * meanwhile, so the caller verifies it, under the lock. 0 or -errno.
 */
int swap_read_unverified(struct swap *swap, uint32_t slot, void *memory);

uint32_t swap_slots_used(const struct swap *swap);
uint32_t swap_slots_free(const struct swap *swap);
uint32_t swap_slots_spare(const struct swap *swap); /* free, and on the disk */

int swap_check(const struct swap *swap, FILE *out); /* breaches found */

#endif

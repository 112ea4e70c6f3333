/*
 * Slots, hashes and the making of requests; the file itself is behind struct mm_swap_io.
 *
 * A slot's hash decides whether a page still equals its old copy, and a wrong answer loses the
 * guest's last write. It is keyed with the VM's secret (mm/store/hash.h), so nobody who does not
 * know that can make two contents collide; by chance two do about once in 2^64 versions of one
 * page.
 *
 * A slot that was written takes room on the disk until it is punched, also when it is free again.
 * The next evictions can count on these spare slots while the disk is full; when there are many of
 * them, the disk gets them back.
 *
 * Invariants (swap_check): a bit set per slot in use, `used` of them; a bit set per slot on the
 * disk, `spare` of them not in use; no bit beyond slot_count; hashes exist (and are charged) up to
 * hash_slots, no slot above it was ever handed out.
 */
#include "mm/store/swap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/addr.h"
#include "base/check.h"
#include "base/lock.h"

#define HASHES_PER_PAGE (PAGE_SIZE / sizeof(XXH128_hash_t))
#define TRIES		16    /* resubmissions without progress */
#define SPARE_LEAST	1024u /* slots: 4 MiB */
#define SPARE_SHARE	8
#define PUNCH_MOST	4096u /* slots in one go */

struct swap {
	const struct mm_swap_io *io;
	void *file;
	const struct hash_key *key;
	uint32_t slot_count;
	uint32_t used;
	uint32_t hint;	     /* where the next search begins */
	uint32_t hash_slots; /* hashes charged for */
	uint32_t spare;	     /* slots on the disk and not in use */
	uint32_t punch_hand; /* where the next search for something to punch begins */
	bool full;	     /* the disk has no room for new slots */
	bool cannot_punch;   /* the file system does not know how */
	uint64_t *bits;	     /* in use */
	uint64_t *on_disk;
	XXH128_hash_t *hashes; /* reserved whole, touched as slots are */
	size_t hash_bytes;
};

uint64_t swap_table_bytes_least(uint32_t slot_count)
{
	return sizeof(struct swap) + (slot_count + 63) / 64 * 2 * sizeof(uint64_t);
}

int swap_create(const char *directory, uint32_t slot_count, const struct mm_swap_io *io,
		const struct hash_key *key, struct swap **out)
{
	struct swap *swap = calloc(1, sizeof(*swap));
	int error = -ENOMEM;

	if (swap == NULL)
		return -ENOMEM;
	swap->io = io != NULL ? io : &mm_swap_io_file;
	swap->key = key;
	swap->slot_count = slot_count;
	swap->hash_bytes = (size_t)slot_count * sizeof(*swap->hashes);
	swap->bits = calloc((slot_count + 63) / 64, sizeof(*swap->bits));
	swap->on_disk = calloc((slot_count + 63) / 64, sizeof(*swap->on_disk));
	if (swap->bits == NULL || swap->on_disk == NULL)
		goto fail_bits;
	swap->hashes = mmap(NULL, swap->hash_bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (swap->hashes == MAP_FAILED)
		goto fail_bits;
	error = swap->io->open(directory, &swap->file);
	if (error != 0)
		goto fail_hashes;
	*out = swap;
	return 0;

fail_hashes:
	munmap(swap->hashes, swap->hash_bytes);
fail_bits:
	free(swap->bits);
	free(swap->on_disk);
	free(swap);
	return error;
}

void swap_destroy(struct swap *swap)
{
	if (swap == NULL)
		return;
	swap->io->close(swap->file);
	munmap(swap->hashes, swap->hash_bytes);
	free(swap->bits);
	free(swap->on_disk);
	free(swap);
}

static bool slot_used(const struct swap *swap, uint32_t slot)
{
	return swap->bits[slot / 64] >> (slot % 64) & 1;
}

static bool slot_on_disk(const struct swap *swap, uint32_t slot)
{
	return swap->on_disk[slot / 64] >> (slot % 64) & 1;
}

static bool slot_spare(const struct swap *swap, uint32_t slot)
{
	return slot_on_disk(swap, slot) && !slot_used(swap, slot);
}

static void take_slot(struct swap *swap, uint32_t slot)
{
	swap->bits[slot / 64] |= 1ull << (slot % 64);
	swap->used++;
	swap->spare -= slot_on_disk(swap, slot);
}

/* May it be handed out? */
static bool slot_ready(const struct swap *swap, uint32_t slot)
{
	return swap->full ? slot_spare(swap, slot) : !slot_used(swap, slot);
}

/* The first slot in [from, to) that may be handed out; to when there is none. */
static uint32_t first_ready(const struct swap *swap, uint32_t from, uint32_t to)
{
	while (from < to) {
		uint64_t all = ~swap->bits[from / 64];
		uint64_t word = (swap->full ? all & swap->on_disk[from / 64] : all) >> (from % 64);

		if (word != 0) {
			from += (uint32_t)__builtin_ctzll(word);
			return from < to ? from : to;
		}
		from = (from / 64 + 1) * 64;
	}
	return to;
}

/* May slot be used? Its hash's memory is charged if it is not yet. */
static bool hash_ready(struct swap *swap, uint32_t slot,
		       bool (*charge)(void *context, uint64_t bytes), void *context)
{
	while (slot >= swap->hash_slots) {
		if (!charge(context, PAGE_SIZE))
			return false;
		swap->hash_slots += HASHES_PER_PAGE;
	}
	return true;
}

uint32_t swap_alloc(struct swap *swap, uint32_t want, uint32_t *got,
		    bool (*charge)(void *context, uint64_t bytes), void *context)
{
	uint32_t first, count = 0;

	/* Go round early while there is room behind: every slot ever used costs a hash. */
	if (swap->hint + (uint64_t)want > swap->hash_slots &&
	    swap->used < swap->hash_slots - swap->hash_slots / 4)
		swap->hint = 0;
	first = first_ready(swap, swap->hint, swap->slot_count);
	if (first == swap->slot_count || !hash_ready(swap, first, charge, context)) {
		uint32_t end = swap->hint < swap->slot_count ? swap->hint : swap->slot_count;

		first = first_ready(swap, 0, end);
		if (first == end || !hash_ready(swap, first, charge, context))
			return SWAP_NO_SLOT;
	}
	while (count < want && first + count < swap->slot_count &&
	       slot_ready(swap, first + count) && hash_ready(swap, first + count, charge, context))
		take_slot(swap, first + count++);
	swap->hint = first + count;
	*got = count;
	return first;
}

void swap_free(struct swap *swap, uint32_t slot)
{
	CHECK(slot < swap->slot_count && slot_used(swap, slot));
	swap->bits[slot / 64] &= ~(1ull << (slot % 64));
	swap->used--;
	swap->spare += slot_on_disk(swap, slot);
}

static bool is_want_of_room(int error)
{
	return error == -ENOSPC || error == -EDQUOT;
}

bool swap_wrote(struct swap *swap, const struct swap_page *pages, unsigned count)
{
	bool only_growth = true, failed = false;

	for (unsigned i = 0; i < count; i++) {
		uint32_t slot = pages[i].slot;

		if (pages[i].error == 0) {
			/* A new one found room: there is some. */
			swap->full = swap->full && slot_on_disk(swap, slot);
			swap->on_disk[slot / 64] |= 1ull << (slot % 64);
			continue;
		}
		failed = true;
		only_growth =
			only_growth && is_want_of_room(pages[i].error) && !slot_on_disk(swap, slot);
	}
	if (!failed || !only_growth)
		return false;
	swap->full = true;
	return swap->spare > 0;
}

bool swap_is_full(const struct swap *swap)
{
	return swap->full;
}

void swap_try_to_grow(struct swap *swap)
{
	swap->full = false;
}

/* So many spare slots are kept for the next evictions. */
static uint32_t spare_kept(const struct swap *swap)
{
	return SPARE_LEAST + swap->used / SPARE_SHARE;
}

bool swap_punch_due(const struct swap *swap)
{
	return !swap->full && !swap->cannot_punch && swap->spare > 2 * spare_kept(swap);
}

/* The next run of spare slots from the hand on; 0: there is none before the end. */
static uint32_t spare_run(const struct swap *swap, uint32_t *first, uint32_t most)
{
	uint32_t at = swap->punch_hand, count = 0;

	while (at < swap->slot_count && !slot_spare(swap, at))
		at += at % 64 == 0 && swap->on_disk[at / 64] == 0 ? 64 : 1;
	*first = at;
	while (count < most && at + count < swap->slot_count && slot_spare(swap, at + count))
		count++;
	return count;
}

bool swap_punch_begin(struct swap *swap, uint32_t *first, uint32_t *count)
{
	if (!swap_punch_due(swap))
		return false;
	*count = spare_run(swap, first, PUNCH_MOST);
	if (*count == 0) {
		swap->punch_hand = 0;
		*count = spare_run(swap, first, PUNCH_MOST);
	}
	CHECK(*count > 0);
	for (uint32_t i = 0; i < *count; i++)
		take_slot(swap, *first + i);
	swap->punch_hand = *first + *count;
	return true;
}

int swap_punch(struct swap *swap, uint32_t first, uint32_t count)
{
	LOCK_CHECK();
	return swap->io->punch(swap->file, (uint64_t)first * PAGE_SIZE,
			       (uint64_t)count * PAGE_SIZE);
}

void swap_punch_end(struct swap *swap, uint32_t first, uint32_t count, int error)
{
	for (uint32_t slot = first; slot < first + count; slot++) {
		if (error == 0)
			swap->on_disk[slot / 64] &= ~(1ull << (slot % 64));
		swap_free(swap, slot);
	}
	/* Whatever it was, it is no harm: they go on being used. */
	swap->cannot_punch = swap->cannot_punch || error != 0;
}

void swap_set_hash(struct swap *swap, uint32_t slot, XXH128_hash_t hash)
{
	CHECK(slot < swap->hash_slots);
	swap->hashes[slot] = hash;
}

bool swap_hash_equal(const struct swap *swap, uint32_t slot, XXH128_hash_t hash)
{
	return XXH128_isEqual(swap->hashes[slot], hash);
}

/* Drop the bytes already moved from the front of a request. */
static void advance(struct mm_swap_request *request, uint64_t bytes)
{
	request->offset += bytes;
	while (bytes > 0) {
		struct iovec *v = &request->vectors[0];
		size_t part = bytes < v->iov_len ? bytes : v->iov_len;

		v->iov_base = (char *)v->iov_base + part;
		v->iov_len -= part;
		bytes -= part;
		if (v->iov_len == 0) {
			request->vectors++;
			request->vector_count--;
		}
	}
}

/*
 * All pages of the request that failed: those the vectors still name. A page whose first part
 * moved is among them, since vectors are cut by pages.
 */
static void fail_rest(const struct mm_swap_request *request, struct swap_page *pages,
		      unsigned count, int error)
{
	uint64_t first = request->offset / PAGE_SIZE;

	for (unsigned i = 0; i < count; i++)
		if (pages[i].slot >= first)
			pages[i].error = error;
}

/* One request at its end or to be submitted again? True: again. */
static bool again(struct mm_swap_request *request, unsigned *tries, int *error)
{
	*error = 0;
	if (request->result > 0) {
		advance(request, (uint64_t)request->result);
		*tries = 0;
		return request->vector_count > 0;
	}
	if (request->result == 0)
		*error = request->write ? -ENOSPC : -EIO; /* nothing written; end of file */
	else
		*error = (int)request->result;
	if ((*error == -EINTR || *error == -EAGAIN) && ++*tries < TRIES)
		return true;
	if (*error == -EINTR || *error == -EAGAIN)
		*error = -EIO;
	return false;
}

/* Cut the list in requests of neighbouring slots and see all of them through. */
static void transfer(struct swap *swap, struct swap_page *pages, unsigned count, bool write)
{
	struct mm_swap_request requests[SWAP_BATCH], *queue = requests;
	struct iovec vectors[SWAP_BATCH];
	unsigned first_page[SWAP_BATCH], tries[SWAP_BATCH];
	unsigned request_count = 0;

	LOCK_CHECK();
	CHECK(count <= SWAP_BATCH);
	for (unsigned i = 0; i < count; i++) {
		pages[i].error = 0;
		vectors[i] = (struct iovec){ pages[i].memory, PAGE_SIZE };
		if (i > 0 && pages[i].slot == pages[i - 1].slot + 1) {
			requests[request_count - 1].vector_count++;
			continue;
		}
		requests[request_count] =
			(struct mm_swap_request){ write, (uint64_t)pages[i].slot * PAGE_SIZE,
						  &vectors[i], 1, 0 };
		tries[request_count] = 0;
		first_page[request_count++] = i;
	}
	/* The first pass takes all at once; requests that must be repeated go one by one. */
	swap->io->transfer(swap->file, queue, request_count);
	for (unsigned r = 0; r < request_count; r++) {
		unsigned end = r + 1 < request_count ? first_page[r + 1] : count;
		int error;

		while (again(&requests[r], &tries[r], &error))
			swap->io->transfer(swap->file, &requests[r], 1);
		if (error != 0)
			fail_rest(&requests[r], &pages[first_page[r]], end - first_page[r], error);
	}
}

void swap_write(struct swap *swap, struct swap_page *pages, unsigned count)
{
	transfer(swap, pages, count, true);
}

void swap_read(struct swap *swap, struct swap_page *pages, unsigned count)
{
	transfer(swap, pages, count, false);
	for (unsigned i = 0; i < count; i++)
		if (pages[i].error == 0 &&
		    !swap_hash_equal(swap, pages[i].slot, hash_page(swap->key, pages[i].memory)))
			pages[i].error = -EBADMSG;
}

int swap_read_unverified(struct swap *swap, uint32_t slot, void *memory)
{
	struct swap_page page = { .slot = slot, .memory = memory };

	transfer(swap, &page, 1, false);
	return page.error;
}

uint32_t swap_slots_used(const struct swap *swap)
{
	return swap->used;
}

uint32_t swap_slots_free(const struct swap *swap)
{
	return swap->slot_count - swap->used;
}

uint32_t swap_slots_spare(const struct swap *swap)
{
	return swap->spare;
}

int swap_check(const struct swap *swap, FILE *out)
{
	uint32_t used = 0, spare = 0;
	int bad = 0;

	for (uint32_t i = 0; i < (swap->slot_count + 63) / 64; i++) {
		used += (uint32_t)__builtin_popcountll(swap->bits[i]);
		spare += (uint32_t)__builtin_popcountll(swap->on_disk[i] & ~swap->bits[i]);
	}
	for (uint32_t slot = swap->hash_slots; slot < swap->slot_count; slot++)
		bad += slot_used(swap, slot);
	bad += used != swap->used;
	bad += spare != swap->spare;
	if (bad != 0 && out != NULL)
		fprintf(out,
			"swap: %u bits set, %u slots in use, %u spare, %u counted, hashes for %u\n",
			used, swap->used, spare, swap->spare, swap->hash_slots);
	return bad;
}

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "mm/store/swap.h"
#include "tests/unit/mm/fake.h"

#define SWAP_MEMORY_BYTES (1ull << 32) /* of address space */

static unsigned char on_disk[SWAP_MEMORY_BYTES / PAGE_SIZE];

struct swap_memory swap_memory = { .lock = PTHREAD_MUTEX_INITIALIZER };

void swap_memory_reset(void)
{
	swap_memory = (struct swap_memory){ .rng = 88172645463325252ull,
					    .lock = PTHREAD_MUTEX_INITIALIZER };
}

static int memory_open(const char *directory, void **file)
{
	struct swap_memory *m = &swap_memory;

	if (strcmp(directory, "missing") == 0)
		return -ENOENT;
	m->bytes = mmap(NULL, SWAP_MEMORY_BYTES, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (m->bytes == MAP_FAILED)
		return -ENOMEM;
	memset(on_disk, 0, sizeof(on_disk));
	*file = m;
	return 0;
}

static void memory_close(void *file)
{
	struct swap_memory *m = file;

	munmap(m->bytes, SWAP_MEMORY_BYTES);
	m->bytes = NULL;
}

/* The outcome of a transfer under the faults that were set, or random ones: bytes to move, or
 * -errno. */
static int64_t verdict(struct swap_memory *m, const struct mm_swap_request *r, uint64_t length)
{
	struct swap_fault *f = r->write ? &m->write : &m->read;

	if (f->times > 0) {
		if (f->after > 0) {
			f->after--;
		} else {
			f->times--;
			if (f->error != 0)
				return f->error;
			return (int64_t)(f->cut_to < length ? f->cut_to : length);
		}
	}
	if (rng_below(&m->rng, 1000) < m->random_trouble) {
		uint32_t what = rng_below(&m->rng, 3);

		if (what > 0)
			return what == 1 ? -EINTR : -EAGAIN;
		return 1 + (int64_t)rng_below(&m->rng, (uint32_t)length);
	}
	if (r->write && rng_below(&m->rng, 1000) < m->random_refusal)
		return rng_below(&m->rng, 2) ? -ENOSPC : -EIO;
	return (int64_t)length;
}

/* How many bytes of a write find room on the disk; none: ENOSPC. */
static int64_t make_room(struct swap_memory *m, uint64_t at, int64_t length)
{
	uint64_t end = at + (uint64_t)length;

	for (uint64_t page = at / PAGE_SIZE; page * PAGE_SIZE < end; page++) {
		if (on_disk[page])
			continue;
		if (m->capacity != 0 && m->allocated >= m->capacity) {
			uint64_t room = page * PAGE_SIZE > at ? page * PAGE_SIZE - at : 0;

			return room > 0 ? (int64_t)room : -ENOSPC;
		}
		on_disk[page] = 1;
		m->allocated++;
	}
	return length;
}

static void move(struct swap_memory *m, struct mm_swap_request *r)
{
	uint64_t length = 0, at = r->offset, left;

	for (unsigned i = 0; i < r->vector_count; i++)
		length += r->vectors[i].iov_len;
	r->result = verdict(m, r, length);
	if (r->write && r->result > 0)
		r->result = make_room(m, r->offset, r->result);
	if (r->result < 0)
		return;
	left = (uint64_t)r->result;
	*(r->write ? &m->writes : &m->reads) += 1;
	*(r->write ? &m->bytes_written : &m->bytes_read) += left;
	for (unsigned i = 0; left > 0; i++) {
		size_t n = r->vectors[i].iov_len < left ? r->vectors[i].iov_len : left;

		if (r->write)
			memcpy(m->bytes + at, r->vectors[i].iov_base, n);
		else
			memcpy(r->vectors[i].iov_base, m->bytes + at, n);
		at += n;
		left -= n;
	}
	if (r->write && at > m->size)
		m->size = at;
}

static void memory_transfer(void *file, struct mm_swap_request *requests, unsigned count)
{
	struct swap_memory *m = file;

	if (m->transferring != NULL && count > 0)
		m->transferring(m->context, requests[0].write);
	pthread_mutex_lock(&m->lock);
	for (unsigned i = 0; i < count; i++)
		move(m, &requests[i]);
	pthread_mutex_unlock(&m->lock);
}

static int memory_punch(void *file, uint64_t offset, uint64_t length)
{
	struct swap_memory *m = file;

	pthread_mutex_lock(&m->lock);
	m->punches++;
	for (uint64_t page = offset / PAGE_SIZE; page * PAGE_SIZE < offset + length; page++) {
		if (m->punch_error != 0)
			break;
		m->allocated -= on_disk[page];
		on_disk[page] = 0;
		memset(m->bytes + page * PAGE_SIZE, 0, PAGE_SIZE);
	}
	pthread_mutex_unlock(&m->lock);
	return m->punch_error;
}

const struct mm_swap_io test_swap_io = {
	.open = memory_open,
	.close = memory_close,
	.transfer = memory_transfer,
	.punch = memory_punch,
};

/* The swap store by itself: slots, the real files, and each way a transfer can go wrong. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <signal.h>
#include <unistd.h>

#include "mm/store/swap.h"
#include "tests/unit/mm/fake.h"

#define PAGES 40

static unsigned char buffer[2][PAGES][PAGE_SIZE] __attribute__((aligned(4096)));
static struct swap *swap;
static struct hash_key key; /* all zeros will do */
static uint64_t charged;

static bool charge(void *context, uint64_t bytes)
{
	charged += bytes;
	return true;
}

static bool refuse(void *context, uint64_t bytes)
{
	return false;
}

static void begin(uint32_t slots)
{
	swap_memory_reset();
	cr_assert_eq(swap_create("memory", slots, &test_swap_io, &key, &swap), 0);
}

static void end(void)
{
	cr_assert_eq(swap_check(swap, stderr), 0);
	swap_destroy(swap);
}

/* Slots for all pages, in runs as they come; content made; hashes set. */
static void prepare(struct swap_page *pages, unsigned count)
{
	for (unsigned done = 0; done < count;) {
		uint32_t got;
		uint32_t slot = swap_alloc(swap, count - done, &got, charge, NULL);

		cr_assert_neq(slot, SWAP_NO_SLOT);
		for (uint32_t i = 0; i < got; i++, done++)
			pages[done] = (struct swap_page){ slot + i, buffer[0][done], 0 };
	}
	for (unsigned i = 0; i < count; i++) {
		content_make(buffer[0][i], CONTENT_RANDOM, i, 1);
		swap_set_hash(swap, pages[i].slot, hash_page(&key, buffer[0][i]));
	}
}

static void read_back(struct swap_page *pages, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		pages[i].memory = buffer[1][i];
	swap_read(swap, pages, count);
}

static void expect_all(const struct swap_page *pages, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		cr_assert_eq(pages[i].error, 0, "page %u: %d", i, pages[i].error);
		cr_assert_eq(memcmp(buffer[0][i], buffer[1][i], PAGE_SIZE), 0);
	}
}

static void round_trip(void)
{
	struct swap_page pages[PAGES];

	prepare(pages, PAGES);
	swap_write(swap, pages, PAGES);
	for (unsigned i = 0; i < PAGES; i++)
		cr_assert_eq(pages[i].error, 0);
	read_back(pages, PAGES);
	expect_all(pages, PAGES);
}

Test(swap, slots_in_runs)
{
	uint32_t got, slot;

	begin(100);
	cr_assert_eq(swap_alloc(swap, 30, &got, charge, NULL), 0);
	cr_assert_eq(got, 30);
	cr_assert_eq(swap_alloc(swap, 30, &got, charge, NULL), 30);
	for (uint32_t i = 10; i < 20; i++)
		swap_free(swap, i);
	cr_assert_eq(swap_alloc(swap, 100, &got, charge, NULL), 60);
	cr_assert_eq(got, 40);
	slot = swap_alloc(swap, 100, &got, charge, NULL);
	cr_assert_eq(slot, 10);
	cr_assert_eq(got, 10);
	cr_assert_eq(swap_alloc(swap, 1, &got, charge, NULL), SWAP_NO_SLOT);
	cr_assert_eq(swap_slots_free(swap), 0);
	cr_assert_eq(charged, PAGE_SIZE);
	end();
}

Test(swap, no_memory_for_hashes)
{
	uint32_t got;

	begin(1000);
	cr_assert_eq(swap_alloc(swap, 1, &got, refuse, NULL), SWAP_NO_SLOT);
	cr_assert_eq(swap_alloc(swap, 200, &got, charge, NULL), 0);
	/* Slots that are charged for already can be used; no more than those. */
	cr_assert_eq(swap_alloc(swap, 200, &got, refuse, NULL), 200);
	cr_assert_eq(got, 56);
	swap_free(swap, 7);
	cr_assert_eq(swap_alloc(swap, 200, &got, refuse, NULL), 7);
	end();
}

Test(swap, batches_are_few_requests)
{
	begin(100);
	round_trip();
	cr_assert_eq(swap_memory.writes, 1);
	cr_assert_eq(swap_memory.reads, 1);
	end();
}

Test(swap, interrupted_short_and_busy_transfers_are_resumed)
{
	static const struct swap_fault faults[] = {
		{ .error = -EINTR, .times = 3 },
		{ .error = -EAGAIN, .times = 3 },
		{ .cut_to = 1, .times = 5 },
		{ .cut_to = PAGE_SIZE, .times = 5 },
		{ .cut_to = 3 * PAGE_SIZE + 512, .times = 5 },
	};

	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		begin(100);
		swap_memory.write = swap_memory.read = faults[i];
		round_trip();
		cr_assert_eq(swap_memory.write.times + swap_memory.read.times, 0);
		end();
	}
}

Test(swap, endless_interruption_is_an_error)
{
	struct swap_page pages[1];

	begin(10);
	prepare(pages, 1);
	swap_memory.write = (struct swap_fault){ .error = -EAGAIN, .times = 1000000 };
	swap_write(swap, pages, 1);
	cr_assert_eq(pages[0].error, -EIO);
	end();
}

Test(swap, failed_writes_name_their_pages)
{
	static const int errors[] = { -ENOSPC, -EIO };
	struct swap_page pages[PAGES];

	for (size_t e = 0; e < 2; e++) {
		begin(100);
		prepare(pages, PAGES);
		/* The first ten pages go, then nothing does. */
		swap_memory.write = (struct swap_fault){ .cut_to = 10 * PAGE_SIZE, .times = 1 };
		swap_memory.transferring = NULL;
		swap_write(swap, pages, 0);
		swap_write(swap, pages, 10);
		swap_memory.write = (struct swap_fault){ .error = errors[e], .times = 1000000 };
		swap_write(swap, pages + 10, PAGES - 10);
		for (unsigned i = 0; i < PAGES; i++)
			cr_assert_eq(pages[i].error, i < 10 ? 0 : errors[e]);
		end();
	}
}

Test(swap, a_write_that_stops_half_way)
{
	struct swap_page pages[PAGES];

	begin(100);
	prepare(pages, PAGES);
	swap_memory.write = (struct swap_fault){ .cut_to = 10 * PAGE_SIZE + 100, .times = 1 };
	swap_write(swap, pages, 20);
	for (unsigned i = 0; i < 20; i++)
		cr_assert_eq(pages[i].error, 0, "the rest is submitted again");
	swap_memory.write = (struct swap_fault){ .cut_to = 0, .times = 1000000 };
	swap_write(swap, pages, 20);
	for (unsigned i = 0; i < 20; i++)
		cr_assert_eq(pages[i].error, -ENOSPC, "nothing written is a full disk");
	end();
}

Test(swap, failed_reads)
{
	struct swap_page pages[PAGES];

	begin(100);
	prepare(pages, PAGES);
	swap_write(swap, pages, PAGES);
	swap_memory.read = (struct swap_fault){ .error = -EIO, .times = 1 };
	read_back(pages, PAGES);
	for (unsigned i = 0; i < PAGES; i++)
		cr_assert_eq(pages[i].error, -EIO);
	swap_memory.read = (struct swap_fault){ .cut_to = 0, .times = 1 };
	read_back(pages, PAGES);
	cr_assert_eq(pages[0].error, -EIO, "the end of the file is an error too");
	read_back(pages, PAGES);
	expect_all(pages, PAGES);
	end();
}

Test(swap, a_flipped_bit_is_noticed)
{
	struct swap_page pages[PAGES];

	begin(100);
	prepare(pages, PAGES);
	swap_write(swap, pages, PAGES);
	swap_memory.bytes[pages[7].slot * PAGE_SIZE + 1234] ^= 4;
	read_back(pages, PAGES);
	for (unsigned i = 0; i < PAGES; i++)
		cr_assert_eq(pages[i].error, i == 7 ? -EBADMSG : 0);
	end();
}

static void real_file(const struct mm_swap_io *io, const char *directory)
{
	unsigned names = 0;
	DIR *d;

	cr_assert_eq(swap_create(directory, 1000, io, &key, &swap), 0);
	round_trip();
	d = opendir(directory);
	for (struct dirent *e; (e = readdir(d)) != NULL;)
		names += strstr(e->d_name, "bifold") != NULL;
	closedir(d);
	cr_assert_eq(names, 0, "the swap file has a name");
	end();
}

Test(swap, real_files)
{
	char directory[] = "/tmp/unit-swap-XXXXXX";

	cr_assert_not_null(mkdtemp(directory));
	real_file(&mm_swap_io_plain, directory);
	real_file(&mm_swap_io_file, directory);
	cr_assert_eq(rmdir(directory), 0, "something was left behind");
	if (access("/dev/shm", W_OK) == 0) {
		real_file(&mm_swap_io_plain, "/dev/shm");
		real_file(&mm_swap_io_file, "/dev/shm");
	}
}

int __real_io_uring_submit(struct io_uring *ring);
int __wrap_io_uring_submit(struct io_uring *ring);

static struct {
	int error;	      /* 0: the kernel's own answer */
	unsigned after, part; /* submissions to let through; of the next one, so many requests */
	unsigned calls, refused;
} submit;

int __wrap_io_uring_submit(struct io_uring *ring)
{
	unsigned tail = ring->sq.sqe_tail;
	int taken;

	submit.calls++;
	if (submit.error == 0)
		return __real_io_uring_submit(ring);
	if (submit.after > 0) {
		submit.after--;
		return __real_io_uring_submit(ring);
	}
	if (submit.part == 0 || submit.part >= io_uring_sq_ready(ring)) {
		submit.refused++;
		return submit.error;
	}
	ring->sq.sqe_tail = ring->sq.sqe_head + submit.part;
	taken = __real_io_uring_submit(ring);
	ring->sq.sqe_tail = tail;
	submit.part = 0;
	return taken;
}

#define SCATTERED 200 /* more than a ring holds, three times */

static bool has_io_uring(void)
{
	struct io_uring ring;

	if (io_uring_queue_init(8, &ring, 0) != 0)
		return false;
	io_uring_queue_exit(&ring);
	return true;
}

/* One-page requests, no two of them neighbours; all are carried out, whatever the ring says. */
static void scattered(void *file, bool write, unsigned char (*pages)[PAGE_SIZE])
{
	struct mm_swap_request requests[SCATTERED];
	struct iovec vectors[SCATTERED];

	for (unsigned i = 0; i < SCATTERED; i++) {
		vectors[i] = (struct iovec){ pages[i], PAGE_SIZE };
		requests[i] =
			(struct mm_swap_request){ write, 2ull * i * PAGE_SIZE, &vectors[i], 1, 0 };
	}
	mm_swap_io_file.transfer(file, requests, SCATTERED);
	for (unsigned i = 0; i < SCATTERED; i++)
		cr_assert_eq(requests[i].result, PAGE_SIZE, "request %u: %lld", i,
			     (long long)requests[i].result);
}

/* The ring refuses for good at some submission, of a write or of a read. */
static void ring_refuses(int error, bool write, unsigned after, unsigned part)
{
	static unsigned char pages[2][SCATTERED][PAGE_SIZE] __attribute__((aligned(4096)));
	void *file;

	if (!has_io_uring())
		cr_skip_test("SKIP: io_uring is refused here");
	for (unsigned i = 0; i < SCATTERED; i++)
		content_make(pages[0][i], CONTENT_RANDOM, i, after);
	memset(pages[1], 0, sizeof(pages[1]));
	memset(&submit, 0, sizeof(submit));
	cr_assert_eq(mm_swap_io_file.open("/tmp", &file), 0);
	if (!write)
		scattered(file, true, pages[0]);
	submit.after = after;
	submit.part = part;
	submit.error = error;
	scattered(file, write, pages[write ? 0 : 1]);
	cr_assert_gt(submit.refused, 0);
	/* The refused requests lie in the ring: nothing may be submitted to it again. */
	submit.error = 0;
	submit.calls = 0;
	scattered(file, false, pages[1]);
	cr_assert_eq(submit.calls, 0);
	cr_assert_eq(memcmp(pages[0], pages[1], sizeof(pages[0])), 0);
	mm_swap_io_file.close(file);
}

Test(swap, io_uring_refuses_for_good)
{
	for (unsigned after = 0; after < 4; after++)
		for (int write = 0; write < 2; write++) {
			ring_refuses(-EPERM, write, after, 0);
			ring_refuses(-EBUSY, write, after, 5);
		}
}

/* A kernel that never has memory for a request. */
Test(swap, io_uring_is_busy_for_good)
{
	ring_refuses(-EAGAIN, true, 1, 5);
	ring_refuses(-EINTR, false, 1, 5);
}

Test(swap, directory_missing)
{
	cr_assert_eq(swap_create("/nowhere/at/all", 10, NULL, &key, &swap), -ENOENT);
	cr_assert_eq(swap_create("/dev/null", 10, NULL, &key, &swap), -ENOTDIR);
}

/* A file size limit refuses as a full disk would, through the real system calls. */
Test(swap, real_refusal)
{
	const struct mm_swap_io *ios[] = { &mm_swap_io_plain, &mm_swap_io_file };
	struct rlimit limit = { 20 * PAGE_SIZE, RLIM_INFINITY };
	struct swap_page pages[PAGES];

	signal(SIGXFSZ, SIG_IGN);
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	for (size_t i = 0; i < 2; i++) {
		cr_assert_eq(swap_create("/tmp", 1000, ios[i], &key, &swap), 0);
		prepare(pages, PAGES);
		swap_write(swap, pages, PAGES);
		cr_assert_eq(pages[0].error, 0);
		cr_assert_lt(pages[PAGES - 1].error, 0);
		end();
	}
}

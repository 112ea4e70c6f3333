/*
 * The guest view where touches are found by scanning: what the host kernel does by itself, what a
 * seal stops, and that the manager on top of it loses no write while it evicts, gives memory up and
 * changes its budget. The host kernel is the real one, but for the calls a test answers in its
 * stead.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/units.h"
#include "ept/internal.h"
#include "mm/mm.h"
#include "policy/table.h"
#include "tests/long.h"

#define FRAMES 64u

static struct {
	unsigned long request; /* the ioctl that fails; 0: PAGEMAP_SCAN, whatever its number */
	int fd;
	int times, error;
	int pread_error;
} inject;

static int fake_ioctl(int fd, unsigned long request, void *argument)
{
	bool meant = inject.request != 0 ? request == inject.request : fd == inject.fd;

	if (!meant || inject.times == 0)
		return ioctl(fd, request, argument);
	inject.times--;
	errno = inject.error;
	return -1;
}

static ssize_t fake_pread(int fd, void *buffer, size_t length, off_t offset)
{
	if (inject.pread_error == 0)
		return pread(fd, buffer, length, offset);
	errno = inject.pread_error;
	return -1;
}

static struct ept_host_ops host;

/* A manager that holds no page back: what is missing is zeros, what is sealed is opened. */
struct opener {
	struct ept_space *space;
	_Atomic uint64_t missing, writes;
	bool filled[FRAMES];
};

static int serve(void *context, gfn_t frame, bool write, int thread)
{
	struct opener *opener = context;
	uint32_t done;

	if (opener->filled[frame.v]) {
		opener->writes++;
		cr_assert(write);
		cr_assert_eq(ept_backing_ops.map(opener->space, frame, 1, &done), 0);
	} else {
		opener->missing++;
		opener->filled[frame.v] = true;
		cr_assert_eq(ept_backing_ops.zero(opener->space, frame, 1, &done), 0);
	}
	return ept_backing_ops.wake(opener->space, frame, 1);
}

static int bring_in(void *context, gfn_t frame)
{
	return serve(context, frame, false, 0);
}

static int pin(void *context, gfn_t first, uint32_t count)
{
	return 0;
}

static void unpin(void *context, gfn_t first, uint32_t count)
{
}

static int look(void *context, gfn_t frame, void *page)
{
	return -EIO;
}

static void dead(void *context, int error, const char *what)
{
	fprintf(stderr, "the fault thread died: %s\n", what);
	abort();
}

static const struct ept_manager_ops opener_ops = { serve, bring_in, pin, unpin, look, dead };

static void skip_where_it_cannot(void)
{
	int error = ept_probe_scan();

	if (error != 0)
		cr_skip_test("SKIP: touches cannot be scanned for here: %s", strerror(-error));
}

/* With all of its frames filled. */
static struct opener *open_space(void)
{
	static struct opener opener;
	struct ept_config config = {
		.memory_bytes = FRAMES * PAGE_SIZE,
		.manager_ops = &opener_ops,
		.manager = &opener,
		.watch = MM_WATCH_SCAN,
		.host = &host,
	};
	uint32_t done;

	skip_where_it_cannot();
	host = ept_host;
	host.ioctl = fake_ioctl;
	host.pread = fake_pread;
	cr_assert_eq(ept_space_create(&config, &opener.space), 0);
	cr_assert_eq(ept_backing_ops.zero(opener.space, gfn(0), FRAMES, &done), 0);
	memset(opener.filled, true, sizeof(opener.filled));
	cr_assert_eq(ept_space_start(opener.space), 0);
	return &opener;
}

static volatile uint64_t *word_of(struct opener *opener, uint64_t frame)
{
	return (volatile uint64_t *)(opener->space->guest_view + frame * PAGE_SIZE);
}

static uint64_t read_word(struct opener *opener, uint64_t frame)
{
	return *word_of(opener, frame);
}

static void touch_and_scan(struct opener *opener)
{
	bool mapped[FRAMES];
	uint32_t done;

	cr_assert_eq(ept_backing_ops.unmap(opener->space, gfn(0), FRAMES, &done), 0);
	for (uint64_t i = 0; i < FRAMES; i += 3)
		if (i % 2 == 0)
			(void)read_word(opener, i);
		else
			*word_of(opener, i) = i;
	memset(mapped, 0x55, sizeof(mapped));
	cr_assert_eq(ept_backing_ops.scan(opener->space, gfn(0), FRAMES, mapped), 0);
	for (uint64_t i = 0; i < FRAMES; i++)
		cr_assert_eq(mapped[i], i % 3 == 0, "page %llu", (unsigned long long)i);
	cr_assert_eq(ept_backing_ops.scan(opener->space, gfn(6), 4, mapped), 0);
	cr_assert(mapped[0] && !mapped[1] && !mapped[2] && mapped[3]);
	cr_assert_eq(opener->missing + opener->writes, 0, "no touch is a fault");
}

Test(scan, what_is_touched_is_found_and_nothing_else)
{
	struct opener *opener = open_space();

	touch_and_scan(opener);
	ept_space_destroy(opener->space);
}

/* The kernel before 6.7 has no PAGEMAP_SCAN. */
Test(scan, also_by_the_words_of_the_pagemap)
{
	struct opener *opener = open_space();

	inject.fd = opener->space->pagemap;
	inject.times = 1000;
	inject.error = ENOTTY;
	touch_and_scan(opener);
	ept_space_destroy(opener->space);
}

Test(scan, errors_of_a_scan)
{
	struct opener *opener = open_space();
	bool mapped[FRAMES];

	inject.fd = opener->space->pagemap;
	inject.times = 1;
	inject.error = EINTR;
	cr_assert_eq(ept_backing_ops.scan(opener->space, gfn(0), FRAMES, mapped), 0);
	inject.times = 1;
	inject.error = ENOMEM;
	cr_assert_eq(ept_backing_ops.scan(opener->space, gfn(0), FRAMES, mapped), -ENOMEM);
	inject.times = 1;
	inject.error = ENOTTY;
	inject.pread_error = EIO;
	cr_assert_eq(ept_backing_ops.scan(opener->space, gfn(0), FRAMES, mapped), -EIO);
	inject.pread_error = 0;
	ept_space_destroy(opener->space);
}

/* Mapped or not: a read goes on, a write is a fault, and a page that is mapped again is not. */
Test(scan, a_seal_stops_writes_alone)
{
	struct opener *opener = open_space();
	uint32_t done;

	cr_assert_eq(ept_backing_ops.unmap(opener->space, gfn(8), 8, &done), 0);
	cr_assert_eq(ept_backing_ops.seal(opener->space, gfn(0), 16, &done), 0);
	cr_assert_eq(done, 16);
	for (uint64_t i = 0; i < 16; i++)
		cr_assert_eq(read_word(opener, i), 0);
	cr_assert_eq(opener->writes, 0);
	for (uint64_t i = 0; i < 16; i++)
		*word_of(opener, i) = i + 1;
	cr_assert_eq(opener->writes, 16);
	for (uint64_t i = 0; i < 16; i++)
		*word_of(opener, i) += 1;
	cr_assert_eq(opener->writes, 16);
	cr_assert_eq(read_word(opener, 15), 17);
	ept_space_destroy(opener->space);
}

/* The marker of a seal outlives its page, and a new one is written without a fault. */
Test(scan, a_new_page_is_open)
{
	static uint8_t source[4 * PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));
	struct opener *opener = open_space();
	uint32_t done;

	cr_assert_eq(ept_backing_ops.unmap(opener->space, gfn(0), 4, &done), 0);
	cr_assert_eq(ept_backing_ops.seal(opener->space, gfn(0), 8, &done), 0);
	cr_assert_eq(ept_backing_ops.release(opener->space, gfn(0), 8, &done), 0);
	memset(source, 0x5a, sizeof(source));
	cr_assert_eq(ept_backing_ops.fill(opener->space, gfn(0), 4, source, &done), 0);
	cr_assert_eq(ept_backing_ops.zero(opener->space, gfn(4), 4, &done), 0);
	for (uint64_t i = 0; i < 8; i++) {
		cr_assert_eq(read_word(opener, i), i < 4 ? 0x5a5a5a5a5a5a5a5aull : 0);
		*word_of(opener, i) = i;
	}
	cr_assert_eq(opener->missing + opener->writes, 0);
	ept_space_destroy(opener->space);
}

Test(scan, seals_that_fail)
{
	struct opener *opener = open_space();
	uint32_t done;

	inject.request = UFFDIO_WRITEPROTECT;
	inject.times = 3;
	inject.error = EAGAIN;
	cr_assert_eq(ept_backing_ops.seal(opener->space, gfn(0), 8, &done), 0);
	cr_assert_eq(done, 8);
	inject.times = 1;
	inject.error = ENOENT;
	cr_assert_eq(ept_backing_ops.seal(opener->space, gfn(8), 8, &done), -ENOENT);
	cr_assert_eq(done, 0);
	inject.times = 1;
	cr_assert_eq(ept_backing_ops.map(opener->space, gfn(0), 8, &done), -ENOENT);
	cr_assert_eq(ept_backing_ops.map(opener->space, gfn(0), 8, &done), 0);
	*word_of(opener, 0) = 1;
	cr_assert_eq(opener->writes, 0);
	ept_space_destroy(opener->space);
}

/* --- the manager on top of it */

#define GUEST_FRAMES 2048u
#define GIVEN_UP     256u /* the last of them */
#define COUNTED	     (GUEST_FRAMES - GIVEN_UP)

static struct {
	struct ept_space *space;
	struct mm *mm;
	atomic_bool stop;
} guest;

static int guest_fault(void *context, gfn_t frame, bool write, int thread)
{
	return mm_fault_of(guest.mm, frame, write, thread);
}

static int guest_bring_in(void *context, gfn_t frame)
{
	return mm_fault(guest.mm, frame, false);
}

static int guest_pin(void *context, gfn_t first, uint32_t count)
{
	return mm_pin(guest.mm, first, count);
}

static void guest_unpin(void *context, gfn_t first, uint32_t count)
{
	mm_unpin(guest.mm, first, count);
}

static const struct ept_manager_ops guest_ops = { guest_fault, guest_bring_in, guest_pin,
						  guest_unpin, look,	       dead };

/* It counts in a word of its own in each page, and knows what it should find there. */
struct actor {
	pthread_t thread;
	unsigned slot;
	uint64_t rng, counts, wrong;
	uint64_t should[COUNTED];
};

static uint64_t next(uint64_t *rng)
{
	*rng ^= *rng << 13;
	*rng ^= *rng >> 7;
	*rng ^= *rng << 17;
	return *rng;
}

static uint8_t *place(const struct actor *actor, uint64_t frame)
{
	return guest.space->guest_view + frame * PAGE_SIZE + actor->slot * 64;
}

/* As a vCPU's instructions do. */
static void *count_in_place(void *argument)
{
	struct actor *actor = argument;

	while (!atomic_load(&guest.stop)) {
		uint64_t frame = next(&actor->rng) % COUNTED;
		_Atomic uint64_t *at = (_Atomic uint64_t *)place(actor, frame);

		if (actor->rng % 4 == 0)
			actor->wrong += atomic_load(at) != actor->should[frame];
		else
			actor->wrong += atomic_fetch_add(at, 1) != actor->should[frame]++;
		actor->counts++;
	}
	return NULL;
}

/* As KVM's own accesses do: the kernel copies to and from the view. */
static void *count_by_the_kernel(void *argument)
{
	struct actor *actor = argument;
	int file = memfd_create("number", MFD_CLOEXEC);

	while (!atomic_load(&guest.stop)) {
		uint64_t frame = next(&actor->rng) % COUNTED, found = 0, new;

		if (pwrite(file, place(actor, frame), 8, 0) != 8 || pread(file, &found, 8, 0) != 8)
			actor->wrong++;
		actor->wrong += found != actor->should[frame];
		new = ++actor->should[frame];
		if (pwrite(file, &new, 8, 0) != 8 || pread(file, place(actor, frame), 8, 0) != 8)
			actor->wrong++;
		actor->counts++;
	}
	close(file);
	return NULL;
}

/* As the monitor does: pinned. */
static void *count_by_pins(void *argument)
{
	struct actor *actor = argument;

	while (!atomic_load(&guest.stop)) {
		uint64_t frame = next(&actor->rng) % COUNTED, word;
		gpa_t at = gpa(frame * PAGE_SIZE + actor->slot * 64);

		if (ept_try_read(guest.space, at, &word, sizeof(word)) != 0)
			continue; /* no room now */
		actor->wrong += word++ != actor->should[frame];
		if (ept_try_write(guest.space, at, &word, sizeof(word)) == 0)
			actor->should[frame] = word;
		actor->counts++;
	}
	return NULL;
}

static void failed(void *context, const struct mm_failure *failure)
{
	fprintf(stderr, "mm failed: %s\n", failure->text);
	abort();
}

static void open_guest(enum mm_watch watch)
{
	struct ept_config ept = {
		.memory_bytes = GUEST_FRAMES * PAGE_SIZE,
		.manager_ops = &guest_ops,
		.watch = watch,
	};
	struct mm_config mm = {
		.frame_count = GUEST_FRAMES,
		.policy = mm_policy_find("sfifo"),
		.compressor = MM_COMPRESSOR_LZ4,
		.swap_directory = "/var/tmp",
		.backing_ops = &ept_backing_ops,
		.watch = watch,
		.failed = failed,
	};

	cr_assert_eq(ept_space_create(&ept, &guest.space), 0);
	mm.backing = guest.space;
	mm.budget_bytes = mm_least_budget(&mm) + 200 * PAGE_SIZE;
	cr_assert_eq(mm_create(&mm, &guest.mm), 0);
	cr_assert_eq(ept_space_start(guest.space), 0);
}

/* The guest's owner meanwhile: the balloon, free pages, the budget. */
static void stir(uint64_t seconds, uint64_t *rng)
{
	uint64_t end = clock_now_ns() + seconds * 1000000000u;
	struct mm_stats stats;
	uint64_t least;

	mm_stats_get(guest.mm, &stats);
	least = stats.budget_least_bytes;
	while (clock_now_ns() < end) {
		uint32_t first = COUNTED + (uint32_t)(next(rng) % (GIVEN_UP - 8));
		enum mm_release_kind kind =
			next(rng) % 2 ? MM_RELEASE_BALLOON : MM_RELEASE_REPORTED;

		cr_assert_eq(mm_release(guest.mm, gfn(first), 8, kind, 0), 0);
		cr_assert_eq(mm_balloon_return(guest.mm, gfn(first), 8), 0);
		*(volatile uint8_t *)(guest.space->guest_view + (uint64_t)first * PAGE_SIZE) = 1;
		if (next(rng) % 64 == 0)
			cr_assert_eq(mm_set_budget(guest.mm, least + next(rng) % 400 * PAGE_SIZE),
				     0);
		mm_reclaim(guest.mm, 16);
	}
}

static void lose_nothing(enum mm_watch watch)
{
	static void *(*const ways[])(void *) = { count_in_place, count_in_place,
						 count_by_the_kernel, count_by_pins };
	static struct actor actors[4];
	uint64_t rng = clock_now_ns() | 1;
	struct mm_stats stats;

	skip_where_it_cannot();
	open_guest(watch);
	for (unsigned i = 0; i < 4; i++) {
		actors[i].slot = i;
		actors[i].rng = next(&rng);
		cr_assert_eq(pthread_create(&actors[i].thread, NULL, ways[i], &actors[i]), 0);
	}
	stir(test_times(5, 300), &rng);
	atomic_store(&guest.stop, true);
	for (unsigned i = 0; i < 4; i++) {
		pthread_join(actors[i].thread, NULL);
		for (uint64_t frame = 0; frame < COUNTED; frame++)
			actors[i].wrong += *(volatile uint64_t *)place(&actors[i], frame) !=
					   actors[i].should[frame];
		cr_expect_gt(actors[i].counts, 0);
		cr_expect_eq(actors[i].wrong, 0, "actor %u: %llu of %llu counts are wrong", i,
			     (unsigned long long)actors[i].wrong,
			     (unsigned long long)actors[i].counts);
	}
	cr_assert_eq(mm_check(guest.mm, stderr), 0);
	mm_stats_get(guest.mm, &stats);
	cr_assert_gt(stats.evictions_cancelled, 0);
	fprintf(stderr, "%llu refaults, %llu evictions cancelled, %llu touches found\n",
		(unsigned long long)stats.refaults, (unsigned long long)stats.evictions_cancelled,
		(unsigned long long)stats.touches_found);
	ept_space_stop(guest.space);
	mm_destroy(guest.mm);
	ept_space_destroy(guest.space);
}

Test(scan, no_write_is_lost)
{
	lose_nothing(MM_WATCH_SCAN);
}

Test(scan, no_write_is_lost_where_touches_are_faults)
{
	lose_nothing(MM_WATCH_NOTICE);
}

/*
 * ept/ without a guest: a thread of ours touches the guest view, and a manager of ours serves it.
 * The host kernel is the real one, but for the calls a test answers in its stead.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ept/internal.h"
#include "ept/host_page.h"

#define FRAMES 64

struct fake_manager {
	struct ept_space *space;
	int answer; /* what fault() returns instead of serving, when not 0 */
	_Atomic uint64_t faults;
	uint8_t fill[PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));
	sem_t died;
	int error;
	char what[128];
	int pins;
};

/* The answers of the injected host. Each test has a process of its own, so plain variables will
 * do. */
static struct {
	unsigned long request; /* which ioctl */
	int countdown;	       /* how many times */
	int error;
	int64_t progress; /* pages that are really done first */
	int fallocate_error, madvise_error, pread_error;
	bool pread_short;
	int read_error;
	size_t read_length;
	struct uffd_msg message;
	atomic_bool read_armed;
} inject;

/*
 * As the kernel has it: the field says how many bytes are done, with EAGAIN for the rest, or which
 * error it was when none are. Once.
 */
static void fake_run(int fd, unsigned long request, void *argument, __u64 *length, __s64 *field)
{
	__u64 all = *length;

	*field = -inject.error;
	if (inject.progress <= 0)
		return;
	*length = (uint64_t)inject.progress * PAGE_SIZE;
	cr_assert(ioctl(fd, request, argument) == 0);
	*field = (int64_t)*length;
	*length = all;
	inject.progress = 0;
	errno = EAGAIN;
}

static int fake_ioctl(int fd, unsigned long request, void *argument)
{
	if (request != inject.request || inject.countdown == 0)
		return ioctl(fd, request, argument);
	inject.countdown--;
	errno = inject.error;
	if (request == UFFDIO_COPY)
		fake_run(fd, request, argument, &((struct uffdio_copy *)argument)->len,
			 &((struct uffdio_copy *)argument)->copy);
	else if (request == UFFDIO_CONTINUE)
		fake_run(fd, request, argument, &((struct uffdio_continue *)argument)->range.len,
			 &((struct uffdio_continue *)argument)->mapped);
	else if (request == UFFDIO_ZEROPAGE)
		fake_run(fd, request, argument, &((struct uffdio_zeropage *)argument)->range.len,
			 &((struct uffdio_zeropage *)argument)->zeropage);
	return -1;
}

static int fake_fallocate(int fd, int mode, off_t offset, off_t length)
{
	if (inject.fallocate_error != 0) {
		errno = inject.fallocate_error;
		inject.fallocate_error = 0;
		return -1;
	}
	return ept_host.fallocate(fd, mode, offset, length);
}

static int fake_madvise(void *address, size_t length, int advice)
{
	if (inject.madvise_error != 0) {
		errno = inject.madvise_error;
		inject.madvise_error = 0;
		return -1;
	}
	return madvise(address, length, advice);
}

static ssize_t fake_read(int fd, void *buffer, size_t length)
{
	if (!atomic_exchange(&inject.read_armed, false))
		return ept_host.read(fd, buffer, length);
	if (inject.read_error != 0) {
		errno = inject.read_error;
		return -1;
	}
	memcpy(buffer, &inject.message, sizeof(inject.message));
	return (ssize_t)inject.read_length;
}

static ssize_t fake_pread(int fd, void *buffer, size_t length, off_t offset)
{
	if (inject.pread_error != 0) {
		errno = inject.pread_error;
		inject.pread_error = 0;
		return -1;
	}
	return pread(fd, buffer, inject.pread_short ? length / 2 : length, offset);
}

static const struct ept_host_ops fake_host = {
	.ioctl = fake_ioctl,
	.madvise = fake_madvise,
	.fallocate = fake_fallocate,
	.pread = fake_pread,
	.read = fake_read,
};

static int serve(void *context, gfn_t frame, bool write, int thread)
{
	struct fake_manager *manager = context;
	uint32_t done;

	manager->faults++;
	if (manager->answer != 0)
		return manager->answer;
	if (frame.v % 2 == 0)
		cr_assert_eq(ept_backing_ops.zero(manager->space, frame, 1, &done), 0);
	else
		cr_assert_eq(ept_backing_ops.fill(manager->space, frame, 1, manager->fill, &done),
			     0);
	return ept_backing_ops.wake(manager->space, frame, 1);
}

static int bring_in(void *context, gfn_t frame)
{
	return serve(context, frame, false, 0);
}

static int pin(void *context, gfn_t first, uint32_t count)
{
	struct fake_manager *manager = context;

	manager->pins++;
	return 0;
}

static void unpin(void *context, gfn_t first, uint32_t count)
{
	((struct fake_manager *)context)->pins--;
}

/* Frames are looked at in the memfd; frame 13 cannot be. */
static int look_at(void *context, gfn_t frame, void *page)
{
	struct fake_manager *manager = context;

	return frame.v == 13 ? -EBADMSG : ept_backing_ops.read(manager->space, frame, page);
}

static void dead(void *context, int error, const char *what)
{
	struct fake_manager *manager = context;

	manager->error = error;
	snprintf(manager->what, sizeof(manager->what), "%s", what);
	sem_post(&manager->died);
}

static const struct ept_manager_ops fake_ops = { serve, bring_in, pin, unpin, look_at, dead };

static struct fake_manager *open_space(void)
{
	static struct fake_manager manager;
	struct ept_config config = {
		.memory_bytes = FRAMES * PAGE_SIZE,
		.manager_ops = &fake_ops,
		.manager = &manager,
		.host = &fake_host,
	};
	int error = ept_probe_userfaultfd();

	if (error != 0)
		cr_skip_test("SKIP: userfaultfd is refused here: %s", strerror(-error));
	sem_init(&manager.died, 0, 0);
	memset(manager.fill, 0x5a, sizeof(manager.fill));
	cr_assert_eq(ept_space_create(&config, &manager.space), 0);
	return &manager;
}

static uint8_t *fill_source(void)
{
	static uint8_t source[FRAMES * PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));

	return source;
}

static void fill_frames(struct fake_manager *manager, uint64_t first, uint32_t count)
{
	uint8_t *source = fill_source();
	uint32_t done;

	for (uint32_t i = 0; i < count; i++)
		memset(source + i * PAGE_SIZE, (int)(first + i), PAGE_SIZE);
	cr_assert_eq(ept_backing_ops.fill(manager->space, gfn(first), count, source, &done), 0);
	cr_assert_eq(done, count);
}

static uint8_t look(struct fake_manager *manager, uint64_t frame)
{
	return *((volatile uint8_t *)manager->space->guest_view + frame * PAGE_SIZE);
}

Test(ept, serves_missing_and_minor_faults)
{
	struct fake_manager *manager = open_space();
	uint32_t done;

	cr_assert_eq(ept_space_start(manager->space), 0);
	for (uint64_t i = 0; i < FRAMES; i++)
		cr_assert_eq(look(manager, i), i % 2 == 0 ? 0 : 0x5a);
	cr_assert_eq(manager->faults, FRAMES);
	cr_assert_eq(ept_space_host_bytes(manager->space), FRAMES * PAGE_SIZE);
	cr_assert_eq(ept_backing_ops.unmap(manager->space, gfn(0), FRAMES, &done), 0);
	cr_assert_eq(ept_backing_ops.map(manager->space, gfn(0), FRAMES, &done), 0);
	cr_assert_eq(look(manager, 3), 0x5a);
	cr_assert_eq(manager->faults, FRAMES, "mapped pages do not fault");
	cr_assert_eq(ept_backing_ops.unmap(manager->space, gfn(0), FRAMES, &done), 0);
	cr_assert_eq(ept_backing_ops.release(manager->space, gfn(0), FRAMES, &done), 0);
	cr_assert_eq(ept_space_host_bytes(manager->space), 0);
	ept_space_destroy(manager->space);
}

/* Two address kinds of one page: what the guest wrote, the monitor reads. */
Test(ept, views_show_the_same_page)
{
	struct fake_manager *manager = open_space();
	uint8_t *page;

	fill_frames(manager, 5, 1);
	page = ept_backing_ops.page(manager->space, gfn(5));
	cr_assert_eq(page[17], 5);
	page[17] = 99;
	cr_assert_eq(*(manager->space->guest_view + 5 * PAGE_SIZE + 17), 99);
	ept_space_destroy(manager->space);
}

Test(ept, frames_are_read_whole_or_not_at_all)
{
	struct fake_manager *manager = open_space();
	uint8_t copy[PAGE_SIZE];

	fill_frames(manager, 5, 1);
	inject.pread_error = EINTR;
	cr_assert_eq(ept_backing_ops.read(manager->space, gfn(5), copy), 0);
	cr_assert(copy[0] == 5 && copy[PAGE_SIZE - 1] == 5);
	inject.pread_error = EIO;
	cr_assert_eq(ept_backing_ops.read(manager->space, gfn(5), copy), -EIO);
	inject.pread_short = true;
	cr_assert_eq(ept_backing_ops.read(manager->space, gfn(5), copy), -EIO);
	ept_space_destroy(manager->space);
}

Test(ept, again_is_taken_up_where_it_stopped)
{
	struct fake_manager *manager = open_space();
	uint32_t done;

	inject.request = UFFDIO_COPY;
	inject.countdown = 1;
	inject.error = EAGAIN;
	inject.progress = 3;
	fill_frames(manager, 0, 8);
	for (uint64_t i = 0; i < 8; i++)
		cr_assert_eq(look(manager, i), i);
	inject.progress = 0;
	inject.countdown = 5;
	fill_frames(manager, 8, 8);
	inject.request = UFFDIO_ZEROPAGE;
	inject.countdown = 2;
	cr_assert_eq(ept_backing_ops.zero(manager->space, gfn(16), 4, &done), 0);
	cr_assert_eq(ept_backing_ops.unmap(manager->space, gfn(0), 16, &done), 0);
	inject.request = UFFDIO_CONTINUE;
	inject.countdown = 2;
	cr_assert_eq(ept_backing_ops.map(manager->space, gfn(0), 16, &done), 0);
	cr_assert_eq(look(manager, 15), 15);
	ept_space_destroy(manager->space);
}

/* How far each got is told, whatever stops it: what was done stays done, the rest is untouched. */
Test(ept, a_part_is_a_result)
{
	struct fake_manager *manager = open_space();
	uint32_t done;

	fill_frames(manager, 0, 12);
	cr_assert_eq(ept_backing_ops.unmap(manager->space, gfn(0), 12, &done), 0);
	cr_assert_eq(done, 12);
	inject.request = UFFDIO_CONTINUE;
	inject.countdown = 2;
	inject.error = ENOMEM;
	inject.progress = 5;
	cr_assert_eq(ept_backing_ops.map(manager->space, gfn(0), 12, &done), -ENOMEM);
	cr_assert_eq(done, 5);
	inject.countdown = 0;
	cr_assert_eq(ept_space_start(manager->space), 0);
	for (uint64_t i = 0; i < 5; i++)
		cr_assert_eq(look(manager, i), i);
	cr_assert_eq(manager->faults, 0, "the five are mapped");
	ept_space_stop(manager->space);
	inject.request = UFFDIO_COPY;
	inject.countdown = 2;
	inject.error = EINTR;
	inject.progress = 2;
	cr_assert_eq(ept_backing_ops.fill(manager->space, gfn(20), 4, fill_source(), &done),
		     -EINTR);
	cr_assert_eq(done, 2);
	inject.request = UFFDIO_ZEROPAGE;
	inject.countdown = 2;
	inject.error = ENOMEM;
	inject.progress = 3;
	cr_assert_eq(ept_backing_ops.zero(manager->space, gfn(30), 4, &done), -ENOMEM);
	cr_assert_eq(done, 3);
	cr_assert_eq(ept_space_host_bytes(manager->space), (12 + 2 + 3) * PAGE_SIZE);
	inject.madvise_error = EINVAL;
	cr_assert_eq(ept_backing_ops.unmap(manager->space, gfn(0), 12, &done), -EINVAL);
	cr_assert_eq(done, 0);
	inject.fallocate_error = EIO;
	cr_assert_eq(ept_backing_ops.release(manager->space, gfn(0), 12, &done), -EIO);
	cr_assert_eq(done, 0);
	ept_space_destroy(manager->space);
}

/* An EAGAIN that never ends is an error, not a hang. */
Test(ept, again_for_ever_is_an_error)
{
	struct fake_manager *manager = open_space();
	uint32_t done;

	inject.request = UFFDIO_ZEROPAGE;
	inject.countdown = -1;
	inject.error = EAGAIN;
	cr_assert_eq(ept_backing_ops.zero(manager->space, gfn(0), 4, &done), -EAGAIN);
	cr_assert_eq(done, 0);
	ept_space_destroy(manager->space);
}

Test(ept, what_is_mapped_already)
{
	struct fake_manager *manager = open_space();
	uint32_t done;

	fill_frames(manager, 4, 1);
	fill_frames(manager, 0, 2);
	cr_assert_eq(ept_backing_ops.unmap(manager->space, gfn(0), 2, &done), 0);
	cr_assert_eq(ept_backing_ops.map(manager->space, gfn(0), 2, &done), 0);
	cr_assert_eq(ept_backing_ops.map(manager->space, gfn(0), 2, &done), 0,
		     "mapped twice is no error");
	/* A page where none should be is an error, and says how far it came. */
	cr_assert_eq(ept_backing_ops.zero(manager->space, gfn(2), 4, &done), -EEXIST);
	cr_assert_eq(done, 2);
	cr_assert_eq(look(manager, 4), 4, "and it is not overwritten");
	ept_space_destroy(manager->space);
}

Test(ept, errors_of_the_host_come_back)
{
	struct fake_manager *manager = open_space();
	uint32_t done;

	fill_frames(manager, 0, 4);
	inject.request = UFFDIO_COPY;
	inject.countdown = 1;
	inject.error = ENOMEM;
	cr_assert_eq(ept_backing_ops.fill(manager->space, gfn(8), 1, manager->fill, &done),
		     -ENOMEM);
	inject.madvise_error = EINVAL;
	cr_assert_eq(ept_backing_ops.unmap(manager->space, gfn(0), 4, &done), -EINVAL);
	inject.madvise_error = EAGAIN;
	cr_assert_eq(ept_backing_ops.unmap(manager->space, gfn(0), 4, &done), 0);
	inject.fallocate_error = EINTR;
	cr_assert_eq(ept_backing_ops.release(manager->space, gfn(0), 2, &done), 0);
	inject.fallocate_error = EIO;
	cr_assert_eq(ept_backing_ops.release(manager->space, gfn(2), 2, &done), -EIO);
	inject.request = UFFDIO_WAKE;
	inject.countdown = 1;
	inject.error = EINVAL;
	cr_assert_eq(ept_backing_ops.wake(manager->space, gfn(0), 1), -EINVAL);
	ept_space_destroy(manager->space);
}

static void *touch(void *argument)
{
	look(argument, 1);
	return NULL;
}

/* The fault thread ends in some way: dead() must hear of it, and say so. */
static void thread_dies(struct fake_manager *manager, int error, const char *what)
{
	pthread_t toucher;

	pthread_create(&toucher, NULL, touch, manager);
	sem_wait(&manager->died);
	cr_assert_eq(manager->error, error, "error %d: %s", manager->error, manager->what);
	cr_assert(strstr(manager->what, what) != NULL, "it says: %s", manager->what);
	pthread_cancel(toucher);
	/* A thread that waits for a page is let go with an error instead: here that would be
	 * SIGSEGV, so the page is served by hand. */
	manager->answer = 0;
	serve(manager, gfn(1), false, 0);
	pthread_join(toucher, NULL);
	ept_space_destroy(manager->space);
}

Test(ept, dies_of_a_failed_read)
{
	struct fake_manager *manager = open_space();

	inject.read_error = EIO;
	inject.read_armed = true;
	cr_assert_eq(ept_space_start(manager->space), 0);
	thread_dies(manager, EIO, "reading userfaultfd");
}

Test(ept, dies_of_a_short_read)
{
	struct fake_manager *manager = open_space();

	inject.read_length = 7;
	inject.read_armed = true;
	cr_assert_eq(ept_space_start(manager->space), 0);
	thread_dies(manager, EIO, "reading userfaultfd");
}

/* Event codes are values: 0x13 shares bits with a page fault's 0x12, and is none. */
Test(ept, dies_of_an_unknown_event)
{
	struct fake_manager *manager = open_space();

	inject.message.event = UFFD_EVENT_FORK;
	inject.read_length = sizeof(inject.message);
	inject.read_armed = true;
	cr_assert_eq(ept_space_start(manager->space), 0);
	thread_dies(manager, EPROTO, "unknown event 0x13");
}

Test(ept, dies_of_a_fault_not_served)
{
	struct fake_manager *manager = open_space();

	manager->answer = -ENOMEM;
	cr_assert_eq(ept_space_start(manager->space), 0);
	thread_dies(manager, ENOMEM, "guest-physical 0x1000");
}

Test(ept, is_killed)
{
	struct fake_manager *manager = open_space();

	cr_assert_eq(ept_space_start(manager->space), 0);
	pthread_cancel(manager->space->fault_thread);
	thread_dies(manager, 0, "was killed");
}

Test(ept, interrupted_read_goes_on)
{
	struct fake_manager *manager = open_space();

	inject.read_error = EINTR;
	inject.read_armed = true;
	cr_assert_eq(ept_space_start(manager->space), 0);
	cr_assert_eq(look(manager, 1), 0x5a);
	ept_space_destroy(manager->space);
}

Test(ept, accesses_are_checked)
{
	struct fake_manager *manager = open_space();
	uint64_t end = FRAMES * PAGE_SIZE;
	char buffer[2 * PAGE_SIZE] = "";

	fill_frames(manager, 0, FRAMES);
	cr_assert_eq(ept_write(manager->space, gpa(100), "hello", 6), 0);
	cr_assert_eq(ept_read(manager->space, gpa(100), buffer, 6), 0);
	cr_assert_str_eq(buffer, "hello");
	cr_assert_eq(ept_read(manager->space, gpa(end - 1), buffer, 1), 0);
	cr_assert_eq(ept_read(manager->space, gpa(end - 1), buffer, 2), -EFAULT);
	cr_assert_eq(ept_read(manager->space, gpa(end), buffer, 1), -EFAULT);
	cr_assert_eq(ept_read(manager->space, gpa(UINT64_MAX), buffer, 2), -EFAULT);
	cr_assert_eq(ept_read(manager->space, gpa(8), buffer, SIZE_MAX), -EFAULT);
	cr_assert_eq(ept_write(manager->space, gpa(UINT64_MAX - 7), buffer, 16), -EFAULT);
	cr_assert_eq(ept_write(manager->space, gpa(UINT64_MAX), buffer, 0), 0);
	cr_assert_eq(manager->pins, 0, "every pin was undone");
	ept_space_destroy(manager->space);
}

Test(ept, ram_has_a_hole_below_4_gib)
{
	struct ept_config config = { .memory_bytes = 5ul << 30 };
	const struct ept_range *ranges;
	struct ept_translation translation;
	struct ept_space *space;
	char byte = 0;

	cr_assert_eq(ept_space_create(&config, &space), 0);
	cr_assert_eq(ept_space_ranges(space, &ranges), 2);
	cr_assert_eq(ranges[0].length, EPT_HOLE_START);
	cr_assert_eq(ranges[1].start.v, EPT_HOLE_END);
	cr_assert_eq(ranges[0].length + ranges[1].length, config.memory_bytes);
	cr_assert_eq(ept_space_frame_count(space), 6ul << 18);
	cr_assert_eq(ept_write(space, gpa(EPT_HOLE_START - 1), &byte, 1), 0);
	cr_assert_eq(ept_write(space, gpa(EPT_HOLE_START), &byte, 1), -EFAULT);
	cr_assert_eq(ept_write(space, gpa(EPT_HOLE_END), &byte, 1), 0);
	ept_space_translate(space, gpa(EPT_HOLE_START), &translation);
	cr_assert(!translation.is_ram);
	ept_space_translate(space, gpa(EPT_HOLE_END), &translation);
	cr_assert(translation.is_ram && translation.memslot == 1 && translation.offset == 0);
	ept_space_translate(space, gpa(EPT_HOLE_END + 0x1234), &translation);
	cr_assert(translation.offset == 0x1234 && translation.backing_page_size == PAGE_SIZE);
	ept_space_destroy(space);
}

/* A look across pages, at resident and at absent ones; nothing is pinned and no fault served. */
Test(ept, looks_without_touching)
{
	struct fake_manager *manager = open_space();
	uint8_t bytes[2 * PAGE_SIZE];

	fill_frames(manager, 1, 2);
	cr_assert_eq(ept_look(manager->space, gpa(2 * PAGE_SIZE - 5), bytes, 10), 0);
	for (int i = 0; i < 10; i++)
		cr_assert_eq(bytes[i], i < 5 ? 1 : 2);
	cr_assert_eq(ept_look(manager->space, gpa(3 * PAGE_SIZE - 1), bytes, PAGE_SIZE + 2), 0);
	cr_assert(bytes[0] == 2 && bytes[1] == 0 && bytes[PAGE_SIZE] == 0);
	cr_assert_eq(ept_look(manager->space, gpa(12 * PAGE_SIZE), bytes, PAGE_SIZE + 1), -EBADMSG);
	cr_assert_eq(ept_look(manager->space, gpa(FRAMES * PAGE_SIZE - 1), bytes, 2), -EFAULT);
	cr_assert_eq(ept_look(manager->space, gpa(UINT64_MAX), bytes, 2), -EFAULT);
	cr_assert_eq(ept_look(manager->space, gpa(UINT64_MAX), bytes, 0), 0);
	cr_assert_eq(ept_space_host_bytes(manager->space), 2 * PAGE_SIZE);
	cr_assert_eq(manager->pins + (int)manager->faults, 0);
	ept_space_destroy(manager->space);
}

Test(ept, looks_at_unmanaged_memory_without_touching)
{
	struct ept_config config = { .memory_bytes = FRAMES * PAGE_SIZE };
	struct ept_host_page page;
	struct ept_space *space;
	uint64_t word = 42;

	cr_assert_eq(ept_space_create(&config, &space), 0);
	cr_assert_eq(ept_write(space, gpa(0x3008), &word, 8), 0);
	cr_assert_eq(ept_look(space, gpa(0x3008), &word, 8), 0);
	cr_assert_eq(word, 42);
	cr_assert_eq(ept_look(space, gpa(0x5000), &word, 8), 0);
	cr_assert_eq(word, 0);
	ept_host_page_get(hva((uintptr_t)space->guest_view + 0x3000), &page);
	cr_assert(page.known && page.present && !page.swapped);
	ept_host_page_get(hva((uintptr_t)space->guest_view + 0x5000), &page);
	cr_assert(page.known && !page.present, "it has no page still");
	ept_space_destroy(space);
}

/*
 * struct mm_backing_ops over the memfd and userfaultfd.
 *
 * Measured on a shadow-paging host, per 4 KiB page in runs of 16: UFFDIO_COPY out of a warm buffer
 * 1.15 us, against 2.6 us for writing the page through the monitor view (a fault, a clear, a copy)
 * and UFFDIO_CONTINUE after it. So content goes in with COPY, zeros with ZEROPAGE, and CONTINUE
 * serves pages that were only unmapped, where touches of them are faults.
 *
 * Where they are not (MM_WATCH_SCAN), the view is registered for write protection instead of minor
 * faults. That has a second use: it keeps the host kernel from mapping the neighbours of a page
 * that it maps for a read. A seal of a page that is not mapped is a marker in its place; it
 * outlives MADV_DONTNEED and a punched hole, and COPY and ZEROPAGE put a writable page over it.
 *
 * None of them wakes the waiting threads: the manager does, once its books are closed. A vCPU that
 * is woken earlier may run at once in the fault thread's place, and the fault's time would then
 * include the guest's own.
 *
 * The three ioctls stop early with EAGAIN when the address space is changing under them, and say
 * how far they came; they are taken up again from there.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"
#include "ept/internal.h"

/* EAGAIN without progress comes from a change of the monitor's mappings, which is short. */
#define AGAIN_MAX 10000

static uint64_t view_address(const struct ept_space *space, gfn_t frame)
{
	return (uintptr_t)space->guest_view + gfn_to_gpa(frame).v;
}

static struct uffdio_range view_range(const struct ept_space *space, gfn_t first, uint64_t count)
{
	return (struct uffdio_range){ view_address(space, first), count << PAGE_SHIFT };
}

static int wake(void *backing, gfn_t first, uint32_t count)
{
	struct ept_space *space = backing;
	struct uffdio_range range = view_range(space, first, count);

	return space->host->ioctl(space->uffd, UFFDIO_WAKE, &range) == 0 ? 0 : -errno;
}

/*
 * One kind of ioctl over a run. issue() tries pages [first, first + count), returns bytes done if
 * any, else -errno: the three ioctls' own way of saying it.
 */
typedef int64_t issue_fn(struct ept_space *space, gfn_t first, uint64_t count,
			 const uint8_t *source);

static int64_t outcome(int result, int64_t field)
{
	return result == 0 || field != 0 ? field : -errno;
}

static int64_t issue_zero(struct ept_space *space, gfn_t first, uint64_t count,
			  const uint8_t *source)
{
	struct uffdio_zeropage request = {
		.range = view_range(space, first, count),
		.mode = UFFDIO_ZEROPAGE_MODE_DONTWAKE,
	};
	int result = space->host->ioctl(space->uffd, UFFDIO_ZEROPAGE, &request);

	return outcome(result, request.zeropage);
}

static int64_t issue_copy(struct ept_space *space, gfn_t first, uint64_t count,
			  const uint8_t *source)
{
	struct uffdio_copy request = {
		.dst = view_address(space, first),
		.src = (uintptr_t)source,
		.len = count << PAGE_SHIFT,
		.mode = UFFDIO_COPY_MODE_DONTWAKE,
	};
	int result = space->host->ioctl(space->uffd, UFFDIO_COPY, &request);

	return outcome(result, request.copy);
}

static int64_t issue_continue(struct ept_space *space, gfn_t first, uint64_t count,
			      const uint8_t *source)
{
	struct uffdio_continue request = {
		.range = view_range(space, first, count),
		.mode = UFFDIO_CONTINUE_MODE_DONTWAKE,
	};
	int result = space->host->ioctl(space->uffd, UFFDIO_CONTINUE, &request);

	return outcome(result, request.mapped);
}

/* Of this the host does not say how far it came. */
static int64_t issue_protect(struct ept_space *space, gfn_t first, uint64_t count, uint64_t mode)
{
	struct uffdio_writeprotect request = {
		.range = view_range(space, first, count),
		.mode = mode,
	};

	if (space->host->ioctl(space->uffd, UFFDIO_WRITEPROTECT, &request) != 0)
		return -errno;
	return (int64_t)(count << PAGE_SHIFT);
}

static int64_t issue_seal(struct ept_space *space, gfn_t first, uint64_t count,
			  const uint8_t *source)
{
	return issue_protect(space, first, count, UFFDIO_WRITEPROTECT_MODE_WP);
}

static int64_t issue_unseal(struct ept_space *space, gfn_t first, uint64_t count,
			    const uint8_t *source)
{
	return issue_protect(space, first, count, UFFDIO_WRITEPROTECT_MODE_DONTWAKE);
}

static int run(struct ept_space *space, issue_fn *issue, gfn_t first, uint32_t count,
	       const uint8_t *source, uint32_t *done)
{
	unsigned again = 0;

	*done = 0;
	while (*done < count) {
		int64_t n = issue(space, gfn_add(first, *done), count - *done,
				  source != NULL ? source + ((size_t)*done << PAGE_SHIFT) : NULL);

		if (n > 0) {
			*done += (uint32_t)(n >> PAGE_SHIFT);
			again = 0;
		} else if (n == -EAGAIN && again++ < AGAIN_MAX) {
			sched_yield();
		} else {
			return n == 0 ? -EIO : (int)n;
		}
	}
	return 0;
}

static int zero(void *backing, gfn_t first, uint32_t count, uint32_t *done)
{
	return run(backing, issue_zero, first, count, NULL, done);
}

static int fill(void *backing, gfn_t first, uint32_t count, const void *source, uint32_t *done)
{
	return run(backing, issue_copy, first, count, source, done);
}

static int map(void *backing, gfn_t first, uint32_t count, uint32_t *done)
{
	struct ept_space *space = backing;

	if (space->watch == MM_WATCH_SCAN)
		return run(space, issue_unseal, first, count, NULL, done);
	*done = 0;
	while (*done < count) {
		uint32_t n;
		int error =
			run(space, issue_continue, gfn_add(first, *done), count - *done, NULL, &n);

		*done += n;
		if (error == -EEXIST) /* mapped already: step over it */
			++*done;
		else if (error != 0)
			return error;
	}
	return 0;
}

static int seal(void *backing, gfn_t first, uint32_t count, uint32_t *done)
{
	return run(backing, issue_seal, first, count, NULL, done);
}

/* Of this and of release the host does not say how far it came: all or nothing is done. */
static int unmap(void *backing, gfn_t first, uint32_t count, uint32_t *done)
{
	struct ept_space *space = backing;
	struct uffdio_range range = view_range(space, first, count);

	*done = 0;
	while (space->host->madvise((void *)(uintptr_t)range.start, range.len, MADV_DONTNEED) != 0)
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
	*done = count;
	return 0;
}

static int release(void *backing, gfn_t first, uint32_t count, uint32_t *done)
{
	struct ept_space *space = backing;

	*done = 0;
	while (space->host->fallocate(space->memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				      (off_t)gfn_to_gpa(first).v,
				      (off_t)((uint64_t)count << PAGE_SHIFT)) != 0)
		if (errno != EINTR)
			return -errno;
	*done = count;
	return 0;
}

/* Not through the monitor view: a page mapped there costs a TLB flush when it is released. */
static int read_frame(void *backing, gfn_t frame, void *destination)
{
	struct ept_space *space = backing;
	ssize_t n;

	do {
		n = space->host->pread(space->memfd, destination, PAGE_SIZE,
				       (off_t)gfn_to_gpa(frame).v);
	} while (n < 0 && errno == EINTR);
	return n == (ssize_t)PAGE_SIZE ? 0 : n < 0 ? -errno : -EIO;
}

static void *page(void *backing, gfn_t frame)
{
	struct ept_space *space = backing;

	CHECK(gfn_to_gpa(frame).v < space->size);
	return space->monitor_view + gfn_to_gpa(frame).v;
}

const struct mm_backing_ops ept_backing_ops = {
	.zero = zero,
	.fill = fill,
	.map = map,
	.unmap = unmap,
	.seal = seal,
	.scan = ept_scan,
	.release = release,
	.wake = wake,
	.read = read_frame,
	.page = page,
};

/*
 * The address space's life: memfd, views, registration, memslots, and the monitor's own accesses.
 */
#include "ept/space.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <linux/userfaultfd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "ept/host_page.h"
#include "ept/internal.h"

/* How many pages an access of the monitor pins at once. */
#define ACCESS_CHUNK_PAGES 16

static int host_ioctl(int fd, unsigned long request, void *argument)
{
	return ioctl(fd, request, argument);
}

static int host_fallocate(int fd, int mode, off_t offset, off_t length)
{
	return fallocate(fd, mode, offset, length);
}

const struct ept_host_ops ept_host = {
	.ioctl = host_ioctl,
	.madvise = madvise,
	.fallocate = host_fallocate,
	.pread = pread,
	.read = read,
};

static void lay_out(struct ept_space *space, uint64_t memory)
{
	uint64_t low = memory < EPT_HOLE_START ? memory : EPT_HOLE_START;

	space->range[0] = (struct ept_range){ gpa(0), low };
	space->range_count = 1;
	space->size = low;
	if (memory > low) {
		space->range[1] = (struct ept_range){ gpa(EPT_HOLE_END), memory - low };
		space->range_count = 2;
		space->size = EPT_HOLE_END + memory - low;
	}
}

/*
 * /dev/userfaultfd first: its file mode is how an administrator grants it. The system call serves
 * kernels without it, and root.
 */
int ept_userfaultfd_open(void)
{
	int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	int fd, error;

	if (device >= 0) {
		fd = ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
		error = errno;
		close(device);
		if (fd >= 0)
			return fd;
		errno = error;
	}
	fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	return fd >= 0 ? fd : -errno;
}

static int agree_on_features(const struct ept_host_ops *host, int fd, enum mm_watch watch)
{
	static const uint64_t features[] = {
		[MM_WATCH_NOTICE] = UFFD_FEATURE_MINOR_SHMEM,
		[MM_WATCH_SCAN] = UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM,
	};
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_THREAD_ID | features[watch],
	};

	return host->ioctl(fd, UFFDIO_API, &api) == 0 ? 0 : -ENOTSUP;
}

static int open_userfaultfd(struct ept_space *space)
{
	space->uffd = ept_userfaultfd_open();
	if (space->uffd < 0) {
		int error = space->uffd;

		errno = -error;
		log_error("userfaultfd was refused (%m): run as root, or let your group use "
			  "/dev/userfaultfd; see 'bifold doctor'");
		return error;
	}
	if (agree_on_features(space->host, space->uffd, space->watch) != 0) {
		log_error("this kernel's userfaultfd cannot report %s of shared memory: Linux %s "
			  "or newer is needed",
			  space->watch == MM_WATCH_SCAN ? "missing and write-protected pages"
							: "missing and minor faults",
			  space->watch == MM_WATCH_SCAN ? "5.19" : "5.14");
		return -ENOTSUP;
	}
	return 0;
}

static int probe(enum mm_watch watch)
{
	int fd = ept_userfaultfd_open();
	int error = fd;

	if (fd >= 0) {
		error = agree_on_features(&ept_host, fd, watch);
		close(fd);
	}
	return error;
}

int ept_probe_userfaultfd(void)
{
	return probe(MM_WATCH_NOTICE);
}

int ept_probe_scan(void)
{
	int error = probe(MM_WATCH_SCAN);

	return error == 0 && access("/proc/self/pagemap", R_OK) != 0 ? -errno : error;
}

int ept_probe_memfd(void)
{
	int fd = memfd_create("bifold-probe", MFD_CLOEXEC);
	int error = fd < 0 || ftruncate(fd, PAGE_SIZE) != 0 ? -errno : 0;

	if (fd >= 0)
		close(fd);
	return error;
}

static int register_ranges(struct ept_space *space)
{
	bool scans = space->watch == MM_WATCH_SCAN;
	const uint64_t needed = 1ull << _UFFDIO_COPY | 1ull << _UFFDIO_ZEROPAGE |
				1ull << _UFFDIO_WAKE |
				1ull << (scans ? _UFFDIO_WRITEPROTECT : _UFFDIO_CONTINUE);

	for (size_t i = 0; i < space->range_count; i++) {
		struct uffdio_register request = {
			.range = { (uintptr_t)space->guest_view + space->range[i].start.v,
				   space->range[i].length },
			.mode = UFFDIO_REGISTER_MODE_MISSING |
				(scans ? UFFDIO_REGISTER_MODE_WP : UFFDIO_REGISTER_MODE_MINOR),
		};

		if (space->host->ioctl(space->uffd, UFFDIO_REGISTER, &request) != 0) {
			int error = -errno;

			log_error("userfaultfd does not take the guest's memory: %m");
			return error;
		}
		if ((request.ioctls & needed) != needed) {
			log_error("this kernel's userfaultfd lacks an operation that is needed "
				  "(it offers %#llx)",
				  (unsigned long long)request.ioctls);
			return -ENOTSUP;
		}
	}
	return 0;
}

/*
 * Both views stay out of core dumps and of forked children: they are the guest's memory. Huge
 * pages stay off: a 2 MiB mapping over a partly filled unit would hand the guest zeros.
 */
static int map_view(struct ept_space *space, uint8_t **view)
{
	static const int advice[] = { MADV_DONTFORK, MADV_DONTDUMP, MADV_NOHUGEPAGE };
	int flags = space->memfd >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS;
	void *at;

	/* Huge pages that turn out to be missing at the first touch would end the guest there. */
	if (!space->huge)
		flags |= MAP_NORESERVE;
	at = mmap(NULL, space->size, PROT_READ | PROT_WRITE, flags, space->memfd, 0);

	if (at == MAP_FAILED) {
		int error = -errno;

		log_error("cannot map %llu bytes of guest memory: %m",
			  (unsigned long long)space->size);
		return error;
	}
	*view = at;
	for (size_t i = 0; i < sizeof(advice) / sizeof(advice[0]); i++)
		if (madvise(at, space->size, advice[i]) != 0 && advice[i] != MADV_NOHUGEPAGE)
			log_warn("madvise(%d) of guest memory: %m", advice[i]);
	return 0;
}

/* page_bytes: as in struct ept_config. */
static int make_memfd(struct ept_space *space, uint64_t page_bytes)
{
	unsigned flags = MFD_CLOEXEC;

	space->huge = page_bytes > PAGE_SIZE;
	if (space->huge)
		flags |= MFD_HUGETLB | (unsigned)__builtin_ctzll(page_bytes) << MAP_HUGE_SHIFT;
	space->memfd = memfd_create("bifold-guest", flags);
	if (space->memfd < 0 || ftruncate(space->memfd, (off_t)space->size) != 0) {
		int error = -errno;

		log_error("cannot make %llu bytes of guest memory: %m",
			  (unsigned long long)space->size);
		return error;
	}
	return 0;
}

static int create_unmanaged(struct ept_space *space, uint64_t page_bytes)
{
	int error = page_bytes != 0 ? make_memfd(space, page_bytes) : 0;

	if (error == 0)
		error = map_view(space, &space->guest_view);
	space->monitor_view = space->guest_view;
	return error;
}

static int create_managed(struct ept_space *space)
{
	int error = make_memfd(space, 0);

	if (error == 0)
		error = map_view(space, &space->guest_view);
	if (error == 0)
		error = map_view(space, &space->monitor_view);
	if (error == 0)
		error = open_userfaultfd(space);
	if (error == 0)
		error = register_ranges(space);
	if (error == 0 && space->watch == MM_WATCH_SCAN) {
		space->pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
		if (space->pagemap < 0) {
			error = -errno;
			log_error("/proc/self/pagemap: %m");
		}
	}
	if (error == 0) {
		space->stop_fd = eventfd(0, EFD_CLOEXEC);
		if (space->stop_fd < 0)
			error = -errno;
	}
	return error;
}

int ept_space_create(const struct ept_config *config, struct ept_space **out)
{
	struct ept_space *space = calloc(1, sizeof(*space));
	int error;

	CHECK(config->memory_bytes > 0 && config->memory_bytes % PAGE_SIZE == 0);
	CHECK(config->host_page_bytes == 0 || config->memory_bytes % config->host_page_bytes == 0);
	if (space == NULL)
		return -ENOMEM;
	space->memfd = space->uffd = space->stop_fd = space->pagemap = -1;
	pthread_mutex_init(&space->queue_lock, NULL);
	space->watch = config->watch;
	space->host = config->host != NULL ? config->host : &ept_host;
	space->manager_ops = config->manager_ops;
	space->manager = config->manager;
	lay_out(space, config->memory_bytes);
	if (space->manager_ops != NULL)
		error = create_managed(space);
	else
		error = create_unmanaged(space, config->host_page_bytes);
	if (error != 0) {
		ept_space_destroy(space);
		return error;
	}
	*out = space;
	return 0;
}

void ept_space_destroy(struct ept_space *space)
{
	if (space == NULL)
		return;
	ept_space_stop(space);
	if (space->uffd >= 0)
		close(space->uffd);
	if (space->pagemap >= 0)
		close(space->pagemap);
	if (space->stop_fd >= 0)
		close(space->stop_fd);
	if (space->monitor_view != NULL && space->monitor_view != space->guest_view)
		munmap(space->monitor_view, space->size);
	if (space->guest_view != NULL)
		munmap(space->guest_view, space->size);
	if (space->memfd >= 0)
		close(space->memfd);
	pthread_mutex_destroy(&space->queue_lock);
	free(space);
}

int ept_space_attach(struct ept_space *space, int vm_fd)
{
	for (size_t i = 0; i < space->range_count; i++) {
		struct kvm_userspace_memory_region region = {
			.slot = (uint32_t)i,
			.guest_phys_addr = space->range[i].start.v,
			.memory_size = space->range[i].length,
			.userspace_addr = (uintptr_t)space->guest_view + space->range[i].start.v,
		};

		if (space->host->ioctl(vm_fd, KVM_SET_USER_MEMORY_REGION, &region) != 0)
			return -errno;
	}
	return 0;
}

void ept_space_abandon(struct ept_space *space)
{
	if (space->manager_ops == NULL)
		return;
	if (mmap(space->guest_view, space->size, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) == MAP_FAILED) {
		log_error("cannot take the guest's memory away: %m");
		return;
	}
	/*
	 * A vCPU may be woken by a signal, but KVM's workers, which fault pages in for it in the
	 * background, only by this; the end of the VM waits for them. They try again, and find
	 * nothing there.
	 */
	for (size_t i = 0; i < space->range_count; i++)
		ept_backing_ops.wake(space, gpa_to_gfn(space->range[i].start),
				     (uint32_t)(space->range[i].length >> PAGE_SHIFT));
}

size_t ept_space_ranges(const struct ept_space *space, const struct ept_range **ranges)
{
	*ranges = space->range;
	return space->range_count;
}

uint32_t ept_space_frame_count(const struct ept_space *space)
{
	return (uint32_t)(space->size >> PAGE_SHIFT);
}

uint64_t ept_space_host_bytes(const struct ept_space *space)
{
	struct stat status;

	if (space->memfd < 0 || fstat(space->memfd, &status) != 0)
		return 0;
	return (uint64_t)status.st_blocks * 512;
}

/* Index of the piece of RAM that holds all of [address, address + length), or -1. */
static int find_range(const struct ept_space *space, gpa_t address, uint64_t length)
{
	for (size_t i = 0; i < space->range_count; i++) {
		uint64_t offset = address.v - space->range[i].start.v;

		if (address.v >= space->range[i].start.v && offset < space->range[i].length &&
		    length <= space->range[i].length - offset)
			return (int)i;
	}
	return -1;
}

bool ept_space_has(const struct ept_space *space, gfn_t first, uint32_t count)
{
	return first.v < space->size >> PAGE_SHIFT &&
	       find_range(space, gfn_to_gpa(first), (uint64_t)count << PAGE_SHIFT) >= 0;
}

int ept_space_discard(struct ept_space *space, gfn_t first, uint32_t count)
{
	uint32_t done;

	CHECK(space->manager_ops == NULL);
	if (!ept_space_has(space, first, count))
		return -ERANGE;
	if (space->memfd >= 0)
		return ept_backing_ops.release(space, first, count, &done);
	return madvise(space->guest_view + gfn_to_gpa(first).v, (size_t)count << PAGE_SHIFT,
		       MADV_DONTNEED) == 0
		       ? 0
		       : -errno;
}

void ept_space_translate(const struct ept_space *space, gpa_t address,
			 struct ept_translation *translation)
{
	int slot = find_range(space, address, 1);

	*translation = (struct ept_translation){ .is_ram = slot >= 0, .memslot = slot };
	if (slot < 0)
		return;
	translation->offset = address.v - space->range[slot].start.v;
	translation->hva = hva((uintptr_t)space->guest_view + address.v);
	translation->backing_page_size = PAGE_SIZE; /* huge pages are off; see map_view() */
}

static uint32_t pages_of(gpa_t address, size_t length)
{
	return (uint32_t)(gpa_to_gfn(gpa(address.v + length - 1)).v - gpa_to_gfn(address).v + 1);
}

int ept_pin(struct ept_space *space, gpa_t address, size_t length, void **at)
{
	int error = 0;

	if (length == 0 || find_range(space, address, length) < 0)
		return -EFAULT;
	if (space->manager_ops != NULL)
		error = space->manager_ops->pin(space->manager, gpa_to_gfn(address),
						pages_of(address, length));
	if (error == 0)
		*at = space->monitor_view + address.v;
	return error;
}

void ept_unpin(struct ept_space *space, gpa_t address, size_t length)
{
	if (space->manager_ops != NULL)
		space->manager_ops->unpin(space->manager, gpa_to_gfn(address),
					  pages_of(address, length));
}

int ept_bring_in(struct ept_space *space, gpa_t address)
{
	if (find_range(space, address, 1) < 0)
		return -EFAULT;
	return space->manager_ops == NULL
		       ? 0
		       : space->manager_ops->bring_in(space->manager, gpa_to_gfn(address));
}

/* Copies between the monitor and pages that are pinned meanwhile. */
static int access_guest(struct ept_space *space, gpa_t address, uint8_t *buffer, size_t length,
			bool write, bool wait)
{
	size_t most = ACCESS_CHUNK_PAGES * PAGE_SIZE;

	if (length > 0 && find_range(space, address, length) < 0)
		return -EFAULT;
	while (length > 0) {
		size_t piece = most - address.v % PAGE_SIZE;
		void *at;
		int error;

		if (piece > length)
			piece = length;
		error = ept_pin(space, address, piece, &at);
		if (error == -ENOMEM && wait) {
			/* It waits for one page, and holds no others meanwhile. */
			most = PAGE_SIZE;
			error = ept_bring_in(space, address);
			if (error == 0)
				continue;
		}
		if (error != 0)
			return error;
		if (write)
			memcpy(at, buffer, piece);
		else
			memcpy(buffer, at, piece);
		ept_unpin(space, address, piece);
		address.v += piece;
		buffer += piece;
		length -= piece;
	}
	return 0;
}

int ept_read(struct ept_space *space, gpa_t address, void *buffer, size_t length)
{
	return access_guest(space, address, buffer, length, false, true);
}

int ept_write(struct ept_space *space, gpa_t address, const void *buffer, size_t length)
{
	return access_guest(space, address, (uint8_t *)(uintptr_t)buffer, length, true, true);
}

int ept_try_read(struct ept_space *space, gpa_t address, void *buffer, size_t length)
{
	return access_guest(space, address, buffer, length, false, false);
}

int ept_try_write(struct ept_space *space, gpa_t address, const void *buffer, size_t length)
{
	return access_guest(space, address, (uint8_t *)(uintptr_t)buffer, length, true, false);
}

/* Unmanaged memory that was never touched has no page, and must not get one by being looked at. */
static int look_unmanaged(const struct ept_space *space, gfn_t frame, void *page)
{
	void *at = space->guest_view + gfn_to_gpa(frame).v;
	struct ept_host_page host;

	ept_host_page_get(hva((uintptr_t)at), &host);
	if (host.known && !host.present && !host.swapped)
		memset(page, 0, PAGE_SIZE);
	else
		memcpy(page, at, PAGE_SIZE);
	return 0;
}

int ept_look(struct ept_space *space, gpa_t address, void *buffer, size_t length)
{
	_Alignas(PAGE_SIZE) uint8_t page[PAGE_SIZE];
	uint8_t *to = buffer;

	if (length > 0 && find_range(space, address, length) < 0)
		return -EFAULT;
	while (length > 0) {
		size_t offset = address.v % PAGE_SIZE, piece = PAGE_SIZE - offset;
		int error = space->manager_ops != NULL
				    ? space->manager_ops->look(space->manager, gpa_to_gfn(address),
							       page)
				    : look_unmanaged(space, gpa_to_gfn(address), page);

		if (error != 0)
			return error;
		if (piece > length)
			piece = length;
		memcpy(to, page + offset, piece);
		to += piece;
		address.v += piece;
		length -= piece;
	}
	return 0;
}

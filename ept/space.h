/*
 * The guest-physical address space and the memory behind it.
 *
 * One memfd, two views. The *guest view* is what the memslots map; it is registered with
 * userfaultfd for missing faults, and for minor ones (MM_WATCH_NOTICE) or those of write protection
 * (MM_WATCH_SCAN). The *monitor view* maps the same memfd, is never
 * registered, and is where the monitor reads and writes pages that are present. A thread reads the
 * faults and hands each to the manager; ept/ itself decides nothing.
 *
 * Guest-physical layout: RAM from 0 up, with a hole from 3 GiB to 4 GiB for devices, the rest from
 * 4 GiB. The offset in the memfd is the guest-physical address, so a gfn is a frame's index
 * everywhere; the hole costs address space only.
 *
 * Unmanaged spaces (manager == NULL) are plain anonymous memory that the host kernel manages: the
 * rival in tools/bench, with nothing of the above. Or, where the page's size is given, a memfd of
 * such pages, mapped once: bench translation folds a guest onto it.
 *
 * Locks: none of its own. Operations on different ranges may run side by side; mm/ keeps two from
 * one frame.
 */
#ifndef EPT_SPACE_H
#define EPT_SPACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "ept/access.h"
#include "ept/host.h"
#include "mm/backing.h"

#define EPT_HOLE_START 0xc0000000ul
#define EPT_HOLE_END   0x100000000ul
#define EPT_RANGE_MAX  2

/* The hooks of the owner of the pages. Each is required. */
struct ept_manager_ops {
	/* Serve a fault: map the frame and wake its waiters. thread: the one that faulted, as the
	 * kernel numbers it. 0 or -errno; an error stops the VM. */
	int (*fault)(void *manager, gfn_t frame, bool write, int thread);
	/* The same for a thread of the monitor's own, which needs the frame. An error stops the VM.
	 */
	int (*bring_in)(void *manager, gfn_t frame);
	/* Bring frames in and keep them; see mm_pin(). -ENOMEM, -EBUSY: not now; any other error
	 * stops the VM. */
	int (*pin)(void *manager, gfn_t first, uint32_t count);
	void (*unpin)(void *manager, gfn_t first, uint32_t count);
	/* Copy a frame's content to page, which is page-aligned, from wherever it lies, changing
	 * nothing; see mm_look(). */
	int (*look)(void *manager, gfn_t frame, void *page);
	/* The fault thread has ended without being told to: nobody serves faults any more. what is
	 * a sentence. Called once, from the dying thread. */
	void (*dead)(void *manager, int error, const char *what);
};

struct ept_config {
	uint64_t memory_bytes;			   /* guest RAM, a multiple of PAGE_SIZE */
	const struct ept_manager_ops *manager_ops; /* NULL: unmanaged */
	void *manager;
	enum mm_watch watch; /* managed: how the manager hears of touches */
	/* Unmanaged: the size of host page, 4 KiB or one that hugetlbfs has; memory_bytes is a
	 * multiple of it. 0: whatever the host kernel takes. */
	uint64_t host_page_bytes;
	const struct ept_host_ops *host; /* NULL: &ept_host */
};

/* A piece of guest RAM: one memslot. */
struct ept_range {
	gpa_t start;
	uint64_t length; /* bytes */
};

/*
 * Makes the memfd, the views and the userfaultfd. 0 or -errno, with one line logged that says what
 * the host refused and what to do. No thread runs and no fault is served before ept_space_start().
 */
int ept_space_create(const struct ept_config *config, struct ept_space **space);

/* Ends the fault thread, if it runs. Nobody may wait for a page any more. */
void ept_space_stop(struct ept_space *space);

/* Stops, and frees all. The VM's vCPUs must be out of KVM_RUN. Takes NULL. */
void ept_space_destroy(struct ept_space *space);

/* Tells KVM of the memslots. vm_fd stays the caller's. 0 or -errno. */
int ept_space_attach(struct ept_space *space, int vm_fd);

/* Starts the fault thread. Unmanaged: does nothing. 0 or -errno. */
int ept_space_start(struct ept_space *space);

/*
 * Calls each() with every thread, as the kernel numbers it, that waits for a fault to be answered:
 * the one whose fault the manager serves, and those behind it. Only while the manager serves one;
 * otherwise nobody waits for long, and nobody is named. From any thread, also from within fault();
 * each() must not call back.
 */
void ept_space_waiting(struct ept_space *space, void (*each)(void *context, int thread),
		       void *context);

/*
 * The VM stops for good: take the guest view away, so that each thread that waits for a page in it
 * (a vCPU, a worker of KVM's) gets an error instead of a page nobody vouches for. Pages are left
 * alone. Idempotent. Due before the VM is closed, which waits for KVM's workers.
 */
void ept_space_abandon(struct ept_space *space);

/* For mm_config: the operations, with the space itself as the backing. */
extern const struct mm_backing_ops ept_backing_ops;

/*
 * Unmanaged: make count frames read as zeros and give their memory back. -ERANGE for frames that
 * are not all in one piece of RAM. (Managed: that is the manager's mm_release().)
 */
int ept_space_discard(struct ept_space *space, gfn_t first, uint32_t count);

size_t ept_space_ranges(const struct ept_space *space, const struct ept_range **ranges);

/* Bytes of host memory that the memfd holds, as the host counts them (0 when unmanaged). */
uint64_t ept_space_host_bytes(const struct ept_space *space);

/*
 * Whether this host can do it, for 'bifold doctor': 0, or -errno of opening a userfaultfd that
 * takes the kernel's faults too (-ENOTSUP: it cannot report missing and minor faults of shared
 * memory), or of making a memfd.
 */
int ept_probe_userfaultfd(void);
/* Whether MM_WATCH_SCAN will do: 0 or -errno of what the host refused. */
int ept_probe_scan(void);
int ept_probe_memfd(void);

/* The second fold of an address: where its page would be in the monitor. */
struct ept_translation {
	bool is_ram;
	int memslot;
	uint64_t offset; /* in the memslot; bytes */
	hva_t hva;	 /* in the guest view */
	uint64_t backing_page_size;
};
void ept_space_translate(const struct ept_space *space, gpa_t address,
			 struct ept_translation *translation);

#endif

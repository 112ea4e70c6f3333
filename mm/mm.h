/*
 * The memory manager of one guest: it serves faults, keeps the guest inside a budget, and stores
 * what does not fit (same-filled values, a compressed pool, a swap file). It knows no KVM and no
 * userfaultfd: everything it does to guest memory goes through struct mm_backing_ops.
 *
 * All functions may be called from any thread unless said otherwise; mm has one lock of its own,
 * never held across a codec, I/O, or the backing's zero, fill, unmap and release; map is called
 * with it held (see frame.h for the frame's states and who may move it).
 */
#ifndef MM_MM_H
#define MM_MM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/addr.h"
#include "mm/backing.h"
#include "mm/frame_state.h"
#include "mm/hist.h"
#include "mm/store/compressor.h"
#include "policy/policy.h"

struct mm;
struct mm_swap_io; /* mm/store/swap.h: the file operations, replaced in tests to inject failures */

/* Faults by how they were served. The report's names are mm_fault_kind_name(). */
enum mm_fault_kind {
	MM_FAULT_ZERO_FILL, /* first touch, or the first since the guest gave the page up */
	MM_FAULT_MINOR,	    /* the page was resident, only unmapped (or mapped meanwhile) */
	MM_FAULT_POOL,	    /* same-filled value or compressed pool */
	MM_FAULT_SWAP,	    /* swap file */
	MM_FAULT_KINDS,
};

/* How the guest gives pages up. */
enum mm_release_kind {
	MM_RELEASE_BALLOON,  /* into its balloon: it promises not to touch them */
	MM_RELEASE_REPORTED, /* reported free: it may take them again at any time */
	MM_RELEASE_KINDS,
};

/*
 * A failure after which the guest's memory can no longer be trusted or served: the VM must stop.
 * Reported once, from the thread that met it, with no mm lock held. Every later mm_fault() and
 * mm_pin() returns -EIO without filling anything.
 */
struct mm_failure {
	gfn_t frame;	/* the guest page it happened to */
	int error;	/* errno: EIO, EBADMSG (wrong checksum), ENOMEM, ... */
	char text[160]; /* a sentence for the user, naming the page and the cause */
};

/* A page that the guest's balloon holds was used all the same. */
struct mm_balloon_touch {
	gfn_t frame;
	int thread; /* whose fault it was; 0: it is not known, or the monitor pinned the page */
	bool write; /* as mm_fault() was told; a pin: true */
	enum frame_state was;
	uint64_t pages; /* such pages so far: each counts once for each time it went in */
};

/* A piece of guest memory: so many frames from first on. */
struct mm_range {
	uint32_t first, count;
};

#define MM_RANGES_MAX  2
#define MM_UNIT_FRAMES 512 /* what one page of a page table maps, aligned */

struct mm_config {
	uint32_t frame_count; /* one more than the highest frame */
	/*
	 * Where frames exist: ascending, with holes between them. A hole's frames are outside the
	 * guest to every call, and nothing done for a range's frames reaches beyond it. None: all
	 * of [0, frame_count).
	 */
	struct mm_range ranges[MM_RANGES_MAX];
	unsigned range_count;
	uint64_t budget_bytes; /* what the guest may hold of host memory; 0: no limit */
	const struct mm_policy_ops *policy;
	const char *policy_options; /* or NULL */
	enum mm_compressor compressor;
	const char *swap_directory;	  /* NULL: no swap */
	uint64_t swap_bytes;		  /* size limit of the swap file; 0: as the guest */
	const struct mm_swap_io *swap_io; /* NULL: the real one (liburing) */

	const struct mm_backing_ops *backing_ops;
	void *backing;
	enum mm_watch watch; /* how the backing lets us hear of touches */

	void (*failed)(void *context, const struct mm_failure *failure);
	/* Before the thread that touched it goes on, with no mm lock held; not for every page when
	 * there are many. NULL: nobody wants to know. */
	void (*balloon_touched)(void *context, const struct mm_balloon_touch *touch);
	void *failed_context; /* of both */

	/*
	 * Returns the host memory that others spend on this guest under such a budget, in bytes: it
	 * is held inside the budget, beside what the manager itself holds. May grow with the
	 * budget, by a part of it. NULL: nothing. Called with the manager's lock held.
	 */
	uint64_t (*beside)(void *context, uint64_t budget_bytes);
	void *beside_context;
	/*
	 * What they spend, in bytes, on each unit of MM_UNIT_FRAMES frames from the first touch of
	 * one of them on, for good: page tables. It is held inside the budget, too.
	 */
	uint64_t unit_bytes;

	/*
	 * The disk of the swap file is full, and a fault cannot go on: nothing else can be given
	 * up. (A pin does not wait: it gets -ENOMEM.) Called without mm's lock, over and over,
	 * since_ns after the first time; it waits a while. True: try again; false: the fault
	 * fails. The second hook: there was room, and the fault went on. It is called by each
	 * thread that has waited, and by others, so a call may find nothing to end. Give both or
	 * neither; they are called by the threads that fault (the second also by those that pin),
	 * several at a time.
	 */
	bool (*full)(void *context, uint64_t since_ns);
	void (*full_no_more)(void *context);

	bool no_reclaimer; /* no background thread: all reclaim is direct (tests, simulation) */
};

/* A snapshot. Bytes are bytes, counts are frames or events. */
struct mm_stats {
	enum mm_watch watch;	      /* how touches become known */
	uint64_t budget_bytes;	      /* in force; 0: none */
	uint64_t budget_wanted_bytes; /* less while it is being lowered; 0: none */
	uint64_t budget_most_bytes;   /* the most that was ever in force; 0: none, at some time */
	uint64_t budget_least_bytes;  /* see mm_least_budget() */
	uint64_t held_bytes;	      /* resident + pool + tables, now */
	uint64_t peak_bytes;	      /* the most that ever was */
	uint64_t resident_bytes;      /* frames in host memory, mapped or watched */
	uint64_t watched_bytes;	      /* of these, unmapped */
	uint64_t tier_bytes;	      /* host memory that all tiers hold */
	uint64_t pool_bytes;	      /* of it, the pool */
	uint64_t pool_stored_bytes;   /* compressed bytes of the live objects in it */
	uint64_t pool_frames;	      /* pages those objects stand for */
	uint64_t same_filled_frames;
	uint64_t swap_bytes;  /* swap slots in use */
	uint64_t swap_frames; /* pages whose only copy is in the swap file */
	uint64_t table_bytes;
	uint64_t touched_frames;	       /* ever touched */
	uint64_t released_frames;	       /* given up by the guest and not touched since */
	uint64_t balloon_frames;	       /* in the guest's balloon, touched or not */
	uint64_t releases[MM_RELEASE_KINDS];   /* pages given up so far */
	uint64_t balloon_touches;	       /* pages used though the balloon held them */
	uint64_t punched_frames, punched_runs; /* given back to the host for it, in so many calls */
	uint64_t faults[MM_FAULT_KINDS];
	uint64_t touches_found; /* watched pages that a scan found touched; with MM_WATCH_SCAN */
	uint64_t filled_ahead;	/* pages brought in by fault-around or readahead */
	uint64_t evictions_same_filled, evictions_compressed, evictions_swapped, evictions_clean,
		evictions_cancelled;
	uint64_t written_back; /* pool objects moved to the swap file (not among evictions_swapped)
				*/
	uint64_t direct_reclaims;
	uint64_t store_failures; /* pages kept resident because storing them failed */
	uint64_t stall_ns;	 /* time spent serving faults */
	uint64_t pressure_ns;	/* of it, what a larger budget would have saved: pages brought back,
				   and faults that had to make room */
	uint64_t refaults;	/* evicted pages brought back, ahead of a walk too */
	uint64_t refaults_near; /* of these, missed so soon that with twice as many resident frames
				   they would not have gone: the working set does not fit */
	struct hist latency_ns[MM_FAULT_KINDS];
};

/*
 * The least budget with which a guest of this configuration makes progress, in bytes: the tables,
 * the reserve that reclaim needs to store a page before it gives one back, the headroom between
 * the watermarks, and some pages to work in. At it the guest runs, slowly.
 */
uint64_t mm_least_budget(const struct mm_config *config);

/*
 * 0, -EINVAL (budget under mm_least_budget, unknown policy option), -ENOMEM, or the errno of
 * opening the swap file (with a line logged that names the directory). The config's strings are
 * copied.
 */
int mm_create(const struct mm_config *config, struct mm **mm);

/* Stops the reclaimer and frees everything. No fault may be under way. Takes NULL. */
void mm_destroy(struct mm *mm);

/*
 * Change the budget while the guest runs, also from none (0) to one and back. A higher one is in
 * force when this returns. A lower one is approached by the background thread, a batch of evictions
 * at a time, while faults go on (see budget.c); without that thread the caller evicts. mm_stats has
 * the budget in force and the one wanted; the two stay apart when not enough can be given up.
 * -EINVAL under mm_least_budget().
 */
int mm_set_budget(struct mm *mm, uint64_t bytes);

/*
 * Serve a fault on frame: when it returns 0, the frame is mapped and its waiters have been woken
 * (or the fault was stale, and waiters were woken to try again). write is a hint. -ERANGE for a
 * frame outside the guest, -EIO after a failure. Any other error is itself the failure, and was
 * reported through failed().
 */
int mm_fault(struct mm *mm, gfn_t frame, bool write);
/* The same, with the thread that faulted: one of this process, or of the kernel. */
int mm_fault_of(struct mm *mm, gfn_t frame, bool write, int thread);

/*
 * Bring count frames in and keep them present until unpinned, for the monitor's own reads and
 * writes through backing page(). A frame may be pinned up to 255 times. All or nothing.
 * -ENOMEM when nothing can be given up for them, even if only for want of room on the disk: unlike
 * mm_fault(), this does not wait for it. -EBUSY when a frame's pins are used up, or a quarter of
 * the budget is pinned, -ERANGE, -EIO after a failure. A page that cannot be read back is a
 * failure, reported as for mm_fault().
 */
int mm_pin(struct mm *mm, gfn_t first, uint32_t count);
void mm_unpin(struct mm *mm, gfn_t first, uint32_t count);

/*
 * The guest gives count frames up: from now on they read as word over and over (0, or what the
 * guest poisons its free pages with). Copies in the pool and the swap are freed, host memory is
 * punched in runs. Waits for frames that are being evicted or brought in. A pinned frame stays
 * resident and is overwritten in place. -ERANGE, -EIO after a failure, or the error of the backing,
 * which then is one.
 */
int mm_release(struct mm *mm, gfn_t first, uint32_t count, enum mm_release_kind kind,
	       uint64_t word);

/*
 * The guest takes count frames out of its balloon; those that are not in it do not matter.
 * -ERANGE.
 */
int mm_balloon_return(struct mm *mm, gfn_t first, uint32_t count);

/* Evict up to count frames now; returns how many went. For tests and pressure from outside. */
uint32_t mm_reclaim(struct mm *mm, uint32_t count);

void mm_stats_get(struct mm *mm, struct mm_stats *stats);

/*
 * The share of interval_ns, between two snapshots, that was spent on faults which a larger budget
 * would have saved; in thousandths. Over 1000 when several waited at a time.
 */
uint32_t mm_pressure_permille(const struct mm_stats *before, const struct mm_stats *after,
			      uint64_t interval_ns);
const char *mm_fault_kind_name(enum mm_fault_kind kind); /* "zero_fill", "minor", ... */

/*
 * Verify the counting identities of frame.h. Prints each breach to out (may be NULL) and returns
 * how many there were. Takes the lock; quiesces nothing.
 */
int mm_check(struct mm *mm, FILE *out);

#endif

/*
 * Shared by the files of mm/. Lock keys: (L) mm->lock, (C) constant after mm_create, (W) the thread
 * that holds the work.
 */
#ifndef MM_INTERNAL_H
#define MM_INTERNAL_H

#include <pthread.h>

#include "base/lock.h"
#include "mm/store/codec.h"
#include "mm/frame.h"
#include "mm/store/hash.h"
#include "mm/mm.h"
#include "mm/store/pool.h"
#include "mm/stream.h"
#include "mm/store/swap.h"

#define WORK_MAX  2  /* threads filling, and threads reclaiming, at one time */
#define PACK_MAX  16 /* compressed objects a work holds between two turns of the lock */
#define BATCH_MAX SWAP_BATCH

#define FRAME_CHUNK (PAGE_SIZE / sizeof(struct mm_frame))

/* All that follows from the budget; see mm_sizes_for(). Bytes unless said otherwise. */
struct mm_sizes {
	/* (C), like slot_count and pool_max: tables there from the start. */
	uint64_t fixed_bytes;
	uint64_t beside_bytes;	  /* mm_config.beside of the budget */
	uint64_t fill_work_bytes; /* one of each kind of work */
	uint64_t reclaim_work_bytes;
	uint64_t limit;	    /* fills stay under it: budget - reserve */
	uint64_t low, high; /* below the limit: reclaim begins, reclaim ends */
	uint64_t pool_cap;  /* beyond it the pool is written back, if there is a swap */
	uint64_t pool_max;  /* address space */
	uint32_t slot_count;
	uint32_t batch, direct_batch; /* pages */
	uint32_t window, swap_window; /* pages */
	uint32_t write_back;	      /* pages */
	uint32_t pin_max;	      /* pages */
};

struct mm_tier_ops;

enum fill_op {
	FILL_NONE,
	FILL_ZERO,
	FILL_LOAD, /* from the run's tier */
	FILL_MAP,  /* nothing to fill: watched */
};

struct fill_run {
	uint32_t first, count;
	enum fill_op op;
	const struct mm_tier_ops *tier; /* FILL_LOAD; else NULL */
};

/* One thread's means to bring frames in. */
struct fill_work {
	bool busy; /* (L) */
	struct codec codec;
	uint32_t window; /* (L) while not busy: pages of staging that may be used */
	char *staging;
	char *packed; /* PACK_MAX objects */
	struct pool_object objects[PACK_MAX];
	struct swap_page pages[SWAP_BATCH];
	struct fill_run runs[SWAP_BATCH];
	uint32_t run_count;
};

enum outcome {
	OUT_UNDECIDED,
	OUT_WATCH,     /* was only to be watched */
	OUT_TOUCHED,   /* it was watched, and a scan found it touched */
	OUT_BROKEN,    /* could not be unmapped */
	OUT_CANCELLED, /* touched meanwhile */
	OUT_KEEP,      /* could not be stored */
	OUT_TAKEN,     /* by the victim's tier, which has not kept it yet */
	OUT_STORED,    /* committed: RELEASING */
	OUT_RELEASED,  /* the page is gone */
	OUT_STUCK,     /* it could not be given back: RELEASING for good, the machine has failed */
};

struct victim {
	uint32_t frame;
	uint32_t slot; /* kept slot */
	enum outcome outcome;
	const struct mm_tier_ops *tier; /* OUT_TAKEN */
	uint16_t length;		/* compressed */
	bool mapped;			/* and not watched, when it was picked */
	bool joins; /* the victim before it is near, and nothing resident was in between */
	bool hashed;
	bool clean;	/* equal to what is in its kept slot */
	uint64_t value; /* the word, or the compressed bytes' checksum */
	XXH128_hash_t hash;
};

/* One thread's means to evict. */
struct reclaim_work {
	bool busy; /* (L) */
	struct codec codec;
	char *page;	     /* one page: a private copy of the victim at hand */
	char *packed;	     /* PACK_MAX objects */
	uint32_t write_back; /* (L) while not busy: pages of staging that may be used */
	char *staging;
	struct pool_object objects[PACK_MAX];
	struct swap_page pages[SWAP_BATCH];
	struct mm_policy_pick picks[BATCH_MAX];
	struct victim victims[BATCH_MAX];
	uint32_t victim_count;
	uint32_t gone;	/* frames this batch has given back so far */
	bool disk_full; /* a page found no room on the disk; cleared by the thread that reads it */
	bool wrote;	/* pages went to the disk; cleared by the thread that reads it */
	bool unplaced;	/* no tier took a page */
	bool swap;	/* the swap may be written to in this batch */
	uint32_t owners[SWAP_BATCH];
	XXH128_hash_t hashes[SWAP_BATCH];
};

/* To be told to the user once the lock is dropped; see notes.c. Zeroed: nothing. */
struct mm_notes {
	int store_error;  /* a page could not be written to the swap file: -errno, or */
#define NOTE_SWAP_LIMIT 1 /* it is as large as it may be */
	bool relented;	  /* the budget that was to be left is in force again */
	uint64_t held, wanted;
	struct mm_balloon_touch touch; /* pages 0: there was none */
};

struct mm {
	pthread_mutex_t lock;
	pthread_cond_t changed;	 /* a frame left FILLING or RELEASING, a batch or a work ended */
	pthread_cond_t shortage; /* the reclaimer waits here */
	unsigned waiters;	 /* (L) on changed */

	/* (C) */
	uint32_t frame_count;
	struct mm_range ranges[MM_RANGES_MAX];
	unsigned range_count;	 /* 1 .. MM_RANGES_MAX */
	struct mm_config config; /* as given, without its strings */
	const struct mm_policy_ops *policy_ops;
	enum mm_compressor compressor;
	struct hash_key key;
	const struct mm_backing_ops *ops;
	void *backing;
	void (*failed)(void *context, const struct mm_failure *failure);
	void *failed_context;
	struct mm_policy_host host;
	struct mm_policy *policy; /* the object is (L) */

	/* (L) */
	struct mm_frame *frames;
	uint8_t *chunks; /* of FRAME_CHUNK frames: 0 while no record in it was ever changed */
	uint8_t *units;	 /* of MM_UNIT_FRAMES frames: 1 once config.unit_bytes are charged for it */
	uint32_t count[FRAME_STATES];
	uint32_t kept_slots;	   /* resident frames that keep a swap slot */
	uint32_t slots_in_flight;  /* allocated, not yet committed */
	uint32_t pinned;	   /* frames with pins > 0 */
	uint32_t balloon_frames;   /* frames with BALLOON */
	uint64_t balloon_quiet_ns; /* no line about a touch of one before */
	uint64_t held, peak, tables;
	uint64_t beside;			/* of the tables: charged for what others spend */
	uint64_t budget;			/* in force; UINT64_MAX: none */
	uint64_t wanted;			/* under the one in force: it is falling */
	uint64_t ceiling;			/* the one before that */
	uint64_t budget_most;			/* ever in force */
	uint64_t lower_rest_ns, lower_retry_ns; /* after it could not fall; when to try again */
	struct mm_sizes sizes;
	uint32_t eviction_clock;
	uint32_t steal_hand;
	struct stream_table streams;
	struct pool *pool;
	struct swap *swap;			 /* NULL: none */
	uint64_t swap_backoff_ns, swap_retry_ns; /* after a failed store; when to try again */
	uint64_t swap_quiet_ns;			 /* no warning before */
	uint64_t swap_grow_ns;	/* the disk is full: when to try whether it has got room */
	uint64_t full_since_ns; /* a fault has waited for room on it since then; 0: none does */
	/* On a full disk: how long faults have hunted for pages since the window's begin; and
	 * whether only room on the disk will do. */
	uint64_t hunt_window_ns, hunt_begin_ns, hunted_ns;
	bool starves;
	struct fill_work *fill_works[WORK_MAX];
	struct reclaim_work *reclaim_works[WORK_MAX];
	bool failing;	 /* somebody tells the owner */
	bool has_failed; /* the owner has been told: calls return -EIO */
	struct mm_notes notes;
	struct mm_stats stats; /* its counters and histograms; the rest is made on demand */

	pthread_t reclaimer;
	bool has_reclaimer;	       /* (C) */
	bool reclaimer_idle, stopping; /* (L) */
};

/* How much of resident memory a shortage has already looked at in vain. */
struct reclaim_effort {
	uint64_t examined;
	unsigned rounds;  /* fruitless ones; from the second on, back-off is ignored */
	uint32_t gone;	  /* by the last batch */
	bool disk_full;	  /* a page found no room on the disk in this round */
	bool wrote;	  /* pages went to the disk */
	uint64_t took_ns; /* without waits for other threads */
};

static inline struct mm_frame *mm_frame(struct mm *mm, uint32_t number)
{
	return &mm->frames[number];
}

/* The piece of guest memory that the frame is in; NULL for one that does not exist. */
static inline const struct mm_range *mm_range_of(const struct mm *mm, uint64_t number)
{
	for (unsigned i = 0; i < mm->range_count; i++)
		if (number - mm->ranges[i].first < mm->ranges[i].count)
			return &mm->ranges[i];
	return NULL;
}

/* Do count frames from first on exist, all in one piece? */
static inline bool mm_has(const struct mm *mm, uint64_t first, uint64_t count)
{
	const struct mm_range *range = mm_range_of(mm, first);

	return range != NULL && count <= range->count - (first - range->first);
}

static inline void mm_set_state(struct mm *mm, struct mm_frame *f, enum frame_state state)
{
	mm->count[f->state]--;
	mm->count[state]++;
	f->state = (uint8_t)state;
	mm->chunks[(f - mm->frames) / FRAME_CHUNK] = 1;
}

/* budget.c. All with the lock held, unless said otherwise. */
void mm_sizes_for(const struct mm_config *config, uint64_t budget, struct mm_sizes *sizes);
unsigned works_at_start(const struct mm_config *config); /* reclaim works */
static inline bool budget_is_falling(const struct mm *mm)
{
	return mm->wanted < mm->budget;
}
/* Reclaim gained so many bytes: let a falling budget follow. */
void budget_follow(struct mm *mm, uint64_t gained);
/* Nothing can be given up: put the budget before the fall in force. False: it is not falling. */
bool budget_relent(struct mm *mm);
bool mm_charge(struct mm *mm, uint64_t bytes, uint64_t limit);
void mm_uncharge(struct mm *mm, uint64_t bytes);
/* A page that will be the frame's, and its unit, if it is the first page there. */
bool mm_charge_frame(struct mm *mm, uint32_t number, uint64_t limit);
bool mm_charge_table(void *mm, uint64_t bytes); /* within the budget, counted as table */
/* Adjusts the charge for what others spend to the budget in force, which has the room for it. */
void budget_charge_beside(struct mm *mm);

/* mm.c. */
void mm_wait(struct mm *mm); /* on changed */
void mm_wake(struct mm *mm);
void mm_kick_reclaimer(struct mm *mm); /* if it sleeps and has something to do */
/*
 * Without the lock: tell the owner, once, then stop serving. Callers get -EIO only after that, so
 * that the owner hears of the cause before its effects. A second failure waits until the first has
 * been told.
 */
void mm_fail(struct mm *mm, uint32_t frame, int error, const char *doing);

/* notes.c: unlock, then log the notes; or in two steps. No log line with the lock held. */
void mm_unlock(struct mm *mm);
bool notes_pending(const struct mm *mm);
struct mm_notes notes_take(struct mm *mm);
/* Both without the lock. */
void notes_tell_of_touch(struct mm *mm, const struct mm_notes *notes);
void notes_say(const struct mm_notes *notes);

/* work.c: takes a work, waiting for one if all are busy. NULL only if wait is false. */
struct fill_work *fill_work_take(struct mm *mm);
void fill_work_put(struct mm *mm, struct fill_work *work);
struct reclaim_work *reclaim_work_take(struct mm *mm, bool wait);
void reclaim_work_put(struct mm *mm, struct reclaim_work *work);
/* The sizes have changed: the same for the works that are not busy. */
void works_fit(struct mm *mm);
int works_init(struct mm *mm);	  /* without the lock */
void works_finish(struct mm *mm); /* without the lock */

/* frame.c: what several files do to a frame. */
void frame_drop_slot(struct mm *mm, struct mm_frame *f); /* a kept slot, if any */
/*
 * The backing's calls on a range; after an error that passes (-EAGAIN, ...) they go on where they
 * stopped. *done frames are done, whatever is returned: the caller commits those. Without the lock,
 * but for map.
 */
int frame_zero(struct mm *mm, uint32_t first, uint32_t count, uint32_t *done);
int frame_fill(struct mm *mm, uint32_t first, uint32_t count, const char *source, uint32_t *done);
int frame_map(struct mm *mm, uint32_t first, uint32_t count, uint32_t *done);
int frame_unmap(struct mm *mm, uint32_t first, uint32_t count, uint32_t *done);
int frame_seal(struct mm *mm, uint32_t first, uint32_t count, uint32_t *done);
int frame_release(struct mm *mm, uint32_t first, uint32_t count, uint32_t *done);
void frame_offer(struct mm *mm, uint32_t number); /* again to the policy, if due */

/* release.c: count a touch of the frame if the balloon holds it. */
/* The frame, which was in that state before, is used: as in struct mm_balloon_touch. */
void frame_balloon_touch(struct mm *mm, uint32_t number, enum frame_state was, int thread,
			 bool write);

/* reclaim.c. */
/*
 * One batch of at most want evictions: how many frames went. Drops and retakes the lock.
 * *examined: how many frames the policy named.
 */
uint32_t reclaim_batch(struct mm *mm, struct reclaim_work *work, uint32_t want, bool forced,
		       uint32_t *examined);
/* For a fault that finds no headroom: 0 (try again), or -ENOMEM when nothing can be given up. */
int reclaim_direct(struct mm *mm, struct reclaim_effort *effort);
/* Makes the next batch in vain the last one, and lets it try to write pages whose writing failed
 * before. */
void reclaim_once_more(struct mm *mm, struct reclaim_effort *effort);
/* The number of frames named in vain that make a round: all were watched once, then tried once. */
static inline uint64_t vain_limit(const struct mm *mm)
{
	return 2ull * (mm->count[FRAME_MAPPED] + mm->count[FRAME_WATCHED]) + 64;
}
/* Commit one victim: its content is in `then` now, at where; its page can be released. */
void victim_stored(struct mm *mm, struct victim *v, enum frame_state then, uint32_t where);
/* Gives the pages of all victims stored so far back to the host; the lock is dropped meanwhile. How
 * many went. */
uint32_t victims_release(struct mm *mm, struct reclaim_work *work);

/* reclaimer.c. */
void *reclaimer_main(void *mm);

/* tier/swap.c: gives spare slots back to the disk, if it is due: true when there were any. Drops
 * the lock. */
bool punch_some(struct mm *mm);

#endif

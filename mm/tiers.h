/*
 * The tiers: where the content of a page is while the page is not resident. Each is a row of hooks,
 * and mm_tiers[] (tiers.c) names them all, in the order in which an evicted page is offered to
 * them. A frame's state tells which tier has it (mm_tier_of()).
 *
 * A row (mm/tier/) knows frames; the store that it fills (mm/store/: the pool, the swap file, the
 * codecs) does not. A further tier is a file with its row, a state of frames, a line in each table
 * of tiers.c, and MM_TIER_COUNT. The rest of the manager asks the tiers as a whole, by the calls
 * below the rows.
 *
 * Every hook is called with the lock held, unless it says otherwise, and must be there, unless it
 * says NULL.
 */
#ifndef MM_TIERS_H
#define MM_TIERS_H

#include "mm/look.h"
#include "mm/mm_internal.h"

struct mm_tier_ops {
	enum mm_fault_kind fault; /* how a fault counts that brings a page back from it */
	const char *load_failed;  /* for the message */
	bool slow;		  /* sizes.swap_window bounds what is loaded at once, not window */

	/* --- the store */

	/* Makes and frees it; without the lock. NULL, both: it has none. After a create() that
	 * failed, destroy() is called, too. */
	int (*create)(struct mm *mm, const struct mm_config *config);
	void (*destroy)(struct mm *mm);
	/* The host memory that it holds, all of it charged by mm_charge(); tables that are counted
	 * in fixed_bytes (mm_sizes_for()) are not in it. NULL: none. */
	uint64_t (*bytes)(const struct mm *mm);
	/* Gives memory that it has emptied back to the host. Drops the lock if there is any. NULL:
	 * nothing. */
	void (*trim)(struct mm *mm);

	/* --- a tier in host memory gives it up: its pages go on to a tier after it. NULL, all: it
	 * holds none worth it. */

	/* Has it more than its share of the budget, which is the tier's own to say (by a slack, if
	 * lenient), and can it give? */
	bool (*is_over)(const struct mm *mm, bool lenient);
	/* Are its oldest pages colder than what is resident, and can it give? */
	bool (*is_cold)(struct mm *mm, struct reclaim_work *work);
	/*
	 * Sends up to work->write_back of its oldest pages on, through as much of work->staging:
	 * how many went. dense: also pages that lie so close together that their memory comes free
	 * only after several calls. Drops the lock; so it marks the frames BATCH, and skips those
	 * that are, looks at each again before it moves it, leaves a damaged page where it is, and
	 * in the end lets go of the frames (frame_offer()), counts written_back, trims and wakes:
	 * see tier/write_back.c.
	 */
	uint32_t (*give)(struct mm *mm, struct reclaim_work *work, bool dense);

	/* --- eviction. work->page is a private copy of the victim's page. */

	/* A batch begins. forced: although keeping pages failed lately. NULL: nothing to do. */
	void (*begin)(struct mm *mm, struct reclaim_work *work, bool forced);

	/* Without the lock. The tier has this very content already: to keep it takes no memory and
	 * no write. NULL: never. */
	bool (*has)(struct mm *mm, struct reclaim_work *work, struct victim *v);
	/* Without the lock. Whether the tier takes the page; its encoded form goes to packed, which
	 * has room for POOL_OBJECT_MAX bytes. NULL: never. */
	bool (*take)(struct mm *mm, struct reclaim_work *work, struct victim *v, char *packed);
	/* Keeps one page that it has or took, if the frame is EVICTING, by victim_stored(). Or
	 * leaves it for keep_batch(); or for that of another tier, which it makes the victim's; or
	 * sets the victim's outcome, so that the page stays. May drop the lock. */
	void (*keep)(struct mm *mm, struct reclaim_work *work, struct victim *v,
		     const char *packed);
	/* Keeps what keep() has left, of the whole batch. Drops the lock. NULL: keep() leaves
	 * nothing. */
	void (*keep_batch)(struct mm *mm, struct reclaim_work *work);

	/* --- a fault */

	/* The content of the run's frames, which are FILLING, into work->staging, verified. *ready:
	 * how many came out well; all, if it returns 0. Drops the lock. */
	int (*load)(struct mm *mm, struct fill_work *work, const struct fill_run *run,
		    uint32_t *ready);
	/* The frame, FILLING from this tier, has its page: let go of what was kept, and set where
	 * to FRAME_NOWHERE; or (the swap) keep it as a copy, which where leads to. */
	void (*loaded)(struct mm *mm, struct mm_frame *f);

	/* --- the rest */

	/* The content is of no use any more: let go of it. The frame's record is the caller's. */
	void (*drop)(struct mm *mm, struct mm_frame *f);
	/* Describes the frame's content, and copies it to page, if that is not NULL, changing
	 * nothing. Drops the lock and leaves it dropped. -EAGAIN: it went elsewhere meanwhile. */
	int (*look)(struct mm *mm, uint32_t number, struct mm_look *look, void *page);
	/* Fills in the tier's part of the statistics. */
	void (*stats)(const struct mm *mm, struct mm_stats *stats);
	/* Verifies its own identities, with content[s] the frames whose content is that of state s.
	 * How many breaches, printed to out. */
	int (*check)(const struct mm *mm, const uint32_t content[FRAME_STATES], FILE *out);
};

extern const struct mm_tier_ops mm_tier_nothing; /* word.c: never touched, or given up */
extern const struct mm_tier_ops mm_tier_same;	 /* word.c: one word, in the frame's record */
extern const struct mm_tier_ops mm_tier_pool;	 /* pool.c: compressed, in host memory */
extern const struct mm_tier_ops mm_tier_swap;	 /* swap.c: in the swap file */

#define MM_TIER_COUNT 4
extern const struct mm_tier_ops *const mm_tiers[MM_TIER_COUNT];

/* NULL: the page is resident. */
const struct mm_tier_ops *mm_tier_of(enum frame_state state);

/* --- All tiers, in their order. With the lock held, but for the first two. */

int tiers_create(struct mm *mm, const struct mm_config *config);
void tiers_destroy(struct mm *mm);
uint64_t tiers_bytes(const struct mm *mm);
void tiers_trim(struct mm *mm);
/* Is one over its share? */
bool tiers_are_over(const struct mm *mm, bool lenient);
/* How many pages the tiers sent on: those that are over their share until they are not, within
 * reason; the first that is cold and can give; and all, once. */
uint32_t tiers_drain(struct mm *mm, struct reclaim_work *work, bool lenient);
uint32_t tiers_give_cold(struct mm *mm, struct reclaim_work *work);
uint32_t tiers_give(struct mm *mm, struct reclaim_work *work);

/* check.c: one breach, told to out, when they are not equal; else 0. */
int mm_differ(FILE *out, const char *what, uint64_t is, uint64_t should);

#endif

/*
 * Decides how large the guest's balloon should be: a controller without a clock, a device or a
 * guest. It gets a sample every second or so and answers with a target; the same samples give the
 * same answers. Plain memory, no lock: the owner's.
 *
 * It works on the guest's need: its memory less the balloon less the part it calls available. The
 * balloon may have the memory that was not needed of late, less a margin. The margin is a floor
 * that is always left, room for need to rise as fast as it was seen to, and a share that shrinks as
 * the budget or the host come under pressure. Then, in this order:
 *   - give back at once when available memory is under the margin's lower end, or the guest swaps,
 *     kills, or stalls from what was just taken;
 *   - give back slowly when nobody has been pressed for memory for a time;
 *   - take, by a limited step a second, only while somebody is, and only what exceeds the margin by
 *     a width.
 * Each reversal doubles the patience with which the next unhurried one is made.
 *
 * The ideas: a target from the guest's own statistics, and limits to its rate (Waldspurger, "Memory
 * Resource Management in VMware ESX Server", OSDI 2002); thresholds of free memory that move with
 * the host's pressure, and a most that a cycle may change (oVirt's Memory Overcommitment Manager);
 * small steps until it begins to hurt, and quicker ones back (Senpai, in Weiner et al., "TMO:
 * Transparent Memory Offloading in Datacenters", ASPLOS 2022).
 */
#ifndef PILOT_AUTOBALLOON_H
#define PILOT_AUTOBALLOON_H

#include <stdbool.h>
#include <stdint.h>

#define AUTOBALLOON_PERIOD_NS 1000000000ull /* between two samples, about */

struct autoballoon_config {
	uint64_t guest_pages; /* all of its memory, with what is in the balloon */
	uint64_t floor_pages; /* always left available; 0: a sixteenth, between 8 and 256 MiB */
};

/* The report of the guest's driver. Nothing in it is trusted to make sense. */
enum autoballoon_known {
	AUTOBALLOON_FREE = 1,
	AUTOBALLOON_AVAILABLE = 2,
	AUTOBALLOON_SWAPS = 4,
	AUTOBALLOON_MAJOR_FAULTS = 8,
	AUTOBALLOON_OOM_KILLS = 16,
};

struct autoballoon_guest {
	uint64_t when_ns;	/* they came; 0: there were never any */
	uint64_t balloon_pages; /* in the balloon when they came */
	unsigned known;		/* enum autoballoon_known */
	uint64_t free_bytes, available_bytes;
	uint64_t swapped_in_bytes, swapped_out_bytes; /* since boot, as the next two */
	uint64_t major_faults, oom_kills;
};

struct autoballoon_sample {
	uint64_t now_ns;	/* does not go backwards */
	uint64_t balloon_pages; /* in the balloon now */
	struct autoballoon_guest guest;
	struct { /* of struct mm_stats */
		uint64_t budget_bytes, held_bytes;
		uint64_t refaults_near, pressure_ns;
	} mm;
	struct {
		bool has_pressure;
		uint32_t some_avg10; /* of /proc/pressure/memory, in hundredths of a percent */
		uint64_t total_bytes, available_bytes; /* total 0: not known */
	} host;
};

enum autoballoon_reason {
	AUTOBALLOON_NO_STATISTICS, /* the guest has sent none that say what is free */
	AUTOBALLOON_LATE,	   /* they are too old to act upon */
	AUTOBALLOON_LATE_GIVE,	   /* so old that the guest may be in trouble */
	AUTOBALLOON_OOM_GIVE,	   /* it killed */
	AUTOBALLOON_SHORT_GIVE,	   /* available memory is at its lower end */
	AUTOBALLOON_SWAP_GIVE,	   /* it swaps */
	AUTOBALLOON_STALL_GIVE,	   /* it stalls since memory was taken */
	AUTOBALLOON_CALM_GIVE,	   /* nobody needs the memory but the guest */
	AUTOBALLOON_REFUSED,	   /* the guest does not fill its balloon any further */
	AUTOBALLOON_TAKE,
	AUTOBALLOON_WAIT, /* there is something to take, but it is too early */
	AUTOBALLOON_CALM, /* nobody is pressed for memory */
	AUTOBALLOON_KEEP, /* within the band */
	AUTOBALLOON_REASONS,
};

struct autoballoon_decision {
	uint64_t target_pages;
	enum autoballoon_reason reason;
};

enum autoballoon_level { AUTOBALLOON_RELAXED, AUTOBALLOON_SOME, AUTOBALLOON_HIGH };

/* The most of something that was seen of late: held for a time, then let down slowly. */
struct autoballoon_mark {
	uint64_t value; /* pages */
	uint64_t when_ns;
};

/* The fields are autoballoon.c's. Pages, unless said otherwise. */
struct autoballoon {
	uint64_t total, floor, target;
	struct autoballoon_sample last; /* now_ns 0: there was none */
	struct autoballoon_guest guest; /* the last statistics that say what is free; when_ns 0 */
	uint64_t first_ns;		/* when the first of them came */
	uint64_t need;			/* by the last of them */
	struct autoballoon_mark peak;	/* of need */
	struct autoballoon_mark surge;	/* of what need rose by between two statistics */
	enum autoballoon_level level;
	uint64_t level_ns;   /* when it was last justified */
	uint64_t pressed_ns; /* when anybody was last pressed, or near it */
	int direction;	     /* of the last move: 1 took, -1 gave, 0 none yet */
	uint64_t move_ns, reversal_ns;
	uint64_t trouble_ns; /* the guest was last seen to swap, stall or kill */
	uint64_t patience_ns;
	uint64_t step;	       /* what was taken last */
	uint32_t stall_before; /* permille, when taking began */
	uint64_t most_filled;  /* of the balloon, while the target is beyond it */
	uint64_t filled_ns;    /* when that last rose */
};

void autoballoon_init(struct autoballoon *a, const struct autoballoon_config *config);
struct autoballoon_decision autoballoon_step(struct autoballoon *a,
					     const struct autoballoon_sample *sample);

/* Somebody set a target by hand: go on from there. */
void autoballoon_set(struct autoballoon *a, uint64_t target_pages);

const char *autoballoon_reason_name(enum autoballoon_reason reason); /* "take", "short", ... */
const char *autoballoon_reason_text(enum autoballoon_reason reason); /* a sentence */

#endif

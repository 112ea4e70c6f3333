/*
 * The controller of the balloon. One step: observe() brings the controller's knowledge up to date,
 * decide() tries the reasons to move in their order, and move() keeps the patience.
 *
 *   0        floor      low                           margin    + width
 *   |----------|----------|------------------------------|---------|---------> available memory
 *     never      give at once       keep                    keep       take, a step a second
 *     taken      (surge: twice      (the share, by
 *                what need rose     pressure)
 *                by at once)
 *
 * Available memory is foretold from the guest's need, so that statistics from before a change of
 * the balloon mislead nobody; and the memory that may be taken follows from the peak of need, so
 * that a load that comes and goes keeps its memory. Patience lengthens the peak's memory.
 */
#include "pilot/autoballoon.h"

#include "base/addr.h"
#include "base/units.h"

#define SECOND_NS 1000000000ull

#define PATIENCE_LEAST_NS (15 * SECOND_NS)
#define PATIENCE_MOST_NS  (600 * SECOND_NS)
#define FORGET		  32		    /* patiences without a reversal, before one is halved */
#define LEARN_NS	  (30 * SECOND_NS)  /* of statistics, before anything is taken */
#define HOLD_NS		  (120 * SECOND_NS) /* a mark stays, and longer with patience */
#define HOLD_HIGH_NS	  (20 * SECOND_NS)  /* under high pressure */
#define LET_DOWN_S	  30		    /* seconds: then falls, in about this time */
#define LEVEL_NS	  (30 * SECOND_NS)  /* a level of pressure stays */
#define CALM_NS		  (60 * SECOND_NS)  /* without pressure, before memory is given back */
#define LATE_NS		  (5 * SECOND_NS)   /* statistics too old to act upon */
#define LOST_NS		  (30 * SECOND_NS)  /* too old to do nothing */
#define AFTER_NS	  (10 * SECOND_NS)  /* a stall so soon after taking is due to it */
#define REFUSE_NS	  (10 * SECOND_NS)  /* the balloon did not grow */
#define DT_MOST_NS	  (5 * SECOND_NS)   /* a longer pause is no licence for a longer step */

/* Shares of the guest's memory: one in so many. */
#define FLOOR_SHARE	16
#define LOW_SHARE	64 /* above the floor, besides the surge */
#define RELAXED_SHARE	5  /* margins above low */
#define SOME_SHARE	12
#define HIGH_SHARE	32
#define WIDTH_SHARE	64
#define STEP_SHARE	64 /* taken a second */
#define STEP_HIGH_SHARE 24
#define BACK_SHARE	128 /* given back a second when nobody is pressed */
#define SWAP_SHARE	16  /* given back when the guest swaps; kept aside after it killed */
#define NEAR_SHARE	8   /* of a mark: as good as reached */
#define FLOOR_LEAST	(MIB(8) >> PAGE_SHIFT)
#define FLOOR_MOST	(MIB(256) >> PAGE_SHIFT)

#define SWAP_BYTES	   KIB(256) /* less between two statistics is not swapping */
#define MAJOR_FAULTS_MANY  100	    /* a second */
#define STALL_MANY	   200	    /* permille */
#define STALL_MORE	   150	    /* permille above what it was before */
#define PRESSED_PERMILLE   100
#define PSI_SOME	   100 /* hundredths of a percent */
#define PSI_HIGH	   1000
#define HOST_SOME_SHARE	   10 /* available on the host */
#define HOST_HIGH_SHARE	   20
#define AMPLE_HOST_SHARE   5
#define AMPLE_BUDGET_SHARE 4   /* free */
#define HEADROOM_SHARE	   16  /* of the budget */
#define REFAULT_SHARE	   256 /* of the budget, a second */
#define FOLLOWS_WITHIN	   256 /* pages: a driver fills its balloon by so many at a time */

/* The knowledge of one step. */
struct view {
	uint64_t now, dt;     /* ns */
	uint64_t due;	      /* the part of dt that steps are made for */
	uint64_t rise;	      /* of need, since the last statistics */
	uint64_t low, margin; /* of available memory */
	uint64_t desired;     /* balloon that leaves the margin above the peak */
	uint64_t available;   /* with the balloon, or the target, whichever is larger */
	uint64_t swapped_in, swapped_out, major_faults, kills; /* since the last statistics */
	uint32_t stall;					       /* permille */
};

static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t clamp(uint64_t value, uint64_t low, uint64_t high)
{
	return value < low ? low : least(value, high);
}

/* value * ns / 1 s, for a share that is due each second. */
static uint64_t a_second(uint64_t value, uint64_t ns)
{
	return value * (ns / 1000) / (SECOND_NS / 1000);
}

void autoballoon_init(struct autoballoon *a, const struct autoballoon_config *config)
{
	uint64_t total = config->guest_pages;

	*a = (struct autoballoon){
		.total = total,
		.floor = config->floor_pages != 0
				 ? config->floor_pages
				 : clamp(total / FLOOR_SHARE, FLOOR_LEAST, FLOOR_MOST),
		.patience_ns = PATIENCE_LEAST_NS,
	};
}

void autoballoon_set(struct autoballoon *a, uint64_t target_pages)
{
	a->target = least(target_pages, a->total);
	a->direction = 0;
	a->most_filled = 0;
}

/* Up at once; down towards value when nothing near it was seen for so long. */
static void mark(struct autoballoon_mark *m, uint64_t value, const struct view *v, uint64_t hold)
{
	if (value > 0 && value >= m->value - m->value / NEAR_SHARE) {
		m->value = value > m->value ? value : m->value;
		m->when_ns = v->now;
	} else if (v->now - m->when_ns > hold) {
		uint64_t above = m->value - value;

		m->value -= least(above, a_second(above, v->due) / LET_DOWN_S + 1);
	}
}

/* The changes in the guest's statistics since the last step. */
static void take_in(struct autoballoon *a, const struct autoballoon_guest *g, struct view *v)
{
	const struct autoballoon_guest *before = &a->guest;
	uint64_t room = less(a->total, g->balloon_pages), spare, need, rise = 0;

	if (g->when_ns == 0 || !(g->known & (AUTOBALLOON_AVAILABLE | AUTOBALLOON_FREE)) ||
	    g->when_ns <= before->when_ns)
		return;
	spare = (g->known & AUTOBALLOON_AVAILABLE ? g->available_bytes : g->free_bytes) >>
		PAGE_SHIFT;
	need = less(room, spare);
	if (before->when_ns == 0) {
		a->first_ns = v->now;
	} else {
		unsigned both = g->known & before->known;

		rise = less(need, a->need);
		if (both & AUTOBALLOON_SWAPS) {
			v->swapped_in = less(g->swapped_in_bytes, before->swapped_in_bytes);
			v->swapped_out = less(g->swapped_out_bytes, before->swapped_out_bytes);
		}
		if (both & AUTOBALLOON_MAJOR_FAULTS)
			v->major_faults = less(g->major_faults, before->major_faults);
		if (both & AUTOBALLOON_OOM_KILLS)
			v->kills = less(g->oom_kills, before->oom_kills);
	}
	a->need = need;
	a->guest = *g;
	v->rise = rise;
}

static enum autoballoon_level pressure_now(const struct autoballoon_sample *s,
					   const struct autoballoon_sample *last,
					   const struct view *v)
{
	enum autoballoon_level level = AUTOBALLOON_RELAXED;
	uint64_t budget = s->mm.budget_bytes, available = s->host.available_bytes;
	uint64_t missed = less(s->mm.refaults_near, last->mm.refaults_near) << PAGE_SHIFT;

	if (budget != 0 && s->mm.held_bytes + budget / HEADROOM_SHARE >= budget)
		level = AUTOBALLOON_SOME;
	if (s->host.total_bytes != 0 && available < s->host.total_bytes / HOST_SOME_SHARE)
		level = AUTOBALLOON_SOME;
	if (s->host.has_pressure && s->host.some_avg10 >= PSI_SOME)
		level = AUTOBALLOON_SOME;
	if ((s->host.total_bytes != 0 && available < s->host.total_bytes / HOST_HIGH_SHARE) ||
	    (s->host.has_pressure && s->host.some_avg10 >= PSI_HIGH) ||
	    v->stall >= PRESSED_PERMILLE ||
	    (budget != 0 && v->dt != 0 && missed > a_second(budget / REFAULT_SHARE, v->dt)))
		level = AUTOBALLOON_HIGH;
	return level;
}

/* Far from pressure: between this and pressure nothing is given that would have to be taken again.
 */
static bool is_ample(const struct autoballoon_sample *s)
{
	uint64_t budget = s->mm.budget_bytes;

	return (budget == 0 || s->mm.held_bytes < budget - budget / AMPLE_BUDGET_SHARE) &&
	       s->host.available_bytes >= s->host.total_bytes / AMPLE_HOST_SHARE &&
	       (!s->host.has_pressure || s->host.some_avg10 < PSI_SOME);
}

static void observe_pressure(struct autoballoon *a, const struct autoballoon_sample *s,
			     struct view *v)
{
	uint64_t stalled = less(s->mm.pressure_ns, a->last.mm.pressure_ns);
	enum autoballoon_level now;

	if (a->last.now_ns != 0)
		v->stall = (uint32_t)least(1000, stalled / (v->dt / 1000 + 1));
	now = pressure_now(s, a->last.now_ns != 0 ? &a->last : s, v);
	if (now > AUTOBALLOON_RELAXED || !is_ample(s))
		a->pressed_ns = v->now;
	if (now >= a->level) {
		a->level = now;
		a->level_ns = v->now;
	} else if (v->now - a->level_ns > LEVEL_NS) {
		a->level--;
		a->level_ns = v->now;
	}
}

static void observe(struct autoballoon *a, const struct autoballoon_sample *s, struct view *v)
{
	static const uint64_t shares[] = { RELAXED_SHARE, SOME_SHARE, HIGH_SHARE };
	uint64_t hold, balloon;

	*v = (struct view){ .now = s->now_ns };
	if (a->last.now_ns != 0)
		v->dt = less(s->now_ns, a->last.now_ns);
	v->due = least(v->dt, DT_MOST_NS);
	observe_pressure(a, s, v);
	take_in(a, &s->guest, v);
	hold = a->level == AUTOBALLOON_HIGH ? HOLD_HIGH_NS : HOLD_NS;
	hold += 4 * (a->patience_ns - PATIENCE_LEAST_NS);
	mark(&a->peak, a->need, v, hold);
	mark(&a->surge, v->rise, v, hold);
	if (v->swapped_in >= SWAP_BYTES || v->swapped_out >= SWAP_BYTES || v->kills > 0)
		a->trouble_ns = v->now;
	if (v->kills > 0)
		mark(&a->surge, a->total / SWAP_SHARE, v, hold);
	if (a->patience_ns > PATIENCE_LEAST_NS &&
	    v->now - a->reversal_ns > FORGET * a->patience_ns) {
		a->patience_ns = clamp(a->patience_ns / 2, PATIENCE_LEAST_NS, PATIENCE_MOST_NS);
		a->reversal_ns = v->now;
	}
	v->low = a->floor + a->total / LOW_SHARE + least(2 * a->surge.value, a->total / 2);
	v->margin = v->low + a->total / shares[a->level];
	v->desired = less(a->total, a->peak.value + v->margin);
	balloon = s->balloon_pages > a->target ? s->balloon_pages : a->target;
	v->available = less(a->total, balloon + a->need);
}

static enum autoballoon_reason move(struct autoballoon *a, const struct view *v, uint64_t target,
				    enum autoballoon_reason reason)
{
	int direction = target > a->target ? 1 : -1;

	if (target == a->target)
		return reason;
	if (direction == -a->direction) {
		a->patience_ns = least(2 * a->patience_ns, PATIENCE_MOST_NS);
		a->reversal_ns = v->now;
	}
	if (direction > 0 && (a->direction <= 0 || v->now - a->move_ns > AFTER_NS))
		a->stall_before = v->stall;
	a->step = less(target, a->target);
	a->direction = direction;
	a->move_ns = v->now;
	a->target = target;
	a->most_filled = 0;
	return reason;
}

/* The guest has trouble that memory would mend. KEEP: none. */
static enum autoballoon_reason relieve(struct autoballoon *a, const struct autoballoon_sample *s,
				       const struct view *v)
{
	uint64_t base = least(a->target, s->balloon_pages), share = a->total / SWAP_SHARE;
	bool just_took = a->direction > 0 && v->now - a->move_ns <= AFTER_NS;
	bool tight = v->available < v->margin;

	if (v->kills > 0 && a->target > 0)
		return move(a, v, least(base / 2, v->desired), AUTOBALLOON_OOM_GIVE);
	if (v->available < v->low && v->desired < a->target)
		return move(a, v, v->desired, AUTOBALLOON_SHORT_GIVE);
	/* Pages that come back from the guest's swap when memory is plenty are no new trouble. */
	if ((v->swapped_out >= SWAP_BYTES || (v->swapped_in >= SWAP_BYTES && tight)) &&
	    a->target > 0)
		return move(a, v, less(base, share), AUTOBALLOON_SWAP_GIVE);
	if (just_took && ((v->stall >= STALL_MANY && v->stall >= a->stall_before + STALL_MORE) ||
			  (v->major_faults >= MAJOR_FAULTS_MANY && tight))) {
		a->trouble_ns = v->now;
		return move(a, v, less(base, 2 * a->step), AUTOBALLOON_STALL_GIVE);
	}
	return AUTOBALLOON_KEEP;
}

/* Is the target beyond what the guest is willing to fill? */
static bool refuses(struct autoballoon *a, const struct autoballoon_sample *s)
{
	if (s->balloon_pages + FOLLOWS_WITHIN >= a->target) {
		a->most_filled = 0;
		return false;
	}
	if (a->most_filled == 0 || s->balloon_pages > a->most_filled) {
		a->most_filled = s->balloon_pages + (s->balloon_pages == 0);
		a->filled_ns = s->now_ns;
	}
	return s->now_ns - a->filled_ns > REFUSE_NS;
}

static enum autoballoon_reason take(struct autoballoon *a, const struct autoballoon_sample *s,
				    const struct view *v)
{
	bool high = a->level == AUTOBALLOON_HIGH;
	uint64_t step = a_second(a->total / (high ? STEP_HIGH_SHARE : STEP_SHARE), v->due);

	if (v->desired < a->target + a->total / WIDTH_SHARE)
		return AUTOBALLOON_KEEP;
	if (v->now - a->first_ns < LEARN_NS ||
	    (a->direction < 0 && v->now - a->move_ns < a->patience_ns) ||
	    (a->trouble_ns != 0 && v->now - a->trouble_ns < a->patience_ns) ||
	    s->balloon_pages + 2 * step + FOLLOWS_WITHIN < a->target || step == 0)
		return AUTOBALLOON_WAIT;
	return move(a, v, least(v->desired, a->target + step), AUTOBALLOON_TAKE);
}

static enum autoballoon_reason decide(struct autoballoon *a, const struct autoballoon_sample *s,
				      const struct view *v)
{
	uint64_t age = less(v->now, a->guest.when_ns),
		 back = a_second(a->total / BACK_SHARE, v->due);
	enum autoballoon_reason trouble;

	if (a->guest.when_ns == 0)
		return AUTOBALLOON_NO_STATISTICS;
	if (age > LOST_NS && a->target > 0)
		return move(a, v, less(a->target, back), AUTOBALLOON_LATE_GIVE);
	if (age > LATE_NS)
		return AUTOBALLOON_LATE;
	trouble = relieve(a, s, v);
	if (trouble != AUTOBALLOON_KEEP)
		return trouble;
	if (refuses(a, s))
		return move(a, v, s->balloon_pages, AUTOBALLOON_REFUSED);
	if (a->level > AUTOBALLOON_RELAXED)
		return take(a, s, v);
	if (v->desired >= a->target)
		return AUTOBALLOON_CALM;
	if (v->now - a->pressed_ns < CALM_NS ||
	    (a->direction > 0 && v->now - a->move_ns < a->patience_ns))
		return AUTOBALLOON_WAIT;
	return move(a, v, less(a->target, back), AUTOBALLOON_CALM_GIVE);
}

struct autoballoon_decision autoballoon_step(struct autoballoon *a,
					     const struct autoballoon_sample *sample)
{
	struct autoballoon_sample s = *sample;
	struct autoballoon_decision decision;
	struct view v;

	s.balloon_pages = least(s.balloon_pages, a->total);
	observe(a, &s, &v);
	decision.reason = decide(a, &s, &v);
	decision.target_pages = a->target;
	a->last = s;
	return decision;
}

static const struct {
	const char *name, *text;
} reasons[AUTOBALLOON_REASONS] = {
	[AUTOBALLOON_NO_STATISTICS] = { "no_statistics",
					"the guest has not said what it can spare" },
	[AUTOBALLOON_LATE] = { "late", "the guest's statistics are late" },
	[AUTOBALLOON_LATE_GIVE] = { "late_give", "gives back: the guest is silent" },
	[AUTOBALLOON_OOM_GIVE] = { "oom_give",
				   "gives back: the guest ran out of memory and killed" },
	[AUTOBALLOON_SHORT_GIVE] = { "short_give", "gives back: the guest has little available" },
	[AUTOBALLOON_SWAP_GIVE] = { "swap_give", "gives back: the guest swaps" },
	[AUTOBALLOON_STALL_GIVE] = { "stall_give", "gives back: the guest stalls" },
	[AUTOBALLOON_CALM_GIVE] = { "calm_give", "gives back: nobody else needs it" },
	[AUTOBALLOON_REFUSED] = { "refused", "the guest fills its balloon no further" },
	[AUTOBALLOON_TAKE] = { "take", "takes what the guest can spare" },
	[AUTOBALLOON_WAIT] = { "wait", "waits" },
	[AUTOBALLOON_CALM] = { "calm", "nobody is short of memory" },
	[AUTOBALLOON_KEEP] = { "keep", "the guest has what it needs and little more" },
};

const char *autoballoon_reason_name(enum autoballoon_reason reason)
{
	return reasons[reason].name;
}

const char *autoballoon_reason_text(enum autoballoon_reason reason)
{
	return reasons[reason].text;
}

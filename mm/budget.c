/*
 * The budget: the sizes that follow from it, charging, and changing it while the guest runs.
 *
 * It covers resident frames, the pool's blocks and the manager's own tables (frame records, the
 * policy's array, the pool's, the swap's bitmap and hashes, the staging memory of fills and
 * reclaim), and what others spend on the guest's behalf (mm_config.beside, and page tables, by the
 * units that were touched: mm_config.unit_bytes). Everything is charged
 * before it is taken and uncharged after it was given back, so `held` never understates and `peak`
 * is the truth.
 *
 *   0                                     limit - high  limit - low   limit      budget
 *   |--- tables --- pool --- resident ------|-------------|-------------|----------|
 *                                        reclaimer     reclaimer    fills stop:   only reclaim
 *                                        stops         starts       direct        (pool blocks,
 *                                                                   reclaim       hashes)
 *
 * Reclaim needs memory to give memory back: an object is in the pool before its page is released.
 * That is what the reserve above the limit is for.
 *
 * A higher budget takes effect at once, a lower one as it can. First it goes down to the memory
 * held (with headroom); from there the reclaimer takes it down with each of its batches, by half of
 * the batch's gain. The other half is headroom: however hard the guest faults, the budget falls,
 * and however fast it falls, a fault has no more to reclaim for itself than under any budget. The
 * budget in force is never under the memory held, so all identities hold throughout.
 *
 * A guest that cannot be brought under the budget (no swap, nothing that compresses) is not stopped
 * for that: a fault that finds nothing to give up puts the old budget in force again, and lowering
 * rests for a time that doubles.
 */
#include <errno.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/units.h"
#include "mm/mm_internal.h"

#define RESERVE_SHARE 64
#define RESERVE_LEAST KIB(192)
#define RESERVE_MOST  KIB(4096)
#define WORKING_PAGES 512 /* the least a guest may have resident, pinned pages among them */
/*
 * The pool's share of what the tables leave, where there is a swap to take the rest. Every page in
 * the pool costs half a resident page and saves a disk read. bench_mm over twice the budget, with
 * a disk that answers in 60 us: zipf walks cost 14.2, 16.8 and 20.6 us a touch at 25, 50 and 75%,
 * uniform ones 52 at each; a slower disk moves the best upwards. A third is between.
 */
#define POOL_CAP_PERCENT 33
#define REST_LEAST_NS	 (5 * 1000 * 1000 * 1000ull) /* after the old budget came back */
#define REST_MOST_NS	 (300 * 1000 * 1000 * 1000ull)

static uint64_t clamp(uint64_t value, uint64_t least, uint64_t most)
{
	return value < least ? least : value > most ? most : value;
}

static uint64_t reserve(uint64_t budget)
{
	return clamp(budget / RESERVE_SHARE, RESERVE_LEAST, RESERVE_MOST);
}

static void work_sizes(const struct mm_config *config, struct mm_sizes *s)
{
	uint64_t packed = PACK_MAX * POOL_OBJECT_MAX + codec_bytes(config->compressor);

	s->fill_work_bytes = sizeof(struct fill_work) + s->swap_window * PAGE_SIZE + packed;
	s->reclaim_work_bytes =
		sizeof(struct reclaim_work) + (1 + s->write_back) * PAGE_SIZE + packed;
}

static uint32_t frames_that_exist(const struct mm_config *config)
{
	uint32_t count = 0;

	for (unsigned i = 0; i < config->range_count; i++)
		count += config->ranges[i].count;
	return config->range_count > 0 ? count : config->frame_count;
}

/* The ranges' ends lie inside units, at the most. */
static uint64_t units_that_exist(const struct mm_config *config)
{
	return frames_that_exist(config) / MM_UNIT_FRAMES + 2 * MM_RANGES_MAX;
}

void mm_sizes_for(const struct mm_config *config, uint64_t budget, struct mm_sizes *s)
{
	uint32_t frames = frames_that_exist(config);
	uint64_t guest = (uint64_t)frames * PAGE_SIZE;
	bool swaps = config->swap_directory != NULL;
	uint64_t spare, held;

	*s = (struct mm_sizes){ .pool_max = guest };
	if (swaps)
		s->slot_count = config->swap_bytes != 0
					? (uint32_t)clamp(config->swap_bytes / PAGE_SIZE, 1,
							  SWAP_NO_SLOT - 1)
					: frames;
	s->fixed_bytes = sizeof(struct mm) + config->frame_count / FRAME_CHUNK +
			 config->frame_count / MM_UNIT_FRAMES +
			 config->frame_count *
				 (sizeof(struct mm_frame) + (uint64_t)config->policy->frame_size) +
			 pool_table_bytes_least() +
			 (swaps ? swap_table_bytes_least(s->slot_count) : 0);
	if (budget != 0 && config->beside != NULL)
		s->beside_bytes = config->beside(config->beside_context, budget);
	held = s->fixed_bytes + s->beside_bytes;
	if (budget == 0)
		spare = guest / PAGE_SIZE;
	else
		spare = budget > held ? (budget - held) / PAGE_SIZE : 0;
	s->window = (uint32_t)clamp(spare / 32, 16, 128);
	s->swap_window = swaps ? (uint32_t)clamp(spare / 32, 16, SWAP_BATCH) : s->window;
	s->batch = (uint32_t)clamp(spare / 64, 16, BATCH_MAX);
	s->direct_batch = (uint32_t)clamp(s->batch / 2, 16, 32);
	s->write_back = swaps ? (uint32_t)clamp(spare / 128, 16, 64) : 0;
	s->low = clamp(spare / 64, 16, 1024) * PAGE_SIZE;
	s->high = 2 * s->low;
	work_sizes(config, s);
	if (budget == 0) {
		s->limit = s->pool_cap = UINT64_MAX;
		s->pin_max = frames;
		return;
	}
	s->limit = budget - reserve(budget);
	s->pool_cap = spare * PAGE_SIZE * POOL_CAP_PERCENT / 100;
	if (s->limit < budget && s->limit > held + s->high)
		s->pin_max = (uint32_t)((s->limit - held - s->high) / PAGE_SIZE / 4);
}

unsigned works_at_start(const struct mm_config *config)
{
	return config->no_reclaimer ? 1 : 2;
}

uint64_t mm_least_budget(const struct mm_config *config)
{
	uint64_t own, least;
	struct mm_sizes s;

	/* A budget that leaves nothing spare gets every size at its least. */
	mm_sizes_for(config, 1, &s);
	own = s.fixed_bytes + units_that_exist(config) * config->unit_bytes +
	      pool_table_bytes(s.pool_max) + s.fill_work_bytes +
	      works_at_start(config) * s.reclaim_work_bytes + RESERVE_LEAST + s.high +
	      WORKING_PAGES * PAGE_SIZE;
	/* The spending of others counts towards what must be found. */
	least = own + s.beside_bytes;
	while (config->beside != NULL &&
	       least < own + config->beside(config->beside_context, least))
		least = own + config->beside(config->beside_context, least);
	return least;
}

bool mm_charge(struct mm *mm, uint64_t bytes, uint64_t limit)
{
	if (bytes > limit || mm->held > limit - bytes)
		return false;
	mm->held += bytes;
	if (mm->held > mm->peak)
		mm->peak = mm->held;
	return true;
}

void mm_uncharge(struct mm *mm, uint64_t bytes)
{
	CHECK(mm->held >= bytes);
	mm->held -= bytes;
}

bool mm_charge_frame(struct mm *mm, uint32_t number, uint64_t limit)
{
	uint8_t *unit = &mm->units[number / MM_UNIT_FRAMES];
	uint64_t tables = *unit == 0 ? mm->config.unit_bytes : 0;

	if (!mm_charge(mm, PAGE_SIZE + tables, limit))
		return false;
	mm->tables += tables;
	*unit = 1;
	return true;
}

bool mm_charge_table(void *context, uint64_t bytes)
{
	struct mm *mm = context;

	if (!mm_charge(mm, bytes, mm->budget))
		return false;
	mm->tables += bytes;
	return true;
}

void budget_charge_beside(struct mm *mm)
{
	uint64_t now = mm->sizes.beside_bytes, before = mm->beside;

	if (now > before) {
		CHECK(mm_charge_table(mm, now - before));
	} else {
		mm_uncharge(mm, before - now);
		mm->tables -= before - now;
	}
	mm->beside = now;
}

/*
 * A budget with this much under its limit. Under none nothing was charged for what others spend, so
 * that it comes on top: for a budget that the new one will not exceed.
 */
static uint64_t budget_over(const struct mm *mm, uint64_t bytes)
{
	if (mm->budget == UINT64_MAX && mm->config.beside != NULL)
		bytes += mm->config.beside(mm->config.beside_context, 2 * bytes + mm->wanted);
	return bytes + clamp(bytes / (RESERVE_SHARE - 1) + PAGE_SIZE, RESERVE_LEAST, RESERVE_MOST);
}

static void put_in_force(struct mm *mm, uint64_t budget)
{
	/* A page that wanted room on the disk may have it in memory now. */
	if (budget > mm->budget) {
		mm->starves = false;
		mm->hunted_ns = 0;
	}
	mm->budget = budget;
	if (budget > mm->budget_most)
		mm->budget_most = budget;
	mm_sizes_for(&mm->config, budget != UINT64_MAX ? budget : 0, &mm->sizes);
	budget_charge_beside(mm);
	works_fit(mm);
}

/* Down by bytes, but not under what is wanted or what is held and some more. */
static void lower(struct mm *mm, uint64_t bytes, uint64_t more)
{
	uint64_t least = budget_over(mm, mm->held + more);
	uint64_t next = mm->budget > bytes ? mm->budget - bytes : 0;

	if (next < least)
		next = least;
	if (next < mm->wanted)
		next = mm->wanted;
	if (next < mm->budget)
		put_in_force(mm, next);
}

void budget_follow(struct mm *mm, uint64_t gained)
{
	uint64_t low = mm->sizes.low;

	if (!budget_is_falling(mm) || clock_now_ns() < mm->lower_retry_ns)
		return;
	if (mm->held + mm->sizes.high <= mm->sizes.limit)
		lower(mm, low, low);
	else
		lower(mm, (gained + 1) / 2, 0);
	if (!budget_is_falling(mm))
		mm->lower_rest_ns = 0;
}

bool budget_relent(struct mm *mm)
{
	if (!budget_is_falling(mm) || mm->budget >= mm->ceiling)
		return false;
	mm->lower_rest_ns = clamp(2 * mm->lower_rest_ns, REST_LEAST_NS, REST_MOST_NS);
	mm->lower_retry_ns = clock_now_ns() + mm->lower_rest_ns;
	mm->notes.relented = true;
	mm->notes.held = mm->held;
	mm->notes.wanted = mm->wanted;
	put_in_force(mm, mm->ceiling);
	return true;
}

/*
 * Without a background thread, as far as it goes: what others spend falls with the budget, so that
 * it may go on after the last page.
 */
static void lower_now(struct mm *mm)
{
	struct reclaim_effort effort = { 0 };
	uint64_t before = UINT64_MAX;
	int error = 0;

	while (budget_is_falling(mm) && !mm->has_failed && (error == 0 || mm->budget < before)) {
		before = mm->budget;
		if (error == 0)
			error = reclaim_direct(mm, &effort);
		budget_follow(mm, effort.gone * PAGE_SIZE);
	}
}

int mm_set_budget(struct mm *mm, uint64_t bytes)
{
	if (bytes != 0 && bytes < mm_least_budget(&mm->config))
		return -EINVAL;
	lock_take(&mm->lock);
	if (!budget_is_falling(mm))
		mm->ceiling = mm->budget;
	mm->wanted = bytes != 0 ? bytes : UINT64_MAX;
	mm->lower_rest_ns = mm->lower_retry_ns = 0;
	if (mm->wanted > mm->ceiling)
		mm->ceiling = mm->wanted;
	if (mm->wanted >= mm->budget)
		put_in_force(mm, mm->wanted);
	else
		lower(mm, mm->budget, mm->sizes.high);
	if (mm->has_reclaimer)
		pthread_cond_signal(&mm->shortage);
	else
		lower_now(mm);
	mm_unlock(mm);
	return 0;
}

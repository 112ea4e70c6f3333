/* The OOM killer. */
#include "guest/process/oom.h"
#include "guest/lib/count.h"
#include "guest/memory/page.h"
#include "guest/memory/replace.h"
#include "guest/memory/space.h"
#include "guest/monitor/doorbell.h"
#include "guest/process/process.h"

static uint64_t resident(const struct space *space)
{
	return space->resident[RESIDENT_ANONYMOUS] + space->resident[RESIDENT_FILE];
}

/* All there can be. Pages that compress well make the swap hold more than it holds for sure. */
static int64_t total(void)
{
	return (int64_t)(page_total + MAX(swap_pages_total, swap_pages_used));
}

int64_t oom_badness(const struct process *process)
{
	const struct space *space = process->space;

	if (!space || space->doomed || process->exiting || process->oom_adjust == OOM_ADJUST_NEVER)
		return OOM_NEVER;
	return (int64_t)(resident(space) + space->resident[RESIDENT_SWAPPED]) +
	       process->oom_adjust * total() / OOM_ADJUST_MAX;
}

int64_t oom_score(const struct process *process)
{
	int64_t badness = oom_badness(process);

	if (badness == OOM_NEVER)
		return 0;
	return (OOM_ADJUST_MAX + badness * OOM_ADJUST_MAX / total()) * 2 / 3;
}

/* Init goes last, and with it everything. */
static struct process *worst(void)
{
	struct process *chosen = NULL;
	int64_t most = OOM_NEVER, init = oom_badness(process_init);

	for (struct process *process = process_list; process; process = process->next) {
		int64_t badness = oom_badness(process);

		/* Until it executes something, a vfork's child has its parent's memory. */
		if (process->space == process_init->space || badness <= most)
			continue;
		chosen = process;
		most = badness;
	}
	/* Where init is what fills memory, killing others would help nobody. */
	if (init != OOM_NEVER && (!chosen || (init > 0 && init / 4 > most)))
		chosen = process_init;
	return chosen;
}

/* Kills every process that shares the memory, for it is gone for all of them. Their threads run
 * next, as others wait for what they hold. */
static void kill_all_of(const struct space *space)
{
	for (struct process *process = process_list; process; process = process->next) {
		if (process->space != space)
			continue;
		process_kill(process, SIGKILL);
		for (struct thread *thread = process->threads; thread; thread = thread->next)
			thread_hurry(thread);
	}
}

bool oom_kill(void)
{
	struct process *process = worst();
	uint64_t freed;

	if (!process)
		return false;
	log_line(QUIRE_LEVEL_ERROR,
		 "%s (process %d) killed by SIGKILL: out of memory; badness %ld of %ld pages: %lu "
		 "resident, %lu in the swap, oom_score_adj %d",
		 process_name(process), process->pid, oom_badness(process), total(),
		 resident(process->space), process->space->resident[RESIDENT_SWAPPED],
		 process->oom_adjust);
	vm_count.oom_kill++;
	kill_all_of(process->space);
	freed = space_release_memory(process->space);
	log_line(QUIRE_LEVEL_INFO, "that gave %lu pages back", freed);
	return true;
}

/* The OOM killer. */
#include "guest/memory/oom.h"
#include "guest/memory/count.h"
#include "guest/memory/page.h"
#include "guest/memory/replace.h"
#include "guest/memory/space.h"
#include "guest/monitor/doorbell.h"
#include "guest/process/process.h"

#define ADJUST_NEVER (-1000)

static uint64_t resident(const struct space *space)
{
	return space->resident[RESIDENT_ANONYMOUS] + space->resident[RESIDENT_FILE];
}

int64_t oom_badness(const struct process *process)
{
	const struct space *space = process->space;

	if (!space || space->doomed || process->exiting || process->oom_adjust == ADJUST_NEVER)
		return 0;
	return (int64_t)(resident(space) + space->resident[RESIDENT_SWAPPED]) +
	       (int64_t)process->oom_adjust * (int64_t)(page_total + swap_pages_total) / 1000;
}

/* Init goes last, and with it everything. */
static struct process *worst(void)
{
	struct process *chosen = NULL;
	int64_t most = 0;

	for (struct process *process = process_list; process; process = process->next) {
		int64_t badness = oom_badness(process);

		/* Until it executes something, a vfork's child has its parent's memory. */
		if (process->space == process_init->space || badness <= most)
			continue;
		chosen = process;
		most = badness;
	}
	/* Where init is what fills memory, killing others would help nobody. */
	if (oom_badness(process_init) > 0 && (!chosen || oom_badness(process_init) > 4 * most))
		chosen = process_init;
	return chosen;
}

/* Who shares the memory has none either. And all of them go next: others wait for what they hold.
 */
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
		 "%s (process %d) killed by SIGKILL: out of memory; badness %ld of %lu pages: %lu "
		 "resident, %lu in the swap, oom_score_adj %d",
		 process->threads->name, process->pid, oom_badness(process), page_total,
		 resident(process->space), process->space->resident[RESIDENT_SWAPPED],
		 process->oom_adjust);
	vm_count.oom_kill++;
	kill_all_of(process->space);
	freed = space_release_memory(process->space);
	log_line(QUIRE_LEVEL_INFO, "that gave %lu pages back", freed);
	return true;
}

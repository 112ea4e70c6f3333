/*
 * /proc/PID.
 *
 * The arguments and the environment are the process's own memory and are read from there, so they
 * show the process's own changes.
 */
#include "guest/proc/status.h"
#include "guest/exec/exec.h"
#include "guest/exec/strings.h"
#include "guest/file/file.h"
#include "guest/lib/errno.h"
#include "guest/lib/string.h"
#include "guest/lib/text.h"
#include "guest/memory/fault.h"
#include "guest/memory/user.h"
#include "guest/proc/maps.h"
#include "guest/process/oom.h"
#include "guest/process/process.h"

#define NS_PER_TICK	(1000000000 / USER_HZ)
#define FLAG_RANDOMIZED 0x400000
#define PRIORITY	20 /* of a nice value of 0 */

/* The thread that the process began with, if it still runs. */
static const struct thread *leader_of(const struct process *process)
{
	const struct thread *thread = process->threads;

	while (thread && thread->tid != process->pid)
		thread = thread->next;
	return thread;
}

static char state_of(const struct process *process)
{
	const struct thread *leader = leader_of(process);

	if (!leader)
		return 'Z';
	if (process->stopped)
		return 'T';
	if (leader->state != THREAD_WAITING)
		return 'R';
	return leader->wait_kind == WAIT_DEAF ? 'D' : 'S';
}

void process_comm_text(struct process *process, struct text *text)
{
	text_add(text, "%s\n", process_name(process));
}

int process_comm_store(struct process *process, const char *words)
{
	for (struct thread *thread = process->threads; thread; thread = thread->next) {
		if (thread->tid == process->pid)
			string_copy(thread->name, words, sizeof(thread->name));
	}
	return 0;
}

/* The bytes [start, end) of the space's memory, as far as they can be had. */
static void memory_text(struct space *space, uint64_t start, uint64_t end, struct text *text)
{
	end = MIN(end, start + EXEC_STRINGS_MAX);
	while (space && !space->doomed && start < end) {
		uint64_t length = MIN(end - start, PAGE_SIZE - (start & (PAGE_SIZE - 1)));
		uint64_t physical = fault_translate(space, start, false);

		if (!physical)
			return;
		text_add_bytes(text, direct(physical), length);
		start += length;
	}
}

void process_cmdline_text(struct process *process, struct text *text)
{
	if (process->space)
		memory_text(process->space, process->space->arguments,
			    process->space->arguments_end, text);
}

void process_environ_text(struct process *process, struct text *text)
{
	if (process->space)
		memory_text(process->space, process->space->arguments_end,
			    process->space->environment_end, text);
}

void process_maps_text(struct process *process, struct text *text)
{
	if (process->space)
		space_maps_text(process->space, text);
}

void process_smaps_text(struct process *process, struct text *text)
{
	if (process->space)
		space_smaps_text(process->space, text);
}

void process_rollup_text(struct process *process, struct text *text)
{
	if (process->space)
		space_smaps_rollup_text(process->space, text);
}

int64_t process_pagemap_read(const struct process *process, const struct io_vector *vector,
			     unsigned count, uint64_t *offset)
{
	int64_t total = 0;

	for (; count > 0; vector++, count--) {
		if ((*offset | vector->length) % sizeof(uint64_t))
			return total ? total : -EINVAL;
		for (uint64_t at = 0; at < vector->length; at += sizeof(uint64_t)) {
			uint64_t va = *offset / sizeof(uint64_t) << PAGE_SHIFT, entry;

			if (!process->space || *offset >= USER_END >> (PAGE_SHIFT - 3))
				return total;
			entry = space_pagemap_entry(process->space, va);
			if (user_write(vector->base + at, &entry, sizeof(entry)))
				return total ? total : -EFAULT;
			*offset += sizeof(entry);
			total += sizeof(entry);
		}
	}
	return total;
}

void process_statm_text(struct process *process, struct text *text)
{
	if (process->space)
		space_statm_text(process->space, text);
	else
		text_add(text, "0 0 0 0 0 0 0\n");
}

void process_oom_score_text(struct process *process, struct text *text)
{
	text_add(text, "%ld\n", oom_score(process));
}

void process_oom_adjust_text(struct process *process, struct text *text)
{
	text_add(text, "%d\n", process->oom_adjust);
}

int process_oom_adjust_store(struct process *process, const char *words)
{
	bool negative = *words == '-';
	int number = 0;

	words += negative;
	do {
		if (*words < '0' || *words > '9')
			return -EINVAL;
		number = number * 10 + (*words - '0');
		if (number > OOM_ADJUST_MAX)
			return -EINVAL;
	} while (*++words);
	process->oom_adjust = negative ? -number : number;
	return 0;
}

struct signal_sets {
	uint64_t pending, shared, blocked, ignored, caught;
};

static struct signal_sets signals_of(const struct process *process)
{
	const struct thread *leader = leader_of(process);
	struct signal_sets sets = { .shared = process->pending.set };

	if (leader) {
		sets.pending = leader->pending.set;
		sets.blocked = leader->blocked;
	}
	for (int signal = 1; signal <= SIGNAL_COUNT; signal++) {
		uint64_t handler = process->action[signal - 1].handler;

		if (handler == SIGNAL_IGNORE)
			sets.ignored |= signal_bit(signal);
		else if (handler != SIGNAL_DEFAULT)
			sets.caught |= signal_bit(signal);
	}
	return sets;
}

/* The first area of the program's file with these rights. */
static struct area part_of(const struct process *process, uint32_t rights)
{
	const struct space *space = process->space;

	for (unsigned i = 0; space && i < space->area_count; i++) {
		if (node_of(space->area[i]->content) == process->executable &&
		    (space->area[i]->flags & rights) == rights)
			return *space->area[i];
	}
	return (struct area){ 0 };
}

/* Fields 3 to 22. */
static void stat_process(struct process *process, struct text *text)
{
	struct usage usage = process_usage(process);
	const struct usage *children = &process->children_usage;
	struct time_split time = usage_split(&usage, &process->told);
	struct time_split children_time = usage_split(children, &process->children_told);
	bool random = process->space && process->space->random;

	text_add(text, "%c %d %d %d 0 -1 %u ", state_of(process),
		 process->parent ? process->parent->pid : 0, process->group, process->session,
		 random ? FLAG_RANDOMIZED : 0);
	text_add(text, "%lu %lu %lu %lu ", usage.minor_faults, children->minor_faults,
		 usage.major_faults, children->major_faults);
	text_add(text, "%lu %lu %lu %lu %d 0 %u 0 %lu ", time.user / NS_PER_TICK,
		 time.system / NS_PER_TICK, children_time.user / NS_PER_TICK,
		 children_time.system / NS_PER_TICK, PRIORITY, process->thread_count,
		 process->started / NS_PER_TICK);
}

/* Fields 23 to 30. */
static void stat_memory(const struct process *process, struct text *text)
{
	const struct space *space = process->space;
	struct area code = part_of(process, AREA_EXEC);

	text_add(text, "%lu %lu %lu %lu %lu %lu 0 0 ", space ? space->pages * PAGE_SIZE : 0,
		 space ? space_resident(space) : 0, process->limit[RLIMIT_RSS].current, code.start,
		 code.end, space ? space->first_stack : 0);
}

/* Fields 45 to 52. */
static void stat_places(const struct process *process, struct text *text)
{
	const struct space *space = process->space;
	struct area data = part_of(process, AREA_WRITE);

	text_add(text, "%lu %lu %lu ", data.start, data.end, space ? space->brk_start : 0);
	text_add(text, "%lu %lu %lu %lu %d\n", space ? space->arguments : 0,
		 space ? space->arguments_end : 0, space ? space->arguments_end : 0,
		 space ? space->environment_end : 0, process->zombie ? process->wait_status : 0);
}

void process_stat_text(struct process *process, struct text *text)
{
	const struct thread *leader = leader_of(process);
	struct signal_sets sets = signals_of(process);

	text_add(text, "%d (%s) ", process->pid, process_name(process));
	stat_process(process, text);
	stat_memory(process, text);
	/* 31 to 44; signals as Linux does, of which the first 31 stand here */
	text_add(text, "%lu %lu %lu %lu 0 0 0 %d %u 0 0 0 0 0 ", sets.pending & INT32_MAX,
		 sets.blocked & INT32_MAX, sets.ignored & INT32_MAX, sets.caught & INT32_MAX,
		 process->end_signal, leader && leader->cpu ? leader->cpu->number : 0);
	stat_places(process, text);
}

static void status_signals(const struct process *process, struct text *text)
{
	struct signal_sets sets = signals_of(process);

	text_add(text, "SigPnd:\t%016lx\nShdPnd:\t%016lx\nSigBlk:\t%016lx\n", sets.pending,
		 sets.shared, sets.blocked);
	text_add(text, "SigIgn:\t%016lx\nSigCgt:\t%016lx\n", sets.ignored, sets.caught);
}

static const char *state_name(char state)
{
	switch (state) {
	case 'R':
		return "running";
	case 'S':
		return "sleeping";
	case 'D':
		return "disk sleep";
	case 'T':
		return "stopped";
	default:
		return "zombie";
	}
}

void process_status_text(struct process *process, struct text *text)
{
	const uint32_t *user = process->identity.user, *group = process->identity.group;
	char state = state_of(process);
	uint64_t all = (1ull << cpu_count) - 1;

	text_add(text, "Name:\t%s\nUmask:\t%c%c%c%c\n", process_name(process), '0',
		 (char)('0' + (process->umask >> 6 & 7)), (char)('0' + (process->umask >> 3 & 7)),
		 (char)('0' + (process->umask & 7)));
	text_add(text, "State:\t%c (%s)\nTgid:\t%d\nNgid:\t0\nPid:\t%d\nPPid:\t%d\n", state,
		 state_name(state), process->pid, process->pid,
		 process->parent ? process->parent->pid : 0);
	text_add(
		text,
		"TracerPid:\t0\nUid:\t%u\t%u\t%u\t%u\nGid:\t%u\t%u\t%u\t%u\nFDSize:\t%u\nGroups:\t",
		user[ID_REAL], user[ID_EFFECTIVE], user[ID_SAVED], user[ID_EFFECTIVE],
		group[ID_REAL], group[ID_EFFECTIVE], group[ID_SAVED], group[ID_EFFECTIVE],
		process->files ? process->files->size : 0);
	for (unsigned i = 0; i < process->identity.group_count; i++)
		text_add(text, "%u ", process->identity.groups[i]);
	text_add(text, "\n");
	if (process->space)
		space_status_text(process->space, text);
	text_add(text, "Threads:\t%u\n", process->thread_count);
	status_signals(process, text);
	text_add(text, "Cpus_allowed:\t%lx\nCpus_allowed_list:\t", all);
	text_add(text, cpu_count > 1 ? "0-%u\n" : "%u\n", cpu_count - 1);
}

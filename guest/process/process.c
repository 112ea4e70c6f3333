/*
 * Processes: making, ending, reaping. process.h describes an end.
 */
#include "guest/process/process.h"
#include "guest/cpu/clock.h"
#include "guest/lib/errno.h"
#include "guest/lib/string.h"
#include "guest/memory/flush.h"
#include "guest/memory/slab.h"
#include "guest/memory/user.h"
#include "guest/monitor/doorbell.h"
#include "guest/process/futex.h"
#include "guest/process/hooks.h"
#include "guest/process/segment.h"
#include "guest/process/vector.h"

#define SA_NOCLDSTOP 1

struct process *process_list, *process_init;

static const struct linux_rlimit limits_default[RLIMIT_COUNT] = {
	[0 ... 2] = { UINT64_MAX, UINT64_MAX },
	[RLIMIT_STACK] = { 8 << 20, UINT64_MAX },
	[4] = { 0, UINT64_MAX }, /* core */
	[RLIMIT_RSS] = { UINT64_MAX, UINT64_MAX },
	[RLIMIT_PROCESS] = { THREAD_MAX, THREAD_MAX },
	[7] = { FILE_TABLE_MAX, FILE_TABLE_MAX }, /* open files */
	[8 ... RLIMIT_COUNT - 1] = { UINT64_MAX, UINT64_MAX },
};

static void alarm_rings(struct timer *timer)
{
	struct process *process =
		(struct process *)((char *)timer - offsetof(struct process, alarm));

	signal_send(process, SIGALRM);
	if (process->alarm_interval)
		timer_set(timer, timer->deadline + process->alarm_interval);
}

static void list_add(struct process *process)
{
	process->next = process_list;
	if (process_list)
		process_list->prev = process;
	process_list = process;
	if (process->parent) {
		process->sibling = process->parent->children;
		process->parent->children = process;
	}
}

static void list_remove(struct process *process)
{
	struct process **link = process->parent ? &process->parent->children : NULL;

	if (process->next)
		process->next->prev = process->prev;
	if (process->prev)
		process->prev->next = process->next;
	else
		process_list = process->next;
	while (link && *link != process)
		link = &(*link)->sibling;
	if (link)
		*link = process->sibling;
}

struct process *process_create(struct process *parent)
{
	struct process *process = memory_alloc_zero(sizeof(*process));

	if (!process)
		return NULL;
	if (!thread_create(process)) {
		memory_free(process);
		return NULL;
	}
	process->pid = process->threads->tid;
	process->group = process->session = process->pid;
	process->parent = parent;
	process->umask = 022;
	process->started = clock_now();
	process->end_signal = SIGCHLD;
	process->alarm.expired = alarm_rings;
	memcpy(process->limit, limits_default, sizeof(limits_default));
	list_add(process);
	return process;
}

static void release(struct process *process)
{
	list_remove(process);
	signal_queue_clear(&process->pending);
	process_hooks.forget(process);
	process_hooks.release_files(process);
	segment_free(process);
	memory_free(process);
}

void process_discard(struct process *process)
{
	if (process->space)
		space_put(process->space);
	process_hooks.close_files(process);
	thread_destroy(process->threads);
	release(process);
}

/* A thread's share of its process's use. */
static void add_thread(struct usage *usage, const struct thread *thread)
{
	usage->ran += thread_ran(thread);
	samples_add(&usage->samples, &thread->samples);
	usage->minor_faults += thread->faults.minor;
	usage->major_faults += thread->faults.major;
}

/* The space goes; what it had at most in memory stays known. */
static void keep_resident_max(struct process *process)
{
	process->usage.resident_max =
		MAX(process->usage.resident_max, space_resident_max(process->space));
}

void process_set_space(struct process *process, struct space *space)
{
	struct space *old = process->space;

	if (old)
		keep_resident_max(process);
	process->space = space;
	for (struct thread *thread = process->threads; thread; thread = thread->next)
		thread->space = space;
	if (process == current_process())
		space_switch(space);
	if (old)
		space_put(old);
}

void process_return_space(struct process *process)
{
	if (!process->borrows)
		return;
	process->borrows = false;
	thread_wake(process);
}

void process_kill(struct process *process, int wait_status)
{
	if (process->exiting)
		return;
	process->exiting = true;
	process->wait_status = wait_status;
	for (struct thread *thread = process->threads; thread; thread = thread->next) {
		if (thread->state == THREAD_WAITING)
			thread_rouse(thread);
		else
			thread_notify(thread, WORK_SIGNAL);
	}
}

/* Children of the dying go to init. */
static void orphan_children(struct process *process)
{
	while (process->children) {
		struct process *child = process->children;

		process->children = child->sibling;
		child->parent = process_init;
		child->sibling = process_init->children;
		process_init->children = child;
		if (child->zombie)
			thread_wake(process_init);
	}
}

static void tell_parent(struct process *process, int signal, int code, int status)
{
	struct signal_info info = {
		.signal = signal, .code = code, .pid = process->pid, .status = status
	};

	if (signal)
		signal_send_info(process->parent, &info);
	thread_wake(process->parent);
}

static void tell_of_end(struct process *process)
{
	int status = process->wait_status;

	if (status & 0x7f)
		tell_parent(process, process->end_signal, CLD_KILLED, status & 0x7f);
	else
		tell_parent(process, process->end_signal, CLD_EXITED, status >> 8 & 0xff);
}

static void tell_of_news(struct process *process, int code, int signal)
{
	const struct linux_sigaction *action = &process->parent->action[SIGCHLD - 1];

	tell_parent(process, action->flags & SA_NOCLDSTOP ? 0 : SIGCHLD, code, signal);
}

void process_stop(struct process *process, int signal)
{
	if (process->stopped || process->exiting)
		return;
	process->stopped = true;
	process->news = NEWS_STOPPED(signal);
	for (struct thread *thread = process->threads; thread; thread = thread->next)
		thread_notify(thread, WORK_SIGNAL);
	tell_of_news(process, CLD_STOPPED, signal);
}

void process_continue(struct process *process)
{
	if (!process->stopped)
		return;
	process->stopped = false;
	process->news = NEWS_CONTINUED;
	thread_wake(&process->stopped);
	tell_of_news(process, CLD_CONTINUED, SIGCONT);
}

/* The last thread of the current process: everything goes but the record. */
static void process_finish(struct process *process)
{
	struct space *space = process->space;

	if (process == process_init)
		doorbell_exit(process->wait_status >> 8 & 0xff, process->wait_status & 0x7f);
	timer_clear(&process->alarm);
	process_return_space(process);
	process_hooks.close_files(process);
	orphan_children(process);
	keep_resident_max(process);
	process->space = current()->space = NULL;
	space_switch(NULL);
	space_put(space);
	process->zombie = true;
	tell_of_end(process);
}

void process_exit_thread(int status)
{
	struct thread *thread = current();
	struct process *process = thread->process;
	struct thread **link = &process->threads;

	if (!process->exiting && process->thread_count == 1) {
		process->exiting = true;
		process->wait_status = (status & 0xff) << 8;
	}
	if (thread->clear_tid && process->space->refs + process->thread_count > 2) {
		user_write(thread->clear_tid, &(uint32_t){ 0 }, 4);
		futex_wake_address(thread->clear_tid);
	}
	if (process->thread_count == 1)
		process_finish(process);
	while (*link != thread)
		link = &(*link)->next;
	*link = thread->next;
	process->thread_count--;
	add_thread(&process->usage, thread);
	if (thread->tid == process->pid)
		memcpy(process->name, thread->name, sizeof(process->name));
	if (process->thread_count > 0)
		thread_wake(&process->thread_count);
	thread->space = NULL;
	thread_end();
}

void process_exit(int wait_status)
{
	process_kill(current_process(), wait_status);
	process_exit_thread(0);
}

bool process_become_single(void)
{
	struct process *process = current_process();

	if (process->thread_count == 1)
		return true;
	if (process->exiting)
		return false;
	for (struct thread *thread = process->threads; thread; thread = thread->next) {
		if (thread == current())
			continue;
		thread->ending = true;
		if (thread->state == THREAD_WAITING)
			thread_rouse(thread);
		else
			thread_notify(thread, WORK_SIGNAL);
	}
	while (process->thread_count > 1 && !process->exiting)
		thread_wait_deaf(&process->thread_count);
	current()->tid = process->pid;
	return !process->exiting;
}

void process_out_of_memory(uint64_t address)
{
	struct process *process = current_process();

	if (process->exiting)
		return;
	log_line(QUIRE_LEVEL_ERROR,
		 "%s (process %d) killed by SIGKILL: out of memory at address %016lx, %lu of %lu "
		 "pages free",
		 current()->name, process->pid, address, page_free_total, page_total);
	process_kill(process, SIGKILL);
}

bool process_may_have(uint64_t pages, uint64_t data_pages)
{
	const struct linux_rlimit *limit = current_process()->limit;

	return pages <= limit[RLIMIT_AS].current >> PAGE_SHIFT &&
	       data_pages <= limit[RLIMIT_DATA].current >> PAGE_SHIFT;
}

uint64_t process_file_limit(void)
{
	return current_process()->limit[RLIMIT_FSIZE].current;
}

int process_file_too_large(void)
{
	struct signal_info info = { .signal = SIGXFSZ, .code = SI_KERNEL };

	signal_send_thread(current(), &info);
	return -EFBIG;
}

void usage_add(struct usage *to, const struct usage *from)
{
	to->ran += from->ran;
	samples_add(&to->samples, &from->samples);
	to->minor_faults += from->minor_faults;
	to->major_faults += from->major_faults;
	to->resident_max = MAX(to->resident_max, from->resident_max);
}

void process_reap(struct process *zombie)
{
	usage_add(&zombie->parent->children_usage, &zombie->usage);
	usage_add(&zombie->parent->children_usage, &zombie->children_usage);
	release(zombie);
}

struct usage process_usage(const struct process *process)
{
	struct usage usage = process->usage;

	for (struct thread *thread = process->threads; thread; thread = thread->next)
		add_thread(&usage, thread);
	if (process->space)
		usage.resident_max = MAX(usage.resident_max, space_resident_max(process->space));
	return usage;
}

const char *process_name(const struct process *process)
{
	for (struct thread *thread = process->threads; thread; thread = thread->next) {
		if (thread->tid == process->pid)
			return thread->name;
	}
	return process->name;
}

struct process *process_find(int pid)
{
	struct process *process = process_list;

	while (process && process->pid != pid)
		process = process->next;
	return process;
}

struct thread *thread_find(int tid)
{
	for (struct process *process = process_list; process; process = process->next) {
		for (struct thread *thread = process->threads; thread; thread = thread->next) {
			if (thread->tid == tid)
				return thread;
		}
	}
	return NULL;
}

unsigned process_count(void)
{
	unsigned count = 0;

	for (struct process *process = process_list; process; process = process->next)
		count++;
	return count;
}

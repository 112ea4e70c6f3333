/* Signals. signal.h has the scope. */
#include "guest/process/signal.h"
#include "guest/lib/errno.h"
#include "guest/lib/format.h"
#include "guest/lib/string.h"
#include "guest/memory/slab.h"
#include "guest/monitor/doorbell.h"
#include "guest/process/process.h"

#define BIT(signal)	   (1ull << ((signal)-1))
#define IGNORED_BY_DEFAULT (BIT(SIGCHLD) | BIT(SIGCONT) | BIT(SIGURG) | BIT(SIGWINCH))
#define STOPS_BY_DEFAULT   (BIT(SIGSTOP) | BIT(SIGTSTP) | BIT(SIGTTIN) | BIT(SIGTTOU))

#define SA_NODEFER   0x40000000
#define SA_RESETHAND 0x80000000
#define SA_RESTART   0x10000000

#define SYSCALL_LENGTH 2

/* Calls that begin again after a handler with SA_RESTART: read, write, ioctl, readv, writev, wait4,
 * fcntl, flock, futex, openat. */
static const uint16_t restarts[] = { 0, 1, 16, 19, 20, 61, 72, 73, 202, 257 };
#define NUMBER_FUTEX 202

static const char *const names[] = {
	[SIGHUP] = "SIGHUP",   [SIGINT] = "SIGINT",   [SIGQUIT] = "SIGQUIT", [SIGILL] = "SIGILL",
	[SIGTRAP] = "SIGTRAP", [SIGABRT] = "SIGABRT", [SIGBUS] = "SIGBUS",   [SIGFPE] = "SIGFPE",
	[SIGKILL] = "SIGKILL", [SIGSEGV] = "SIGSEGV", [SIGPIPE] = "SIGPIPE", [SIGALRM] = "SIGALRM",
	[SIGTERM] = "SIGTERM", [SIGCHLD] = "SIGCHLD",
};

const char *signal_name(int signal)
{
	if ((unsigned)signal < ARRAY_SIZE(names) && names[signal])
		return names[signal];
	return "a signal";
}

static bool is_ignored(const struct process *process, int signal)
{
	uint64_t handler = process->action[signal - 1].handler, set = IGNORED_BY_DEFAULT;

	if (signal == SIGKILL)
		return false;
	if (process == process_init)
		set |= STOPS_BY_DEFAULT;
	return handler == SIGNAL_IGNORE ||
	       (handler == SIGNAL_DEFAULT && (signal_bit(signal) & set));
}

/* Without memory for its information, the signal itself still comes. */
static bool queue_add(struct signal_queue *queue, const struct signal_info *info)
{
	struct signal_item *item, **end = &queue->first;

	if ((queue->set & signal_bit(info->signal)) && info->signal < SIGNAL_REAL_TIME)
		return false;
	queue->set |= signal_bit(info->signal);
	item = memory_alloc(sizeof(*item));
	if (!item)
		return true;
	item->next = NULL;
	item->info = *info;
	while (*end)
		end = &(*end)->next;
	*end = item;
	return true;
}

static void queue_take(struct signal_queue *queue, int signal, struct signal_info *info)
{
	struct signal_item **link = &queue->first, *item;
	bool more = false;

	*info = (struct signal_info){ .signal = signal, .code = SI_KERNEL };
	while (*link && (*link)->info.signal != signal)
		link = &(*link)->next;
	item = *link;
	if (item) {
		*link = item->next;
		*info = item->info;
		memory_free(item);
		for (item = *link; item; item = item->next)
			more = more || item->info.signal == signal;
	}
	if (!more)
		queue->set &= ~signal_bit(signal);
}

void signal_queue_clear(struct signal_queue *queue)
{
	while (queue->first) {
		struct signal_item *item = queue->first;

		queue->first = item->next;
		memory_free(item);
	}
	queue->set = 0;
}

bool signal_waits(const struct thread *thread)
{
	uint64_t pending = thread->pending.set | thread->process->pending.set;

	return (pending & ~thread->blocked) || thread->ending;
}

/* The signals of the set that are pending are forgotten. */
static void forget(struct process *process, uint64_t set)
{
	struct signal_info info;

	while (process->pending.set & set)
		queue_take(&process->pending, __builtin_ctzll(process->pending.set & set) + 1,
			   &info);
	for (struct thread *t = process->threads; t; t = t->next) {
		while (t->pending.set & set)
			queue_take(&t->pending, __builtin_ctzll(t->pending.set & set) + 1, &info);
	}
}

/* Whatever becomes of the signal itself: a stop and a going on undo each other. */
static void stop_or_continue(struct process *process, int signal)
{
	if (signal_bit(signal) & STOPS_BY_DEFAULT)
		forget(process, BIT(SIGCONT));
	if (signal != SIGCONT)
		return;
	forget(process, STOPS_BY_DEFAULT);
	process_continue(process);
}

static void thread_tell(struct thread *thread)
{
	if (thread->state == THREAD_WAITING && thread->wait_kind == WAIT_SIGNALS)
		thread_rouse(thread);
	else
		thread_notify(thread, WORK_SIGNAL);
}

void signal_send_thread(struct thread *thread, const struct signal_info *info)
{
	if (info->signal == SIGKILL)
		process_kill(thread->process, SIGKILL);
	stop_or_continue(thread->process, info->signal);
	if (is_ignored(thread->process, info->signal) &&
	    !(thread->blocked & signal_bit(info->signal)))
		return;
	if (queue_add(&thread->pending, info) && !(thread->blocked & signal_bit(info->signal)))
		thread_tell(thread);
	thread_wake(&thread->process->pending);
}

void signal_send_info(struct process *process, const struct signal_info *info)
{
	struct thread *target = NULL;

	if (!process || process->zombie || !process->threads)
		return;
	if (info->signal == SIGKILL)
		process_kill(process, SIGKILL);
	stop_or_continue(process, info->signal);
	/* The first thread that lets it in takes it: one that waits rather than one that runs. */
	for (struct thread *thread = process->threads; thread; thread = thread->next) {
		if (thread->blocked & signal_bit(info->signal))
			continue;
		if (!target || thread == current() ||
		    (target != current() && thread->state == THREAD_WAITING))
			target = thread;
	}
	if (is_ignored(process, info->signal) && target)
		return;
	if (queue_add(&process->pending, info) && target)
		thread_tell(target);
	thread_wake(&process->pending); /* rt_sigtimedwait */
}

void signal_send(struct process *process, int signal)
{
	struct signal_info info = { .signal = signal, .code = SI_KERNEL };

	signal_send_info(process, &info);
}

void signal_fault(const struct signal_info *info, const char *why, ...)
{
	struct thread *thread = current();
	struct process *process = thread->process;
	struct linux_sigaction *action = &process->action[info->signal - 1];
	char text[256];
	va_list list;

	if (action->handler > SIGNAL_IGNORE && !(thread->blocked & signal_bit(info->signal))) {
		queue_add(&thread->pending, info);
		this_cpu()->work |= WORK_SIGNAL;
		return;
	}
	va_start(list, why);
	format_list(text, sizeof(text), why, list);
	va_end(list);
	log_line(QUIRE_LEVEL_ERROR, "%s (process %d) killed by %s: %s", thread->name, process->pid,
		 signal_name(info->signal), text);
	process_exit(info->signal);
}

bool signal_take(struct thread *thread, uint64_t set, struct signal_info *info)
{
	struct signal_queue *queue = &thread->pending;

	if (!(queue->set & set))
		queue = &thread->process->pending;
	if (!(queue->set & set))
		return false;
	/* Faults come first, then the lowest number. */
	if (queue->set & set & (BIT(SIGSEGV) | BIT(SIGBUS) | BIT(SIGILL) | BIT(SIGFPE)))
		set &= BIT(SIGSEGV) | BIT(SIGBUS) | BIT(SIGILL) | BIT(SIGFPE);
	queue_take(queue, __builtin_ctzll(queue->set & set) + 1, info);
	return true;
}

void signal_block(uint64_t mask)
{
	struct thread *thread = current();

	thread->blocked = mask & ~(signal_bit(SIGKILL) | signal_bit(SIGSTOP));
	if (signal_waits(thread))
		this_cpu()->work |= WORK_SIGNAL;
}

static bool must_restart(const struct trap_frame *frame)
{
	return (int64_t)frame->rax == -ERESTARTNOINTR;
}

static bool may_restart(const struct trap_frame *frame)
{
	if (must_restart(frame))
		return true;
	if ((int64_t)frame->rax != -EINTR)
		return false;
	if (frame->vector == NUMBER_FUTEX && frame->r10)
		return false;
	for (unsigned i = 0; i < ARRAY_SIZE(restarts); i++) {
		if (frame->vector == restarts[i])
			return true;
	}
	return false;
}

static void restart(struct trap_frame *frame)
{
	frame->rax = frame->vector;
	frame->rip -= SYSCALL_LENGTH;
}

/* That is a fault of the program's, and has a handler of its own; but not twice. */
static void no_stack(int signal)
{
	static const struct signal_info fault = { .signal = SIGSEGV, .code = SI_KERNEL };

	if (signal == SIGSEGV)
		current_process()->action[SIGSEGV - 1].handler = SIGNAL_DEFAULT;
	signal_fault(&fault, "no stack for the handler of %s", signal_name(signal));
}

static void enter_handler(struct trap_frame *frame, const struct signal_info *info, bool from_call)
{
	struct thread *thread = current();
	struct linux_sigaction *slot = &thread->process->action[info->signal - 1], action = *slot;
	uint64_t back = thread->restores ? thread->restored : thread->blocked;
	bool restores = thread->restores;

	if (from_call && (action.flags & SA_RESTART ? may_restart(frame) : must_restart(frame)))
		restart(frame);
	thread->restores = false;
	if (!handler_enter(frame, &action, info, back)) {
		thread->restores = restores;
		no_stack(info->signal);
		return;
	}
	if (action.flags & SA_RESETHAND)
		slot->handler = SIGNAL_DEFAULT;
	signal_block(thread->blocked | action.mask |
		     (action.flags & SA_NODEFER ? 0 : signal_bit(info->signal)));
}

/* Does not return to a thread that is to end. */
static void wait_while_stopped(struct thread *thread)
{
	while (thread->process->stopped && !thread->process->exiting && !thread->ending)
		thread_wait_deaf(&thread->process->stopped);
	if (thread->process->exiting || thread->ending)
		process_exit_thread(0);
}

void signal_act(struct trap_frame *frame, bool from_call)
{
	struct thread *thread = current();
	struct process *process = thread->process;
	struct signal_info info;

	wait_while_stopped(thread);
	while (signal_take(thread, ~thread->blocked, &info)) {
		if (process->action[info.signal - 1].handler > SIGNAL_IGNORE &&
		    info.signal != SIGKILL) {
			enter_handler(frame, &info, from_call);
			from_call = false;
			continue;
		}
		if (is_ignored(process, info.signal))
			continue;
		if (signal_bit(info.signal) & STOPS_BY_DEFAULT) {
			process_stop(process, info.signal);
			wait_while_stopped(thread);
			continue;
		}
		log_line(QUIRE_LEVEL_INFO, "%s (process %d) killed by %s", thread->name,
			 process->pid, signal_name(info.signal));
		process_exit(info.signal);
	}
	/* Nothing came of it: the call goes on, and a mask put aside comes back. */
	if (from_call && may_restart(frame))
		restart(frame);
	if (thread->restores) {
		thread->restores = false;
		signal_block(thread->restored);
	}
}

void signal_forget_ignored(struct process *process)
{
	for (int signal = 1; signal <= SIGNAL_COUNT; signal++) {
		if (is_ignored(process, signal))
			forget(process, signal_bit(signal));
	}
}

void signal_reset(struct process *process)
{
	for (unsigned i = 0; i < SIGNAL_COUNT; i++) {
		if (process->action[i].handler != SIGNAL_IGNORE)
			process->action[i] = (struct linux_sigaction){ 0 };
	}
	process->threads->alternate = (struct linux_sigaltstack){ .flags = 2 };
}

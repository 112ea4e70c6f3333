/*
 * clone(2): a thread of the current process, or a process of its own - with a copy of the memory
 * (fork), or in the parent's memory (vfork, posix_spawn).
 */
#include "guest/lib/errno.h"
#include "guest/lib/string.h"
#include "guest/memory/flush.h"
#include "guest/memory/slab.h"
#include "guest/memory/user.h"
#include "guest/monitor/doorbell.h"
#include "guest/process/hooks.h"
#include "guest/process/process.h"
#include "guest/process/segment.h"
#include "guest/process/vector.h"

#define KNOWN_FLAGS                                                                                \
	(CLONE_SIGNAL_MASK | CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_VFORK |     \
	 CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS | CLONE_PARENT_SETTID |                       \
	 CLONE_CHILD_CLEARTID | CLONE_DETACHED | CLONE_CHILD_SETTID | CLONE_PARENT)
#define THREAD_NEEDS (CLONE_VM | CLONE_SIGHAND | CLONE_THREAD)

struct clone {
	uint64_t flags, stack, parent_tid, child_tid, tls;
};

/* A CPU's and a program's view of the current thread, for the new one. */
static int copy_thread(struct thread *child, const struct clone *clone)
{
	const struct thread *parent = current();

	child->space = child->process->space;
	child->fs_base = clone->flags & CLONE_SETTLS ? clone->tls : parent->fs_base;
	child->gs_base = parent->gs_base;
	child->blocked = parent->blocked;
	child->affinity = parent->affinity;
	if (!(clone->flags & CLONE_VM) || (clone->flags & CLONE_VFORK))
		child->alternate = parent->alternate;
	if (clone->flags & CLONE_CHILD_CLEARTID)
		child->clear_tid = clone->child_tid;
	memcpy(child->name, parent->name, sizeof(child->name));
	return vector_copy(child);
}

static int copy_process(struct process *child, const struct clone *clone)
{
	const struct process *parent = current_process();
	int error = process_hooks.copy_files(child, clone->flags & CLONE_FILES);

	if (clone->flags & CLONE_VM) {
		child->space = parent->space;
		child->space->refs++;
	} else {
		child->space = space_fork(parent->space);
	}
	if (error || !child->space || segment_copy(child))
		return -ENOMEM;
	child->umask = parent->umask;
	child->identity = parent->identity;
	child->group = parent->group;
	child->session = parent->session;
	child->no_random = parent->no_random;
	child->oom_adjust = parent->oom_adjust;
	child->end_signal = clone->flags & CLONE_SIGNAL_MASK;
	if (clone->flags & CLONE_PARENT)
		child->end_signal = parent->end_signal;
	memcpy(child->limit, parent->limit, sizeof(child->limit));
	memcpy(child->action, parent->action, sizeof(child->action));
	return 0;
}

/* Its registers are the caller's, but for the result and a stack of its own. */
static void begin(struct thread *child, const struct clone *clone)
{
	struct trap_frame frame = *thread_frame(current());
	uint32_t tid = child->tid;

	frame.rax = 0;
	if (clone->stack)
		frame.rsp = clone->stack;
	if (clone->flags & CLONE_PARENT_SETTID)
		user_write(clone->parent_tid, &tid, sizeof(tid));
	if ((clone->flags & CLONE_CHILD_SETTID) && (clone->flags & CLONE_VM))
		user_write(clone->child_tid, &tid, sizeof(tid));
	thread_begin(child, &frame);
}

/* Why there is none: for want of a number, or of memory. */
static int no_thread(void)
{
	return thread_count >= THREAD_MAX ? -EAGAIN : -ENOMEM;
}

static int64_t clone_thread(const struct clone *clone)
{
	struct thread *child = thread_create(current_process());

	if (!child)
		return no_thread();
	if (copy_thread(child, clone)) {
		current_process()->threads = child->next;
		current_process()->thread_count--;
		thread_destroy(child);
		return -ENOMEM;
	}
	begin(child, clone);
	return child->tid;
}

/* With CLONE_CHILD_SETTID: the child's number stands in its own copy of the memory. */
static void write_child_tid(struct process *child, const struct clone *clone)
{
	struct space *own = current_space();
	uint32_t tid = child->pid;

	if (!(clone->flags & CLONE_CHILD_SETTID) || (clone->flags & CLONE_VM))
		return;
	current()->space = child->space;
	space_switch(child->space);
	user_write(clone->child_tid, &tid, sizeof(tid));
	current()->space = own;
	space_switch(own);
}

static int64_t clone_process(const struct clone *clone)
{
	struct process *parent = current_process();
	bool sibling = clone->flags & CLONE_PARENT;
	struct process *child = process_create(sibling ? parent->parent : parent);
	int pid, error;

	if (!child)
		return no_thread();
	error = copy_process(child, clone);
	if (!error)
		error = copy_thread(child->threads, clone);
	if (!error)
		write_child_tid(child, clone);
	if (error) {
		process_discard(child);
		return error;
	}
	pid = child->pid;
	child->borrows = clone->flags & CLONE_VFORK;
	begin(child->threads, clone);
	/* Once it gave the memory back, the child may have ended, and been reaped by a handler. */
	while (clone->flags & CLONE_VFORK) {
		child = process_find(pid);
		if (!child || !child->borrows || parent->exiting)
			break;
		thread_wait_deaf(child);
	}
	return pid;
}

int64_t process_clone(uint64_t flags, uint64_t stack, uint64_t parent_tid, uint64_t child_tid,
		      uint64_t tls)
{
	struct clone clone = { flags, stack, parent_tid, child_tid, tls };

	if (flags & ~(uint64_t)KNOWN_FLAGS) {
		log_line(QUIRE_LEVEL_INFO, "clone with flags %lx: not there", flags);
		return -EINVAL;
	}
	if ((flags & CLONE_SIGHAND) && !(flags & CLONE_VM))
		return -EINVAL;
	if ((flags & CLONE_THREAD) && (flags & THREAD_NEEDS) != THREAD_NEEDS)
		return -EINVAL;
	if ((flags & CLONE_PARENT) && current_process() == process_init)
		return -EINVAL;
	if ((flags & CLONE_SETTLS) && tls >= USER_END)
		return -EPERM;
	/* A signal that came to a whole group while this call waited for the kernel lock is for its
	 * child too, which would not get it: first the signal. */
	if (signal_waits(current()) || current_process()->exiting)
		return -ERESTARTNOINTR;
	if (flags & CLONE_THREAD)
		return clone_thread(&clone);
	return clone_process(&clone);
}

/* System calls on processes. */
#include "guest/call/call.h"
#include "guest/cpu/clock.h"
#include "guest/exec/exec.h"
#include "guest/exec/strings.h"
#include "guest/file/file.h"
#include "guest/lib/asm.h"
#include "guest/lib/errno.h"
#include "guest/lib/linux.h"
#include "guest/lib/string.h"
#include "guest/memory/fault.h"
#include "guest/memory/slab.h"
#include "guest/memory/user.h"
#include "guest/monitor/doorbell.h"
#include "guest/process/futex.h"
#include "guest/process/process.h"

#define ARCH_SET_GS 0x1001
#define ARCH_SET_FS 0x1002
#define ARCH_GET_FS 0x1003
#define ARCH_GET_GS 0x1004

#define ADDR_NO_RANDOMIZE 0x40000

#define WAIT_OPTIONS   0xe000000b
#define WAIT_STOPPED   2
#define WAIT_EXITED    4
#define WAIT_CONTINUED 8
#define WAIT_NO_REAP   0x01000000

#define PRCTL_SET_NAME 15
#define PRCTL_GET_NAME 16

#define FUTEX_COMMAND	  0x7f
#define FUTEX_PRIVATE	  0x80
#define FUTEX_REALTIME	  0x100
#define FUTEX_WAIT	  0
#define FUTEX_WAKE	  1
#define FUTEX_REQUEUE	  3
#define FUTEX_CMP_REQUEUE 4
#define FUTEX_WAIT_BITSET 9
#define FUTEX_WAKE_BITSET 10

int64_t call_exit(reg_t status)
{
	process_exit_thread(status);
}

int64_t call_exit_group(reg_t status)
{
	process_exit((status & 0xff) << 8);
}

int64_t call_fork(void)
{
	return process_clone(SIGCHLD, 0, 0, 0, 0);
}

int64_t call_vfork(void)
{
	return process_clone(CLONE_VM | CLONE_VFORK | SIGCHLD, 0, 0, 0, 0);
}

int64_t call_clone(reg_t flags, reg_t stack, reg_t parent_tid, reg_t child_tid, reg_t tls)
{
	return process_clone(flags, stack, parent_tid, child_tid, tls);
}

/* clone3: the same from a structure; unknown flags are refused. */
struct clone_arguments {
	uint64_t flags, pidfd, child_tid, parent_tid, end_signal, stack, stack_size, tls;
};

int64_t call_clone3(reg_t address, reg_t size)
{
	struct clone_arguments a;

	if (size < sizeof(a))
		return -EINVAL;
	if (size > PAGE_SIZE)
		return -E2BIG;
	if (user_read(&a, address, sizeof(a)))
		return -EFAULT;
	if ((a.flags & CLONE_SIGNAL_MASK) || a.end_signal > SIGNAL_COUNT)
		return -EINVAL;
	return process_clone(a.flags | a.end_signal, a.stack ? a.stack + a.stack_size : 0,
			     a.parent_tid, a.child_tid, a.tls);
}

/* One more string of the program. */
static int64_t gather_one(struct exec_strings *strings, reg_t address)
{
	uint64_t left = EXEC_STRING_MAX, size;
	int64_t length, error;

	do {
		char *room = exec_strings_room(strings, &size);

		if (!room)
			return -ENOMEM;
		size = MIN(size, left);
		length = user_read_string(room, address, size);
		if (length < 0 && length != -ENAMETOOLONG)
			return length;
		error = exec_strings_take(strings, length < 0 ? size : (uint64_t)length + 1);
		if (error)
			return error;
		address += size;
		left -= size;
	} while (length < 0 && left > 0);
	return length < 0 ? -E2BIG : 0;
}

/* The strings of a vector of the program. */
static int64_t gather(struct exec_strings *strings, reg_t vector, unsigned *count)
{
	for (*count = 0; vector; vector += 8, (*count)++) {
		uint64_t address;
		int64_t error;

		if (user_read(&address, vector, 8))
			return -EFAULT;
		if (!address)
			break;
		error = gather_one(strings, address);
		if (error)
			return error;
	}
	return 0;
}

static int64_t execute(const char *path, struct exec_strings *strings)
{
	struct process *process = current_process();
	struct node *node;
	int64_t error = node_lookup(process->directory, path, true, &node);

	if (error)
		return error;
	/* Its name may go while the other threads end. */
	node_get(node);
	error = process_become_single()
			? exec_program(process, node, path, strings, thread_frame(current()))
			: -EINTR;
	node_put(node);
	if (error)
		return error;
	file_table_close_on_exec(process->files);
	process_return_space(process);
	return 0;
}

int64_t call_execve(reg_t path_address, reg_t arguments, reg_t environment)
{
	uint64_t limit = current_process()->limit[RLIMIT_STACK].current;
	struct exec_strings strings;
	char *path = memory_alloc(PATH_LIMIT);
	int64_t result;

	if (!path)
		return -ENOMEM;
	exec_strings_init(&strings, limit);
	result = user_read_string(path, path_address, PATH_LIMIT);
	if (result >= 0)
		result = gather(&strings, arguments, &strings.argument_count);
	if (!result)
		result = gather(&strings, environment, &strings.environment_count);
	if (!result)
		result = execute(path, &strings);
	exec_strings_finish(&strings);
	memory_free(path);
	return result;
}

static bool is_meant(const struct process *child, int pid)
{
	if (pid > 0)
		return child->pid == pid;
	return pid == -1 || child->group == (pid ? -pid : current_process()->group);
}

static bool has_news(const struct process *child, reg_t options)
{
	if (child->zombie)
		return options & WAIT_EXITED;
	if (child->news == NEWS_CONTINUED)
		return options & WAIT_CONTINUED;
	return child->news && (options & WAIT_STOPPED);
}

/* A child that `pid` means and of which there is news; *any says whether there is one that may
 * have some. */
static struct process *find_news(int pid, reg_t options, bool *any)
{
	*any = false;
	for (struct process *child = current_process()->children; child; child = child->sibling) {
		if (!is_meant(child, pid))
			continue;
		*any = true;
		if (has_news(child, options))
			return child;
	}
	return NULL;
}

/* 0: there is none yet and *found is NULL. */
static int64_t wait_for(int pid, reg_t options, struct process **found)
{
	bool any;

	while (!(*found = find_news(pid, options, &any))) {
		if (!any)
			return -ECHILD;
		if (options & WAIT_NO_HANG)
			return 0;
		if (!thread_wait(current_process(), WAIT_FOREVER) && !find_news(pid, options, &any))
			return -EINTR;
	}
	return 0;
}

/* Of a zombie: its own, and that of its children. */
static int write_usage_of(const struct process *child, reg_t address)
{
	struct usage usage = child->usage;
	struct time_split told = { 0, 0 };

	usage_add(&usage, &child->children_usage);
	return call_write_usage(address, &usage, &told);
}

/* A child's news is told once. */
static void take_news(struct process *child)
{
	if (child->zombie)
		process_reap(child);
	else
		child->news = 0;
}

int64_t call_wait4(reg_t pid, reg_t status, reg_t options, reg_t usage)
{
	struct process *child;
	int64_t result;
	int32_t code;

	if ((uint32_t)options & ~(uint32_t)WAIT_OPTIONS)
		return -EINVAL;
	result = wait_for(pid, options | WAIT_EXITED, &child);
	if (result || !child)
		return result;
	code = child->zombie ? child->wait_status : child->news;
	result = child->pid;
	if (status && user_write(status, &code, sizeof(code)))
		return -EFAULT;
	if (usage && write_usage_of(child, usage))
		return -EFAULT;
	take_news(child);
	return result;
}

/* si_code and si_status. */
static void describe(const struct process *child, uint32_t *code, uint32_t *status)
{
	int all = child->zombie ? child->wait_status : child->news;

	*status = all >> 8 & 0xff;
	*code = CLD_EXITED;
	if (all == NEWS_CONTINUED) {
		*code = CLD_CONTINUED;
		*status = SIGCONT;
	} else if ((all & 0x7f) == 0x7f) {
		*code = CLD_STOPPED;
	} else if (all & 0x7f) {
		*code = CLD_KILLED;
		*status = all & 0x7f;
	}
}

int64_t call_waitid(reg_t kind, reg_t id, reg_t info, reg_t options, reg_t usage)
{
	struct process *child;
	uint32_t words[32] = { 0 };
	int64_t result;
	int pid;

	if ((uint32_t)kind > 2 || !(options & (WAIT_EXITED | WAIT_STOPPED | WAIT_CONTINUED)))
		return -EINVAL;
	pid = kind == 0 ? -1 : kind == 1 ? (int)id : id ? -(int)id : 0;
	result = wait_for(pid, options, &child);
	if (result)
		return result;
	if (child) {
		words[0] = SIGCHLD;
		describe(child, &words[2], &words[6]);
		words[4] = child->pid;
	}
	if (info && user_write(info, words, sizeof(words)))
		return -EFAULT;
	if (child && usage && write_usage_of(child, usage))
		return -EFAULT;
	if (child && !(options & WAIT_NO_REAP))
		take_news(child);
	return 0;
}

int64_t call_getpid(void)
{
	return current_process()->pid;
}

int64_t call_gettid(void)
{
	return current()->tid;
}

int64_t call_getppid(void)
{
	return current_process()->parent ? current_process()->parent->pid : 0;
}

static struct process *process_or_self(int pid)
{
	return pid ? process_find(pid) : current_process();
}

int64_t call_getpgid(reg_t pid)
{
	struct process *process = process_or_self(pid);

	return process ? process->group : -ESRCH;
}

int64_t call_getsid(reg_t pid)
{
	struct process *process = process_or_self(pid);

	return process ? process->session : -ESRCH;
}

int64_t call_getpgrp(void)
{
	return current_process()->group;
}

int64_t call_setpgid(reg_t pid, reg_t group)
{
	struct process *process = process_or_self(pid), *self = current_process(), *member;

	if ((int)group < 0)
		return -EINVAL;
	if (!process || (process != self && process->parent != self))
		return -ESRCH;
	if (process->session != self->session || process->session == process->pid)
		return -EPERM;
	if ((int)group == 0 || (int)group == process->pid) {
		process->group = process->pid;
		return 0;
	}
	for (member = process_list; member; member = member->next) {
		if (member->group == (int)group && member->session == self->session) {
			process->group = group;
			return 0;
		}
	}
	return -EPERM;
}

int64_t call_setsid(void)
{
	struct process *self = current_process();

	for (struct process *process = process_list; process; process = process->next) {
		if (process->group == self->pid)
			return -EPERM;
	}
	self->group = self->session = self->pid;
	return self->pid;
}

/* Calls whose effect nothing here can see. */
int64_t call_zero(void)
{
	return 0;
}

int64_t call_sched_yield(void)
{
	thread_yield();
	return 0;
}

int64_t call_sched_getaffinity(reg_t tid, reg_t size, reg_t mask)
{
	const struct thread *thread = tid ? thread_find(tid) : current();
	uint64_t set;

	if (!thread)
		return -ESRCH;
	if (size < sizeof(set) || size % 8)
		return -EINVAL;
	set = thread->affinity & ((1ull << cpu_count) - 1);
	return user_write(mask, &set, sizeof(set)) ? -EFAULT : (int64_t)sizeof(set);
}

int64_t call_sched_setaffinity(reg_t tid, reg_t size, reg_t mask)
{
	struct thread *thread = tid ? thread_find(tid) : current();
	uint64_t wanted = 0;

	if (!thread)
		return -ESRCH;
	if (user_read(&wanted, mask, MIN(size, sizeof(wanted))))
		return -EFAULT;
	if (!identity_may_schedule(thread->process))
		return -EPERM;
	wanted &= (1ull << cpu_count) - 1;
	if (!wanted)
		return -EINVAL;
	thread_set_affinity(thread, wanted);
	return 0;
}

int64_t call_getcpu(reg_t cpu, reg_t node)
{
	uint32_t number = this_cpu()->number, zero = 0;

	if ((cpu && user_write(cpu, &number, 4)) || (node && user_write(node, &zero, 4)))
		return -EFAULT;
	return 0;
}

int64_t call_arch_prctl(reg_t code, reg_t address)
{
	struct thread *thread = current();

	switch (code) {
	case ARCH_SET_FS:
	case ARCH_SET_GS:
		if (address >= USER_END)
			return -EPERM;
		*(code == ARCH_SET_FS ? &thread->fs_base : &thread->gs_base) = address;
		msr_write(code == ARCH_SET_FS ? MSR_FS_BASE : MSR_KERNEL_GS_BASE, address);
		return 0;
	case ARCH_GET_FS:
		return user_write(address, &thread->fs_base, 8);
	case ARCH_GET_GS:
		return user_write(address, &thread->gs_base, 8);
	default:
		return -EINVAL;
	}
}

int64_t call_personality(reg_t wanted)
{
	struct process *process = current_process();
	int64_t old = process->no_random ? ADDR_NO_RANDOMIZE : 0;

	if ((uint32_t)wanted != 0xffffffff)
		process->no_random = wanted & ADDR_NO_RANDOMIZE;
	return old;
}

int64_t call_set_tid_address(reg_t address)
{
	current()->clear_tid = address;
	return current()->tid;
}

int64_t call_set_robust_list(reg_t head, reg_t length)
{
	return length == 24 ? 0 : -EINVAL;
}

int64_t call_prctl(reg_t option, reg_t argument)
{
	struct thread *thread = current();
	char name[THREAD_NAME] = "";

	switch ((int)option) {
	case PRCTL_SET_NAME:
		if (user_read_string(name, argument, sizeof(name)) == -EFAULT)
			return -EFAULT;
		name[THREAD_NAME - 1] = 0;
		memcpy(thread->name, name, sizeof(name));
		return 0;
	case PRCTL_GET_NAME:
		return user_write(argument, thread->name, sizeof(thread->name));
	default:
		return -EINVAL;
	}
}

static int64_t futex_deadline(reg_t operation, reg_t timeout, uint64_t *deadline)
{
	uint64_t ns;
	int error;

	*deadline = WAIT_FOREVER;
	if (!timeout)
		return 0;
	error = call_read_time(timeout, &ns);
	if (error)
		return error;
	if ((operation & FUTEX_COMMAND) == FUTEX_WAIT)
		*deadline = clock_now() + ns;
	else if (operation & FUTEX_REALTIME)
		*deadline = ns > clock_wall_offset() ? ns - clock_wall_offset() : 0;
	else
		*deadline = ns;
	return 0;
}

int64_t call_futex(reg_t address, reg_t operation, reg_t value, reg_t timeout, reg_t to, reg_t last)
{
	uint64_t deadline;
	uint32_t compare = last;
	bool private = operation & FUTEX_PRIVATE;
	int64_t error;

	switch (operation & FUTEX_COMMAND) {
	case FUTEX_WAIT:
	case FUTEX_WAIT_BITSET:
		error = futex_deadline(operation, timeout, &deadline);
		if (error)
			return error;
		return futex_wait(address, private, value,
				  (operation & FUTEX_COMMAND) == FUTEX_WAIT ? UINT32_MAX
									    : (uint32_t)last,
				  deadline);
	case FUTEX_WAKE:
		return futex_wake(address, private, value, UINT32_MAX);
	case FUTEX_WAKE_BITSET:
		return futex_wake(address, private, value, last);
	case FUTEX_REQUEUE:
		return futex_requeue(address, private, value, timeout, to, NULL);
	case FUTEX_CMP_REQUEUE:
		return futex_requeue(address, private, value, timeout, to, &compare);
	default:
		return -ENOSYS;
	}
}

static int64_t set_limit(unsigned resource, const struct linux_rlimit *limit)
{
	if (limit->current > limit->maximum)
		return -EINVAL;
	if (limit->maximum > current_process()->limit[resource].maximum && !identity_is_root())
		return -EPERM;
	current_process()->limit[resource] = *limit;
	if (resource == RLIMIT_STACK)
		current_space()->stack_limit = MIN(limit->current, 1ull << 30);
	return 0;
}

int64_t call_prlimit64(reg_t pid, reg_t resource, reg_t new_limit, reg_t old_limit)
{
	struct linux_rlimit limit, old;

	if (pid && (int)pid != current_process()->pid)
		return process_find(pid) ? -EPERM : -ESRCH;
	if ((uint32_t)resource >= RLIMIT_COUNT)
		return -EINVAL;
	old = current_process()->limit[(uint32_t)resource];
	if (new_limit) {
		int64_t error = user_read(&limit, new_limit, sizeof(limit));

		if (!error)
			error = set_limit(resource, &limit);
		if (error)
			return error;
	}
	return old_limit ? user_write(old_limit, &old, sizeof(old)) : 0;
}

int64_t call_getrlimit(reg_t resource, reg_t limit)
{
	return limit ? call_prlimit64(0, resource, 0, limit) : -EFAULT;
}

int64_t call_setrlimit(reg_t resource, reg_t limit)
{
	return limit ? call_prlimit64(0, resource, limit, 0) : -EFAULT;
}

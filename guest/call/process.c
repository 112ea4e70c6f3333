/* System calls on processes. */
#include "guest/call/call.h"
#include "guest/call/linux.h"
#include "guest/cpu/asm.h"
#include "guest/cpu/clock.h"
#include "guest/file/proc.h"
#include "guest/lib/errno.h"
#include "guest/lib/string.h"
#include "guest/memory/fault.h"
#include "guest/memory/slab.h"
#include "guest/memory/user.h"
#include "guest/monitor/doorbell.h"
#include "guest/process/exec.h"
#include "guest/process/process.h"

#define ARCH_SET_GS 0x1001
#define ARCH_SET_FS 0x1002
#define ARCH_GET_FS 0x1003
#define ARCH_GET_GS 0x1004

#define PRCTL_SET_NAME 15
#define PRCTL_GET_NAME 16

#define FUTEX_COMMAND	  0x7f
#define FUTEX_WAIT	  0
#define FUTEX_WAKE	  1
#define FUTEX_WAIT_BITSET 9
#define FUTEX_WAKE_BITSET 10

int64_t call_exit(reg_t status)
{
	process_exit((status & 0xff) << 8);
}

/* A child that runs in the caller's memory until it executes something or ends; the caller waits.
 */
static int64_t borrow(uint64_t stack, uint64_t tls, bool set_tls)
{
	struct process *parent = current(), *child = process_create(parent);
	struct trap_frame frame = *process_frame(parent);
	int pid;

	if (!child)
		return -EAGAIN;
	child->files = file_table_copy(parent->files);
	if (!child->files) {
		child->state = PROCESS_ZOMBIE;
		child->space = NULL;
		process_reap(child);
		return -EAGAIN;
	}
	child->space = parent->space;
	child->space->refs++;
	child->directory = parent->directory;
	child->executable = parent->executable;
	child->umask = parent->umask;
	child->fs_base = set_tls ? tls : parent->fs_base;
	child->gs_base = parent->gs_base;
	child->signals = parent->signals;
	child->signals.pending = 0;
	memcpy(child->limit, parent->limit, sizeof(child->limit));
	memcpy(child->name, parent->name, sizeof(child->name));
	__asm__ volatile("fxsave64 (%0)" : : "r"(child->vector_state) : "memory");
	child->borrows = true;
	frame.rax = 0;
	if (stack)
		frame.rsp = stack;
	process_prepare(child, &frame);
	pid = child->pid;
	while (child->borrows)
		process_wait_deaf(child);
	return pid;
}

int64_t call_vfork(void)
{
	return borrow(0, 0, false);
}

int64_t call_clone(reg_t flags, reg_t stack, reg_t parent_tid, reg_t child_tid, reg_t tls)
{
	reg_t known = CLONE_VM | CLONE_VFORK | CLONE_SIGNAL_MASK;

	if ((flags & (CLONE_VM | CLONE_VFORK)) != (CLONE_VM | CLONE_VFORK) || (flags & ~known)) {
		log_line(QUIRE_LEVEL_INFO, "clone with flags %lx: only vfork is there", flags);
		return -ENOSYS;
	}
	return borrow(stack, 0, false);
}

/* The strings of a vector of the program. */
static int64_t gather(struct exec_strings *strings, reg_t vector, unsigned *count)
{
	for (*count = 0; vector; vector += 8, (*count)++) {
		uint64_t address;
		int64_t length;

		if (user_read(&address, vector, 8))
			return -EFAULT;
		if (!address)
			break;
		if (strings->used == EXEC_STRINGS_MAX)
			return -E2BIG;
		length = user_read_string(strings->text + strings->used, address,
					  EXEC_STRINGS_MAX - strings->used);
		if (length < 0)
			return length == -ENAMETOOLONG ? -E2BIG : length;
		strings->used += length + 1;
	}
	return 0;
}

static int64_t execute(const char *path, const struct exec_strings *strings)
{
	struct process *process = current();
	struct node *node;
	int64_t error = node_lookup(process->directory, path, true, &node);

	if (!error)
		error = exec_program(process, node, path, strings, process_frame(process));
	if (error)
		return error;
	file_table_close_on_exec(process->files);
	process_return_space(process);
	proc_set_executable(node);
	msr_write(MSR_FS_BASE, 0);
	msr_write(MSR_KERNEL_GS_BASE, 0);
	return 0;
}

int64_t call_execve(reg_t path_address, reg_t arguments, reg_t environment)
{
	struct exec_strings strings;
	char *path = memory_alloc(PATH_LIMIT);
	int64_t result = path ? exec_strings_init(&strings) : -ENOMEM;

	if (result)
		goto out_path;
	result = user_read_string(path, path_address, PATH_LIMIT);
	if (result >= 0)
		result = gather(&strings, arguments, &strings.argument_count);
	if (!result)
		result = gather(&strings, environment, &strings.environment_count);
	if (!result)
		result = execute(path, &strings);
	exec_strings_finish(&strings);
out_path:
	memory_free(path);
	return result;
}

/* A child that `pid` means and that has ended; *any says whether there is one that has not. */
static struct process *find_ended(int pid, bool *any)
{
	*any = false;
	for (struct process *child = process_list; child; child = child->next) {
		if (child->parent != current() || (pid > 0 && child->pid != pid))
			continue;
		*any = true;
		if (child->state == PROCESS_ZOMBIE)
			return child;
	}
	return NULL;
}

int64_t call_wait4(reg_t pid, reg_t status, reg_t options, reg_t usage)
{
	struct process *child;
	int32_t code;
	bool any;

	while (!(child = find_ended(pid, &any))) {
		if (!any)
			return -ECHILD;
		if (options & WAIT_NO_HANG)
			return 0;
		if (!process_wait(current(), WAIT_FOREVER) && !find_ended(pid, &any))
			return -EINTR;
	}
	code = child->wait_status;
	pid = child->pid;
	if (status && user_write(status, &code, sizeof(code)))
		return -EFAULT;
	if (usage && call_write_usage(usage, child->user_ns, child->minor_faults))
		return -EFAULT;
	process_reap(child);
	return pid;
}

int64_t call_getpid(void)
{
	return current()->pid;
}

int64_t call_getppid(void)
{
	return current()->parent ? current()->parent->pid : 0;
}

int64_t call_getpgid(reg_t pid)
{
	return pid && !process_find(pid) ? -ESRCH : 1;
}

int64_t call_setpgid(reg_t pid, reg_t group)
{
	return pid && !process_find(pid) ? -ESRCH : 0;
}

/* User and group numbers, and calls whose effect nothing here can see. */
int64_t call_zero(void)
{
	return 0;
}

int64_t call_getgroups(reg_t size)
{
	return (int)size < 0 ? -EINVAL : 0;
}

int64_t call_sched_yield(void)
{
	process_yield();
	return 0;
}

int64_t call_sched_getaffinity(reg_t pid, reg_t size, reg_t mask)
{
	uint64_t cpus = 1;

	if (pid && !process_find(pid))
		return -ESRCH;
	if (size < sizeof(cpus) || size % 8)
		return -EINVAL;
	return user_write(mask, &cpus, sizeof(cpus)) ? -EFAULT : (int64_t)sizeof(cpus);
}

int64_t call_arch_prctl(reg_t code, reg_t address)
{
	struct process *process = current();

	switch (code) {
	case ARCH_SET_FS:
	case ARCH_SET_GS:
		if (address >= USER_END)
			return -EPERM;
		*(code == ARCH_SET_FS ? &process->fs_base : &process->gs_base) = address;
		msr_write(code == ARCH_SET_FS ? MSR_FS_BASE : MSR_KERNEL_GS_BASE, address);
		return 0;
	case ARCH_GET_FS:
		return user_write(address, &process->fs_base, 8);
	case ARCH_GET_GS:
		return user_write(address, &process->gs_base, 8);
	default:
		return -EINVAL;
	}
}

int64_t call_set_tid_address(reg_t address)
{
	current()->clear_tid = address;
	return current()->pid;
}

int64_t call_set_robust_list(reg_t head, reg_t length)
{
	return length == 24 ? 0 : -EINVAL;
}

int64_t call_prctl(reg_t option, reg_t argument)
{
	struct process *process = current();
	char name[PROCESS_NAME] = "";

	switch ((int)option) {
	case PRCTL_SET_NAME:
		if (user_read_string(name, argument, sizeof(name)) == -EFAULT)
			return -EFAULT;
		name[PROCESS_NAME - 1] = 0;
		memcpy(process->name, name, sizeof(name));
		return 0;
	case PRCTL_GET_NAME:
		return user_write(argument, process->name, sizeof(process->name));
	default:
		return -EINVAL;
	}
}

/* With one thread nobody else can wake a waiter or hold what it waits for: a wait whose value is
 * right ends with its timeout, or a signal. */
int64_t call_futex(reg_t address, reg_t operation, reg_t value, reg_t timeout)
{
	uint64_t deadline = WAIT_FOREVER, ns;
	uint32_t now;
	int error;

	if (address % 4)
		return -EINVAL;
	if (user_read(&now, address, 4))
		return -EFAULT;
	switch (operation & FUTEX_COMMAND) {
	case FUTEX_WAKE:
	case FUTEX_WAKE_BITSET:
		return 0;
	case FUTEX_WAIT:
	case FUTEX_WAIT_BITSET:
		if (now != (uint32_t)value)
			return -EAGAIN;
		if (timeout) {
			error = call_read_time(timeout, &ns);
			if (error)
				return error;
			deadline =
				(operation & FUTEX_COMMAND) == FUTEX_WAIT ? clock_now() + ns : ns;
		}
		return process_wait(NULL, deadline) ? -ETIMEDOUT : -EINTR;
	default:
		return -ENOSYS;
	}
}

static int64_t set_limit(unsigned resource, const struct linux_rlimit *limit)
{
	if (limit->current > limit->maximum)
		return -EINVAL;
	current()->limit[resource] = *limit;
	if (resource == RLIMIT_STACK)
		current()->space->stack_limit = MIN(limit->current, 1ull << 30);
	return 0;
}

int64_t call_prlimit64(reg_t pid, reg_t resource, reg_t new_limit, reg_t old_limit)
{
	struct linux_rlimit limit, old;

	if (pid && (int)pid != current()->pid)
		return process_find(pid) ? -EPERM : -ESRCH;
	if ((uint32_t)resource >= RLIMIT_COUNT)
		return -EINVAL;
	old = current()->limit[(uint32_t)resource];
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

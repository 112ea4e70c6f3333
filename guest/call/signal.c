/* System calls on signals. */
#include "guest/call/call.h"
#include "guest/call/linux.h"
#include "guest/lib/errno.h"
#include "guest/memory/user.h"
#include "guest/process/process.h"

#define SET_SIZE     8
#define UNBLOCKABLE  (signal_bit(SIGKILL) | signal_bit(SIGSTOP))
#define MASK_BLOCK   0
#define MASK_UNBLOCK 1
#define MASK_SET     2

#define ALTERNATE_DISABLE 2
#define ALTERNATE_MINIMUM 2048

int64_t call_rt_sigaction(reg_t signal, reg_t action, reg_t old, reg_t size)
{
	struct linux_sigaction *slot, value;

	if (size != SET_SIZE || (int)signal < 1 || (int)signal > SIGNAL_COUNT)
		return -EINVAL;
	if (action && ((int)signal == SIGKILL || (int)signal == SIGSTOP))
		return -EINVAL;
	slot = &current()->signals.action[(int)signal - 1];
	if (action && user_read(&value, action, sizeof(value)))
		return -EFAULT;
	if (old && user_write(old, slot, sizeof(*slot)))
		return -EFAULT;
	if (action)
		*slot = value;
	return 0;
}

int64_t call_rt_sigprocmask(reg_t how, reg_t set, reg_t old, reg_t size)
{
	struct signal_state *state = &current()->signals;
	uint64_t blocked = state->blocked, value;

	if (size != SET_SIZE)
		return -EINVAL;
	if (set) {
		if (user_read(&value, set, sizeof(value)))
			return -EFAULT;
		switch ((int)how) {
		case MASK_BLOCK:
			value |= blocked;
			break;
		case MASK_UNBLOCK:
			value = blocked & ~value;
			break;
		case MASK_SET:
			break;
		default:
			return -EINVAL;
		}
	}
	if (old && user_write(old, &blocked, sizeof(blocked)))
		return -EFAULT;
	if (set) {
		state->blocked = value & ~UNBLOCKABLE;
		this_cpu()->work = (state->pending & ~state->blocked) != 0;
	}
	return 0;
}

int64_t call_rt_sigpending(reg_t set, reg_t size)
{
	uint64_t pending = current()->signals.pending & current()->signals.blocked;

	return size > SET_SIZE ? -EINVAL : user_write(set, &pending, size);
}

int64_t call_sigaltstack(reg_t stack, reg_t old)
{
	struct linux_sigaltstack *slot = &current()->signals.alternate, value;

	if (stack) {
		if (user_read(&value, stack, sizeof(value)))
			return -EFAULT;
		if (value.flags & ~ALTERNATE_DISABLE)
			return -EINVAL;
		if (!(value.flags & ALTERNATE_DISABLE) && value.size < ALTERNATE_MINIMUM)
			return -ENOMEM;
	}
	if (old && user_write(old, slot, sizeof(*slot)))
		return -EFAULT;
	if (stack)
		*slot = value;
	return 0;
}

static int64_t send(int pid, int signal)
{
	struct process *process = process_find(pid);

	if ((unsigned)signal > SIGNAL_COUNT)
		return -EINVAL;
	if (!process)
		return -ESRCH;
	if (signal)
		signal_send(process, signal);
	return 0;
}

/* One process group: 0 and -1 reach everybody who is meant, which is everybody. */
int64_t call_kill(reg_t pid, reg_t signal)
{
	if ((unsigned)(int)signal > SIGNAL_COUNT)
		return -EINVAL;
	if ((int)pid > 0)
		return send(pid, signal);
	for (struct process *process = process_list; process && signal; process = process->next) {
		if ((int)pid != -1 || (process->parent && process != current()))
			signal_send(process, signal);
	}
	return 0;
}

int64_t call_tkill(reg_t tid, reg_t signal)
{
	return (int)tid <= 0 ? -EINVAL : send(tid, signal);
}

int64_t call_tgkill(reg_t group, reg_t tid, reg_t signal)
{
	if ((int)group <= 0 || (int)tid <= 0)
		return -EINVAL;
	return (int)group == (int)tid ? send(tid, signal) : -ESRCH;
}

int64_t call_pause(void)
{
	while (process_wait(NULL, WAIT_FOREVER))
		;
	return -EINTR;
}

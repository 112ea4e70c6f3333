/* System calls on signals. */
#include "guest/call/call.h"
#include "guest/cpu/clock.h"
#include "guest/lib/errno.h"
#include "guest/lib/linux.h"
#include "guest/lib/string.h"
#include "guest/memory/user.h"
#include "guest/process/process.h"

#define SET_SIZE     8
#define UNBLOCKABLE  (signal_bit(SIGKILL) | signal_bit(SIGSTOP))
#define MASK_BLOCK   0
#define MASK_UNBLOCK 1
#define MASK_SET     2

#define ALTERNATE_ON	  1
#define ALTERNATE_DISABLE 2
#define ALTERNATE_MINIMUM 2048

int64_t call_rt_sigaction(reg_t signal, reg_t action, reg_t old, reg_t size)
{
	struct linux_sigaction *slot, value;

	if (size != SET_SIZE || (int)signal < 1 || (int)signal > SIGNAL_COUNT)
		return -EINVAL;
	if (action && ((int)signal == SIGKILL || (int)signal == SIGSTOP))
		return -EINVAL;
	slot = &current_process()->action[(int)signal - 1];
	if (action && user_read(&value, action, sizeof(value)))
		return -EFAULT;
	if (old && user_write(old, slot, sizeof(*slot)))
		return -EFAULT;
	if (action) {
		*slot = value;
		signal_forget_ignored(current_process());
	}
	return 0;
}

int64_t call_rt_sigprocmask(reg_t how, reg_t set, reg_t old, reg_t size)
{
	uint64_t blocked = current()->blocked, value;

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
	if (set)
		signal_block(value);
	return 0;
}

int64_t call_rt_sigpending(reg_t set, reg_t size)
{
	const struct thread *thread = current();
	uint64_t pending = (thread->pending.set | thread->process->pending.set) & thread->blocked;

	return size > SET_SIZE ? -EINVAL : user_write(set, &pending, size);
}

static bool on_alternate(const struct thread *thread)
{
	return !(thread->alternate.flags & ALTERNATE_DISABLE) &&
	       thread_frame(thread)->rsp - thread->alternate.stack - 1 < thread->alternate.size;
}

int64_t call_sigaltstack(reg_t stack, reg_t old)
{
	struct thread *thread = current();
	struct linux_sigaltstack value, was = thread->alternate;

	was.flags |= on_alternate(thread) ? ALTERNATE_ON : 0;
	if (stack) {
		if (user_read(&value, stack, sizeof(value)))
			return -EFAULT;
		if (on_alternate(thread))
			return -EPERM;
		if (value.flags & ~(ALTERNATE_DISABLE | ALTERNATE_ON))
			return -EINVAL;
		if (!(value.flags & ALTERNATE_DISABLE) && value.size < ALTERNATE_MINIMUM)
			return -ENOMEM;
		value.flags &= ALTERNATE_DISABLE;
	}
	if (old && user_write(old, &was, sizeof(was)))
		return -EFAULT;
	if (stack)
		thread->alternate = value;
	return 0;
}

int64_t call_rt_sigreturn(void)
{
	struct trap_frame *frame = thread_frame(current());

	if (!handler_return(frame)) {
		struct signal_info info = { .signal = SIGSEGV, .code = SI_KERNEL };

		signal_fault(&info, "a broken signal frame at %016lx", frame->rsp);
	}
	sample_return(frame);
	return frame->rax;
}

/* Waits with another mask; the handler runs before the old one comes back. */
int64_t call_rt_sigsuspend(reg_t set, reg_t size)
{
	struct thread *thread = current();
	uint64_t mask;

	if (size != SET_SIZE)
		return -EINVAL;
	if (user_read(&mask, set, sizeof(mask)))
		return -EFAULT;
	thread->restored = thread->blocked;
	thread->restores = true;
	signal_block(mask);
	while (thread_wait(NULL, WAIT_FOREVER))
		;
	return -EINTR;
}

int64_t call_rt_sigtimedwait(reg_t set_address, reg_t info_address, reg_t timeout, reg_t size)
{
	uint64_t set, deadline = WAIT_FOREVER, ns;
	struct signal_info info;
	uint32_t words[32];
	bool undisturbed = true;
	int error;

	if (size != SET_SIZE)
		return -EINVAL;
	if (user_read(&set, set_address, sizeof(set)))
		return -EFAULT;
	set &= ~UNBLOCKABLE;
	if (timeout) {
		error = call_read_time(timeout, &ns);
		if (error)
			return error;
		deadline = clock_now() + ns;
	}
	while (!signal_take(current(), set, &info)) {
		if (!undisturbed)
			return -EINTR;
		if (clock_now() >= deadline)
			return -EAGAIN;
		undisturbed = thread_wait(&current_process()->pending, deadline);
	}
	handler_write_info(&info, words);
	if (info_address && user_write(info_address, words, sizeof(words)))
		return -EFAULT;
	return info.signal;
}

static struct signal_info info_of(int signal, int code)
{
	return (struct signal_info){ .signal = signal,
				     .code = code,
				     .pid = current_process()->pid };
}

static bool is_meant(const struct process *process, int pid)
{
	if (pid > 0)
		return process->pid == pid;
	if (pid == -1)
		return process != process_init && process != current_process();
	return process->group == (pid ? -pid : current_process()->group);
}

static bool may_signal(const struct process *process, int signal)
{
	return identity_may_signal(process) ||
	       (signal == SIGCONT && process->session == current_process()->session);
}

int64_t call_kill(reg_t pid, reg_t signal)
{
	struct signal_info info = info_of(signal, SI_USER);
	bool any = false, allowed = false;

	if ((unsigned)(int)signal > SIGNAL_COUNT)
		return -EINVAL;
	for (struct process *process = process_list; process; process = process->next) {
		if (!is_meant(process, pid))
			continue;
		any = true;
		if (!may_signal(process, signal))
			continue;
		allowed = true;
		if ((int)signal)
			signal_send_info(process, &info);
	}
	return allowed ? 0 : any ? -EPERM : -ESRCH;
}

int64_t call_tgkill(reg_t group, reg_t tid, reg_t signal)
{
	struct signal_info info = info_of(signal, SI_TKILL);
	struct thread *thread;

	if ((int)group <= 0 || (int)tid <= 0 || (unsigned)(int)signal > SIGNAL_COUNT)
		return -EINVAL;
	thread = thread_find(tid);
	if (!thread || thread->process->pid != (int)group)
		return -ESRCH;
	if (!may_signal(thread->process, signal))
		return -EPERM;
	if ((int)signal)
		signal_send_thread(thread, &info);
	return 0;
}

int64_t call_tkill(reg_t tid, reg_t signal)
{
	struct thread *thread = (int)tid > 0 ? thread_find(tid) : NULL;

	if ((int)tid <= 0)
		return -EINVAL;
	return thread ? call_tgkill(thread->process->pid, tid, signal) : -ESRCH;
}

/* A signal with a value, from the program's own siginfo. */
int64_t call_rt_sigqueueinfo(reg_t pid, reg_t signal, reg_t address)
{
	struct process *process = process_find(pid);
	struct signal_info info = info_of(signal, 0);
	uint32_t words[32];

	if (user_read(words, address, sizeof(words)))
		return -EFAULT;
	if ((unsigned)(int)signal > SIGNAL_COUNT)
		return -EINVAL;
	if (!process)
		return -ESRCH;
	if (!may_signal(process, signal))
		return -EPERM;
	info.code = words[2];
	if (info.code >= 0 && process != current_process())
		return -EPERM;
	memcpy(&info.address, words + 6, 8);
	if ((int)signal)
		signal_send_info(process, &info);
	return 0;
}

int64_t call_pause(void)
{
	while (thread_wait(NULL, WAIT_FOREVER))
		;
	return -EINTR;
}

/* Signals. signal.h has the scope. */
#include "guest/process/signal.h"
#include "guest/lib/format.h"
#include "guest/lib/string.h"
#include "guest/monitor/doorbell.h"
#include "guest/process/process.h"

#define IGNORED_BY_DEFAULT                                                                         \
	(1ull << (SIGCHLD - 1) | 1ull << (SIGCONT - 1) | 1ull << (SIGURG - 1) |                    \
	 1ull << (SIGWINCH - 1))
/* Quire has no job control: a stop is ignored. */
#define STOPS                                                                                      \
	(1ull << (SIGSTOP - 1) | 1ull << (SIGTSTP - 1) | 1ull << (SIGTTIN - 1) |                   \
	 1ull << (SIGTTOU - 1))

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
	uint64_t handler = process->signals.action[signal - 1].handler;

	if (signal == SIGKILL)
		return false;
	return handler == SIGNAL_IGNORE ||
	       (handler == SIGNAL_DEFAULT && (signal_bit(signal) & (IGNORED_BY_DEFAULT | STOPS)));
}

void signal_send(struct process *process, int signal)
{
	if (!process || process->state == PROCESS_ZOMBIE || is_ignored(process, signal))
		return;
	process->signals.pending |= signal_bit(signal);
	if (process->signals.blocked & signal_bit(signal) & ~signal_bit(SIGKILL))
		return;
	if (process == current())
		this_cpu()->work = 1;
	else if (process->state == PROCESS_WAITING && !process->deaf)
		process->state = PROCESS_RUNNABLE;
}

static NORETURN void die(int signal)
{
	process_exit(signal & 0x7f);
}

void signal_fault(int signal, const char *why, ...)
{
	struct process *process = current();
	char text[256];
	va_list list;

	va_start(list, why);
	format_list(text, sizeof(text), why, list);
	va_end(list);
	log_line(QUIRE_LEVEL_ERROR, "%s (process %d) killed by %s: %s", process->name, process->pid,
		 signal_name(signal), text);
	die(signal);
}

void signal_act(void)
{
	struct process *process = current();
	uint64_t ready;

	this_cpu()->work = 0;
	while ((ready = process->signals.pending &
			(~process->signals.blocked | signal_bit(SIGKILL))) != 0) {
		int signal = __builtin_ctzll(ready) + 1;

		process->signals.pending &= ~signal_bit(signal);
		if (is_ignored(process, signal))
			continue;
		if (process->signals.action[signal - 1].handler > SIGNAL_IGNORE &&
		    signal != SIGKILL)
			log_line(QUIRE_LEVEL_INFO,
				 "%s (process %d): no handlers yet, %s acts by default",
				 process->name, process->pid, signal_name(signal));
		log_line(QUIRE_LEVEL_INFO, "%s (process %d) killed by %s", process->name,
			 process->pid, signal_name(signal));
		die(signal);
	}
}

void signal_reset(struct signal_state *state)
{
	for (unsigned i = 0; i < SIGNAL_COUNT; i++) {
		if (state->action[i].handler != SIGNAL_IGNORE)
			state->action[i] = (struct linux_sigaction){ 0 };
	}
	state->alternate = (struct linux_sigaltstack){ .flags = 2 };
}

/*
 * Puts a machine together, and stops it in the one way there is.
 *
 * A stop is: note the reason, make stop_fd readable (which wakes the threads that poll it), kick
 * the vCPUs. Where the reason is that pages are no longer served, the guest's view is taken away as
 * well, for a vCPU that waits for a page would wait for ever, and must not be handed one that
 * nobody vouches for.
 */
#include "vmm/machine/internal.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/event.h"
#include "base/log.h"
#include "base/units.h"
#include "mm/look.h"
#include "vmm/common/host.h"

/* How long a kicked vCPU may take to leave the guest before its memory is taken away. */
#define LEAVE_SECONDS 2

static const struct machine_kind_ops *const machine_kinds[] = {
	[MACHINE_QUIRE] = &machine_quire_ops,
	[MACHINE_STOCK] = &machine_stock_ops,
};

bool machine_stop(struct machine *machine, enum machine_stop_kind kind, int status)
{
	bool first;

	pthread_mutex_lock(&machine->lock);
	first = machine->stop_kind == MACHINE_RUNNING;
	if (first) {
		machine->stop_kind = kind;
		machine->stop_status = status;
	}
	pthread_mutex_unlock(&machine->lock);
	event_put(machine->stop_fd);
	machine_kick(machine);
	return first;
}

void machine_fail(struct machine *machine, const char *format, ...)
{
	va_list arguments;
	char text[512];

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments); /* before errno changes, for %m */
	va_end(arguments);
	if (machine_stop(machine, MACHINE_FAILED, MACHINE_STATUS_FAILED))
		log_error("%s", text);
}

bool machine_stopping(struct machine *machine)
{
	int status;

	return machine_outcome(machine, &status) != MACHINE_RUNNING;
}

/* --- how it is --- */

const struct machine_about *machine_about(const struct machine *machine)
{
	return &machine->about;
}

uint64_t machine_memory_bytes(const struct machine *machine)
{
	return machine->memory_bytes;
}

unsigned machine_vcpu_count(const struct machine *machine)
{
	return machine->vcpu_count;
}

struct ept_space *machine_space(const struct machine *machine)
{
	return machine->space;
}

struct mm *machine_mm(const struct machine *machine)
{
	return machine->mm;
}

struct devices *machine_devices(struct machine *machine)
{
	return &machine->devices;
}

int machine_stop_fd(const struct machine *machine)
{
	return machine->stop_fd;
}

int machine_input_fd(const struct machine *machine)
{
	return machine->input_fd;
}

enum machine_stop_kind machine_outcome(struct machine *machine, int *status)
{
	enum machine_stop_kind kind;

	pthread_mutex_lock(&machine->lock);
	kind = machine->stop_kind;
	*status = machine->stop_status;
	pthread_mutex_unlock(&machine->lock);
	return kind;
}

void machine_user_start(const struct machine *machine, uint64_t *at_ns, uint64_t *cpu_ns)
{
	*at_ns = machine->user_start_ns;
	*cpu_ns = machine->user_start_cpu_ns;
}

/* --- the manager, as ept/ sees it --- */

static int serve_fault(void *context, gfn_t frame, bool write, int thread)
{
	struct machine *machine = context;
	int error = mm_fault_of(machine->mm, frame, write, thread);

	/* mm has said what failed, through manager_failed(): the thread itself is sound. The view
	 * goes first, so that no vCPU is left waiting. */
	if (error == -EIO && machine_stopping(machine)) {
		ept_space_abandon(machine->space);
		return 0;
	}
	return error;
}

static int bring_in_frame(void *context, gfn_t frame)
{
	return mm_fault(((struct machine *)context)->mm, frame, false);
}

static int pin_frames(void *context, gfn_t first, uint32_t count)
{
	return mm_pin(((struct machine *)context)->mm, first, count);
}

static void unpin_frames(void *context, gfn_t first, uint32_t count)
{
	mm_unpin(((struct machine *)context)->mm, first, count);
}

static int look_at_frame(void *context, gfn_t frame, void *page)
{
	struct mm_look look;

	return mm_look(((struct machine *)context)->mm, frame, &look, page);
}

static void fault_thread_dead(void *context, int error, const char *what)
{
	struct machine *machine = context;

	machine_fail(machine, "nobody serves the guest's page faults any more: %s", what);
	ept_space_abandon(machine->space);
}

static const struct ept_manager_ops manager_ops = {
	.fault = serve_fault,
	.bring_in = bring_in_frame,
	.pin = pin_frames,
	.unpin = unpin_frames,
	.look = look_at_frame,
	.dead = fault_thread_dead,
};

static void manager_failed(void *context, const struct mm_failure *failure)
{
	struct machine *machine = context;

	machine_fail(machine, "%s", failure->text);
	ept_space_abandon(machine->space);
}

static uint64_t spends(void *context, uint64_t budget_bytes)
{
	return host_spends(((struct machine *)context)->vcpu_count, budget_bytes);
}

static int check_budget(const struct mm_config *mm, uint64_t memory_bytes)
{
	uint64_t least = mm_least_budget(mm);
	char least_text[UNITS_TEXT_SIZE], have[UNITS_TEXT_SIZE];

	if (mm->budget_bytes == 0 || mm->budget_bytes >= least)
		return 0;
	log_error("a budget of %s is too small for a guest of %llu MiB: the least that works is %s "
		  "(%llu bytes)",
		  units_format_size(mm->budget_bytes, have),
		  (unsigned long long)(memory_bytes >> 20), units_format_size(least, least_text),
		  (unsigned long long)least);
	return -EINVAL;
}

/*
 * The budget is charged by pages. A huge page under the manager's tables or the pool would hold up
 * to 2 MiB of the host for one page that was touched: seen in the NPT lab, 4 MiB over a budget of
 * 6.
 */
static void refuse_huge_pages(void)
{
	if (prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) != 0)
		log_debug("transparent huge pages cannot be switched off: %m");
}

/* The manager has a frame for each page of RAM, and knows of the hole between. */
static void describe_memory(const struct ept_space *space, struct mm_config *mm)
{
	const struct ept_range *ranges;
	size_t count = ept_space_ranges(space, &ranges);

	CHECK(count <= MM_RANGES_MAX);
	mm->frame_count = ept_space_frame_count(space);
	mm->range_count = (unsigned)count;
	for (size_t i = 0; i < count; i++)
		mm->ranges[i] = (struct mm_range){ (uint32_t)gpa_to_gfn(ranges[i].start).v,
						   (uint32_t)(ranges[i].length >> PAGE_SHIFT) };
}

static int create_memory(struct machine *machine, const struct machine_config *config)
{
	struct ept_config ept = {
		.memory_bytes = config->memory_bytes,
		.host_page_bytes = config->unmanaged ? config->host_page_bytes : 0,
	};
	struct mm_config mm = config->mm;
	int error;

	if (!config->unmanaged) {
		ept.manager_ops = &manager_ops;
		ept.manager = machine;
		ept.watch = mm.watch;
		refuse_huge_pages();
	}
	error = ept_space_create(&ept, &machine->space);
	if (error != 0 || config->unmanaged)
		return error;
	describe_memory(machine->space, &mm);
	mm.backing_ops = &ept_backing_ops;
	mm.backing = machine->space;
	mm.failed = manager_failed;
	mm.balloon_touched = machine_balloon_touched;
	mm.failed_context = machine;
	mm.full = machine_full;
	mm.full_no_more = machine_full_no_more;
	machine->stop_when_full = config->stop_when_full;
	mm.beside = spends;
	mm.beside_context = machine;
	mm.unit_bytes = host_unit_bytes();
	error = check_budget(&mm, config->memory_bytes);
	if (error != 0)
		return error;
	error = mm_create(&mm, &machine->mm);
	if (error == -EINVAL && mm.policy_options != NULL)
		log_error("the policy %s does not take '%s'", mm.policy->name, mm.policy_options);
	else if (error == -ENOMEM)
		log_error("no memory for the memory manager's tables");
	return error;
}

static void ignore_signal(int signal)
{
}

int machine_create(const struct machine_config *config, struct machine **out)
{
	struct machine *machine = calloc(1, sizeof(*machine));
	struct sigaction kick = { .sa_handler = ignore_signal };
	int error;

	CHECK(machine != NULL);
	machine->kvm_fd = machine->vm_fd = machine->stats_fd = -1;
	machine->about = config->about;
	machine->memory_bytes = config->memory_bytes;
	machine->vcpu_count = config->cpu_count;
	machine->kind = machine_kinds[config->kind];
	machine->nested = config->nested && config->unmanaged;
	machine->load_stopped = config->load_stopped;
	machine->load_context = config->load_context;
	for (unsigned i = 0; i < QUIRE_CPU_MAX; i++)
		machine->vcpu[i].fd = machine->vcpu[i].stats_fd = -1;
	machine_gate_init(machine);
	sigaction(SIGUSR1, &kick, NULL); /* machine_kick(): only to break into a system call */
	machine->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	machine->input_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	error = machine->stop_fd < 0 || machine->input_fd < 0 ? -errno : 0;
	if (error == 0)
		error = machine_open_kvm(machine);
	if (error == 0)
		error = create_memory(machine, config);
	if (error == 0)
		error = machine_create_vm(machine);
	if (error == 0 && machine->mm != NULL && config->mm.budget_bytes != 0)
		machine_bound_tables(machine, config->mm.budget_bytes);
	if (error == 0)
		error = devices_create(&machine->devices, machine, &config->devices);
	if (error == 0)
		error = machine->kind->add_devices(machine, config);
	if (error != 0) {
		machine_destroy(machine);
		machine = NULL;
	}
	*out = machine;
	return error;
}

int machine_load(struct machine *machine, const struct loader_guest *guest)
{
	struct loader_guest complete = *guest;
	struct loader_result entry;
	int error;

	complete.stopped = machine->load_stopped;
	complete.context = machine->load_context;
	error = machine->kind->load(machine, &complete, &entry);
	return error != 0 ? error : machine_set_registers(machine, &entry);
}

static int start_vcpu(struct vcpu *vcpu)
{
	struct machine *machine = vcpu->machine;
	int error;

	pthread_mutex_lock(&machine->lock);
	error = -pthread_create(&vcpu->thread, NULL, machine_vcpu_thread, vcpu);
	vcpu->started = error == 0;
	pthread_mutex_unlock(&machine->lock);
	return error;
}

int machine_start(struct machine *machine)
{
	int error = ept_space_start(machine->space);
	sigset_t all, before;

	/* A vCPU takes no signal but the kick. Signals of its own faults must not be blocked, or
	 * nobody would put the terminal back. */
	sigfillset(&all);
	sigdelset(&all, SIGUSR1);
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGILL);
	sigdelset(&all, SIGFPE);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	if (error == 0)
		error = devices_start(&machine->devices);
	for (unsigned i = 0; i < machine->vcpu_count && error == 0; i++)
		error = start_vcpu(&machine->vcpu[i]);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error != 0) {
		log_error("cannot start a thread: %s", strerror(-error));
		machine_stop(machine, MACHINE_FAILED, MACHINE_STATUS_FAILED);
	}
	return error;
}

static void join_vcpu(struct vcpu *vcpu, const struct timespec *deadline)
{
	struct machine *machine = vcpu->machine;
	bool started;

	pthread_mutex_lock(&machine->lock);
	started = vcpu->started;
	vcpu->started = false; /* from here on, the thread is this one's alone */
	pthread_mutex_unlock(&machine->lock);
	/* By a clock that nobody sets. */
	if (!started || pthread_clockjoin_np(vcpu->thread, NULL, CLOCK_MONOTONIC, deadline) == 0)
		return;
	ept_space_abandon(machine->space);
	pthread_kill(vcpu->thread, SIGUSR1);
	pthread_join(vcpu->thread, NULL);
}

void machine_join(struct machine *machine)
{
	struct timespec deadline;

	machine_kick(machine);
	clock_gettime(CLOCK_MONOTONIC, &deadline);
	deadline.tv_sec += LEAVE_SECONDS;
	for (unsigned i = 0; i < machine->vcpu_count; i++)
		join_vcpu(&machine->vcpu[i], &deadline);
	devices_stop(&machine->devices);
	ept_space_stop(machine->space);
	ept_space_abandon(machine->space);
}

void machine_destroy(struct machine *machine)
{
	if (machine == NULL)
		return;
	devices_stop(&machine->devices);
	machine->kind->remove_devices(machine);
	devices_destroy(&machine->devices);
	if (machine->space != NULL)
		ept_space_stop(machine->space);
	for (unsigned i = 0; i < machine->vcpu_count; i++) {
		if (machine->vcpu[i].run != NULL)
			munmap(machine->vcpu[i].run, machine->run_size);
		if (machine->vcpu[i].stats_fd >= 0)
			close(machine->vcpu[i].stats_fd);
		if (machine->vcpu[i].fd >= 0)
			close(machine->vcpu[i].fd);
	}
	if (machine->stats_fd >= 0)
		close(machine->stats_fd);
	if (machine->vm_fd >= 0)
		close(machine->vm_fd);
	if (machine->kvm_fd >= 0)
		close(machine->kvm_fd);
	mm_destroy(machine->mm);
	ept_space_destroy(machine->space);
	if (machine->stop_fd >= 0)
		close(machine->stop_fd);
	if (machine->input_fd >= 0)
		close(machine->input_fd);
	pthread_cond_destroy(&machine->gate);
	pthread_mutex_destroy(&machine->lock);
	free(machine);
}

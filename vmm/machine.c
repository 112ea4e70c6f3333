/*
 * Putting a machine together, and the one way it ends.
 *
 * A stop is: note the reason, make stop_fd readable (whoever polls wakes), kick the vCPU. Where the
 * reason is that pages are no longer served, the guest's view is taken away as well, for a vCPU
 * that waits for a page would wait for ever, and must not be handed one that nobody vouches for.
 */
#include "vmm/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/units.h"
#include "guest/abi.h"

/* Three pages and one page below 4 GiB that Intel processors without real-mode support need. */
#define IDENTITY_MAP_AT 0xfffbc000ul
#define TSS_AT		0xfffbd000ul
#define CPUID_MAX	256

/* How long a kicked vCPU may take to leave the guest before its memory is taken away. */
#define LEAVE_SECONDS 2

static void put_event(int fd)
{
	uint64_t one = 1;

	while (write(fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

void machine_stop(struct machine *machine, enum machine_stop_kind kind, int status)
{
	pthread_mutex_lock(&machine->lock);
	if (machine->stop_kind == MACHINE_RUNNING) {
		machine->stop_kind = kind;
		machine->stop_status = status;
	}
	pthread_mutex_unlock(&machine->lock);
	put_event(machine->stop_fd);
	machine_kick(machine);
}

void machine_fail(struct machine *machine, const char *format, ...)
{
	va_list arguments;
	char text[512];
	bool tell;

	pthread_mutex_lock(&machine->lock);
	tell = !machine->told && machine->stop_kind == MACHINE_RUNNING;
	machine->told = machine->told || tell;
	pthread_mutex_unlock(&machine->lock);
	if (tell) {
		va_start(arguments, format);
		vsnprintf(text, sizeof(text), format, arguments);
		va_end(arguments);
		log_error("%s", text);
	}
	machine_stop(machine, MACHINE_FAILED, MACHINE_STATUS_FAILED);
}

bool machine_stopping(struct machine *machine)
{
	bool stopping;

	pthread_mutex_lock(&machine->lock);
	stopping = machine->stop_kind != MACHINE_RUNNING;
	pthread_mutex_unlock(&machine->lock);
	return stopping;
}

/* --- the manager, as ept/ sees it --- */

static int serve_fault(void *context, gfn_t frame, bool write)
{
	struct machine *machine = context;
	int error = mm_fault(machine->mm, frame, write);

	/* mm has said what failed, through manager_failed(): the thread itself is sound. The view
	 * goes first, so that no vCPU is left waiting. */
	if (error == -EIO && machine_stopping(machine)) {
		ept_space_abandon(machine->space);
		return 0;
	}
	return error;
}

static int pin_frames(void *context, gfn_t first, uint32_t count)
{
	return mm_pin(((struct machine *)context)->mm, first, count);
}

static void unpin_frames(void *context, gfn_t first, uint32_t count)
{
	mm_unpin(((struct machine *)context)->mm, first, count);
}

static void fault_thread_dead(void *context, int error, const char *what)
{
	struct machine *machine = context;

	machine_fail(machine, "nobody serves the guest's page faults any more: %s", what);
	ept_space_abandon(machine->space);
}

static const struct ept_manager_ops manager_ops = {
	.fault = serve_fault,
	.pin = pin_frames,
	.unpin = unpin_frames,
	.dead = fault_thread_dead,
};

static void manager_failed(void *context, const struct mm_failure *failure)
{
	struct machine *machine = context;

	machine_fail(machine, "%s", failure->text);
	ept_space_abandon(machine->space);
}

/* --- the guest's words, as the doorbell passes them on --- */

static uint64_t monitor_cpu_ns(void)
{
	struct timespec process, thread;

	/* The vCPU's thread asks, and its own time is the guest's. */
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &process);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &thread);
	return (uint64_t)((process.tv_sec - thread.tv_sec) * 1000000000 +
			  (process.tv_nsec - thread.tv_nsec));
}

static void user_start(void *context)
{
	struct machine *machine = context;

	if (machine->user_start_ns == 0) {
		machine->user_start_cpu_ns = monitor_cpu_ns();
		machine->user_start_ns = clock_now_ns();
	}
}

static void exited(void *context, int status, int signal)
{
	machine_stop(context, MACHINE_EXITED, signal != 0 ? 128 + signal : status);
}

static void no_init(void *context, int error, const char *message)
{
	log_error("the program cannot be run: %s", message[0] ? message : strerror(error));
	machine_stop(context, MACHINE_CANNOT_RUN, 126);
}

static void guest_failed(void *context, const char *message)
{
	machine_fail(context, "the guest's kernel failed: %s", message);
}

static int release(void *context, gfn_t first, uint32_t count)
{
	struct machine *machine = context;

	if (machine->mm == NULL)
		return ept_space_discard(machine->space, first, count);
	if (!ept_space_has(machine->space, first, count))
		return -ERANGE;
	return mm_discard(machine->mm, first, count);
}

static int wait_for_interrupt(void *context)
{
	struct kvm_mp_state state = { .mp_state = KVM_MP_STATE_HALTED };

	return ioctl(((struct machine *)context)->vcpu_fd, KVM_SET_MP_STATE, &state) == 0 ? 0
											  : -errno;
}

static void await_input(void *context)
{
	put_event(((struct machine *)context)->input_fd);
}

static const struct quire_port_events port_events = {
	.user_start = user_start,
	.exited = exited,
	.no_init = no_init,
	.failed = guest_failed,
	.release = release,
	.wait = wait_for_interrupt,
	.await_input = await_input,
};

void machine_input_ready(struct machine *machine)
{
	struct kvm_msi msi = { .address_lo = 0xfee00000u, .data = QUIRE_VECTOR_INPUT };

	if (ioctl(machine->vm_fd, KVM_SIGNAL_MSI, &msi) < 0)
		machine_fail(machine, "cannot raise an interrupt: %m");
}

/* --- KVM --- */

static int set_cpuid(struct machine *machine)
{
	struct kvm_cpuid2 *cpuid =
		calloc(1, sizeof(*cpuid) + CPUID_MAX * sizeof(cpuid->entries[0]));
	int error = 0;

	CHECK(cpuid != NULL);
	cpuid->nent = CPUID_MAX;
	if (ioctl(machine->kvm_fd, KVM_GET_SUPPORTED_CPUID, cpuid) != 0) {
		error = -errno;
	} else {
		for (uint32_t i = 0; i < cpuid->nent; i++) {
			/* What KVM reports is the host CPU it ran on; the guest has one, number 0.
			 */
			if (cpuid->entries[i].function == 1)
				cpuid->entries[i].ebx = (cpuid->entries[i].ebx & 0xffff) | 1u << 16;
			else if (cpuid->entries[i].function == 0xb ||
				 cpuid->entries[i].function == 0x1f)
				cpuid->entries[i].edx = 0;
		}
		if (ioctl(machine->vcpu_fd, KVM_SET_CPUID2, cpuid) != 0)
			error = -errno;
	}
	free(cpuid);
	return error;
}

static int open_kvm(struct machine *machine)
{
	int version;

	machine->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (machine->kvm_fd < 0) {
		int error = -errno;

		log_error("/dev/kvm cannot be opened (%m): see 'bifold doctor'");
		return error;
	}
	version = ioctl(machine->kvm_fd, KVM_GET_API_VERSION, 0);
	if (version != KVM_API_VERSION) {
		log_error("/dev/kvm speaks version %d of its interface, not %d", version,
			  KVM_API_VERSION);
		return -ENOTSUP;
	}
	return 0;
}

/*
 * While HLT leaves the guest, KVM lets its workers fault pages in and halts the vCPU meanwhile: two
 * more threads to wake for every fault (measured: 64 us a fault, against 50 when the vCPU's own
 * thread waits). So HLT is told to stay inside, and the guest sleeps by QUIRE_OP_WAIT. Where KVM
 * does not offer it, faults are slower and nothing else changes.
 */
static void keep_faults_on_vcpu(struct machine *machine)
{
	struct kvm_enable_cap request = {
		.cap = KVM_CAP_X86_DISABLE_EXITS,
		.args = { KVM_X86_DISABLE_EXITS_HLT },
	};

	if (!(ioctl(machine->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_X86_DISABLE_EXITS) &
	      KVM_X86_DISABLE_EXITS_HLT) ||
	    ioctl(machine->vm_fd, KVM_ENABLE_CAP, &request) != 0)
		log_debug("HLT leaves the guest here: faults take a detour through KVM's workers");
}

/* What is asked of KVM, in order, with the name to complain by. */
static int create_vm(struct machine *machine)
{
	uint64_t identity = IDENTITY_MAP_AT;
	const char *step;
	int size, error;

	step = "KVM_CREATE_VM";
	machine->vm_fd = ioctl(machine->kvm_fd, KVM_CREATE_VM, 0);
	if (machine->vm_fd < 0)
		goto refused;
	step = "KVM_SET_IDENTITY_MAP_ADDR";
	if (ioctl(machine->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity) != 0)
		goto refused;
	step = "KVM_SET_TSS_ADDR";
	if (ioctl(machine->vm_fd, KVM_SET_TSS_ADDR, TSS_AT) != 0)
		goto refused;
	step = "KVM_CREATE_IRQCHIP";
	if (ioctl(machine->vm_fd, KVM_CREATE_IRQCHIP, 0) != 0)
		goto refused;
	keep_faults_on_vcpu(machine);
	step = "KVM_CREATE_VCPU";
	machine->vcpu_fd = ioctl(machine->vm_fd, KVM_CREATE_VCPU, 0);
	if (machine->vcpu_fd < 0)
		goto refused;
	step = "mapping the vCPU's state";
	size = ioctl(machine->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (size < 0)
		goto refused;
	machine->run_size = (size_t)size;
	machine->run = mmap(NULL, machine->run_size, PROT_READ | PROT_WRITE, MAP_SHARED,
			    machine->vcpu_fd, 0);
	if (machine->run == MAP_FAILED) {
		machine->run = NULL;
		goto refused;
	}
	step = "KVM_SET_CPUID2";
	error = set_cpuid(machine);
	if (error == 0) {
		step = "the guest's memory slots";
		error = ept_space_attach(machine->space, machine->vm_fd);
	}
	if (error != 0) {
		errno = -error;
		goto refused;
	}
	return 0;
refused:
	error = -errno;
	log_error("KVM refused %s: %m", step);
	return error;
}

/*
 * The vCPU and the fault thread share one CPU: waking a thread on another costs twice the fault
 * (37 against 91 us). The creator, and the reclaimer that it starts, keep to the others.
 */
static int choose_cpu(void)
{
	int cpu = sched_getcpu();
	cpu_set_t allowed;

	if (cpu < 0 || sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
		return -1;
	CPU_CLR((unsigned)cpu, &allowed);
	if (CPU_COUNT(&allowed) > 0)
		sched_setaffinity(0, sizeof(allowed), &allowed);
	return cpu;
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

static int create_memory(struct machine *machine, const struct machine_config *config)
{
	struct ept_config ept = { .memory_bytes = config->memory_bytes };
	struct mm_config mm = config->mm;
	int error;

	if (!config->unmanaged) {
		ept.manager_ops = &manager_ops;
		ept.manager = machine;
	}
	error = ept_space_create(&ept, &machine->space);
	if (error != 0 || config->unmanaged)
		return error;
	mm.frame_count = ept_space_frame_count(machine->space);
	mm.backing_ops = &ept_backing_ops;
	mm.backing = machine->space;
	mm.failed = manager_failed;
	mm.failed_context = machine;
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
	machine->kvm_fd = machine->vm_fd = machine->vcpu_fd = -1;
	pthread_mutex_init(&machine->lock, NULL);
	sigaction(SIGUSR1, &kick, NULL); /* machine_kick(): only to break into a system call */
	machine->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	machine->input_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	error = machine->stop_fd < 0 || machine->input_fd < 0 ? -errno : 0;
	if (error == 0)
		error = open_kvm(machine);
	if (error == 0) {
		machine->cpu = choose_cpu();
		error = create_memory(machine, config);
	}
	if (error == 0)
		error = create_vm(machine);
	if (error != 0) {
		machine_destroy(machine);
		return error;
	}
	machine->port = (struct quire_port){
		.space = machine->space,
		.events = &port_events,
		.context = machine,
		.input_fd = STDIN_FILENO,
		.output_fd = STDOUT_FILENO,
		.error_fd = STDERR_FILENO,
		.stop_fd = machine->stop_fd,
	};
	*out = machine;
	return bus_add(&machine->bus, QUIRE_PORT_DOORBELL, 1, &quire_port_ops, &machine->port);
}

int machine_load(struct machine *machine, const void *kernel, size_t kernel_size,
		 const char *command_line, struct archive *root)
{
	struct loader_result entry;
	int error = loader_load(machine->space, kernel, kernel_size, command_line, root, &entry);

	if (error != 0)
		return error;
	error = machine_set_registers(machine, &entry);
	if (error != 0)
		log_error("KVM refused the vCPU's first registers: %s", strerror(-error));
	return error;
}

int machine_start(struct machine *machine)
{
	int error = ept_space_start(machine->space, machine->cpu);
	sigset_t all, before;

	if (error == 0) {
		/* The vCPU takes no signal but the kick. */
		sigfillset(&all);
		sigdelset(&all, SIGUSR1);
		pthread_sigmask(SIG_SETMASK, &all, &before);
		pthread_mutex_lock(&machine->lock);
		error = -pthread_create(&machine->vcpu_thread, NULL, machine_vcpu_thread, machine);
		machine->vcpu_started = error == 0;
		pthread_mutex_unlock(&machine->lock);
		pthread_sigmask(SIG_SETMASK, &before, NULL);
	}
	if (error != 0)
		log_error("cannot start a thread: %s", strerror(-error));
	return error;
}

void machine_join(struct machine *machine)
{
	struct timespec deadline;
	bool started;

	machine_kick(machine);
	pthread_mutex_lock(&machine->lock);
	started = machine->vcpu_started;
	machine->vcpu_started = false; /* from here on, the thread is this one's alone */
	pthread_mutex_unlock(&machine->lock);
	if (!started)
		return;
	clock_gettime(CLOCK_REALTIME, &deadline);
	deadline.tv_sec += LEAVE_SECONDS;
	if (pthread_timedjoin_np(machine->vcpu_thread, NULL, &deadline) != 0) {
		ept_space_abandon(machine->space);
		pthread_kill(machine->vcpu_thread, SIGUSR1);
		pthread_join(machine->vcpu_thread, NULL);
	}
	ept_space_stop(machine->space);
	ept_space_abandon(machine->space);
}

void machine_destroy(struct machine *machine)
{
	if (machine == NULL)
		return;
	if (machine->space != NULL)
		ept_space_stop(machine->space);
	if (machine->run != NULL)
		munmap(machine->run, machine->run_size);
	if (machine->vcpu_fd >= 0)
		close(machine->vcpu_fd);
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
	pthread_mutex_destroy(&machine->lock);
	free(machine);
}

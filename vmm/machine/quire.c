/*
 * Quire's row: its one device is the doorbell, which passes the guest's words on.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/event.h"
#include "base/log.h"
#include "vmm/common/host.h"
#include "vmm/machine/internal.h"

/*
 * While HLT leaves the guest, KVM lets its workers fault pages in and halts the vCPU meanwhile: two
 * more threads to wake for every fault (measured: 64 us a fault, against 50 when the vCPU's own
 * thread waits). So HLT is told to stay inside, and the guest sleeps by QUIRE_OP_WAIT. Where KVM
 * does not offer it, faults are slower and nothing else changes.
 */
static int keep_faults_on_vcpu(struct machine *machine, const char **step)
{
	struct kvm_enable_cap request = {
		.cap = KVM_CAP_X86_DISABLE_EXITS,
		.args = { KVM_X86_DISABLE_EXITS_HLT },
	};

	if (!(ioctl(machine->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_X86_DISABLE_EXITS) &
	      KVM_X86_DISABLE_EXITS_HLT) ||
	    ioctl(machine->vm_fd, KVM_ENABLE_CAP, &request) != 0)
		log_debug("HLT leaves the guest here: faults take a detour through KVM's workers");
	return 0;
}

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
	if (machine_stop(context, MACHINE_CANNOT_RUN, 126))
		log_error("the program cannot be run: %s", message[0] ? message : strerror(error));
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
	return mm_release(machine->mm, first, count, MM_RELEASE_REPORTED, 0);
}

/* The vCPU on whose thread this runs. */
static struct vcpu *own_vcpu(struct machine *machine)
{
	for (unsigned i = 0; i < machine->vcpu_count; i++) {
		if (pthread_equal(machine->vcpu[i].thread, pthread_self()))
			return &machine->vcpu[i];
	}
	return &machine->vcpu[0];
}

static int wait_for_interrupt(void *context)
{
	struct kvm_mp_state state = { .mp_state = KVM_MP_STATE_HALTED };

	return ioctl(own_vcpu(context)->fd, KVM_SET_MP_STATE, &state) == 0 ? 0 : -errno;
}

_Static_assert(sizeof(struct kvm_xsave) == QUIRE_VECTOR_MAX, "XSAVE's form");

static int vector_get(void *context, void *state)
{
	return ioctl(own_vcpu(context)->fd, KVM_GET_XSAVE, state) == 0 ? 0 : -errno;
}

static int vector_set(void *context, const void *state)
{
	return ioctl(own_vcpu(context)->fd, KVM_SET_XSAVE, state) == 0 ? 0 : -errno;
}

static void await_input(void *context)
{
	event_put(((struct machine *)context)->input_fd);
}

static const struct quire_port_events port_events = {
	.user_start = user_start,
	.exited = exited,
	.no_init = no_init,
	.failed = guest_failed,
	.release = release,
	.wait = wait_for_interrupt,
	.vector_get = vector_get,
	.vector_set = vector_set,
	.await_input = await_input,
};

void machine_input_ready(struct machine *machine)
{
	struct kvm_msi msi = { .address_lo = 0xfee00000u, .data = QUIRE_VECTOR_INPUT };

	if (ioctl(machine->vm_fd, KVM_SIGNAL_MSI, &msi) < 0)
		machine_fail(machine, "cannot raise an interrupt: %m");
}

static int add_doorbell(struct machine *machine, const struct machine_config *config)
{
	machine->port = (struct quire_port){
		.space = machine->space,
		.events = &port_events,
		.context = machine,
		.input_fd = config->input_fd,
		.output_fd = config->output_fd,
		.error_fd = config->error_fd,
		.stop_fd = machine->stop_fd,
		.cpu_count = machine->vcpu_count,
		.host_flags =
			host_emulates_ring0() ? QUIRE_HOST_EMULATES | QUIRE_HOST_KEEPS_VECTOR : 0,
	};
	pthread_mutex_init(&machine->port.lock, NULL);
	return bus_add(&machine->ports, QUIRE_PORT_DOORBELL, 1, &quire_port_ops, &machine->port);
}

static void remove_doorbell(struct machine *machine)
{
	pthread_mutex_destroy(&machine->port.lock);
}

/* It is told of the virtio devices by words before its own. */
static int load(struct machine *machine, struct loader_guest *guest, struct loader_result *entry)
{
	char *words;
	size_t size;
	FILE *out = open_memstream(&words, &size);
	int error;

	CHECK(out != NULL);
	devices_write_words(&machine->devices, out);
	fputs(guest->command_line, out);
	CHECK(fclose(out) == 0);
	guest->command_line = words;
	error = loader_load(machine->space, guest, entry);
	free(words);
	return error;
}

const struct machine_kind_ops machine_quire_ops = {
	.create_chips = keep_faults_on_vcpu,
	.add_devices = add_doorbell,
	.remove_devices = remove_doorbell,
	.load = load,
};

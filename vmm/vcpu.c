/*
 * The vCPU: its first registers, its thread, and what it does with each exit.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/log.h"
#include "vmm/machine.h"

#define CR0_PE	    1u
#define CR0_ET	    (1u << 4)
#define TYPE_CODE   11 /* execute, read, accessed */
#define TYPE_DATA   3  /* read, write, accessed */
#define TYPE_TSS    11 /* busy 32-bit TSS */
#define FLAGS_FIXED 2u

/* PVH's entry state: flat 32-bit protected mode, paging and interrupts off, %ebx = start info. */
int machine_set_registers(struct machine *machine, const struct loader_result *entry)
{
	const struct kvm_segment code = {
		.limit = UINT32_MAX,
		.selector = 8,
		.type = TYPE_CODE,
		.present = 1,
		.db = 1,
		.s = 1,
		.g = 1,
	};
	struct kvm_segment data = code;
	const struct kvm_segment task = { .limit = 0x67, .type = TYPE_TSS, .present = 1 };
	const struct kvm_regs registers = {
		.rip = entry->entry.v,
		.rbx = entry->start_info.v,
		.rflags = FLAGS_FIXED,
	};
	struct kvm_sregs special;

	if (ioctl(machine->vcpu[0].fd, KVM_GET_SREGS, &special) != 0)
		return -errno;
	data.selector = 16;
	data.type = TYPE_DATA;
	special.cs = code;
	special.ds = special.es = special.fs = special.gs = special.ss = data;
	special.tr = task;
	special.cr0 = CR0_PE | CR0_ET;
	special.cr4 = 0;
	special.efer = 0;
	if (ioctl(machine->vcpu[0].fd, KVM_SET_SREGS, &special) != 0 ||
	    ioctl(machine->vcpu[0].fd, KVM_SET_REGS, &registers) != 0)
		return -errno;
	return 0;
}

/*
 * immediate_exit catches a vCPU that is about to enter, the signal one that is inside.
 */
void machine_kick(struct machine *machine)
{
	pthread_mutex_lock(&machine->lock);
	for (unsigned i = 0; i < machine->vcpu_count; i++) {
		struct vcpu *vcpu = &machine->vcpu[i];

		if (vcpu->run != NULL)
			__atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_RELEASE);
		if (vcpu->started && !pthread_equal(vcpu->thread, pthread_self()))
			pthread_kill(vcpu->thread, SIGUSR1);
	}
	pthread_cond_broadcast(&machine->gate);
	pthread_mutex_unlock(&machine->lock);
}

static int port_io(struct vcpu *vcpu)
{
	struct machine *machine = vcpu->machine;
	struct kvm_run *run = vcpu->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	int error = 0;

	for (uint32_t i = 0; error == 0 && i < run->io.count; i++, data += run->io.size) {
		uint64_t value = 0;

		if (run->io.direction == KVM_EXIT_IO_OUT) {
			memcpy(&value, data, run->io.size);
			error = bus_write(&machine->ports, run->io.port, run->io.size, value);
		} else {
			error = bus_read(&machine->ports, run->io.port, run->io.size, &value);
			memcpy(data, &value, run->io.size);
		}
	}
	return error;
}

static int memory_io(struct vcpu *vcpu)
{
	struct bus *bus = &vcpu->machine->mmio;
	struct kvm_run *run = vcpu->run;
	uint64_t value = 0;
	int error;

	if (run->mmio.is_write) {
		memcpy(&value, run->mmio.data, run->mmio.len);
		return bus_write(bus, run->mmio.phys_addr, run->mmio.len, value);
	}
	error = bus_read(bus, run->mmio.phys_addr, run->mmio.len, &value);
	memcpy(run->mmio.data, &value, run->mmio.len);
	return error;
}

static void crash(struct vcpu *vcpu, const char *what, uint64_t detail)
{
	struct machine *machine = vcpu->machine;

	if (!machine_stopping(machine)) {
		log_error("the virtual machine cannot go on: %s (%#llx)", what,
			  (unsigned long long)detail);
		machine_dump(vcpu);
	}
	machine_stop(machine, MACHINE_FAILED, MACHINE_STATUS_FAILED);
}

static void device_done(struct machine *machine, int error)
{
	if (error != 0 && !machine_stopping(machine))
		machine_fail(machine, "a device failed: %s", strerror(-error));
}

static void handle_exit(struct vcpu *vcpu)
{
	struct machine *machine = vcpu->machine;
	struct kvm_run *run = vcpu->run;

	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		device_done(machine, port_io(vcpu));
		break;
	case KVM_EXIT_INTR:
		break;
	case KVM_EXIT_SHUTDOWN:
		crash(vcpu, "triple fault", 0);
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		crash(vcpu,
		      run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION
			      ? "KVM could not emulate an instruction"
			      : "KVM met an internal error",
		      run->internal.suberror);
		break;
	case KVM_EXIT_FAIL_ENTRY:
		crash(vcpu, "the processor refused to enter the guest",
		      run->fail_entry.hardware_entry_failure_reason);
		break;
	case KVM_EXIT_MMIO:
		if (bus_has(&machine->mmio, run->mmio.phys_addr))
			device_done(machine, memory_io(vcpu));
		else
			crash(vcpu, "an access to guest-physical memory where nothing is",
			      run->mmio.phys_addr);
		break;
	default:
		crash(vcpu, "unknown exit", run->exit_reason);
		break;
	}
}

void *machine_vcpu_thread(void *argument)
{
	struct vcpu *vcpu = argument;
	struct machine *machine = vcpu->machine;
	cpu_set_t set;

	pthread_setname_np(pthread_self(), "bifold-vcpu");
	if (machine->cpu >= 0) {
		CPU_ZERO(&set);
		CPU_SET((unsigned)machine->cpu, &set);
		pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
	}
	while (machine_enter(vcpu)) {
		int error = ioctl(vcpu->fd, KVM_RUN, 0) == 0 ? 0 : errno;

		machine_left(vcpu);
		if (error == 0)
			handle_exit(vcpu);
		else if (error != EINTR && error != EAGAIN)
			crash(vcpu, strerror(error), (uint64_t)error);
	}
	return NULL;
}

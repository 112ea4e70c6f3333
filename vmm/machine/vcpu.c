/*
 * The vCPU: its first registers, its thread, and the handling of each exit.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/log.h"
#include "vmm/common/words.h"
#include "vmm/machine/internal.h"

#define CR0_PE	    1u
#define CR0_ET	    (1u << 4)
#define CR0_PG	    (1u << 31)
#define CR4_PAE	    (1u << 5)
#define EFER_LME    (1u << 8)
#define EFER_LMA    (1u << 10)
#define TYPE_CODE   11 /* execute, read, accessed */
#define TYPE_DATA   3  /* read, write, accessed */
#define TYPE_TSS    11 /* busy TSS */
#define FLAGS_FIXED 2u

/* Flat segments of 32 bits, or for long mode of 64; selectors as the boot protocols have them. */
static void set_segments(struct kvm_sregs *special, bool wide)
{
	const struct kvm_segment code = {
		.limit = UINT32_MAX,
		.selector = wide ? 16 : 8,
		.type = TYPE_CODE,
		.present = 1,
		.db = !wide,
		.s = 1,
		.l = wide,
		.g = 1,
	};
	struct kvm_segment data = code;

	data.selector = wide ? 24 : 16;
	data.type = TYPE_DATA;
	data.db = 1;
	data.l = 0;
	special->cs = code;
	special->ds = special->es = special->fs = special->gs = special->ss = data;
	special->tr = (struct kvm_segment){ .limit = 0x67, .type = TYPE_TSS, .present = 1 };
}

static void set_long_mode(struct kvm_sregs *special, const struct loader_result *entry)
{
	special->cr0 |= CR0_PG;
	special->cr3 = entry->cr3.v;
	special->cr4 = CR4_PAE;
	special->efer = EFER_LME | EFER_LMA;
	special->gdt.base = entry->gdt.v;
	special->gdt.limit = LOADER_GDT_LIMIT;
}

int machine_set_registers(struct machine *machine, const struct loader_result *entry)
{
	const struct kvm_regs registers = {
		.rip = entry->entry.v,
		.rax = entry->rax,
		.rbx = entry->start_info.v,
		.rsi = entry->start_info.v,
		.rflags = FLAGS_FIXED,
	};
	int fd = machine->vcpu[0].fd, error;
	struct kvm_sregs special;

	if (ioctl(fd, KVM_GET_SREGS, &special) != 0)
		goto refused;
	set_segments(&special, entry->mode == LOADER_LONG);
	special.cr0 = CR0_PE | CR0_ET;
	special.cr4 = 0;
	special.efer = 0;
	if (entry->mode == LOADER_LONG)
		set_long_mode(&special, entry);
	if (ioctl(fd, KVM_SET_SREGS, &special) == 0 && ioctl(fd, KVM_SET_REGS, &registers) == 0)
		return 0;
refused:
	error = -errno;
	log_error("KVM refused the vCPU's first registers: %m");
	return error;
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

	if (!machine_stop(machine, MACHINE_FAILED, MACHINE_STATUS_FAILED))
		return;
	log_error("the virtual machine cannot go on: %s (%#llx)", what, (unsigned long long)detail);
	machine_dump(vcpu);
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
		if (machine->kind->probes || bus_has(&machine->mmio, run->mmio.phys_addr))
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

static void say_touch(const struct mm_balloon_touch *touch, const char *by)
{
	log_info("guest page 0x%llx (address 0x%llx) was %s, though the balloon holds it, by %s; "
		 "it was %s; %llu such pages so far",
		 (unsigned long long)touch->frame.v, (unsigned long long)gfn_to_gpa(touch->frame).v,
		 touch->write ? "written" : "read", by, word_text(frame_state_name(touch->was)),
		 (unsigned long long)touch->pages);
}

/* The vCPU has left the guest as soon as it could: at the instruction that touched the page, or
 * right behind it. */
static void say_where(struct vcpu *vcpu)
{
	struct kvm_regs registers;
	char by[64];

	if (ioctl(vcpu->fd, KVM_GET_REGS, &registers) != 0)
		registers.rip = 0;
	snprintf(by, sizeof(by), "vCPU %u at RIP 0x%llx", vcpu->number,
		 (unsigned long long)registers.rip);
	say_touch(&vcpu->touch, by);
	__atomic_store_n(&vcpu->touched, false, __ATOMIC_RELEASE);
}

struct vcpu *machine_vcpu_of(struct machine *machine, int thread)
{
	for (unsigned i = 0; i < machine->vcpu_count && thread != 0; i++)
		if (__atomic_load_n(&machine->vcpu[i].thread_id, __ATOMIC_ACQUIRE) == thread)
			return &machine->vcpu[i];
	return NULL;
}

void machine_balloon_touched(void *context, const struct mm_balloon_touch *touch)
{
	struct machine *machine = context;
	struct vcpu *vcpu = machine_vcpu_of(machine, touch->thread);
	char by[32] = "a device of the monitor";

	if (log_verbosity() < 1)
		return;
	if (vcpu != NULL && !__atomic_load_n(&vcpu->touched, __ATOMIC_ACQUIRE)) {
		vcpu->touch = *touch;
		__atomic_store_n(&vcpu->touched, true, __ATOMIC_RELEASE);
		__atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_RELEASE);
		pthread_mutex_lock(&machine->lock);
		if (vcpu->started)
			pthread_kill(vcpu->thread, SIGUSR1);
		pthread_mutex_unlock(&machine->lock);
		return;
	}
	if (touch->thread != 0)
		snprintf(by, sizeof(by), "thread %d", touch->thread);
	say_touch(touch, by);
}

void *machine_vcpu_thread(void *argument)
{
	struct vcpu *vcpu = argument;

	pthread_setname_np(pthread_self(), "bifold-vcpu");
	__atomic_store_n(&vcpu->thread_id, (int)gettid(), __ATOMIC_RELEASE);
	while (machine_enter(vcpu)) {
		int error = ioctl(vcpu->fd, KVM_RUN, 0) == 0 ? 0 : errno;

		machine_left(vcpu);
		if (__atomic_load_n(&vcpu->touched, __ATOMIC_ACQUIRE))
			say_where(vcpu);
		/* Nobody kicked it: a signal that stopped the process did, and it goes on now. */
		if (error == EINTR &&
		    !__atomic_load_n(&vcpu->run->immediate_exit, __ATOMIC_ACQUIRE))
			__atomic_store_n(&vcpu->stood, true, __ATOMIC_RELEASE);
		if (error == 0)
			handle_exit(vcpu);
		else if (error != EINTR && error != EAGAIN)
			crash(vcpu, strerror(error), (uint64_t)error);
	}
	return NULL;
}

/*
 * Sets up a vCPU's processor: what CPUID tells the guest, and the model-specific registers and the
 * local APIC as a PC's firmware would have left them.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/check.h"
#include "ept/space.h"
#include "vmm/machine/internal.h"

#define CPUID_MAX 256

#define CPUID_1_ECX_VMX		 (1u << 5)
#define CPUID_1_ECX_TSC_DEADLINE (1u << 24)
#define CPUID_1_ECX_HYPERVISOR	 (1u << 31)
#define CPUID_80000001_ECX_SVM	 (1u << 2)

#define MSR_MISC_ENABLE		0x1a0u
#define MISC_ENABLE_FAST_STRING 1u
#define MSR_MTRR_BASE_0		0x200u
#define MSR_MTRR_MASK_0		0x201u
#define MSR_MTRR_DEFAULT	0x2ffu
#define MTRR_UNCACHED		0u
#define MTRR_WRITE_BACK		6u
#define MTRR_VALID		(1u << 11)
#define MTRR_ENABLE		(1u << 11)

/* Registers of the local APIC, by their offset, and what is in them. */
#define APIC_SPURIOUS	     0xf0u
#define APIC_LINE_0	     0x350u
#define APIC_LINE_1	     0x360u
#define APIC_SPURIOUS_VECTOR 0xffu
#define APIC_ENABLED	     (1u << 8)
#define APIC_NMI	     (4u << 8)
#define APIC_EXTERNAL	     (7u << 8)

/* KVM reports the host CPU it ran on; a vCPU has its own number and the machine's count. */
static void number_cpu(struct kvm_cpuid_entry2 *entry, const struct vcpu *vcpu)
{
	unsigned count = vcpu->machine->vcpu_count;

	switch (entry->function) {
	case 1:
		entry->ebx = (entry->ebx & 0xffff) | count << 16 | vcpu->number << 24;
		entry->edx = count > 1 ? entry->edx | 1u << 28 : entry->edx & ~(1u << 28);
		break;
	case 4:
		/* Caches are not shared; the package has all the cores. */
		entry->eax = (entry->eax & 0x3fff) | (count - 1) << 26;
		break;
	case 0xb:
	case 0x1f:
		/* Level 0: one thread a core; level 1: all cores. */
		entry->eax = entry->index == 0 ? 0 : entry->index == 1 ? 3 : 0;
		entry->ebx = entry->index == 0 ? 1 : entry->index == 1 ? count : 0;
		entry->ecx = entry->index | (entry->index < 2 ? (entry->index + 1) << 8 : 0);
		entry->edx = vcpu->number;
		break;
	}
}

void machine_complete_cpuid(const struct machine *machine, struct kvm_cpuid2 *cpuid)
{
	uint32_t features = CPUID_1_ECX_HYPERVISOR;

	if (ioctl(machine->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0)
		features |= CPUID_1_ECX_TSC_DEADLINE;
	for (uint32_t i = 0; i < cpuid->nent; i++)
		if (cpuid->entries[i].function == 1)
			cpuid->entries[i].ecx |= features;
}

/*
 * The processor's own virtualization. KVM holds the control pages of a guest's guest as pages of
 * the host while it runs, past every change of the guest's mappings: what it writes to one that is
 * evicted meanwhile is lost. Without these bits KVM refuses the instructions and their MSRs, too.
 */
static void hide_virtualization(struct kvm_cpuid_entry2 *entry)
{
	switch (entry->function) {
	case 1:
		entry->ecx &= ~CPUID_1_ECX_VMX;
		break;
	case 0x80000001u:
		entry->ecx &= ~CPUID_80000001_ECX_SVM;
		break;
	case 0x8000000au: /* SVM's revision and features */
		entry->eax = entry->ebx = entry->ecx = entry->edx = 0;
		break;
	}
}

static int set_cpuid(struct vcpu *vcpu, struct kvm_cpuid2 *cpuid)
{
	const struct machine *machine = vcpu->machine;

	cpuid->nent = CPUID_MAX;
	if (ioctl(machine->kvm_fd, KVM_GET_SUPPORTED_CPUID, cpuid) != 0)
		return -errno;
	for (uint32_t i = 0; i < cpuid->nent; i++) {
		number_cpu(&cpuid->entries[i], vcpu);
		if (!machine->nested)
			hide_virtualization(&cpuid->entries[i]);
	}
	if (machine->kind->complete_cpuid != NULL)
		machine->kind->complete_cpuid(machine, cpuid);
	return ioctl(vcpu->fd, KVM_SET_CPUID2, cpuid) == 0 ? 0 : -errno;
}

static unsigned physical_bits(const struct kvm_cpuid2 *cpuid)
{
	for (uint32_t i = 0; i < cpuid->nent; i++)
		if (cpuid->entries[i].function == 0x80000008u)
			return cpuid->entries[i].eax & 255;
	return 36;
}

/*
 * Memory is cached, the device hole is not; and string instructions may be fast. The one variable
 * MTRR covers the hole, whose length is a power of two.
 */
static int set_msrs(const struct vcpu *vcpu, unsigned address_bits)
{
	const uint64_t hole = EPT_HOLE_END - EPT_HOLE_START;
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry[4];
	} msrs = {
		.head.nmsrs = 4,
		.entry = {
			{ .index = MSR_MTRR_BASE_0, .data = EPT_HOLE_START | MTRR_UNCACHED },
			{ .index = MSR_MTRR_MASK_0,
			  .data = (((1ull << address_bits) - 1) & ~(hole - 1)) | MTRR_VALID },
			{ .index = MSR_MTRR_DEFAULT, .data = MTRR_ENABLE | MTRR_WRITE_BACK },
			{ .index = MSR_MISC_ENABLE, .data = MISC_ENABLE_FAST_STRING },
		},
	};
	int set = ioctl(vcpu->fd, KVM_SET_MSRS, &msrs);

	if (set >= 0 && set < 3)
		errno = EINVAL;
	/* The last is Intel's. */
	return set >= 3 ? 0 : -errno;
}

static void set_apic_register(struct kvm_lapic_state *apic, unsigned offset, uint32_t value)
{
	memcpy(apic->regs + offset, &value, sizeof(value));
}

/* Enabled by software; and of the first processor, which gets them, the two lines wired. The others
 * lose that at the INIT that starts them, as on a PC. */
static int set_apic(const struct vcpu *vcpu)
{
	struct kvm_lapic_state apic;

	if (ioctl(vcpu->fd, KVM_GET_LAPIC, &apic) != 0)
		return -errno;
	set_apic_register(&apic, APIC_SPURIOUS, APIC_ENABLED | APIC_SPURIOUS_VECTOR);
	if (vcpu->number == 0) {
		set_apic_register(&apic, APIC_LINE_0, APIC_EXTERNAL);
		set_apic_register(&apic, APIC_LINE_1, APIC_NMI);
	}
	return ioctl(vcpu->fd, KVM_SET_LAPIC, &apic) == 0 ? 0 : -errno;
}

int machine_set_up_vcpu(const struct vcpu *vcpu, const struct kvm_cpuid2 *cpuid)
{
	int error = set_msrs(vcpu, physical_bits(cpuid));

	return error != 0 ? error : set_apic(vcpu);
}

int machine_set_processor(struct vcpu *vcpu)
{
	struct kvm_cpuid2 *cpuid =
		calloc(1, sizeof(*cpuid) + CPUID_MAX * sizeof(cpuid->entries[0]));
	int error;

	CHECK(cpuid != NULL);
	error = set_cpuid(vcpu, cpuid);
	if (error == 0 && vcpu->machine->kind->set_up_vcpu != NULL)
		error = vcpu->machine->kind->set_up_vcpu(vcpu, cpuid);
	free(cpuid);
	return error;
}

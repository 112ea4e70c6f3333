/*
 * What processor a vCPU is: what CPUID tells the guest, and the model-specific registers that a
 * PC's firmware would have set.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "base/check.h"
#include "ept/space.h"
#include "vmm/machine.h"

#define CPUID_MAX 256

#define CPUID_1_ECX_TSC_DEADLINE (1u << 24)
#define CPUID_1_ECX_HYPERVISOR	 (1u << 31)

#define MSR_MISC_ENABLE		0x1a0u
#define MISC_ENABLE_FAST_STRING 1u
#define MSR_MTRR_BASE_0		0x200u
#define MSR_MTRR_MASK_0		0x201u
#define MSR_MTRR_DEFAULT	0x2ffu
#define MTRR_UNCACHED		0u
#define MTRR_WRITE_BACK		6u
#define MTRR_VALID		(1u << 11)
#define MTRR_ENABLE		(1u << 11)

/* What KVM reports is the host CPU it ran on; a vCPU has its own number and the machine's count. */
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

/* What a stock kernel is to know beside what KVM says it supports. */
static void complete_cpu(struct kvm_cpuid_entry2 *entry, const struct machine *machine)
{
	if (entry->function != 1)
		return;
	entry->ecx |= CPUID_1_ECX_HYPERVISOR;
	if (ioctl(machine->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0)
		entry->ecx |= CPUID_1_ECX_TSC_DEADLINE;
}

static int set_cpuid(struct vcpu *vcpu, struct kvm_cpuid2 *cpuid)
{
	const struct machine *machine = vcpu->machine;

	cpuid->nent = CPUID_MAX;
	if (ioctl(machine->kvm_fd, KVM_GET_SUPPORTED_CPUID, cpuid) != 0)
		return -errno;
	for (uint32_t i = 0; i < cpuid->nent; i++) {
		number_cpu(&cpuid->entries[i], vcpu);
		if (machine->stock)
			complete_cpu(&cpuid->entries[i], machine);
	}
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

int machine_set_processor(struct vcpu *vcpu)
{
	struct kvm_cpuid2 *cpuid =
		calloc(1, sizeof(*cpuid) + CPUID_MAX * sizeof(cpuid->entries[0]));
	int error;

	CHECK(cpuid != NULL);
	error = set_cpuid(vcpu, cpuid);
	if (error == 0 && vcpu->machine->stock)
		error = set_msrs(vcpu, physical_bits(cpuid));
	free(cpuid);
	return error;
}

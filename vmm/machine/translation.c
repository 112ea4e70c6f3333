#include "vmm/machine/translation.h"

#include <cpuid.h>
#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vmm/common/host.h"
#include "vmm/machine/internal.h"

#define CPUID_MAX    256
#define CR4_PKE	     (1ull << 22)
#define XSAVE_LEAF   0xd
#define XSAVE_PKRU   9
#define XSAVE_HEADER 512
#define HAS_GIGABYTE (1u << 26) /* CPUID 0x80000001 EDX */

/* The width of the guest's physical addresses, and its page sizes, as its CPUID tells them. */
static void learn_processor(const struct vcpu *vcpu, struct ept_paging *paging)
{
	struct kvm_cpuid2 *cpuid =
		calloc(1, sizeof(*cpuid) + CPUID_MAX * sizeof(cpuid->entries[0]));

	if (cpuid == NULL)
		return;
	cpuid->nent = CPUID_MAX;
	if (ioctl(vcpu->fd, KVM_GET_CPUID2, cpuid) != 0)
		cpuid->nent = 0;
	for (uint32_t i = 0; i < cpuid->nent; i++) {
		const struct kvm_cpuid_entry2 *entry = &cpuid->entries[i];

		if (entry->function == 0x80000008)
			paging->address_bits = entry->eax & 0xff;
		else if (entry->function == 0x80000001)
			paging->no_gigabyte_pages = !(entry->edx & HAS_GIGABYTE);
	}
	free(cpuid);
}

/* The rights of protection keys, where the guest has switched them on. */
static void learn_key_rights(const struct vcpu *vcpu, struct ept_paging *paging)
{
	unsigned size, offset = 0, c, d;
	struct kvm_xsave xsave;
	uint64_t components;

	if (!(paging->cr4 & CR4_PKE) ||
	    !__get_cpuid_count(XSAVE_LEAF, XSAVE_PKRU, &size, &offset, &c, &d) ||
	    offset > sizeof(xsave) - sizeof(paging->pkru) ||
	    ioctl(vcpu->fd, KVM_GET_XSAVE, &xsave) != 0)
		return;
	memcpy(&components, (char *)&xsave + XSAVE_HEADER, sizeof(components));
	if (components >> XSAVE_PKRU & 1)
		memcpy(&paging->pkru, (char *)&xsave + offset, sizeof(paging->pkru));
}

int translation_paging(struct machine *machine, unsigned number, struct ept_paging *paging)
{
	const struct vcpu *vcpu = &machine->vcpu[number];
	struct kvm_sregs special;
	struct kvm_regs registers;

	if (ioctl(vcpu->fd, KVM_GET_SREGS, &special) != 0 ||
	    ioctl(vcpu->fd, KVM_GET_REGS, &registers) != 0)
		return -errno;
	*paging = (struct ept_paging){
		.cr0 = special.cr0,
		.cr3 = special.cr3,
		.cr4 = special.cr4,
		.efer = special.efer,
		.rflags = registers.rflags,
	};
	learn_processor(vcpu, paging);
	learn_key_rights(vcpu, paging);
	return 0;
}

static void make_fold(struct machine *machine, gpa_t address, struct fold *fold)
{
	*fold = (struct fold){ .address = address };
	ept_space_translate(machine->space, address, &fold->place);
	if (!fold->place.is_ram)
		return;
	fold->managed = machine->mm != NULL &&
			mm_look(machine->mm, gpa_to_gfn(address), &fold->look, NULL) == 0;
	ept_host_page_get(fold->place.hva, &fold->host);
}

void translation_make(struct machine *machine, unsigned vcpu, const struct ept_paging *paging,
		      gva_t address, struct translation *t)
{
	*t = (struct translation){
		.address = address,
		.vcpu = vcpu,
		.paging = *paging,
		.second_layer = host_second_layer(),
		.second_levels = host_second_levels(),
	};
	ept_walk(machine->space, paging, address, &t->walk);
	if (t->walk.end == EPT_WALK_PAGE)
		make_fold(machine, t->walk.address, &t->page);
}

void translation_make_tables(struct machine *machine, struct translation *t)
{
	for (int i = 0; i < t->walk.step_count; i++)
		make_fold(machine, t->walk.step[i].entry_at, &t->table[i]);
}

/*
 * Creates a machine's KVM objects: the VM, its interrupt controllers, its vCPUs.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "base/log.h"
#include "vmm/common/host.h"
#include "vmm/machine/kvm_stats.h"
#include "vmm/machine/internal.h"

/* Three pages and one page below 4 GiB that Intel processors without real-mode support need. */
#define IDENTITY_MAP_AT 0xfffbc000ul
#define TSS_AT		0xfffbd000ul

int machine_open_kvm(struct machine *machine)
{
	int version;

	machine->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (machine->kvm_fd < 0) {
		int error = -errno;

		log_error("/dev/kvm cannot be opened (%m): see 'bifold doctor'");
		return error;
	}
	version = ioctl(machine->kvm_fd, KVM_GET_API_VERSION, 0);
	if (version < 0) {
		log_error("/dev/kvm is not KVM's device (%m): see 'bifold doctor'");
		return -ENODEV;
	}
	if (version != KVM_API_VERSION) {
		log_error("/dev/kvm speaks version %d of its interface, not %d", version,
			  KVM_API_VERSION);
		return -ENOTSUP;
	}
	return 0;
}

/* The first vCPU is runnable; KVM has the others wait for INIT and SIPI. */
static int create_vcpu(struct machine *machine, unsigned number)
{
	struct vcpu *vcpu = &machine->vcpu[number];

	vcpu->machine = machine;
	vcpu->number = number;
	vcpu->fd = ioctl(machine->vm_fd, KVM_CREATE_VCPU, number);
	if (vcpu->fd < 0)
		return -errno;
	vcpu->stats_fd = kvm_stats_open(vcpu->fd);
	vcpu->run = mmap(NULL, machine->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (vcpu->run == MAP_FAILED) {
		vcpu->run = NULL;
		return -errno;
	}
	return machine_set_processor(vcpu);
}

/* The capabilities asked of KVM, in order, with their names for messages. */
int machine_create_vm(struct machine *machine)
{
	uint64_t identity = IDENTITY_MAP_AT;
	const char *step;
	int size, error;

	step = "KVM_CREATE_VM";
	machine->vm_fd = ioctl(machine->kvm_fd, KVM_CREATE_VM, 0);
	if (machine->vm_fd < 0)
		goto refused;
	machine->stats_fd = kvm_stats_open(machine->vm_fd);
	step = "KVM_SET_IDENTITY_MAP_ADDR";
	if (ioctl(machine->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity) != 0)
		goto refused;
	step = "KVM_SET_TSS_ADDR";
	if (ioctl(machine->vm_fd, KVM_SET_TSS_ADDR, TSS_AT) != 0)
		goto refused;
	step = "KVM_CREATE_IRQCHIP";
	if (ioctl(machine->vm_fd, KVM_CREATE_IRQCHIP, 0) != 0)
		goto refused;
	error = machine->kind->create_chips(machine, &step);
	if (error != 0)
		goto failed;
	step = "mapping a vCPU's state";
	size = ioctl(machine->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (size < 0)
		goto refused;
	machine->run_size = (size_t)size;
	step = "a vCPU";
	error = 0;
	for (unsigned i = 0; i < machine->vcpu_count && error == 0; i++)
		error = create_vcpu(machine, i);
	if (error == 0) {
		step = "the guest's memory slots";
		error = ept_space_attach(machine->space, machine->vm_fd);
	}
	if (error != 0)
		goto failed;
	return 0;
refused:
	error = -errno;
failed:
	log_error("KVM refused %s: %s", step, strerror(-error));
	return error;
}

void machine_bound_tables(struct machine *machine, uint64_t budget_bytes)
{
	unsigned long pages = host_shadow_pages(budget_bytes, machine->memory_bytes);

	if (pages != 0 && ioctl(machine->vm_fd, KVM_SET_NR_MMU_PAGES, pages) != 0)
		log_warn("KVM does not bound its shadow page tables (%m): what they take of this "
			 "host's memory is not in the budget");
}

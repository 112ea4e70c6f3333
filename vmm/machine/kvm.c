/*
 * What a machine asks of KVM: the VM, its interrupt controllers, its vCPUs.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "base/log.h"
#include "vmm/host.h"
#include "vmm/machine/kvm_stats.h"
#include "vmm/machine/machine.h"

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

/*
 * The interrupt controllers of the PC's first days, as firmware leaves them: set up, and masked. A
 * kernel that does without them never touches them, and would get the PIT's interrupts as vector 0.
 */
static int mask_pics(struct machine *machine)
{
	static const uint8_t first_vector[] = {
		[KVM_IRQCHIP_PIC_MASTER] = 0x08, [KVM_IRQCHIP_PIC_SLAVE] = 0x70
	};

	for (uint32_t i = KVM_IRQCHIP_PIC_MASTER; i <= KVM_IRQCHIP_PIC_SLAVE; i++) {
		struct kvm_irqchip chip = { .chip_id = i };

		if (ioctl(machine->vm_fd, KVM_GET_IRQCHIP, &chip) != 0)
			return -errno;
		chip.chip.pic.irq_base = first_vector[i];
		chip.chip.pic.imr = 0xff;
		if (ioctl(machine->vm_fd, KVM_SET_IRQCHIP, &chip) != 0)
			return -errno;
	}
	return 0;
}

/* The capabilities asked of KVM, in order, with their names for messages. */
int machine_create_vm(struct machine *machine)
{
	const struct kvm_pit_config timer = { .flags = KVM_PIT_SPEAKER_DUMMY };
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
	if (!machine->stock)
		keep_faults_on_vcpu(machine);
	step = "KVM_SET_IRQCHIP";
	if (machine->stock && mask_pics(machine) != 0)
		goto refused;
	step = "KVM_CREATE_PIT2";
	if (machine->stock && ioctl(machine->vm_fd, KVM_CREATE_PIT2, &timer) != 0)
		goto refused;
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

void machine_bound_tables(struct machine *machine, uint64_t budget_bytes)
{
	unsigned long pages = host_shadow_pages(budget_bytes, machine->memory_bytes);

	if (pages != 0 && ioctl(machine->vm_fd, KVM_SET_NR_MMU_PAGES, pages) != 0)
		log_warn("KVM does not bound its shadow page tables (%m): what they take of this "
			 "host's memory is not in the budget");
}

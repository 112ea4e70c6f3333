/* KVM's own counters of a machine (KVM_GET_STATS_FD), summed over its vCPUs. */
#ifndef VMM_MACHINE_KVM_STATS_H
#define VMM_MACHINE_KVM_STATS_H

#include <stdint.h>

struct machine;

/* Those that the report names; UINT64_MAX: this KVM has no such counter. */
enum kvm_stat {
	KVM_STAT_EXITS,
	KVM_STAT_IO_EXITS,
	KVM_STAT_INSN_EMULATION, /* where ring 0 is emulated: its instructions */
	KVM_STAT_PF_TAKEN,	 /* second-layer faults */
	KVM_STAT_PAGES_4K,	 /* second-layer mappings now */
	KVM_STAT_PAGES_2M,
	KVM_STAT_PAGES_1G,
	KVM_STAT_COUNT,
};

extern const char *const kvm_stat_names[KVM_STAT_COUNT];

/*
 * The statistics of a VM or a vCPU, as a descriptor of their own; -1: this KVM has none. Before the
 * vCPU first runs: KVM makes one only while it is out of the guest. They are read at any time.
 */
int kvm_stats_open(int fd);

void kvm_stats_read(const struct machine *machine, uint64_t values[KVM_STAT_COUNT]);

/* Only the counters of the VM itself, such as the mappings. */
void kvm_stats_read_vm(const struct machine *machine, uint64_t values[KVM_STAT_COUNT]);

#endif

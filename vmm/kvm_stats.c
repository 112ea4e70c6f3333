/*
 * KVM's binary statistics: a header, descriptors with names, and the values, all read at offsets
 * that the header gives. A kernel without them, or without one of the counters, is no error.
 */
#include "vmm/kvm_stats.h"

#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "vmm/machine.h"

const char *const kvm_stat_names[KVM_STAT_COUNT] = {
	[KVM_STAT_EXITS] = "exits",
	[KVM_STAT_IO_EXITS] = "io_exits",
	[KVM_STAT_INSN_EMULATION] = "insn_emulation",
	[KVM_STAT_PF_TAKEN] = "pf_taken",
	[KVM_STAT_PAGES_4K] = "pages_4k",
	[KVM_STAT_PAGES_2M] = "pages_2m",
	[KVM_STAT_PAGES_1G] = "pages_1g",
};

static void add(const char *name, uint64_t value, uint64_t values[KVM_STAT_COUNT])
{
	for (int i = 0; i < KVM_STAT_COUNT; i++) {
		if (strcmp(name, kvm_stat_names[i]) != 0)
			continue;
		values[i] = values[i] == UINT64_MAX ? value : values[i] + value;
	}
}

static void read_from(int fd, uint64_t values[KVM_STAT_COUNT])
{
	struct kvm_stats_header header;
	struct kvm_stats_desc *descriptor;
	size_t size;

	if (pread(fd, &header, sizeof(header), 0) != sizeof(header))
		return;
	size = sizeof(*descriptor) + header.name_size;
	descriptor = calloc(1, size + 1);
	for (uint32_t i = 0; descriptor != NULL && i < header.num_desc; i++) {
		uint64_t value;

		if (pread(fd, descriptor, size, header.desc_offset + (off_t)(i * size)) !=
			    (ssize_t)size ||
		    pread(fd, &value, sizeof(value), header.data_offset + descriptor->offset) !=
			    sizeof(value))
			break;
		add(descriptor->name, value, values);
	}
	free(descriptor);
}

static void read_stats(int of, uint64_t values[KVM_STAT_COUNT])
{
	int fd = ioctl(of, KVM_GET_STATS_FD, NULL);

	if (fd < 0)
		return;
	read_from(fd, values);
	close(fd);
}

void kvm_stats_read_vm(const struct machine *machine, uint64_t values[KVM_STAT_COUNT])
{
	for (int i = 0; i < KVM_STAT_COUNT; i++)
		values[i] = UINT64_MAX;
	read_stats(machine->vm_fd, values);
}

void kvm_stats_read(const struct machine *machine, uint64_t values[KVM_STAT_COUNT])
{
	kvm_stats_read_vm(machine, values);
	for (unsigned i = 0; i < machine->vcpu_count; i++)
		read_stats(machine->vcpu[i].fd, values);
}

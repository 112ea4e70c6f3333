/*
 * KVM's binary statistics: a header, descriptors with names, and the values, all read at offsets
 * that the header gives. A kernel without them, or without one of the counters, is no error.
 */
#include "vmm/machine/kvm_stats.h"

#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "vmm/machine/internal.h"

const char *const kvm_stat_names[KVM_STAT_COUNT] = {
	[KVM_STAT_EXITS] = "exits",
	[KVM_STAT_IO_EXITS] = "io_exits",
	[KVM_STAT_INSN_EMULATION] = "insn_emulation",
	[KVM_STAT_PF_TAKEN] = "pf_taken",
	[KVM_STAT_PAGES_4K] = "pages_4k",
	[KVM_STAT_PAGES_2M] = "pages_2m",
	[KVM_STAT_PAGES_1G] = "pages_1g",
};

/* Which of ours it is, or -1. */
static int stat_named(const char *name, size_t room)
{
	for (int i = 0; i < KVM_STAT_COUNT; i++)
		if (strncmp(name, kvm_stat_names[i], room) == 0)
			return i;
	return -1;
}

/* `size` bytes at `offset`, or NULL. */
static void *read_block(int fd, size_t size, off_t offset)
{
	void *block = malloc(size);

	if (block != NULL && pread(fd, block, size, offset) == (ssize_t)size)
		return block;
	free(block);
	return NULL;
}

static void read_from(int fd, uint64_t values[KVM_STAT_COUNT])
{
	struct kvm_stats_header header;
	size_t size;
	char *descriptors;

	if (pread(fd, &header, sizeof(header), 0) != sizeof(header))
		return;
	size = sizeof(struct kvm_stats_desc) + header.name_size;
	descriptors = read_block(fd, header.num_desc * size, header.desc_offset);
	for (uint32_t i = 0; descriptors != NULL && i < header.num_desc; i++) {
		const struct kvm_stats_desc *descriptor = (void *)(descriptors + i * size);
		int stat = stat_named(descriptor->name, header.name_size);
		uint64_t value;

		if (stat < 0 || pread(fd, &value, sizeof(value),
				      header.data_offset + descriptor->offset) != sizeof(value))
			continue;
		values[stat] = values[stat] == UINT64_MAX ? value : values[stat] + value;
	}
	free(descriptors);
}

int kvm_stats_open(int fd)
{
	return ioctl(fd, KVM_GET_STATS_FD, NULL);
}

void kvm_stats_read_vm(const struct machine *machine, uint64_t values[KVM_STAT_COUNT])
{
	for (int i = 0; i < KVM_STAT_COUNT; i++)
		values[i] = UINT64_MAX;
	read_from(machine->stats_fd, values);
}

void kvm_stats_read(const struct machine *machine, uint64_t values[KVM_STAT_COUNT])
{
	kvm_stats_read_vm(machine, values);
	for (unsigned i = 0; i < machine->vcpu_count; i++)
		read_from(machine->vcpu[i].stats_fd, values);
}

/* The information that the loader hands over (PVH's start info), in quire's terms. */
#ifndef GUEST_BOOT_START_H
#define GUEST_BOOT_START_H

#include "guest/cpu/cpu.h"
#include "guest/memory/page.h"

#define START_RANGE_MAX	   16
#define START_ARGUMENT_MAX 256

struct start {
	struct page_range usable[START_RANGE_MAX], keep[4];
	unsigned usable_count, keep_count;
	uint64_t memory_end; /* physical, of the highest usable range */
	uint64_t archive, archive_size;
	const char *init;
	const char *argument[START_ARGUMENT_MAX];
	unsigned argument_count;
	const char *arguments; /* a file that has them instead, or NULL */
	bool verbose;
	uint64_t swap_bytes, contiguous_bytes;
	const char *policy;		/* of replacement, or NULL */
	const char *console;		/* its name below /dev, or NULL: the monitor's streams */
	const char *device[DEVICE_MAX]; /* virtio_mmio.device= */
	unsigned device_count;
};

/* `info` is the physical address of struct hvm_start_info. */
void start_read(uint64_t info, struct start *start);

#endif

/*
 * Puts a kernel with a PVH entry, its command line, its memory map and one module (the root
 * archive) into guest memory: Xen's PVH boot protocol, which quire and Linux both speak.
 */
#ifndef VMM_LOADER_H
#define VMM_LOADER_H

#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "ept/space.h"
#include "vmm/archive.h"

struct loader_result {
	gpa_t entry;	  /* 32-bit entry point */
	gpa_t start_info; /* for %ebx */
};

/*
 * 0 or -errno, with a line logged. The image's every offset is checked: a kernel from --kernel is
 * no more trusted than a guest.
 */
int loader_load(struct ept_space *space, const void *image, size_t image_size,
		const char *command_line, struct archive *root, struct loader_result *result);

#endif

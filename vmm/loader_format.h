/*
 * What loader.c and the boot protocols share. A protocol is a struct loader_format: it puts the
 * kernel in, which does all the checking of the image; then come the module and the command line,
 * the same for all; and then it tells the kernel where everything is.
 *
 * The first MiB belongs to the loader, with whatever the protocol wants there; the kernel and the
 * module lie above it and below the device hole.
 */
#ifndef VMM_LOADER_FORMAT_H
#define VMM_LOADER_FORMAT_H

#include <elf.h>

#include "vmm/loader.h"

/* The first MiB. Protocols use their own of these; none needs two that overlap. */
#define LOADER_GDT_AT	       0x500u
#define LOADER_PAGE_TABLES_AT  0x1000u /* for LOADER_LONG: six pages */
#define LOADER_START_INFO_AT   0x6000u
#define LOADER_MODULES_AT      0x6100u
#define LOADER_MEMORY_MAP_AT   0x6200u
#define LOADER_BOOT_PARAMS_AT  0x7000u
#define LOADER_COMMAND_LINE_AT 0x8000u
#define LOADER_LOW_END	       0x9f000u	 /* above it a PC has its BIOS data, screen and ROMs */
#define LOADER_HIGH_START      0x100000u /* where kernels may be */

struct loader_image {
	const uint8_t *data;
	size_t size;
};

/* One load under way. */
struct loader {
	struct ept_space *space; /* ready to be written */
	const struct loader_guest *guest;
	struct loader_image image;
	const char *command_line;
	struct loader_result *result;
	uint64_t kernel_end;   /* of what loader_put() has put */
	uint64_t module_limit; /* the last address that the module may have; put() may lower it */
	size_t command_line_most; /* bytes of it, with its NUL; put() may lower it */
	uint64_t module_at;	  /* once it is placed */
};

struct loader_format {
	const char *name;  /* as in "it is neither a NAME nor" */
	bool speaks_quire; /* it can boot quire */
	const char *default_command_line;
	/* Whether the image claims to be one. */
	bool (*probe)(const struct loader_image *image);
	/* Checks the image, puts the kernel in, sets the result's entry. 0 or -errno, logged. */
	int (*put)(struct loader *loader);
	/* Writes what the protocol has the kernel find, and sets the rest of the result. 0 or
	 * -errno of ept_write(). */
	int (*tell)(struct loader *loader);
};

extern const struct loader_format loader_linux, loader_pvh, loader_multiboot;

/* Logs "cannot load the kernel: ...". Returns -ENOEXEC. */
int loader_refuse(const char *format, ...) __attribute__((format(printf, 1, 2)));

static inline bool loader_inside(const struct loader_image *image, uint64_t offset, uint64_t length)
{
	return offset <= image->size && length <= image->size - offset;
}

/*
 * Puts image bytes where the kernel wants them, with zeros up to memory_size behind them: what was
 * never touched. 0 or -errno, logged: the place must be RAM between the first MiB and the hole.
 */
int loader_put(struct loader *loader, uint64_t at, uint64_t offset, uint64_t file_size,
	       uint64_t memory_size);

/* The types that PVH, E820 and Multiboot agree about. */
enum {
	LOADER_MEMORY_RAM = 1,
	LOADER_MEMORY_RESERVED = 2,
};
#define LOADER_MEMORY_MAX (EPT_RANGE_MAX + 2)

struct loader_memory {
	uint64_t start, length;
	uint32_t type;
};
size_t loader_memory_map(const struct loader *loader, struct loader_memory map[LOADER_MEMORY_MAX]);

/* loader_elf.c */
struct loader_elf {
	struct loader_image image;
	uint64_t entry;
	uint64_t segments_at;
	unsigned segment_count;
	bool wide; /* 64-bit */
};
bool loader_elf_open(const struct loader_image *image, struct loader_elf *elf);
/* Of either kind of ELF, as one of 64 bits. */
Elf64_Phdr loader_elf_segment(const struct loader_elf *elf, unsigned index);
/* Puts all PT_LOADs in place. 0 or -errno, logged. */
int loader_elf_put(struct loader *loader, const struct loader_elf *elf);

#endif

/*
 * Shared by loader.c and the boot protocols. A protocol is a struct loader_format: it checks the
 * image and puts the kernel in; then come the module and the command line, the same for all; and
 * then it tells the kernel where everything is.
 *
 * The kernel and the module lie below the device hole. The memory up to LOADER_LOW_END holds the
 * loader's tables, unless the kernel itself wants to lie there: then they follow it. From there to
 * 1 MiB nothing may be placed.
 */
#ifndef VMM_BOOT_FORMAT_H
#define VMM_BOOT_FORMAT_H

#include <elf.h>

#include "vmm/boot/loader.h"

/* The first MiB. */
#define LOADER_GDT_AT	      0x500u
#define LOADER_PAGE_TABLES_AT 0x1000u	/* for LOADER_LONG: six pages */
#define LOADER_TABLES_AT      0x6000u	/* unless they follow the kernel */
#define LOADER_LOW_END	      0x9f000u	/* above it a PC has its BIOS data, screen and ROMs */
#define LOADER_HIGH_START     0x100000u /* and here memory goes on */

/* Of the tables, from their beginning. A protocol uses some of them. */
#define LOADER_START_INFO   0u
#define LOADER_MODULES	    0x100u
#define LOADER_MEMORY_MAP   0x200u
#define LOADER_BOOT_PARAMS  0x1000u
#define LOADER_COMMAND_LINE 0x2000u /* to the end */

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
	bool is_low;	       /* some of it below LOADER_LOW_END */
	uint64_t tables_at;    /* once put() is done */
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
	/* Writes the data that the protocol promises the kernel, and sets the rest of the result. 0
	 * or -errno of ept_write(). */
	int (*tell)(struct loader *loader);
};

extern const struct loader_format loader_linux, loader_pvh, loader_multiboot;

/* Logs "cannot load the kernel: ...". Returns -ENOEXEC. */
int loader_refuse(const char *format, ...) __attribute__((format(printf, 1, 2)));

static inline bool loader_inside(const struct loader_image *image, uint64_t offset, uint64_t length)
{
	return offset <= image->size && length <= image->size - offset;
}

/* Where one of the tables is. */
static inline uint32_t loader_table(const struct loader *loader, uint32_t table)
{
	return (uint32_t)loader->tables_at + table;
}

/*
 * Puts image bytes where the kernel wants them. The memory behind them, up to memory_size, was
 * never touched and reads as zeros. 0 or -errno, logged: the place must be RAM below the device
 * hole.
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

/* elf.c */
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

/*
 * Linux' bzImage, by the 64-bit boot protocol (Documentation/arch/x86/boot.rst in Linux): the
 * setup header is copied from the image into a page of boot parameters, the kernel goes to the
 * address it prefers, and the first vCPU begins in long mode, 0x200 bytes into it, with the first
 * 4 GiB mapped where they are and %rsi = boot parameters.
 *
 * The real-mode part of the image is read, never run.
 */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "vmm/boot/format.h"

/* The setup header, by its offset in the image; in the boot parameters it has the same. */
#define HEADER_AT  0x1f1u
#define HEADER_MAX (0x290u - HEADER_AT)

struct setup_header {
	uint8_t setup_sects;
	uint16_t root_flags;
	uint32_t syssize; /* of the protected-mode code, in units of 16 bytes */
	uint16_t ram_size, vid_mode, root_dev, boot_flag;
	uint8_t jump[2]; /* jump[1]: where the header ends, from 0x202 on */
	uint32_t header; /* "HdrS" */
	uint16_t version;
	uint32_t realmode_swtch;
	uint16_t start_sys_seg, kernel_version;
	uint8_t type_of_loader, loadflags;
	uint16_t setup_move_size;
	uint32_t code32_start, ramdisk_image, ramdisk_size, bootsect_kludge;
	uint16_t heap_end_ptr;
	uint8_t ext_loader_ver, ext_loader_type;
	uint32_t cmd_line_ptr, initrd_addr_max, kernel_alignment;
	uint8_t relocatable_kernel, min_alignment;
	uint16_t xloadflags;
	uint32_t cmdline_size, hardware_subarch;
	uint64_t hardware_subarch_data;
	uint32_t payload_offset, payload_length;
	uint64_t setup_data, pref_address;
	uint32_t init_size, handover_offset;
} __attribute__((packed));

#define BOOT_FLAG	 0xaa55u
#define HEADER_MAGIC	 0x53726448u
#define VERSION_LEAST	 0x020cu
#define LOADED_HIGH	 1u /* loadflags */
#define XLF_KERNEL_64	 1u /* xloadflags */
#define LOADER_UNKNOWN	 0xffu
#define NORMAL_VIDEO	 0xffffu
#define SECTOR		 512u
#define ENTRY_64	 0x200u
#define SETUP_SECTS_PAST 4u /* what 0 stands for */

/* The boot parameters that we fill in beside the header. */
#define BOOT_PARAMS_SIZE  4096u
#define PARAMS_RSDP	  0x70u
#define PARAMS_E820_COUNT 0x1e8u
#define PARAMS_E820	  0x2d0u

struct e820_entry {
	uint64_t start, length;
	uint32_t type;
} __attribute__((packed));

static bool read_header(const struct loader_image *image, struct setup_header *header)
{
	if (!loader_inside(image, HEADER_AT, sizeof(*header)))
		return false;
	memcpy(header, image->data + HEADER_AT, sizeof(*header));
	return header->boot_flag == BOOT_FLAG && header->header == HEADER_MAGIC;
}

static bool probe(const struct loader_image *image)
{
	struct setup_header header;

	return read_header(image, &header);
}

/* Bytes of it, with what we have no name for. */
static size_t header_size(const struct setup_header *header)
{
	size_t size = 0x202u + header->jump[1] - HEADER_AT;

	return size < HEADER_MAX ? size : HEADER_MAX;
}

static int check_header(const struct loader_image *image, const struct setup_header *header)
{
	if (header->version < VERSION_LEAST)
		return loader_refuse("it speaks version %u.%02u of Linux' boot protocol, and 2.12 "
				     "is the least",
				     header->version >> 8, header->version & 255);
	if (!(header->xloadflags & XLF_KERNEL_64))
		return loader_refuse("it has no 64-bit entry");
	if (!(header->loadflags & LOADED_HIGH))
		return loader_refuse("it is a zImage, which loads below 1 MiB");
	if (header_size(header) < sizeof(*header))
		return loader_refuse("its setup header is too short");
	if (!loader_inside(image, HEADER_AT, header_size(header)))
		return loader_refuse("it is truncated");
	return 0;
}

/* The kernel itself, with the memory it wants to unpack itself in. */
static int put_kernel(struct loader *loader, const struct setup_header *header)
{
	uint64_t sectors = header->setup_sects != 0 ? header->setup_sects : SETUP_SECTS_PAST;
	uint64_t offset = (sectors + 1) * SECTOR;
	uint64_t size = (uint64_t)header->syssize * 16;
	uint64_t there = loader->image.size > offset ? loader->image.size - offset : 0;
	uint64_t memory = header->init_size > size ? header->init_size : size;

	if (size < ENTRY_64 * 2)
		return loader_refuse("there is no code in it");
	if (header->pref_address > UINT32_MAX)
		return loader_refuse("it wants to lie above 4 GiB");
	if (header->pref_address < LOADER_HIGH_START)
		return loader_refuse("it wants to lie below 1 MiB");
	/* Rounded up, where the image ends with its code. */
	if (size > there && size - there < 16)
		size = there;
	loader->result->entry = gpa(header->pref_address + ENTRY_64);
	return loader_put(loader, header->pref_address, offset, size, memory);
}

static int put_boot_params(struct loader *loader)
{
	struct loader_memory memory[LOADER_MEMORY_MAX];
	uint8_t params[BOOT_PARAMS_SIZE] = { 0 };
	size_t count = loader_memory_map(loader, memory);
	struct setup_header header;

	read_header(&loader->image, &header);
	memcpy(params + HEADER_AT, loader->image.data + HEADER_AT, header_size(&header));
	header.type_of_loader = LOADER_UNKNOWN;
	header.vid_mode = NORMAL_VIDEO;
	header.cmd_line_ptr = loader_table(loader, LOADER_COMMAND_LINE);
	header.setup_data = 0;
	if (loader->guest->module != NULL) {
		header.ramdisk_image = (uint32_t)loader->module_at;
		header.ramdisk_size = (uint32_t)loader->guest->module->size;
	}
	memcpy(params + HEADER_AT, &header, sizeof(header));
	memcpy(params + PARAMS_RSDP, &loader->guest->rsdp.v, 8);
	params[PARAMS_E820_COUNT] = (uint8_t)count;
	for (size_t i = 0; i < count; i++) {
		struct e820_entry entry = { memory[i].start, memory[i].length, memory[i].type };

		memcpy(params + PARAMS_E820 + i * sizeof(entry), &entry, sizeof(entry));
	}
	return ept_write(loader->space, gpa(loader_table(loader, LOADER_BOOT_PARAMS)), params,
			 sizeof(params));
}

#define PAGE_PRESENT  1u
#define PAGE_WRITABLE 2u
#define PAGE_LARGE    128u
#define IDENTITY_GIB  4u

/* A PML4, a PDPT, and a PD for each GiB. */
static int put_page_tables(struct loader *loader)
{
	uint64_t table[PAGE_SIZE / 8];
	gpa_t at = gpa(LOADER_PAGE_TABLES_AT);
	uint64_t flags = PAGE_PRESENT | PAGE_WRITABLE;
	int error;

	memset(table, 0, sizeof(table));
	table[0] = (at.v + PAGE_SIZE) | flags;
	error = ept_write(loader->space, at, table, sizeof(table));
	for (uint64_t i = 0; i < IDENTITY_GIB; i++)
		table[i] = (at.v + (2 + i) * PAGE_SIZE) | flags;
	if (error == 0)
		error = ept_write(loader->space, gpa(at.v + PAGE_SIZE), table, sizeof(table));
	for (uint64_t gib = 0; gib < IDENTITY_GIB && error == 0; gib++) {
		for (uint64_t i = 0; i < PAGE_SIZE / 8; i++)
			table[i] = gib << 30 | i << 21 | flags | PAGE_LARGE;
		error = ept_write(loader->space, gpa(at.v + (2 + gib) * PAGE_SIZE), table,
				  sizeof(table));
	}
	return error;
}

/* The protocol's: 0x10 is code of 64 bits, 0x18 data; both flat. */
static int put_gdt(struct loader *loader)
{
	const uint64_t gdt[LOADER_GDT_ENTRIES] = {
		[2] = 0x00af9b000000ffffull,
		[3] = 0x00cf93000000ffffull,
	};

	return ept_write(loader->space, gpa(LOADER_GDT_AT), gdt, sizeof(gdt));
}

static int put(struct loader *loader)
{
	struct setup_header header;
	int error;

	if (!read_header(&loader->image, &header))
		return loader_refuse("it is truncated");
	loader->module_limit = header.initrd_addr_max;
	if (header.cmdline_size < loader->command_line_most)
		loader->command_line_most = (size_t)header.cmdline_size + 1;
	error = check_header(&loader->image, &header);
	return error != 0 ? error : put_kernel(loader, &header);
}

static int tell(struct loader *loader)
{
	int error = put_boot_params(loader);

	if (error == 0)
		error = put_page_tables(loader);
	if (error == 0)
		error = put_gdt(loader);
	loader->result->mode = LOADER_LONG;
	loader->result->cr3 = gpa(LOADER_PAGE_TABLES_AT);
	loader->result->gdt = gpa(LOADER_GDT_AT);
	loader->result->start_info = gpa(loader_table(loader, LOADER_BOOT_PARAMS));
	return error;
}

const struct loader_format loader_linux = {
	.name = "Linux bzImage",
	.default_command_line = "console=ttyS0",
	.probe = probe,
	.put = put,
	.tell = tell,
};

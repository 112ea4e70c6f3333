/*
 * Multiboot 1 (the Multiboot Specification, version 0.6.96): a header in the image's first 8 KiB
 * says what the kernel wants; it is an ELF of 32 or 64 bits, or says in the header itself where it
 * goes. Entered in 32-bit protected mode with %eax = the loader's magic, %ebx = information.
 */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "vmm/boot/format.h"

#define HEADER_MAGIC  0x1badb002u
#define LOADER_MAGIC  0x2badb002u
#define SEARCH_LENGTH 8192u

/* Flags of the header. All below 16 are requirements. */
#define WANTS_PAGES   1u /* modules begin at pages: they always do */
#define WANTS_MEMORY  2u /* sizes and map of memory: always there */
#define WANTS_VIDEO   4u
#define HAS_ADDRESSES (1u << 16)
#define REQUIREMENTS  0xffffu

struct header {
	uint32_t magic, flags, checksum;
	/* With HAS_ADDRESSES. */
	uint32_t header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr;
};
#define HEADER_LEAST 12u

/* Flags of the information. */
#define INFO_MEMORY	  (1u << 0)
#define INFO_COMMAND_LINE (1u << 2)
#define INFO_MODULES	  (1u << 3)
#define INFO_MEMORY_MAP	  (1u << 6)
#define INFO_LOADER_NAME  (1u << 9)

struct info {
	uint32_t flags;
	uint32_t mem_lower, mem_upper; /* KiB from 0, from 1 MiB on */
	uint32_t boot_device;
	uint32_t command_line;
	uint32_t module_count, modules;
	uint32_t symbols[4];
	uint32_t memory_map_length, memory_map;
	uint32_t drives_length, drives, config_table;
	uint32_t loader_name;
};

struct module_entry {
	uint32_t start, end, string, reserved;
};

struct memory_map_entry {
	uint32_t size; /* of what follows */
	uint64_t address, length;
	uint32_t type;
} __attribute__((packed));

#define LOADER_NAME	  "bifold"
#define LOADER_NAME_TABLE (LOADER_MEMORY_MAP + 0x100u)

/* The header, and where it is in the image. Bytes past the image's end read as zeros. */
static bool find_header(const struct loader_image *image, struct header *header, uint32_t *at)
{
	for (*at = 0; *at <= SEARCH_LENGTH - HEADER_LEAST; *at += 4) {
		size_t length = sizeof(*header);

		if (!loader_inside(image, *at, HEADER_LEAST))
			return false;
		if (length > image->size - *at)
			length = image->size - *at;
		memset(header, 0, sizeof(*header));
		memcpy(header, image->data + *at, length);
		if (header->magic == HEADER_MAGIC &&
		    header->magic + header->flags + header->checksum == 0)
			return true;
	}
	return false;
}

static bool probe(const struct loader_image *image)
{
	struct header header;
	uint32_t at;

	return find_header(image, &header, &at);
}

static int put_by_header(struct loader *loader, const struct header *header, uint32_t header_at)
{
	uint64_t ahead, offset, size, memory;

	if (!loader_inside(&loader->image, header_at, sizeof(*header)))
		return loader_refuse("it is truncated");
	if (header->header_addr < header->load_addr ||
	    header->header_addr - header->load_addr > header_at)
		return loader_refuse("its header is not where it says");
	ahead = header->header_addr - header->load_addr;
	offset = header_at - ahead;
	size = loader->image.size - offset;
	if (header->load_end_addr != 0) {
		if (header->load_end_addr < header->load_addr)
			return loader_refuse("it ends before it begins");
		size = header->load_end_addr - header->load_addr;
	}
	memory = size;
	if (header->bss_end_addr != 0) {
		if (header->bss_end_addr < header->load_addr + size)
			return loader_refuse("its bss ends before it begins");
		memory = header->bss_end_addr - header->load_addr;
	}
	loader->result->entry = gpa(header->entry_addr);
	return loader_put(loader, header->load_addr, offset, size, memory);
}

/* The entry of an ELF is a virtual address; where it is in memory, its segment says. */
static int put_elf(struct loader *loader)
{
	struct loader_elf elf;
	int error;

	if (!loader_elf_open(&loader->image, &elf))
		return loader_refuse("it has a Multiboot header, but is no ELF for x86, and does "
				     "not say where it goes");
	error = loader_elf_put(loader, &elf);
	if (error != 0)
		return error;
	loader->result->entry = gpa(elf.entry);
	for (unsigned i = 0; i < elf.segment_count; i++) {
		Elf64_Phdr segment = loader_elf_segment(&elf, i);

		if (segment.p_type == PT_LOAD && elf.entry >= segment.p_vaddr &&
		    elf.entry - segment.p_vaddr < segment.p_memsz) {
			loader->result->entry = gpa(elf.entry - segment.p_vaddr + segment.p_paddr);
			break;
		}
	}
	return 0;
}

static int tell(struct loader *loader)
{
	const struct loader_module *module = loader->guest->module;
	struct loader_memory memory[LOADER_MEMORY_MAX];
	struct memory_map_entry map[LOADER_MEMORY_MAX];
	size_t count = loader_memory_map(loader, memory);
	struct info info = {
		.flags = INFO_MEMORY | INFO_COMMAND_LINE | INFO_MEMORY_MAP | INFO_LOADER_NAME,
		.mem_lower = LOADER_LOW_END >> 10,
		.command_line = loader_table(loader, LOADER_COMMAND_LINE),
		.memory_map_length = (uint32_t)(count * sizeof(map[0])),
		.memory_map = loader_table(loader, LOADER_MEMORY_MAP),
		.loader_name = loader_table(loader, LOADER_NAME_TABLE),
	};
	int error;

	for (size_t i = 0; i < count; i++) {
		map[i] = (struct memory_map_entry){ sizeof(map[i]) - sizeof(map[i].size),
						    memory[i].start, memory[i].length,
						    memory[i].type };
		if (memory[i].start == LOADER_HIGH_START)
			info.mem_upper = (uint32_t)(memory[i].length >> 10);
	}
	error = ept_write(loader->space, gpa(loader_table(loader, LOADER_MEMORY_MAP)), map,
			  sizeof(map[0]) * count);
	if (error == 0 && module != NULL) {
		struct module_entry entry = {
			.start = (uint32_t)loader->module_at,
			.end = (uint32_t)(loader->module_at + module->size),
			.string = loader_table(loader, LOADER_COMMAND_LINE),
		};

		info.flags |= INFO_MODULES;
		info.module_count = 1;
		info.modules = loader_table(loader, LOADER_MODULES);
		error = ept_write(loader->space, gpa(loader_table(loader, LOADER_MODULES)), &entry,
				  sizeof(entry));
	}
	if (error == 0)
		error = ept_write(loader->space, gpa(loader_table(loader, LOADER_NAME_TABLE)),
				  LOADER_NAME, sizeof(LOADER_NAME));
	if (error == 0)
		error = ept_write(loader->space, gpa(loader_table(loader, LOADER_START_INFO)),
				  &info, sizeof(info));
	loader->result->rax = LOADER_MAGIC;
	loader->result->start_info = gpa(loader_table(loader, LOADER_START_INFO));
	return error;
}

static int put(struct loader *loader)
{
	struct header header;
	uint32_t at;

	find_header(&loader->image, &header, &at);
	if (header.flags & REQUIREMENTS & ~(WANTS_PAGES | WANTS_MEMORY | WANTS_VIDEO))
		return loader_refuse("it requires what its loader does not know (%#x)",
				     header.flags & REQUIREMENTS);
	if (header.flags & WANTS_VIDEO)
		log_warn("the kernel asks for a screen, and there is none");
	return header.flags & HAS_ADDRESSES ? put_by_header(loader, &header, at) : put_elf(loader);
}

const struct loader_format loader_multiboot = {
	.name = "Multiboot 1 image",
	.default_command_line = "",
	.probe = probe,
	.put = put,
	.tell = tell,
};

/*
 * Layout of guest-physical memory at entry:
 *
 *   0x6000   struct hvm_start_info, the module list, the memory map
 *   0x7000   a page for the guest: where its other CPUs begin, in real mode
 *   0x8000   the command line, up to 0x9f000
 *   p_paddr  the kernel's segments
 *   top      the root archive, ending with the RAM below the device hole
 */
#include "vmm/loader.h"

#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/log.h"
#include "base/units.h"

#define START_INFO_AT	 0x6000u
#define MODULES_AT	 0x6100u
#define MEMORY_MAP_AT	 0x6200u
#define COMMAND_LINE_AT	 0x8000u
#define COMMAND_LINE_END 0x9f000u

/* What a kernel wants free behind itself to begin with: page tables, page records, a stack. */
#define KERNEL_ROOM(memory) (MIB(2) + (memory) / 64)

#define START_MAGIC	  0x336ec578u
#define NOTE_PHYS32_ENTRY 18u
#define MEMORY_MAP_RAM	  1u

/* The shapes of Xen's public start_info interface, version 1. */
struct start_info {
	uint32_t magic;
	uint32_t version;
	uint32_t flags;
	uint32_t module_count;
	uint64_t modules;
	uint64_t command_line;
	uint64_t rsdp;
	uint64_t memory_map;
	uint32_t memory_map_count;
	uint32_t reserved;
};

struct module_entry {
	uint64_t address;
	uint64_t size;
	uint64_t command_line;
	uint64_t reserved;
};

struct memory_map_entry {
	uint64_t address;
	uint64_t size;
	uint32_t type;
	uint32_t reserved;
};

struct image {
	const uint8_t *data;
	size_t size;
	Elf64_Ehdr header;
};

static bool inside(const struct image *image, uint64_t offset, uint64_t length)
{
	return offset <= image->size && length <= image->size - offset;
}

static int open_image(struct image *image, const void *data, size_t size)
{
	image->data = data;
	image->size = size;
	if (size < sizeof(image->header))
		return -ENOEXEC;
	memcpy(&image->header, data, sizeof(image->header));
	if (memcmp(image->header.e_ident, ELFMAG, SELFMAG) != 0 ||
	    image->header.e_ident[EI_CLASS] != ELFCLASS64 || image->header.e_machine != EM_X86_64 ||
	    image->header.e_phentsize != sizeof(Elf64_Phdr) ||
	    !inside(image, image->header.e_phoff,
		    (uint64_t)image->header.e_phnum * sizeof(Elf64_Phdr)))
		return -ENOEXEC;
	return 0;
}

static Elf64_Phdr program_header(const struct image *image, unsigned index)
{
	Elf64_Phdr program;

	memcpy(&program, image->data + image->header.e_phoff + index * sizeof(program),
	       sizeof(program));
	return program;
}

/* Looks through one PT_NOTE for Xen's entry note. True with *entry if it is there. */
static bool find_entry_note(const struct image *image, const Elf64_Phdr *program, gpa_t *entry)
{
	uint64_t at = 0;

	while (program->p_filesz - at >= sizeof(Elf64_Nhdr)) {
		const uint8_t *notes = image->data + program->p_offset;
		uint64_t name_at = at + sizeof(Elf64_Nhdr), value_at;
		Elf64_Nhdr note;

		memcpy(&note, notes + at, sizeof(note));
		value_at = name_at + ((uint64_t)note.n_namesz + 3) / 4 * 4;
		at = value_at + ((uint64_t)note.n_descsz + 3) / 4 * 4;
		if (at > program->p_filesz)
			return false;
		if (note.n_type == NOTE_PHYS32_ENTRY && note.n_namesz == sizeof("Xen") &&
		    memcmp(notes + name_at, "Xen", sizeof("Xen")) == 0 && note.n_descsz >= 4) {
			uint32_t value;

			memcpy(&value, notes + value_at, sizeof(value));
			*entry = gpa(value);
			return true;
		}
	}
	return false;
}

static int load_segments(struct ept_space *space, const struct image *image, gpa_t *entry,
			 uint64_t *end)
{
	bool found = false;

	*end = 0;
	for (unsigned i = 0; i < image->header.e_phnum; i++) {
		Elf64_Phdr program = program_header(image, i);
		int error;

		if (program.p_type != PT_LOAD && program.p_type != PT_NOTE)
			continue;
		if (!inside(image, program.p_offset, program.p_filesz))
			return -ENOEXEC;
		if (program.p_type == PT_NOTE) {
			found = find_entry_note(image, &program, entry) || found;
			continue;
		}
		if (program.p_memsz < program.p_filesz || program.p_paddr < COMMAND_LINE_END ||
		    program.p_memsz > UINT32_MAX || program.p_paddr > UINT32_MAX)
			return -ENOEXEC;
		/* The rest up to p_memsz is untouched guest memory, which reads as zeros. */
		error = ept_write(space, gpa(program.p_paddr), image->data + program.p_offset,
				  program.p_filesz);
		if (error != 0)
			return error == -EFAULT ? -ENOMEM : error;
		if (program.p_paddr + program.p_memsz > *end)
			*end = program.p_paddr + program.p_memsz;
	}
	return found && *end > 0 ? 0 : -ENOEXEC;
}

struct placement {
	struct ept_space *space;
	uint64_t start;
};

static int place(void *context, uint64_t offset, const void *data, size_t length)
{
	struct placement *placement = context;

	return ept_write(placement->space, gpa(placement->start + offset), data, length);
}

static int write_start_info(struct ept_space *space, const struct module_entry *module)
{
	const struct ept_range *ranges;
	size_t range_count = ept_space_ranges(space, &ranges);
	struct memory_map_entry map[EPT_RANGE_MAX] = { 0 };
	struct start_info info = {
		.magic = START_MAGIC,
		.version = 1,
		.module_count = 1,
		.modules = MODULES_AT,
		.command_line = COMMAND_LINE_AT,
		.memory_map = MEMORY_MAP_AT,
		.memory_map_count = (uint32_t)range_count,
	};
	int error;

	for (size_t i = 0; i < range_count; i++)
		map[i] = (struct memory_map_entry){ ranges[i].start.v, ranges[i].length,
						    MEMORY_MAP_RAM, 0 };
	error = ept_write(space, gpa(MODULES_AT), module, sizeof(*module));
	if (error == 0)
		error = ept_write(space, gpa(MEMORY_MAP_AT), map, sizeof(map[0]) * range_count);
	if (error == 0)
		error = ept_write(space, gpa(START_INFO_AT), &info, sizeof(info));
	return error;
}

/* Where the archive goes: the end of the first piece of RAM, past the kernel. */
static int place_root(struct ept_space *space, uint64_t kernel_end, uint64_t size, uint64_t *start)
{
	const struct ept_range *ranges;
	char have[UNITS_TEXT_SIZE], need[UNITS_TEXT_SIZE];

	ept_space_ranges(space, &ranges);
	if (size <= ranges[0].length &&
	    ranges[0].length - size >= kernel_end + KERNEL_ROOM(ranges[0].length)) {
		*start = ranges[0].length - size;
		return 0;
	}
	log_error(
		"the files (%s) do not fit into the guest's memory (%s) beside its kernel: give it "
		"more with --memory",
		units_format_size(size, need), units_format_size(ranges[0].length, have));
	return -ENOSPC;
}

int loader_load(struct ept_space *space, const void *data, size_t image_size,
		const char *command_line, struct archive *root, struct loader_result *result)
{
	struct module_entry module = { .size = archive_size(root) };
	size_t command_line_size = strlen(command_line) + 1;
	struct placement placement = { .space = space };
	uint64_t kernel_end;
	struct image image;
	int error = open_image(&image, data, image_size);

	if (error == 0)
		error = load_segments(space, &image, &result->entry, &kernel_end);
	if (error != 0) {
		log_error("cannot load the kernel: %s",
			  error == -ENOEXEC ? "it is no 64-bit ELF with a PVH entry"
					    : strerror(-error));
		return error;
	}
	if (command_line_size > COMMAND_LINE_END - COMMAND_LINE_AT) {
		log_error("the program's arguments are too long (%zu bytes)", command_line_size);
		return -E2BIG;
	}
	error = place_root(space, kernel_end, module.size, &placement.start);
	if (error != 0)
		return error;
	module.address = placement.start;
	error = archive_write(root, place, &placement);
	if (error == 0)
		error = ept_write(space, gpa(COMMAND_LINE_AT), command_line, command_line_size);
	if (error == 0)
		error = write_start_info(space, &module);
	if (error != 0)
		log_error("cannot fill the guest's memory: %s", strerror(-error));
	result->start_info = gpa(START_INFO_AT);
	return error;
}

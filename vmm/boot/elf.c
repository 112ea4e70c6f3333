/*
 * ELF images of 32 and 64 bits, and Xen's PVH boot protocol, which quire and Linux' vmlinux both
 * speak: 32-bit protected mode, %ebx = start info, entry at an address that a note names.
 */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "vmm/boot/format.h"

#define START_MAGIC	  0x336ec578u
#define NOTE_PHYS32_ENTRY 18u

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

static bool open_wide(const struct loader_image *image, struct loader_elf *elf)
{
	Elf64_Ehdr header;

	if (image->size < sizeof(header))
		return false;
	memcpy(&header, image->data, sizeof(header));
	elf->entry = header.e_entry;
	elf->segments_at = header.e_phoff;
	elf->segment_count = header.e_phnum;
	return header.e_machine == EM_X86_64 && header.e_phentsize == sizeof(Elf64_Phdr);
}

static bool open_narrow(const struct loader_image *image, struct loader_elf *elf)
{
	Elf32_Ehdr header;

	if (image->size < sizeof(header))
		return false;
	memcpy(&header, image->data, sizeof(header));
	elf->entry = header.e_entry;
	elf->segments_at = header.e_phoff;
	elf->segment_count = header.e_phnum;
	return header.e_machine == EM_386 && header.e_phentsize == sizeof(Elf32_Phdr);
}

bool loader_elf_open(const struct loader_image *image, struct loader_elf *elf)
{
	*elf = (struct loader_elf){ .image = *image };
	if (image->size < EI_NIDENT || memcmp(image->data, ELFMAG, SELFMAG) != 0)
		return false;
	elf->wide = image->data[EI_CLASS] == ELFCLASS64;
	return (elf->wide ? open_wide(image, elf) : open_narrow(image, elf)) &&
	       loader_inside(image, elf->segments_at,
			     elf->segment_count *
				     (elf->wide ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr)));
}

Elf64_Phdr loader_elf_segment(const struct loader_elf *elf, unsigned index)
{
	const uint8_t *segments = elf->image.data + elf->segments_at;
	Elf64_Phdr wide;
	Elf32_Phdr narrow;

	if (elf->wide) {
		memcpy(&wide, segments + index * sizeof(wide), sizeof(wide));
		return wide;
	}
	memcpy(&narrow, segments + index * sizeof(narrow), sizeof(narrow));
	return (Elf64_Phdr){
		.p_type = narrow.p_type,
		.p_offset = narrow.p_offset,
		.p_vaddr = narrow.p_vaddr,
		.p_paddr = narrow.p_paddr,
		.p_filesz = narrow.p_filesz,
		.p_memsz = narrow.p_memsz,
		.p_align = narrow.p_align,
	};
}

int loader_elf_put(struct loader *loader, const struct loader_elf *elf)
{
	for (unsigned i = 0; i < elf->segment_count; i++) {
		Elf64_Phdr segment = loader_elf_segment(elf, i);
		int error;

		if (segment.p_type != PT_LOAD || segment.p_memsz == 0)
			continue;
		error = loader_put(loader, segment.p_paddr, segment.p_offset, segment.p_filesz,
				   segment.p_memsz);
		if (error != 0)
			return error;
	}
	return loader->kernel_end > 0 ? 0 : loader_refuse("it has nothing to load");
}

/* --- PVH --- */

static uint64_t round_up(uint64_t offset, uint64_t alignment)
{
	return (offset + alignment - 1) & ~(alignment - 1);
}

/*
 * Looks through one PT_NOTE for Xen's entry note. True with *entry if it is there. Names and values
 * are padded to 4 bytes, or to 8 where the segment is aligned so.
 */
static bool find_in_notes(const struct loader_image *image, const Elf64_Phdr *segment, gpa_t *entry)
{
	const uint64_t alignment = segment->p_align == 8 ? 8 : 4;
	const uint8_t *notes = image->data + segment->p_offset;
	uint64_t at = 0;

	while (at + sizeof(Elf64_Nhdr) <= segment->p_filesz) {
		uint64_t name_at = at + sizeof(Elf64_Nhdr), value_at;
		Elf64_Nhdr note;

		memcpy(&note, notes + at, sizeof(note));
		value_at = round_up(name_at + note.n_namesz, alignment);
		at = round_up(value_at + note.n_descsz, alignment);
		/* The last may lack its padding. */
		if (value_at + note.n_descsz > segment->p_filesz)
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

static bool find_entry(const struct loader_elf *elf, gpa_t *entry)
{
	for (unsigned i = 0; i < elf->segment_count; i++) {
		Elf64_Phdr segment = loader_elf_segment(elf, i);

		if (segment.p_type == PT_NOTE &&
		    loader_inside(&elf->image, segment.p_offset, segment.p_filesz) &&
		    find_in_notes(&elf->image, &segment, entry))
			return true;
	}
	return false;
}

static bool probe(const struct loader_image *image)
{
	struct loader_elf elf;
	gpa_t entry;

	return loader_elf_open(image, &elf) && find_entry(&elf, &entry);
}

static int tell(struct loader *loader)
{
	const struct loader_module *module = loader->guest->module;
	struct loader_memory memory[LOADER_MEMORY_MAX];
	struct memory_map_entry map[LOADER_MEMORY_MAX];
	size_t count = loader_memory_map(loader, memory);
	struct start_info info = {
		.magic = START_MAGIC,
		.version = 1,
		.module_count = module != NULL,
		.modules = module != NULL ? loader_table(loader, LOADER_MODULES) : 0,
		.command_line = loader_table(loader, LOADER_COMMAND_LINE),
		.rsdp = loader->guest->rsdp.v,
		.memory_map = loader_table(loader, LOADER_MEMORY_MAP),
		.memory_map_count = (uint32_t)count,
	};
	struct module_entry entry = {
		.address = loader->module_at,
		.size = module != NULL ? module->size : 0,
	};
	int error;

	for (size_t i = 0; i < count; i++)
		map[i] = (struct memory_map_entry){ memory[i].start, memory[i].length,
						    memory[i].type, 0 };
	error = ept_write(loader->space, gpa(loader_table(loader, LOADER_MODULES)), &entry,
			  sizeof(entry));
	if (error == 0)
		error = ept_write(loader->space, gpa(loader_table(loader, LOADER_MEMORY_MAP)), map,
				  sizeof(map[0]) * count);
	if (error == 0)
		error = ept_write(loader->space, gpa(loader_table(loader, LOADER_START_INFO)),
				  &info, sizeof(info));
	loader->result->start_info = gpa(loader_table(loader, LOADER_START_INFO));
	return error;
}

static int put(struct loader *loader)
{
	struct loader_elf elf;

	loader_elf_open(&loader->image, &elf);
	find_entry(&elf, &loader->result->entry);
	return loader_elf_put(loader, &elf);
}

const struct loader_format loader_pvh = {
	.name = "ELF with a PVH entry",
	.speaks_quire = true,
	.default_command_line = "console=ttyS0",
	.probe = probe,
	.put = put,
	.tell = tell,
};

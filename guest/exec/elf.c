/*
 * The ELF loader: static x86-64 programs, at fixed addresses (ET_EXEC) or not (ET_DYN without an
 * interpreter). The file is hostile until checked: every number is compared before it is added.
 *
 * A segment's file part is mapped, not copied; what lies beyond its bytes in their last page reads
 * as zero because the area says where the bytes end. Where segments overlap the later one wins, as
 * on Linux; so may a segment be writable and executable. The stack is executable only when
 * PT_GNU_STACK asks for it.
 */
#include "guest/exec/exec.h"
#include "guest/file/node.h"
#include "guest/lib/errno.h"
#include "guest/lib/string.h"
#include "guest/memory/cache.h"
#include "guest/memory/slab.h"

struct elf_header {
	uint8_t magic[4], class, data, version, abi, rest[8];
	uint16_t type, machine;
	uint32_t version2;
	uint64_t entry, headers, sections;
	uint32_t flags;
	uint16_t size, header_size, header_count, section_size, section_count, section_names;
};

struct elf_segment {
	uint32_t type, flags;
	uint64_t offset, address, physical, file_size, memory_size, align;
};

#define TYPE_EXEC      2
#define TYPE_DYN       3
#define MACHINE_X86_64 62
#define SEGMENT_LOAD   1
#define SEGMENT_INTERP 3
#define SEGMENT_STACK  0x6474e551
#define SEGMENT_EXEC   1
#define SEGMENT_WRITE  2
#define SEGMENT_READ   4
#define HEADERS_MAX    65536 /* bytes of program headers, as on Linux */
#define BASE_DYN       0x555555554000
#define BASE_DYN_BITS  15 /* random multiples of LEAF_SIZE above it: 64 GiB */

int exec_read(struct node *node, uint64_t offset, void *to, uint64_t length)
{
	while (length > 0) {
		uint64_t in_page = offset & (PAGE_SIZE - 1);
		uint64_t part = MIN(length, PAGE_SIZE - in_page);
		bool major;
		uint64_t frame = cache_frame(&node->content, offset >> PAGE_SHIFT, false, &major);

		if (!frame)
			return -ENOMEM;
		memcpy(to, (uint8_t *)direct(frame << PAGE_SHIFT) + in_page, part);
		to = (uint8_t *)to + part;
		offset += part;
		length -= part;
	}
	return 0;
}

/* `why` is in the plain words that bifold shows. */
static int check_header(const struct node *node, const struct elf_header *header, const char **why)
{
	*why = "is not an ELF program";
	if (header->magic[0] != 0x7f || header->magic[1] != 'E' || header->magic[2] != 'L' ||
	    header->magic[3] != 'F')
		return -ENOEXEC;
	*why = "is not a program for 64-bit x86";
	if (header->class != 2 || header->data != 1 || header->machine != MACHINE_X86_64)
		return -ENOEXEC;
	*why = "is not an executable";
	if (header->type != TYPE_EXEC && header->type != TYPE_DYN)
		return -ENOEXEC;
	*why = "has broken program headers";
	if (header->header_size != sizeof(struct elf_segment) || header->header_count == 0 ||
	    header->header_count * sizeof(struct elf_segment) > HEADERS_MAX ||
	    header->headers > node->content.size ||
	    header->header_count * sizeof(struct elf_segment) >
		    node->content.size - header->headers)
		return -ENOEXEC;
	return 0;
}

static int check_segment(const struct node *node, const struct elf_segment *segment, uint64_t base,
			 const char **why)
{
	*why = "is truncated";
	if (segment->offset > node->content.size ||
	    segment->file_size > node->content.size - segment->offset)
		return -ENOEXEC;
	*why = "has a segment of impossible size or place";
	if (segment->file_size > segment->memory_size || segment->memory_size > USER_END ||
	    segment->address > USER_END - segment->memory_size ||
	    base > USER_END - segment->memory_size - segment->address ||
	    base + segment->address < MMAP_MIN)
		return -EINVAL;
	if ((segment->offset ^ segment->address) & (PAGE_SIZE - 1))
		return -EINVAL;
	return 0;
}

static int map_part(struct space *space, struct area *area)
{
	int error = 0;

	if (area->start == area->end)
		return 0;
	if (!space_is_free(space, area->start, area->end))
		error = space_remove(space, area->start, area->end);
	if (!error)
		error = space_may_map(space, area->flags, (area->end - area->start) >> PAGE_SHIFT);
	return error ? error : space_add(space, area);
}

static int map_segment(struct space *space, struct node *node, const struct elf_segment *segment,
		       uint64_t base)
{
	uint64_t address = base + segment->address;
	uint64_t file_end = address + segment->file_size;
	struct area area = {
		.start = ROUND_DOWN(address, PAGE_SIZE),
		.end = ROUND_UP(file_end, PAGE_SIZE),
		.flags = AREA_READ |
			 (segment->flags & SEGMENT_WRITE ? AREA_WRITE | AREA_ACCOUNT : 0) |
			 (segment->flags & SEGMENT_EXEC ? AREA_EXEC : 0),
		.content = &node->content,
		.offset = ROUND_DOWN(segment->offset, PAGE_SIZE),
		.limit = UINT64_MAX,
	};
	int error;

	if (segment->file_size == 0)
		area.end = area.start;
	else if (segment->memory_size > segment->file_size)
		area.limit = segment->offset + segment->file_size;
	error = map_part(space, &area);
	if (error)
		return error;
	area.start = area.end;
	area.end = ROUND_UP(address + segment->memory_size, PAGE_SIZE);
	area.content = NULL;
	area.offset = 0;
	area.limit = 0;
	return area.start < area.end ? map_part(space, &area) : 0;
}

/* Where the program headers are in memory: in the segment that loads their bytes. */
static uint64_t headers_address(const struct elf_header *header, const struct elf_segment *segment)
{
	for (unsigned i = 0; i < header->header_count; i++) {
		if (segment[i].type == SEGMENT_LOAD && segment[i].offset <= header->headers &&
		    header->headers - segment[i].offset < segment[i].file_size)
			return segment[i].address + (header->headers - segment[i].offset);
	}
	return 0;
}

/* One program header. */
static int load_segment(struct space *space, struct node *node, const struct elf_segment *segment,
			uint64_t base, struct elf_image *image, const char **why)
{
	int error;

	if (segment->type == SEGMENT_INTERP) {
		*why = "is dynamically linked: build it with -static";
		return -ENOEXEC;
	}
	if (segment->type == SEGMENT_STACK)
		image->stack_executable = segment->flags & SEGMENT_EXEC;
	if (segment->type != SEGMENT_LOAD || segment->memory_size == 0)
		return 0;
	error = check_segment(node, segment, base, why);
	if (!error) {
		*why = "does not fit into memory";
		error = map_segment(space, node, segment, base);
	}
	image->end = MAX(image->end,
			 ROUND_UP(base + segment->address + segment->memory_size, PAGE_SIZE));
	return error;
}

int elf_load(struct space *space, struct node *node, struct elf_image *image, const char **why)
{
	struct elf_header header = { 0 };
	struct elf_segment *segment;
	uint64_t base = 0, size;
	int error = exec_read(node, 0, &header, MIN(sizeof(header), node->content.size));

	*image = (struct elf_image){ 0 };
	if (!error)
		error = check_header(node, &header, why);
	if (error)
		return error;
	size = header.header_count * sizeof(*segment);
	segment = memory_alloc(size);
	if (!segment)
		return -ENOMEM;
	error = exec_read(node, header.headers, segment, size);
	if (header.type == TYPE_DYN)
		base = BASE_DYN + space_random(space, BASE_DYN_BITS) * LEAF_SIZE;
	*image = (struct elf_image){ .entry = base + header.entry,
				     .headers = base + headers_address(&header, segment),
				     .header_size = header.header_size,
				     .header_count = header.header_count };
	for (unsigned i = 0; i < header.header_count && !error; i++)
		error = load_segment(space, node, &segment[i], base, image, why);
	memory_free(segment);
	if (error)
		return error;
	/* Where nothing is mapped it will die of SIGSEGV, as on Linux. */
	*why = "has its entry outside of the program's half";
	return image->entry < USER_END ? 0 : -ENOEXEC;
}

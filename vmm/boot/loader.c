/*
 * The work that all boot protocols need: telling them apart, putting bytes into place with every
 * bound checked, the module, the command line, the map of memory. format.h has the layout of the
 * first MiB.
 */
#include "vmm/boot/loader.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/log.h"
#include "base/units.h"
#include "vmm/boot/format.h"

/* Room that a kernel needs behind itself at first: page tables, page records, a stack. */
#define KERNEL_ROOM(memory) (MIB(2) + (memory) / 64)

#define PIECE_SIZE 65536 /* of a file on its way into memory */

/* In the order they are asked. */
static const struct loader_format *const loader_formats[] = {
	&loader_linux,
	&loader_pvh,
	&loader_multiboot,
};
#define FORMAT_COUNT (sizeof(loader_formats) / sizeof(loader_formats[0]))

int loader_refuse(const char *format, ...)
{
	va_list arguments;
	char text[256];

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	log_error("cannot load the kernel: %s", text);
	return -ENOEXEC;
}

/* Passes on the result of a write to guest memory; an error is logged. */
static int fill(int error)
{
	if (error != 0 && error != -ECANCELED)
		log_error("cannot fill the guest's memory: %s", strerror(-error));
	return error;
}

/* In pieces, between which loading can be stopped. */
static int put_bytes(struct loader *loader, uint64_t at, const uint8_t *data, uint64_t length)
{
	const struct loader_guest *guest = loader->guest;

	while (length > 0) {
		uint64_t piece = length < PIECE_SIZE ? length : PIECE_SIZE;
		int error = ept_write(loader->space, gpa(at), data, piece);

		if (error != 0)
			return error;
		if (guest->stopped != NULL && guest->stopped(guest->context))
			return -ECANCELED;
		at += piece;
		data += piece;
		length -= piece;
	}
	return 0;
}

/* The RAM below the device hole, in bytes. */
static uint64_t low_memory(const struct loader *loader)
{
	const struct ept_range *ranges;

	ept_space_ranges(loader->space, &ranges);
	return ranges[0].length;
}

/* Whether RAM reaches to the end of the memory that the kernel wants at its start. 0 or -ENOMEM,
 * logged. */
static int check_room(const struct loader *loader, uint64_t end)
{
	uint64_t room = low_memory(loader);
	char have[UNITS_TEXT_SIZE], need[UNITS_TEXT_SIZE];

	if (end <= room)
		return 0;
	units_format_size(end, need);
	if (end > EPT_HOLE_START)
		log_error("the kernel needs %s of memory to begin with, and no guest has more than "
			  "%s below its devices",
			  need, units_format_size(EPT_HOLE_START, have));
	else
		log_error("the kernel needs %s of memory to begin with, and the guest has %s: give "
			  "it more with --memory",
			  need, units_format_size(room, have));
	return -ENOMEM;
}

int loader_put(struct loader *loader, uint64_t at, uint64_t offset, uint64_t file_size,
	       uint64_t memory_size)
{
	int error;

	if (!loader_inside(&loader->image, offset, file_size))
		return loader_refuse("it is truncated");
	if (memory_size < file_size || at > UINT32_MAX || memory_size > UINT32_MAX)
		return loader_refuse("a segment has impossible sizes");
	if (at < LOADER_HIGH_START && at + memory_size > LOADER_LOW_END)
		return loader_refuse("a segment lies at %#llx to %#llx, and from %#x to %#x there "
				     "is no memory",
				     (unsigned long long)at, (unsigned long long)(at + memory_size),
				     LOADER_LOW_END, LOADER_HIGH_START);
	error = check_room(loader, at + memory_size);
	if (error == 0)
		error = fill(put_bytes(loader, at, loader->image.data + offset, file_size));
	if (error == 0 && at + memory_size > loader->kernel_end)
		loader->kernel_end = at + memory_size;
	loader->is_low |= at < LOADER_LOW_END;
	return error;
}

/* Behind a kernel that lies where they would be. */
static int place_tables(struct loader *loader)
{
	uint64_t at = loader->kernel_end;

	loader->tables_at = LOADER_TABLES_AT;
	if (!loader->is_low)
		return 0;
	if (at < LOADER_HIGH_START)
		at = LOADER_HIGH_START;
	loader->tables_at = (at + PAGE_SIZE - 1) & ~(uint64_t)(PAGE_SIZE - 1);
	loader->kernel_end =
		loader->tables_at + LOADER_COMMAND_LINE + strlen(loader->command_line) + 1;
	return check_room(loader, loader->kernel_end);
}

static int put_piece(void *context, uint64_t offset, const void *data, size_t length)
{
	struct loader *loader = context;

	return put_bytes(loader, loader->module_at + offset, data, length);
}

static int put_file(struct loader *loader, int fd, uint64_t size)
{
	char *piece = malloc(PIECE_SIZE);
	int error = piece != NULL ? 0 : -ENOMEM;

	for (uint64_t done = 0; error == 0 && done < size;) {
		size_t most = size - done < PIECE_SIZE ? size - done : PIECE_SIZE;
		ssize_t n = pread(fd, piece, most, (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			error = n < 0 ? -errno : -EIO; /* it has become shorter */
		else
			error = put_piece(loader, done, piece, (size_t)n);
		done += n > 0 ? (uint64_t)n : 0;
	}
	free(piece);
	return error;
}

/* Where the module is to end in a guest with so much RAM below its devices. */
static uint64_t module_top(const struct loader *loader, uint64_t memory)
{
	if (loader->module_limit >= memory)
		return memory;
	return (loader->module_limit + 1) & ~(uint64_t)(PAGE_SIZE - 1);
}

/* How large it can be there, past the kernel. */
static uint64_t module_most(const struct loader *loader, uint64_t memory)
{
	uint64_t top = module_top(loader, memory), from = loader->kernel_end + KERNEL_ROOM(memory);

	from = (from + PAGE_SIZE - 1) & ~(uint64_t)(PAGE_SIZE - 1);
	return from < top ? top - from : 0;
}

static int refuse_module(const struct loader *loader, uint64_t memory)
{
	const struct loader_module *module = loader->guest->module;
	uint64_t most = module_most(loader, module_top(loader, EPT_HOLE_START));
	char have[UNITS_TEXT_SIZE], need[UNITS_TEXT_SIZE], limit[UNITS_TEXT_SIZE];

	units_format_size(module->size, need);
	units_format_size(memory, have);
	if (module->size <= most)
		log_error("%s (%s) cannot fit into the guest's memory (%s) beside its kernel: give "
			  "it more with --memory",
			  module->what, need, have);
	else
		log_error("%s (%s) cannot fit beside this kernel, however much memory the guest "
			  "has: %s is the most",
			  module->what, need, units_format_size(most, limit));
	return -ENOSPC;
}

/* Where the module goes: the end of the first piece of RAM, past the kernel. */
static int place_module(struct loader *loader)
{
	const struct loader_module *module = loader->guest->module;
	uint64_t memory = low_memory(loader);
	int error;

	if (module == NULL)
		return 0;
	if (module->size > module_most(loader, memory))
		return refuse_module(loader, memory);
	loader->module_at =
		(module_top(loader, memory) - module->size) & ~(uint64_t)(PAGE_SIZE - 1);
	error = module->archive != NULL ? archive_write(module->archive, put_piece, loader)
					: put_file(loader, module->fd, module->size);
	if (error != 0 && error != -ECANCELED)
		log_error("cannot put %s into the guest's memory: %s", module->what,
			  strerror(-error));
	return error;
}

static int put_command_line(struct loader *loader)
{
	size_t size = strlen(loader->command_line) + 1;

	if (size > loader->command_line_most) {
		log_error("the kernel's command line is too long: %zu bytes, and it takes %zu",
			  size - 1, loader->command_line_most - 1);
		return -E2BIG;
	}
	return fill(ept_write(loader->space, gpa(loader_table(loader, LOADER_COMMAND_LINE)),
			      loader->command_line, size));
}

/*
 * quire keeps off the first MiB by itself, and is told of RAM only. A PC's kernel would take the
 * tables there for free memory.
 */
size_t loader_memory_map(const struct loader *loader, struct loader_memory map[LOADER_MEMORY_MAX])
{
	const struct ept_range *ranges;
	size_t range_count = ept_space_ranges(loader->space, &ranges), count = 0, first = 0;

	if (loader->guest->stock) {
		map[count++] = (struct loader_memory){ 0, LOADER_LOW_END, LOADER_MEMORY_RAM };
		map[count++] =
			(struct loader_memory){ LOADER_LOW_END, LOADER_HIGH_START - LOADER_LOW_END,
						LOADER_MEMORY_RESERVED };
		map[count++] = (struct loader_memory){ LOADER_HIGH_START,
						       ranges[0].length - LOADER_HIGH_START,
						       LOADER_MEMORY_RAM };
		first = 1;
	}
	for (size_t i = first; i < range_count; i++)
		map[count++] = (struct loader_memory){ ranges[i].start.v, ranges[i].length,
						       LOADER_MEMORY_RAM };
	return count;
}

static int no_kernel(bool stock)
{
	char text[160];
	size_t used = 0;

	for (size_t i = 0; i < FORMAT_COUNT; i++)
		if (stock || loader_formats[i]->speaks_quire)
			used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s",
						 used == 0 ? "no " : ", and no ",
						 loader_formats[i]->name);
	return loader_refuse("it is %s", text);
}

int loader_probe(const void *kernel, size_t kernel_size, bool stock)
{
	const struct loader_image image = { kernel, kernel_size };

	for (size_t i = 0; i < FORMAT_COUNT; i++)
		if ((stock || loader_formats[i]->speaks_quire) && loader_formats[i]->probe(&image))
			return 0;
	return no_kernel(stock);
}

int loader_load(struct ept_space *space, const struct loader_guest *guest,
		struct loader_result *result)
{
	struct loader loader = {
		.space = space,
		.guest = guest,
		.image = { guest->kernel, guest->kernel_size },
		.command_line = guest->command_line,
		.module_limit = UINT32_MAX,
		.command_line_most = LOADER_LOW_END - LOADER_TABLES_AT - LOADER_COMMAND_LINE,
		.result = result,
	};
	int error;

	*result = (struct loader_result){ .mode = LOADER_PROTECTED };
	for (size_t i = 0; i < FORMAT_COUNT; i++) {
		const struct loader_format *format = loader_formats[i];

		if ((!guest->stock && !format->speaks_quire) || !format->probe(&loader.image))
			continue;
		if (loader.command_line == NULL)
			loader.command_line = format->default_command_line;
		error = format->put(&loader);
		if (error == 0)
			error = place_tables(&loader);
		if (error == 0)
			error = place_module(&loader);
		if (error == 0)
			error = put_command_line(&loader);
		return error != 0 ? error : fill(format->tell(&loader));
	}
	return no_kernel(guest->stock);
}

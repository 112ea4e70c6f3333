/*
 * The loader and the root archive without KVM: good images land where they say, hostile ones are
 * refused, and the archive is what cpio reads.
 */
#include <criterion/criterion.h>
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/boot/archive.h"
#include "vmm/boot/loader.h"

#define MEMORY	   (8ul << 20)
#define IMAGE	   4096
#define SEGMENT_AT 0x200000u

static uint8_t image[IMAGE];

static Elf64_Ehdr *header(void)
{
	return (Elf64_Ehdr *)image;
}

static Elf64_Phdr *program(int index)
{
	return (Elf64_Phdr *)(image + sizeof(Elf64_Ehdr)) + index;
}

/* A kernel of one segment and one note. */
static void make_image(void)
{
	static const struct {
		Elf64_Nhdr note;
		char name[4];
		uint32_t value;
	} note = { { 4, 4, 18 }, "Xen", SEGMENT_AT + 16 };

	memset(image, 0, sizeof(image));
	memcpy(header()->e_ident, ELFMAG, SELFMAG);
	header()->e_ident[EI_CLASS] = ELFCLASS64;
	header()->e_machine = EM_X86_64;
	header()->e_phoff = sizeof(Elf64_Ehdr);
	header()->e_phentsize = sizeof(Elf64_Phdr);
	header()->e_phnum = 2;
	*program(0) = (Elf64_Phdr){ .p_type = PT_LOAD,
				    .p_offset = 1024,
				    .p_filesz = 100,
				    .p_memsz = 8192,
				    .p_paddr = SEGMENT_AT };
	*program(1) = (Elf64_Phdr){ .p_type = PT_NOTE, .p_offset = 512, .p_filesz = sizeof(note) };
	memcpy(image + 512, &note, sizeof(note));
	memset(image + 1024, 0xaa, 100);
}

static struct ept_space *space;

static int load(struct archive *archive, struct loader_result *result)
{
	struct ept_config config = { .memory_bytes = MEMORY };
	struct archive *root = archive != NULL ? archive : archive_create();
	const struct loader_module module = {
		.what = "the files",
		.size = archive_size(root),
		.archive = root,
	};
	const struct loader_guest guest = {
		.kernel = image,
		.kernel_size = sizeof(image),
		.command_line = "init=/x -- x",
		.module = &module,
	};
	int error;

	ept_space_destroy(space);
	cr_assert_eq(ept_space_create(&config, &space), 0);
	error = loader_load(space, &guest, result);
	archive_destroy(root);
	return error;
}

Test(loader, puts_everything_in_place)
{
	struct loader_result result;
	uint64_t modules, map;
	uint32_t magic;
	uint8_t byte;
	char text[13];

	make_image();
	cr_assert_eq(load(NULL, &result), 0);
	cr_assert_eq(result.entry.v, SEGMENT_AT + 16);
	cr_assert_eq(ept_read(space, gpa(SEGMENT_AT + 99), &byte, 1), 0);
	cr_assert_eq(byte, 0xaa);
	cr_assert_eq(ept_read(space, gpa(SEGMENT_AT + 100), &byte, 1), 0);
	cr_assert_eq(byte, 0);
	cr_assert_eq(ept_read(space, result.start_info, &magic, 4), 0);
	cr_assert_eq(magic, 0x336ec578u);
	cr_assert_eq(ept_read(space, gpa(result.start_info.v + 16), &modules, 8), 0);
	cr_assert_eq(ept_read(space, gpa(result.start_info.v + 40), &map, 8), 0);
	cr_assert_eq(ept_read(space, gpa(modules), &modules, 8), 0);
	cr_assert_eq(modules, MEMORY - 4096, "the empty archive lies at the end");
	cr_assert_eq(ept_read(space, gpa(map + 8), &map, 8), 0);
	cr_assert_eq(map, MEMORY);
	cr_assert_eq(ept_read(space, gpa(0x8000), text, 13), 0);
	cr_assert_str_eq(text, "init=/x -- x");
}

static bool stop_at(void *context)
{
	return --*(unsigned *)context == 0;
}

/* Between any two pieces, of the kernel and of what goes with it. */
Test(loader, stops_between_pieces)
{
	static char data[300000];
	struct ept_config config = { .memory_bytes = MEMORY };
	struct archive *root = archive_create();
	struct loader_module module = { .what = "the files", .archive = root };
	unsigned left = UINT32_MAX, pieces;
	struct loader_result result;
	struct loader_guest guest = {
		.kernel = image,
		.kernel_size = sizeof(image),
		.command_line = "x",
		.module = &module,
		.stopped = stop_at,
		.context = &left,
	};

	cr_assert_eq(archive_add_memory(root, data, sizeof(data), "/data"), 0);
	module.size = archive_size(root);
	make_image();
	cr_assert_eq(ept_space_create(&config, &space), 0);
	cr_assert_eq(loader_load(space, &guest, &result), 0);
	pieces = UINT32_MAX - left;
	cr_assert_gt(pieces, sizeof(data) / 65536);
	for (unsigned i = 1; i <= pieces; i++) {
		left = i;
		cr_assert_eq(loader_load(space, &guest, &result), -ECANCELED, "%u of %u", i,
			     pieces);
	}
	archive_destroy(root);
}

Test(loader, refuses_hostile_images)
{
	struct loader_result result;

#define REFUSED(change, expected)                                                                  \
	do {                                                                                       \
		make_image();                                                                      \
		change;                                                                            \
		cr_assert_eq(load(NULL, &result), expected, #change);                              \
	} while (0)
	REFUSED(image[0] = 0, -ENOEXEC);
	REFUSED(header()->e_ident[EI_CLASS] = ELFCLASS32, -ENOEXEC);
	REFUSED(header()->e_machine = EM_ARM, -ENOEXEC);
	REFUSED(header()->e_phentsize = 1, -ENOEXEC);
	REFUSED(header()->e_phoff = IMAGE, -ENOEXEC);
	REFUSED(header()->e_phoff = UINT64_MAX - 8, -ENOEXEC);
	REFUSED(header()->e_phnum = UINT16_MAX, -ENOEXEC);
	REFUSED(header()->e_phnum = 1, -ENOEXEC); /* no note */
	REFUSED(program(0)->p_type = PT_NULL, -ENOEXEC);
	REFUSED(program(0)->p_offset = UINT64_MAX, -ENOEXEC);
	REFUSED(program(0)->p_filesz = IMAGE, -ENOEXEC);
	REFUSED(program(0)->p_memsz = 10, -ENOEXEC);
	REFUSED(program(0)->p_memsz = UINT64_MAX, -ENOEXEC);
	REFUSED(program(0)->p_paddr = 0x9efff, -ENOEXEC);
	REFUSED(program(0)->p_paddr = UINT64_MAX - 50, -ENOEXEC);
	REFUSED(program(0)->p_paddr = MEMORY - 50, -ENOMEM);
	REFUSED(program(0)->p_memsz = MEMORY, -ENOMEM);
	/* The archive has no place left. */
	REFUSED(program(0)->p_memsz = MEMORY - SEGMENT_AT, -ENOSPC);
	REFUSED(program(1)->p_filesz = 11, -ENOEXEC);
	REFUSED(((Elf64_Nhdr *)(image + 512))->n_namesz = UINT32_MAX, -ENOEXEC);
	REFUSED(((Elf64_Nhdr *)(image + 512))->n_descsz = UINT32_MAX, -ENOEXEC);
	REFUSED(((Elf64_Nhdr *)(image + 512))->n_type = 3, -ENOEXEC);
#undef REFUSED
}

static int to_file(void *context, uint64_t offset, const void *data, size_t length)
{
	return pwrite(fileno((FILE *)context), data, length, (off_t)offset) == (ssize_t)length
		       ? 0
		       : -EIO;
}

/* A file's entry in the archive, read back by cpio's own rules. */
Test(loader, archive_is_cpio_with_aligned_files)
{
	struct archive *archive = archive_create();
	char template[] = "/tmp/bifold-archive-XXXXXX";
	int fd = mkstemp(template);
	FILE *out = tmpfile();
	char head[111] = "", name[32];
	unsigned size, name_size;
	char content[8] = "";

	cr_assert(write(fd, "content", 7) == 7);
	cr_assert_eq(archive_add_file(archive, template, "/etc/thing"), 0);
	cr_assert_eq(archive_add_file(archive, template, "/etc//../etc/thing2"), 0);
	cr_assert_eq(archive_add_file(archive, template, "/etc/thing"), 0, "the very same");
	cr_assert_eq(archive_add_file(archive, "/proc/self/exe", "/etc/thing"), -EEXIST);
	cr_assert_eq(archive_add_file(archive, "/no/such", "/x"), -ENOENT);
	cr_assert_eq(archive_add_file(archive, "/", "/x"), -EISDIR);
	cr_assert_eq(archive_add_file(archive, template, "relative"), -EINVAL);
	cr_assert_eq(archive_write(archive, to_file, out), 0);
	cr_assert_eq(archive_size(archive) % 4096, 0);
	cr_assert(pread(fileno(out), head, 110, 0) == 110);
	cr_assert(strncmp(head, "070701", 6) == 0);
	cr_assert(sscanf(head + 54, "%8x", &size) == 1 && size == 7);
	cr_assert(sscanf(head + 94, "%8x", &name_size) == 1);
	cr_assert_eq((110 + name_size) % 4096, 0, "the data starts at a page");
	cr_assert(pread(fileno(out), name, sizeof(name), 110) == sizeof(name));
	cr_assert_str_eq(name, "etc/thing");
	cr_assert(pread(fileno(out), content, 7, 110 + name_size) == 7);
	cr_assert_str_eq(content, "content");
	/* A file that shrinks between the two is an error, not zeros. */
	cr_assert(ftruncate(fd, 3) == 0);
	cr_assert_eq(archive_write(archive, to_file, out), -EIO);
	archive_destroy(archive);
	close(fd);
	unlink(template);
	fclose(out);
}

/*
 * The boot protocols of stock kernels, without KVM: bzImage, Multiboot 1, and PVH with ACPI tables.
 * Good images land where they say with what the protocol promises them; a hostile one is refused,
 * field by field and at every length.
 */
#include <criterion/criterion.h>
#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/boot/loader.h"

#define MEMORY	  (16ul << 20)
#define KERNEL_AT 0x200000u
#define RSDP	  0xe0000u

static uint8_t image[32768];
static size_t image_size;
static int initrd_fd = -1;
static uint64_t initrd_size;
static struct ept_space *space;
static struct loader_result result;
static const char *command_line = "quiet";

static int load(void)
{
	const struct ept_config config = { .memory_bytes = MEMORY };
	const struct loader_module initrd = {
		.what = "the initrd",
		.size = initrd_size,
		.fd = initrd_fd,
	};
	const struct loader_guest guest = {
		.kernel = image,
		.kernel_size = image_size,
		.command_line = command_line,
		.module = initrd_fd >= 0 ? &initrd : NULL,
		.stock = true,
		.rsdp = gpa(RSDP),
	};

	ept_space_destroy(space);
	cr_assert_eq(ept_space_create(&config, &space), 0);
	return loader_load(space, &guest, &result);
}

static void close_space(void)
{
	ept_space_destroy(space);
	if (initrd_fd >= 0)
		close(initrd_fd);
}

static void make_initrd(uint64_t size)
{
	if (initrd_fd >= 0)
		close(initrd_fd);
	initrd_fd = memfd_create("initrd", MFD_CLOEXEC);
	initrd_size = size;
	cr_assert_eq(ftruncate(initrd_fd, (off_t)size), 0);
	cr_assert_eq(pwrite(initrd_fd, "first", 5, 0), 5);
	if (size > 10)
		cr_assert_eq(pwrite(initrd_fd, "last!", 5, (off_t)size - 5), 5);
}

static uint64_t number(uint64_t at, unsigned size)
{
	uint64_t value = 0;

	cr_assert_eq(ept_read(space, gpa(at), &value, size), 0);
	return value;
}

static void expect_bytes(uint64_t at, const char *text, size_t length)
{
	char bytes[64];

	cr_assert_leq(length, sizeof(bytes));
	cr_assert_eq(ept_read(space, gpa(at), bytes, length), 0);
	cr_assert_arr_eq(bytes, text, length);
}

static void expect_initrd(uint64_t at)
{
	cr_assert_eq(at % 4096, 0);
	expect_bytes(at, "first", 5);
	expect_bytes(at + initrd_size - 5, "last!", 5);
}

/* Changes a field of a good image; it must be refused so. */
#define REFUSED(make, change, expected)                                                            \
	do {                                                                                       \
		make();                                                                            \
		change;                                                                            \
		cr_assert_eq(load(), expected, #change);                                           \
	} while (0)

static void put(size_t at, uint64_t value, unsigned size)
{
	memcpy(image + at, &value, size);
}

/* --- bzImage --- */

#define CODE_SIZE 2048u

static void make_linux(void)
{
	memset(image, 0, sizeof(image));
	image_size = 1024 + CODE_SIZE;
	image[0x1f1] = 1;
	put(0x1f4, CODE_SIZE / 16, 4);
	put(0x1fe, 0xaa55, 2);
	image[0x200] = 0xeb;
	image[0x201] = 0x6a;
	memcpy(image + 0x202, "HdrS", 4);
	put(0x206, 0x020f, 2);
	image[0x211] = 1;
	put(0x22c, 0x7fffffff, 4);
	put(0x236, 3, 2);
	put(0x238, 2047, 4);
	put(0x250, 0x1122334455667788, 8);
	put(0x258, KERNEL_AT, 8);
	put(0x260, 0x100000, 4);
	put(0x268, 0xdeadbeef, 4); /* past what we know of it */
	memset(image + 1024, 0xc3, CODE_SIZE);
}

TestSuite(loader_linux, .init = make_linux, .fini = close_space);

Test(loader_linux, boot_parameters)
{
	uint64_t params;

	make_initrd(5000);
	cr_assert_eq(load(), 0);
	cr_assert_eq(result.mode, LOADER_LONG);
	cr_assert_eq(result.entry.v, KERNEL_AT + 0x200);
	expect_bytes(KERNEL_AT + CODE_SIZE - 2, "\xc3\xc3\0", 3);
	params = result.start_info.v;
	cr_assert_eq(number(params + 0x1fe, 2), 0xaa55);
	cr_assert_eq(number(params + 0x202, 4), 0x53726448);
	cr_assert_eq(number(params + 0x210, 1), 0xff, "an unknown loader");
	cr_assert_eq(number(params + 0x1fa, 2), 0xffff, "the normal video mode");
	expect_bytes(number(params + 0x228, 4), "quiet", 6);
	expect_initrd(number(params + 0x218, 4));
	cr_assert_eq(number(params + 0x21c, 4), 5000);
	cr_assert_eq(number(params + 0x250, 8), 0, "no setup_data of the image's own");
	cr_assert_eq(number(params + 0x268, 4), 0xdeadbeef);
	cr_assert_eq(number(params + 0x26c, 4), 0, "the header ends there");
	cr_assert_eq(number(params + 0x70, 8), RSDP);
	cr_assert_eq(number(params + 0x1e8, 1), 3);
	cr_assert_eq(number(params + 0x2d0 + 8, 8), 0x9f000);
	cr_assert_eq(number(params + 0x2d0 + 20, 8), 0x9f000);
	cr_assert_eq(number(params + 0x2d0 + 20 + 16, 4), 2);
	cr_assert_eq(number(params + 0x2d0 + 40, 8), 0x100000);
	cr_assert_eq(number(params + 0x2d0 + 48, 8), MEMORY - 0x100000);
}

/* The first 4 GiB lie where they are. */
Test(loader_linux, long_mode)
{
	uint64_t directory, entry;

	cr_assert_eq(load(), 0);
	cr_assert_eq(number(result.start_info.v + 0x218, 4), 0, "no initrd");
	directory = number(result.cr3.v, 8) & ~0xffful;
	cr_assert_eq(number(result.cr3.v + 8, 8), 0);
	for (uint64_t gib = 0; gib < 4; gib++) {
		uint64_t table = number(directory + gib * 8, 8);

		cr_assert_eq(table & 0xfff, 3);
		entry = number((table & ~0xffful) + 5 * 8, 8);
		cr_assert_eq(entry, gib << 30 | 5 << 21 | 0x83);
	}
	cr_assert_eq(number(directory + 4 * 8, 8), 0);
	cr_assert_eq(number(result.gdt.v + 16, 8), 0x00af9b000000ffff);
	cr_assert_eq(number(result.gdt.v + 24, 8), 0x00cf93000000ffff);
}

Test(loader_linux, refuses_hostile_fields)
{
	cr_assert_eq(load(), 0);
#define LINUX(change, expected) REFUSED(make_linux, change, expected)
	LINUX(put(0x1fe, 0, 2), -ENOEXEC);
	LINUX(image[0x202] = 'h', -ENOEXEC);
	LINUX(put(0x206, 0x020b, 2), -ENOEXEC);
	LINUX(put(0x236, 2, 2), -ENOEXEC);
	LINUX(image[0x211] = 0, -ENOEXEC);
	LINUX(image[0x201] = 0x30, -ENOEXEC);
	LINUX(image[0x1f1] = 255, -ENOEXEC);
	LINUX(image[0x1f1] = 0, -ENOEXEC); /* stands for 4: the code would lie past the end */
	LINUX(put(0x1f4, 0, 4), -ENOEXEC);
	LINUX(put(0x1f4, CODE_SIZE / 16 + 1, 4), -ENOEXEC);
	LINUX(put(0x1f4, UINT32_MAX, 4), -ENOEXEC);
	LINUX(put(0x258, 0, 8), -ENOEXEC);
	LINUX(put(0x258, 0xff000, 8), -ENOEXEC);
	LINUX(put(0x258, UINT64_MAX, 8), -ENOEXEC);
	LINUX(put(0x258, 1ul << 32, 8), -ENOEXEC);
	LINUX(put(0x258, MEMORY - 4096, 8), -ENOMEM);
	LINUX(put(0x258, UINT32_MAX, 8), -ENOMEM);
	LINUX(put(0x260, MEMORY, 4), -ENOMEM);
	LINUX(put(0x260, UINT32_MAX, 4), -ENOMEM);
	LINUX(put(0x238, 4, 4), -E2BIG);
	LINUX(put(0x238, 0, 4), -E2BIG);
	make_linux();
	put(0x238, UINT32_MAX, 4); /* more than there is room for: our own limit holds */
	image[0x201] = 0xff;	   /* a header of a later version */
	put(0x260, 1, 4);	   /* less than the code itself */
	cr_assert_eq(load(), 0);
}

/* The size counts units of 16 bytes, rounded up; the file ends with the code. */
Test(loader_linux, the_last_unit_is_short)
{
	image_size -= 15;
	image[image_size - 1] = 0x5a;
	cr_assert_eq(load(), 0);
	expect_bytes(KERNEL_AT + CODE_SIZE - 16, "\x5a\0", 2);
	image_size--;
	cr_assert_eq(load(), -ENOEXEC, "a whole one is missing");
}

Test(loader_linux, the_initrd_fits_or_not)
{
	make_initrd(MEMORY);
	cr_assert_eq(load(), -ENOSPC);
	make_initrd(MEMORY - 0x300000);
	cr_assert_eq(load(), -ENOSPC, "the kernel wants room beside it");
	make_initrd(MEMORY - 0x300000 - (4ul << 20));
	cr_assert_eq(load(), 0);
	make_initrd(4096);
	put(0x22c, 0x7ff000 - 1, 4);
	cr_assert_eq(load(), 0);
	expect_initrd(0x7fe000);
	REFUSED(make_linux, put(0x22c, 0x300000, 4), -ENOSPC);
	REFUSED(make_linux, put(0x22c, 0, 4), -ENOSPC);
	make_linux();
	cr_assert_eq(ftruncate(initrd_fd, 4000), 0);
	cr_assert_eq(load(), -EIO);
}

Test(loader_linux, every_length)
{
	size_t whole = image_size - 15;

	for (image_size = 0; image_size < whole; image_size += image_size < 0x300 ? 1 : 97)
		cr_assert_eq(load(), -ENOEXEC, "%zu bytes", image_size);
}

/* --- Multiboot 1 --- */

#define MAGIC 0x1badb002u

static void put_header(size_t at, uint32_t flags)
{
	put(at, MAGIC, 4);
	put(at + 4, flags, 4);
	put(at + 8, -(MAGIC + flags), 4);
}

/* The header says where it goes. */
static void make_flat(void)
{
	memset(image, 0, sizeof(image));
	image_size = 12000;
	put_header(64, 0x10003);
	put(64 + 12, KERNEL_AT + 48, 4); /* the header, so the load begins at 16 */
	put(64 + 16, KERNEL_AT, 4);
	put(64 + 20, KERNEL_AT + 1000, 4);
	put(64 + 24, KERNEL_AT + 50000, 4);
	put(64 + 28, KERNEL_AT + 100, 4);
	memset(image + 16 + 998, 0xaa, 4);
}

TestSuite(loader_multiboot, .init = make_flat, .fini = close_space);

Test(loader_multiboot, by_its_header)
{
	make_initrd(5000);
	cr_assert_eq(load(), 0);
	cr_assert_eq(result.mode, LOADER_PROTECTED);
	cr_assert_eq(result.entry.v, KERNEL_AT + 100);
	cr_assert_eq(result.rax, 0x2badb002);
	cr_assert_eq(number(KERNEL_AT + 48, 4), MAGIC);
	cr_assert_eq(number(KERNEL_AT + 998, 4), 0xaaaa, "loaded up to its end");
	put(64 + 20, 0, 4); /* all of the file */
	put(64 + 24, 0, 4);
	cr_assert_eq(load(), 0);
	cr_assert_eq(number(KERNEL_AT + 998, 4), 0xaaaaaaaa);
}

Test(loader_multiboot, information)
{
	uint64_t info, module, map;

	make_initrd(5000);
	cr_assert_eq(load(), 0);
	info = result.start_info.v;
	cr_assert_eq(number(info, 4), 0x24d);
	cr_assert_eq(number(info + 4, 4), 0x9f000 >> 10);
	cr_assert_eq(number(info + 8, 4), (MEMORY >> 10) - 1024);
	expect_bytes(number(info + 16, 4), "quiet", 6);
	cr_assert_eq(number(info + 20, 4), 1);
	module = number(info + 24, 4);
	expect_initrd(number(module, 4));
	cr_assert_eq(number(module + 4, 4) - number(module, 4), 5000);
	cr_assert_eq(number(info + 44, 4), 3 * 24);
	map = number(info + 48, 4);
	for (int i = 0; i < 3; i++)
		cr_assert_eq(number(map + 24 * i, 4), 20);
	cr_assert_eq(number(map + 48 + 4, 8), 0x100000);
	cr_assert_eq(number(map + 48 + 12, 8), MEMORY - 0x100000);
	cr_assert_eq(number(map + 48 + 20, 4), 1);
	cr_assert_eq(number(map + 24 + 20, 4), 2);
	expect_bytes(number(info + 64, 4), "bifold", 7);
	close(initrd_fd);
	initrd_fd = -1;
	cr_assert_eq(load(), 0);
	cr_assert_eq(number(info, 4), 0x245, "no module");
}

Test(loader_multiboot, where_the_header_may_be)
{
	for (size_t at = 0; at < 8300; at += 2) {
		bool good = at % 4 == 0 && at <= 8192 - 12;

		memset(image, 0, sizeof(image));
		put_header(at, 0x10000);
		put(at + 12, KERNEL_AT, 4);
		put(at + 16, KERNEL_AT, 4);
		cr_assert_eq(load(), good ? 0 : -ENOEXEC, "%zu", at);
	}
}

Test(loader_multiboot, refuses_hostile_fields)
{
#define FLAT(change, expected) REFUSED(make_flat, change, expected)
	FLAT(put(64 + 8, 1, 4), -ENOEXEC);
	FLAT(put_header(64, 0x10008), -ENOEXEC); /* a requirement nobody knows */
	FLAT(put_header(64, 3), -ENOEXEC);	 /* neither an ELF nor addresses */
	FLAT(put(64 + 12, KERNEL_AT - 1, 4), -ENOEXEC);
	FLAT(put(64 + 12, KERNEL_AT + 65, 4), -ENOEXEC); /* would begin before the file */
	FLAT(put(64 + 12, UINT32_MAX, 4), -ENOEXEC);
	FLAT(put(64 + 16, 0, 4), -ENOEXEC);
	FLAT(put(64 + 16, 0x1000, 4), -ENOEXEC);
	FLAT((put(64 + 12, 0x1000, 4), put(64 + 16, 0x1000, 4), put(64 + 20, 0x2000, 4)), -ENOEXEC);
	FLAT(put(64 + 20, KERNEL_AT - 1, 4), -ENOEXEC);
	FLAT(put(64 + 20, KERNEL_AT + 12000, 4), -ENOEXEC);
	FLAT(put(64 + 24, KERNEL_AT + 999, 4), -ENOEXEC);
	FLAT(put(64 + 24, MEMORY + 1, 4), -ENOMEM);
	FLAT(put(64 + 24, UINT32_MAX, 4), -ENOMEM);
	make_initrd(MEMORY);
	make_flat();
	cr_assert_eq(load(), -ENOSPC);
}

Test(loader_multiboot, every_length)
{
	put(64 + 20, KERNEL_AT + 11984, 4);
	for (image_size = 0; image_size < 12000; image_size += image_size < 128 ? 1 : 97)
		cr_assert_eq(load(), -ENOEXEC, "%zu bytes", image_size);
	image_size = 12000;
	cr_assert_eq(load(), 0);
}

/* An ELF of 32 bits, linked high and loaded low, with a header behind its program headers. */
static void make_elf(void)
{
	Elf32_Ehdr *header = (Elf32_Ehdr *)image;
	Elf32_Phdr *segment = (Elf32_Phdr *)(image + sizeof(*header));

	memset(image, 0, sizeof(image));
	image_size = 9000;
	memcpy(header->e_ident, ELFMAG, SELFMAG);
	header->e_ident[EI_CLASS] = ELFCLASS32;
	header->e_machine = EM_386;
	header->e_entry = 0xc0000010;
	header->e_phoff = sizeof(*header);
	header->e_phentsize = sizeof(*segment);
	header->e_phnum = 2;
	segment[0] = (Elf32_Phdr){ .p_type = PT_LOAD,
				   .p_offset = 4096,
				   .p_vaddr = 0xc0000000,
				   .p_paddr = KERNEL_AT,
				   .p_filesz = 100,
				   .p_memsz = 200 };
	segment[1] = (Elf32_Phdr){ .p_type = PT_LOAD,
				   .p_offset = 8192,
				   .p_vaddr = 0xc0100000,
				   .p_paddr = KERNEL_AT + 0x100000,
				   .p_filesz = 100,
				   .p_memsz = 100 };
	put_header(256, 3);
	memset(image + 4096, 0x11, 100);
	memset(image + 8192, 0x22, 100);
}

Test(loader_multiboot, an_elf)
{
	Elf32_Ehdr *header = (Elf32_Ehdr *)image;
	Elf32_Phdr *segment = (Elf32_Phdr *)(image + sizeof(*header));

	make_elf();
	cr_assert_eq(load(), 0);
	cr_assert_eq(result.entry.v, KERNEL_AT + 0x10, "where its segment is in memory");
	expect_bytes(KERNEL_AT + 99, "\x11\0", 2);
	expect_bytes(KERNEL_AT + 0x100000 + 99, "\x22\0", 2);
	header->e_entry = KERNEL_AT + 8;
	cr_assert_eq(load(), 0);
	cr_assert_eq(result.entry.v, KERNEL_AT + 8);
#define ELF(change, expected) REFUSED(make_elf, change, expected)
	ELF(header->e_machine = EM_X86_64, -ENOEXEC);
	ELF(header->e_ident[EI_CLASS] = ELFCLASS64, -ENOEXEC);
	ELF(header->e_phoff = UINT32_MAX, -ENOEXEC);
	ELF(header->e_phnum = UINT16_MAX, -ENOEXEC);
	ELF(header->e_phnum = 0, -ENOEXEC);
	ELF(segment[0].p_offset = UINT32_MAX, -ENOEXEC);
	ELF(segment[0].p_filesz = UINT32_MAX, -ENOEXEC);
	ELF(segment[0].p_memsz = 99, -ENOEXEC);
	ELF(segment[0].p_paddr = 0x9efff, -ENOEXEC);
	ELF(segment[0].p_paddr = 0x9f000, -ENOEXEC);
	ELF(segment[0].p_paddr = 0xfffff, -ENOEXEC);
	ELF(segment[0].p_memsz = UINT32_MAX, -ENOMEM);
	ELF(segment[0].p_paddr = UINT32_MAX, -ENOMEM);
}

/* All of what Multiboot tells lies elsewhere, and is all there. */
static void expect_told_behind(uint64_t kernel_end)
{
	uint64_t info = result.start_info.v;

	cr_assert_geq(info, kernel_end);
	cr_assert_eq(number(info, 4), 0x24d);
	cr_assert_geq(number(info + 16, 4), kernel_end);
	expect_bytes(number(info + 16, 4), "quiet", 6);
	cr_assert_geq(number(info + 24, 4), kernel_end);
	expect_initrd(number(number(info + 24, 4), 4));
	cr_assert_geq(number(info + 48, 4), kernel_end);
	cr_assert_eq(number(number(info + 48, 4) + 4 + 8, 8), 0x9f000);
	expect_bytes(number(info + 64, 4), "bifold", 7);
}

/* A kernel in the first MiB, where the loader's tables are otherwise. */
Test(loader_multiboot, below_1_mib)
{
	static const uint32_t places[] = { 0, 0x6000, 0x7c00, 0x9f000 - 200 };
	Elf32_Ehdr *header = (Elf32_Ehdr *)image;
	Elf32_Phdr *segment = (Elf32_Phdr *)(image + sizeof(*header));

	make_initrd(5000);
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		make_elf();
		segment[0].p_paddr = places[i];
		cr_assert_eq(load(), 0, "%#x", places[i]);
		cr_assert_eq(result.entry.v, places[i] + 0x10);
		expect_bytes(places[i] + 99, "\x11\0", 2);
		expect_told_behind(KERNEL_AT + 0x100000 + 100);
		header->e_phnum = 1;
		cr_assert_eq(load(), 0, "%#x", places[i]);
		expect_bytes(places[i] + 99, "\x11\0", 2);
		expect_told_behind(0x100000);
	}
	make_elf();
	segment[0].p_paddr = 0x1000;
	segment[1].p_paddr = MEMORY - 0x2000;
	cr_assert_eq(load(), -ENOMEM, "no room behind it");
}

/* --- what a user is told who gave too little memory, or would give more in vain --- */

static void says(int expected, const char *what)
{
	static int log = -1; /* one for all: the log opens its standard error once */
	int saved = dup(STDERR_FILENO);
	char text[1024] = "";

	log = log < 0 ? memfd_create("log", MFD_CLOEXEC) : log;
	cr_assert(ftruncate(log, 0) == 0 && lseek(log, 0, SEEK_SET) == 0);
	dup2(log, STDERR_FILENO);
	cr_assert_eq(load(), expected);
	dup2(saved, STDERR_FILENO);
	cr_assert_gt(pread(log, text, sizeof(text) - 1, 0), 0);
	cr_assert(close(saved) == 0 && strstr(text, what) != NULL, "%s", text);
}

Test(loader_linux, advice_that_helps)
{
	put(0x260, MEMORY, 4);
	says(-ENOMEM, "give it more with --memory");
	put(0x260, 0xbff00000, 4);
	says(-ENOMEM, "no guest has more than 3.0 GiB below its devices");
	make_linux();
	make_initrd(MEMORY);
	says(-ENOSPC, "give it more with --memory");
	put(0x22c, MEMORY / 2 - 1, 4);
	says(-ENOSPC, "however much memory the guest has: ");
	make_linux();
	put(0x22c, UINT32_MAX, 4);
	cr_assert_eq(ftruncate(initrd_fd, 3l << 30), 0);
	initrd_size = 3ul << 30;
	says(-ENOSPC, "however much memory the guest has: 2.9");
}

/* --- PVH for a stock kernel, and no kernel --- */

static void make_pvh(void)
{
	static const struct {
		Elf64_Nhdr note;
		char name[4];
		uint64_t value; /* as long as Linux has it */
	} __attribute__((packed)) note = { { 4, 8, 18 }, "Xen", KERNEL_AT + 16 };
	Elf64_Ehdr *header = (Elf64_Ehdr *)image;
	Elf64_Phdr *segment = (Elf64_Phdr *)(image + sizeof(*header));

	memset(image, 0, sizeof(image));
	image_size = 8192;
	memcpy(header->e_ident, ELFMAG, SELFMAG);
	header->e_ident[EI_CLASS] = ELFCLASS64;
	header->e_machine = EM_X86_64;
	header->e_phoff = sizeof(*header);
	header->e_phentsize = sizeof(*segment);
	header->e_phnum = 2;
	segment[0] = (Elf64_Phdr){ .p_type = PT_LOAD,
				   .p_offset = 4096,
				   .p_paddr = KERNEL_AT,
				   .p_filesz = 100,
				   .p_memsz = 100 };
	segment[1] = (Elf64_Phdr){ .p_type = PT_NOTE, .p_offset = 512, .p_filesz = sizeof(note) };
	memcpy(image + 512, &note, sizeof(note));
}

TestSuite(loader_pvh, .init = make_pvh, .fini = close_space);

Test(loader_pvh, with_acpi_and_an_initrd)
{
	uint64_t info, module, map;

	make_initrd(5000);
	command_line = NULL;
	cr_assert_eq(load(), 0);
	cr_assert_eq(result.mode, LOADER_PROTECTED);
	cr_assert_eq(result.entry.v, KERNEL_AT + 16);
	info = result.start_info.v;
	cr_assert_eq(number(info, 4), 0x336ec578);
	cr_assert_eq(number(info + 12, 4), 1);
	module = number(info + 16, 8);
	expect_initrd(number(module, 8));
	cr_assert_eq(number(module + 8, 8), 5000);
	expect_bytes(number(info + 24, 8), "console=ttyS0", 14);
	cr_assert_eq(number(info + 32, 8), RSDP);
	map = number(info + 40, 8);
	cr_assert_eq(number(info + 48, 4), 3);
	cr_assert_eq(number(map + 24, 8), 0x9f000);
	cr_assert_eq(number(map + 24 + 16, 4), 2);
	cr_assert_eq(number(map + 48 + 8, 8), MEMORY - 0x100000);
	close(initrd_fd);
	initrd_fd = -1;
	cr_assert_eq(load(), 0);
	cr_assert_eq(number(info + 12, 4), 0);
	cr_assert_eq(number(info + 16, 8), 0);
}

/* A note of another kind and then Xen's, with names and values at multiples of 8. */
Test(loader_pvh, notes_aligned_to_8)
{
	static const struct {
		Elf64_Nhdr first;
		char first_name[4], first_value[8]; /* up to 24 */
		Elf64_Nhdr note;
		char name[4]; /* up to 40 */
		uint32_t value;
	} notes = { { 4, 3, 1 }, "Odd", "abc", { 4, 4, 18 }, "Xen", KERNEL_AT + 16 };
	Elf64_Phdr *segment = (Elf64_Phdr *)(image + sizeof(Elf64_Ehdr)) + 1;

	memcpy(image + 512, &notes, sizeof(notes));
	segment->p_align = 8;
	segment->p_filesz = sizeof(notes);
	cr_assert_eq(load(), 0);
	cr_assert_eq(result.entry.v, KERNEL_AT + 16);
	segment->p_filesz = sizeof(notes) - 1;
	cr_assert_eq(load(), -ENOEXEC);
	segment->p_filesz = sizeof(notes);
	segment->p_align = 4;
	cr_assert_eq(load(), -ENOEXEC);
}

Test(loader_pvh, what_is_no_kernel)
{
	memset(image, 0, sizeof(image));
	cr_assert_eq(load(), -ENOEXEC);
	image_size = 0;
	cr_assert_eq(load(), -ENOEXEC);
	image_size = 16;
	memcpy(image, ELFMAG, SELFMAG);
	cr_assert_eq(load(), -ENOEXEC);
}

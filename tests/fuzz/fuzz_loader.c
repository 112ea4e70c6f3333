/*
 * A kernel image that is anything, for every boot protocol: the first byte says whether it is for a
 * stock guest and whether there is an initrd; the second, how long the command line is; the rest is
 * the image. What is accepted must begin in RAM, with its page tables, its descriptors and its
 * parameters where the loader said, and leave memory above the kernel to the module.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/check.h"
#include "base/log.h"
#include "vmm/boot/archive.h"
#include "vmm/boot/loader.h"

#define MEMORY	    (32u << 20)
#define INITRD_SIZE 10000
#define LINE_SCALE  16

#define IS_STOCK   1
#define HAS_INITRD 2

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct ept_space *space;
static struct archive *archive;
static int initrd_fd;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const struct ept_config config = { .memory_bytes = MEMORY };

	log_set_verbosity(-1); /* not even of images that are no kernels */
	CHECK(ept_space_create(&config, &space) == 0);
	archive = archive_create();
	initrd_fd = memfd_create("initrd", MFD_CLOEXEC);
	CHECK(initrd_fd >= 0 && ftruncate(initrd_fd, INITRD_SIZE) == 0);
	return 0;
}

static void check_result(const struct loader_result *result, bool stock)
{
	uint8_t byte;

	CHECK(ept_read(space, result->start_info, &byte, 1) == 0);
	/* Low, or behind a kernel that lies there itself, which a Linux one may not. */
	CHECK(result->start_info.v < 0x100000 || result->start_info.v % PAGE_SIZE == 0);
	if (result->mode == LOADER_LONG) {
		CHECK(stock && result->start_info.v < 0x100000);
		CHECK(ept_read(space, result->entry, &byte, 1) == 0);
		CHECK(ept_read(space, result->gdt, &byte, 1) == 0);
		CHECK(ept_read(space, result->cr3, &byte, 1) == 0 && byte == 0x03);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char line[256 * LINE_SCALE];
	struct loader_module module = { .what = "the initrd", .size = INITRD_SIZE };
	struct loader_guest guest = { .command_line = line };
	struct loader_result result;
	uint8_t *image;

	if (size < 2)
		return 0;
	guest.stock = data[0] & IS_STOCK;
	if (data[0] & HAS_INITRD)
		guest.module = &module;
	module.fd = initrd_fd;
	if (!guest.stock) {
		module.archive = archive;
		module.size = archive_size(archive);
	}
	memset(line, 'x', data[1] * LINE_SCALE);
	line[data[1] * LINE_SCALE] = '\0';
	/* A copy of its own, so that a byte read past its end is noticed. */
	image = malloc(size - 2);
	CHECK(image != NULL || size == 2);
	if (size > 2)
		memcpy(image, data + 2, size - 2);
	guest.kernel = image;
	guest.kernel_size = size - 2;
	if (loader_load(space, &guest, &result) == 0)
		check_result(&result, guest.stock);
	free(image);
	return 0;
}

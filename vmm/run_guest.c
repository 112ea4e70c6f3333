#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "base/units.h"
#include "vmm/boot/archive.h"
#include "vmm/boot/loader.h"
#include "vmm/common/file.h"
#include "vmm/common/image.h"
#include "vmm/machine/machine.h"
#include "vmm/common/program.h"
#include "vmm/run_guest.h"

#define DEMO_PATH	"/demo"
#define ARGUMENTS_PATH	"/.arguments" /* in the guest; gone before its program runs */
#define LINE_BYTES_MOST 8192	      /* of arguments; then they are a file */
#define LINE_WORDS_MOST 200
#define DEMO_FACTOR	4	/* the demo touches so many times its budget */
#define DEMO_BUDGET	MIB(16) /* unless one is given */

/* The words of guest/abi.h's command line. */
static void append_word(FILE *out, const char *word)
{
	if (*word == '\0')
		fputs("\\0", out);
	for (; *word != '\0'; word++) {
		if (*word == ' ' || *word == '\\')
			fputc('\\', out);
		fputc(*word, out);
	}
	fputc(' ', out);
}

/* The program's arguments as a file of the archive has them: bytes, where a line has no room. */
static size_t pack_arguments(struct run_guest *guest, size_t *count)
{
	size_t size;
	FILE *out = open_memstream(&guest->packed_arguments, &size);

	CHECK(out != NULL);
	for (*count = 0; guest->options->arguments[*count] != NULL; ++*count)
		fwrite(guest->options->arguments[*count],
		       strlen(guest->options->arguments[*count]) + 1, 1, out);
	CHECK(fclose(out) == 0);
	return size;
}

static void append_arguments(struct run_guest *guest, FILE *out)
{
	size_t count;

	guest->packed_size = pack_arguments(guest, &count);
	if (guest->packed_size > LINE_BYTES_MOST || count > LINE_WORDS_MOST) {
		fputs("arguments=" ARGUMENTS_PATH, out);
		return;
	}
	guest->packed_size = 0;
	fputs("-- ", out);
	for (size_t i = 0; i < count; i++)
		append_word(out, guest->options->arguments[i]);
}

static void make_command_line(struct run_guest *guest)
{
	size_t size;
	FILE *out = open_memstream(&guest->command_line, &size);

	CHECK(out != NULL);
	if (log_verbosity() > 0)
		fputs("verbose ", out);
	if (guest->options->append != NULL)
		fprintf(out, "%s ", guest->options->append);
	fputs("init=", out);
	append_word(out, guest->demo ? DEMO_PATH : guest->program);
	if (guest->demo) {
		fprintf(out, "-- demo --touch %llu --write-share 25 ",
			(unsigned long long)(guest->options->budget_bytes * DEMO_FACTOR));
	} else {
		append_arguments(guest, out);
	}
	CHECK(fclose(out) == 0);
}

/*
 * The demo wants memory for four times its budget, and page tables and a kernel beside it.
 */
static int settle_demo(struct run_options *options)
{
	uint64_t spare = options->memory_bytes / 16 + MIB(12);
	char most[UNITS_TEXT_SIZE];

	if (options->budget_bytes == 0)
		options->budget_bytes = DEMO_BUDGET;
	if (options->memory_bytes > spare &&
	    options->budget_bytes * DEMO_FACTOR <= options->memory_bytes - spare &&
	    options->budget_bytes > 0)
		return 0;
	log_error(
		"the demo touches %d times its budget: give the guest more --memory, or a --budget "
		"of at most %s",
		DEMO_FACTOR,
		units_format_size(options->memory_bytes > spare
					  ? (options->memory_bytes - spare) / DEMO_FACTOR
					  : 0,
				  most));
	return -EINVAL;
}

static int build_root(struct run_guest *guest)
{
	int error;

	guest->root = archive_create();
	if (guest->demo)
		error = archive_add_memory(guest->root, image_demo,
					   (size_t)(image_demo_end - image_demo), DEMO_PATH);
	else
		error = archive_add_file(guest->root, guest->program, guest->program);
	if (error == 0 && guest->packed_size > 0)
		error = archive_add_memory(guest->root, guest->packed_arguments, guest->packed_size,
					   ARGUMENTS_PATH);
	for (size_t i = 0; error == 0 && i < guest->options->file_count; i++)
		error = archive_add_file(guest->root, guest->options->file[i].host,
					 guest->options->file[i].guest);
	return error;
}

static int open_kernel(struct run_guest *guest)
{
	const char *path = guest->options->kernel_path;
	uint64_t size;
	int fd, error;

	guest->kernel = image_quire;
	guest->kernel_size = (size_t)(image_quire_end - image_quire);
	if (path == NULL)
		return 0;
	guest->kernel = NULL;
	error = file_open_input(path, &fd, &size);
	if (error != 0)
		return error;
	guest->kernel_size = size;
	guest->kernel = mmap(NULL, guest->kernel_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (guest->kernel == MAP_FAILED) {
		error = -errno;
		log_error("%s: %m", path);
	}
	close(fd);
	return error;
}

static int open_initrd(struct run_guest *guest)
{
	if (guest->options->initrd_path == NULL)
		return 0;
	return file_open_input(guest->options->initrd_path, &guest->initrd_fd, &guest->initrd_size);
}

/* Only quire has a root, and words for its init. */
static int prepare_quire(struct run_guest *guest)
{
	make_command_line(guest);
	return build_root(guest);
}

int run_guest_init(struct run_guest *guest, struct run_options *options)
{
	*guest = (struct run_guest){
		.options = options,
		.demo = options->arguments[0] == NULL && !options->stock,
		.initrd_fd = -1,
	};
	if (options->stock)
		return 0;
	if (guest->demo)
		return settle_demo(options) == 0 ? 0 : MACHINE_STATUS_FAILED;
	return program_find(options->arguments[0], &guest->program);
}

int run_guest_open(struct run_guest *guest)
{
	int error = guest->options->stock ? 0 : prepare_quire(guest);

	if (error == 0)
		error = open_kernel(guest);
	if (error == 0)
		error = open_initrd(guest);
	return error;
}

int run_guest_load(struct run_guest *guest, struct machine *machine)
{
	const struct loader_module initrd = {
		.what = "the initrd",
		.size = guest->initrd_size,
		.fd = guest->initrd_fd,
	};
	const struct loader_module files = {
		.what = "the files",
		.size = guest->root != NULL ? archive_size(guest->root) : 0,
		.archive = guest->root,
	};
	struct loader_guest loaded = { .kernel = guest->kernel, .kernel_size = guest->kernel_size };
	int error;

	if (guest->options->stock) {
		loaded.command_line = guest->options->append;
		loaded.module = guest->initrd_fd >= 0 ? &initrd : NULL;
	} else {
		loaded.command_line = guest->command_line;
		loaded.module = &files;
	}
	error = machine_load(machine, &loaded);
	/* The files are the guest's now. */
	archive_destroy(guest->root);
	guest->root = NULL;
	return error;
}

const char *run_guest_name(const struct run_guest *guest)
{
	if (guest->options->stock)
		return basename(guest->options->kernel_path);
	return guest->demo ? "demo" : guest->program;
}

void run_guest_finish(struct run_guest *guest)
{
	archive_destroy(guest->root);
	if (guest->initrd_fd >= 0)
		close(guest->initrd_fd);
	if (guest->options->kernel_path != NULL && guest->kernel != NULL &&
	    guest->kernel != MAP_FAILED)
		munmap((void *)(uintptr_t)guest->kernel, guest->kernel_size);
	free(guest->command_line);
	free(guest->packed_arguments);
	free(guest->program);
}

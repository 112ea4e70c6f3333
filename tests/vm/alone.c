#include "tests/vm/alone.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define MMIO_BASE  0xfeb00000ul
#define MMIO_BYTES 512ul
#define MMIO_LINE  5
#define WORD_MAX   64

/* The root archive with the program alone. */
static const char *make_archive(const char *program)
{
	const char *root = scratch_path("root"), *archive = scratch_path("root.cpio");
	struct child *child;

	child = run_words(NULL, NULL, "/bin/sh", "-c",
			  "command -v qemu-system-x86_64 && command -v cpio", NULL);
	if (child->status != 0)
		cr_skip_test("SKIP: qemu-system-x86_64 or cpio is not installed");
	child = run_words(NULL, NULL, "/bin/sh", "-c",
			  "rm -rf \"$1\" && mkdir -p \"$1/bin\" && cp \"$2\" \"$1/bin\" && "
			  "cd \"$1\" && find . | cpio -o -H newc >\"$3\"",
			  "sh", root, guest_program(program), archive, NULL);
	cr_assert_eq(child->status, 0, "%s", child->err_text);
	return archive;
}

static void command_line(const struct alone *alone, char *line, size_t size)
{
	int used = snprintf(line, size, "init=/bin/%s %s", alone->program,
			    alone->words != NULL ? alone->words : "");

	if (alone->automatic)
		return;
	for (unsigned i = 0; i < alone->devices; i++)
		used += snprintf(line + used, size - used, " virtio_mmio.device=%lu@%#lx:%u",
				 MMIO_BYTES, MMIO_BASE + i * MMIO_BYTES, MMIO_LINE + i);
	used += snprintf(line + used, size - used, " -- %s %s", alone->program,
			 alone->arguments != NULL ? alone->arguments : "");
	cr_assert(used < (int)size);
}

static unsigned add_words(const char **argv, unsigned count, const char *const *word)
{
	for (; *word != NULL; word++) {
		cr_assert(count < WORD_MAX - 1);
		argv[count++] = *word;
	}
	return count;
}

static struct child *start(const struct alone *alone, const char *machine)
{
	static const char *const serial[] = { "-serial", "stdio", NULL };
	const char *const console[] = {
		"-serial",  "null",
		"-chardev", alone->console,
		"-device",  "virtio-serial-device,bus=virtio-mmio-bus.0",
		"-device",  "virtconsole,chardev=c0",
		NULL,
	};
	const char *archive = make_archive(alone->program), *argv[WORD_MAX] = { NULL };
	char line[1024], memory[16];
	const char *const always[] = {
		"/usr/bin/env", "timeout",
		"-s",		"KILL",
		"100",		"qemu-system-x86_64",
		"-M",		machine,
		"-accel",	"tcg",
		"-cpu",		"max",
		"-m",		memory,
		"-global",	"virtio-mmio.force-legacy=false",
		"-display",	"none",
		"-kernel",	guest_kernel(),
		"-initrd",	archive,
		"-append",	line,
		"-nodefaults",	"-no-reboot",
		NULL,
	};
	unsigned count;

	snprintf(memory, sizeof(memory), "%u", alone->memory != 0 ? alone->memory : 128);
	command_line(alone, line, sizeof(line));
	count = add_words(argv, 0, always);
	count = add_words(argv, count, alone->console != NULL ? console : serial);
	add_words(argv, count, alone->qemu);
	return child_start(argv, NULL);
}

static const char *finish(struct child *child)
{
	child_finish(child, NULL, 0);
	cr_assert_eq(child->status, 0, "%d: %s%s", child->status, child->out_text, child->err_text);
	return child->out_text;
}

struct child *alone_start(const struct alone *alone)
{
	return start(alone, alone->automatic ? "microvm,pic=off,acpi=off,rtc=on"
					     : "microvm,pic=off,acpi=off,rtc=on,"
					       "auto-kernel-cmdline=off");
}

const char *alone_run(const struct alone *alone)
{
	return finish(alone_start(alone));
}

const char *alone_boot(const char *program, const char *arguments)
{
	const struct alone alone = { .program = program, .arguments = arguments };

	return finish(start(&alone, "pc"));
}

#include "tests/vm/alone.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

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

const char *alone_finish(struct child *child)
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
	return alone_finish(alone_start(alone));
}

const char *alone_boot(const char *program, const char *arguments)
{
	const struct alone alone = { .program = program, .arguments = arguments };

	return alone_finish(start(&alone, "pc"));
}

/* --- a running QEMU --- */

#define PROMPT	    "(qemu) "
#define DIRECT_BASE 0xffff800000000000ul /* guest/lib/layout.h */

static int connect_to(const char *name)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", scratch_path(name));
	cr_assert(connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0, "%s: %m", name);
	return fd;
}

/* Reads up to the words, which come at last. */
static void read_up_to(int fd, const char *words, char *text, size_t size)
{
	size_t used = 0;

	for (;;) {
		ssize_t got = read(fd, text + used, size - 1 - used);

		cr_assert(got > 0, "QEMU says no more than: %.*s", (int)used, text);
		used += got;
		text[used] = '\0';
		if (used >= strlen(words) && strcmp(text + used - strlen(words), words) == 0)
			return;
	}
}

const char *alone_monitor_option(void)
{
	static char option[256];

	snprintf(option, sizeof(option), "unix:%s,server=on,wait=off", scratch_path("monitor"));
	return option;
}

const char *alone_monitor(const char *command)
{
	static char text[65536];
	int fd = connect_to("monitor");

	read_up_to(fd, PROMPT, text, sizeof(text));
	dprintf(fd, "%s\n", command);
	read_up_to(fd, PROMPT, text, sizeof(text));
	close(fd);
	return text;
}

const char *alone_gdb_option(void)
{
	static char option[256];

	snprintf(option, sizeof(option), "unix:%s,server=on,wait=off", scratch_path("gdb"));
	return option;
}

/* A packet of gdb's protocol: $words#checksum, and the answer's '+'. */
static void send_packet(int fd, const char *words)
{
	unsigned char sum = 0, answer;

	for (const char *c = words; *c != '\0'; c++)
		sum += (unsigned char)*c;
	dprintf(fd, "$%s#%02x", words, sum);
	do {
		cr_assert(read(fd, &answer, 1) == 1);
	} while (answer != '+');
}

void alone_poke(uint64_t physical, const void *bytes, unsigned length, const char *command)
{
	int fd = connect_to("gdb");
	char words[256], text[256];
	int used = snprintf(words, sizeof(words), "M%lx,%x:", DIRECT_BASE + physical, length);

	for (unsigned i = 0; i < length; i++)
		used += snprintf(words + used, sizeof(words) - used, "%02x",
				 ((const unsigned char *)bytes)[i]);
	cr_assert(used < (int)sizeof(words));
	send_packet(fd, words);
	read_up_to(fd, "$OK#9a", text, sizeof(text));
	dprintf(fd, "+");
	alone_monitor(command);
	send_packet(fd, "D");
	close(fd);
}

uint64_t alone_resident(const struct child *child)
{
	char path[64], *text, *line;
	uint64_t kilobytes;
	size_t size;

	/* The child is timeout, QEMU its child. */
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", child->pid, child->pid);
	text = read_file(path, &size);
	cr_assert(text != NULL && size > 0);
	snprintf(path, sizeof(path), "/proc/%d/status", atoi(text));
	free(text);
	text = read_file(path, &size);
	line = text != NULL ? strstr(text, "VmRSS:") : NULL;
	cr_assert(line != NULL);
	kilobytes = strtoul(line + strlen("VmRSS:"), NULL, 10);
	free(text);
	return kilobytes << 10;
}

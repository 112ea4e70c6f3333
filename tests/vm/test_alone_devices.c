/* Quire's virtio drivers on QEMU's devices. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/vm/alone.h"
#include "tests/vm/disks.h"

TestSuite(alone_devices, .init = harness_init, .fini = harness_finish, .timeout = 120);

/* A disk of so many bytes, all hole, on the bus with that number; two words for QEMU each. */
#define DISK(n, name)                                                                              \
	"-drive", disk_option(n, name), "-device",                                                 \
		"virtio-blk-device,drive=d" #n ",id=disk" #n ",bus=virtio-mmio-bus." #n

static const char *disk_option(int n, const char *path)
{
	static char option[4][256];

	snprintf(option[n], sizeof(option[n]),
		 "file=%s,format=raw,if=none,id=d%d,discard=unmap,cache=writeback", path, n);
	return option[n];
}

static void expect_right(const char *out)
{
	cr_assert(strstr(out, "blocks are right") != NULL, "%s", out);
}

/* QEMU's own words on the command line; and wrong ones, which do no harm. */
Test(alone_devices, found_by_qemus_words)
{
	const char *out = alone_run(&(struct alone){
		.program = "blocks",
		.words =
			"virtio_mmio.device=4K virtio_mmio.device=512@0x100000:5 "
			"virtio_mmio.device=512@0xfeb00000:99 virtio_mmio.device=16@0xfeb00000:5 "
			"virtio_mmio.device=512@0xfeb00000:5:7x virtio_mmio.device=1K@0xfd000000:5",
		.automatic = true,
		.qemu = { DISK(0, disk_make("a", 8 * MIB)), DISK(1, disk_make("b", 9 * MIB)) } });

	/* It names the last bus first. */
	cr_assert(strstr(out, "vda: 9437184 bytes") != NULL, "%s", out);
	cr_assert(strstr(out, "vdb: 8388608 bytes") != NULL, "%s", out);
	cr_assert(strstr(out, "4K is ignored: not SIZE@BASE:LINE") != NULL, "%s", out);
	cr_assert(strstr(out, "0x100000:5 is ignored: memory is there") != NULL, "%s", out);
	cr_assert(strstr(out, ":99 is ignored: the I/O APIC has no such line") != NULL, "%s", out);
	cr_assert(strstr(out, "16@0xfeb00000:5 is ignored: too small") != NULL, "%s", out);
	cr_assert(strstr(out, ":7x is ignored: not SIZE@BASE:LINE") != NULL, "%s", out);
	cr_assert(strstr(out, "0xfd000000:5 is ignored: no virtio device") != NULL, "%s", out);
}

Test(alone_devices, disk)
{
	expect_right(alone_run(&(struct alone){ .program = "blocks",
						.arguments = "check /dev/vda 1",
						.devices = 1,
						.qemu = { DISK(0, disk_make("a", 8 * MIB)) } }));
}

/* Blocks of 4 KiB, a short queue. */
Test(alone_devices, disk_of_large_blocks)
{
	expect_right(alone_run(&(struct alone){
		.program = "blocks",
		.arguments = "check /dev/vda 2",
		.devices = 1,
		.qemu = { DISK(
			0, disk_make("a", 8 * MIB)) ",logical_block_size=4096,physical_block_size="
						    "4096,queue-size=16,seg-max-adjust=on" } }));
}

Test(alone_devices, what_is_written_is_in_the_file)
{
	const char *path = disk_make("a", 8 * MIB);
	struct alone alone = { .program = "blocks",
			       .arguments = "fill /dev/vda 4711",
			       .devices = 1,
			       .qemu = { DISK(0, path) } };

	expect_right(alone_run(&alone));
	disk_check(path, 4711);
}

Test(alone_devices, read_only_disk)
{
	const char *path = disk_make("a", 8 * MIB), *out;
	struct alone alone = { .program = "blocks",
			       .arguments = "verify /dev/vda 4712",
			       .devices = 1,
			       .qemu = { DISK(0, path) } };
	char option[300];

	disk_fill(path, 4712);
	snprintf(option, sizeof(option), "%s,readonly=on", alone.qemu[1]);
	alone.qemu[1] = option;
	out = alone_run(&alone);
	expect_right(out);
	cr_assert(strstr(out, "read-only") != NULL, "%s", out);
	disk_check(path, 4712);
}

Test(alone_devices, discarded_blocks_leave_the_file)
{
	const char *path = disk_make("a", 8 * MIB);

	disk_fill(path, 1);
	expect_right(alone_run(&(struct alone){ .program = "blocks",
						.arguments = "trim /dev/vda",
						.devices = 1,
						.qemu = { DISK(0, path) } }));
	cr_assert(disk_blocks(path) <= 4 * MIB / 512 + 64);
}

/* Processes and threads on three disks; then with pages that go to quire's swap. */
Test(alone_devices, disks_together)
{
	struct alone alone = { .program = "blocks",
			       .arguments = "together /dev/vda /dev/vdb /dev/vdc 3",
			       .devices = 3,
			       .qemu = { DISK(0, disk_make("a", 8 * MIB)),
					 DISK(1, disk_make("b", 9 * MIB)),
					 DISK(2, disk_make("c", 10 * MIB)) } };

	expect_right(alone_run(&alone));
	alone.words = "swap=16M";
	alone.memory = 48;
	expect_right(alone_run(&alone));
}

/* The device says that it failed. */
Test(alone_devices, disk_with_errors)
{
	const char *rules = scratch_path("rules");
	char option[512];
	struct alone alone = { .program = "blocks",
			       .arguments = "errors /dev/vda",
			       .devices = 1,
			       .qemu = { DISK(0, disk_make("a", 8 * MIB)) } };
	static const char text[] = "[inject-error]\nevent = \"read_aio\"\nerrno = \"5\"\n"
				   "[inject-error]\nevent = \"write_aio\"\nerrno = \"5\"\n";

	write_file(rules, text, sizeof(text) - 1);
	snprintf(option, sizeof(option),
		 "file=blkdebug:%s:%s,format=raw,if=none,id=d0,rerror=report,werror=report", rules,
		 scratch_path("a"));
	alone.qemu[1] = option;
	expect_right(alone_run(&alone));
}

/* --- a device that fails --- */

/* Where the used ring of the disk on bus 0 lies. */
static uint64_t used_ring(void)
{
	const char *text = alone_monitor("info virtio-queue-status /machine/peripheral/disk0 0");
	const char *at = strstr(text, "    used:");

	cr_assert(at != NULL, "%s", text);
	return strtoul(strstr(at, "0x"), NULL, 16);
}

/* No device may say that more is done than there ever was. Nobody waits for such a device for ever,
 * and the other disk works on. */
Test(alone_devices, used_ring_that_lies)
{
	const char *other = disk_make("b", 8 * MIB), *out;
	uint16_t index = 0x7fff;
	struct child *child;

	disk_fill(other, 5);
	child = alone_start(
		&(struct alone){ .program = "blocks",
				 .arguments = "lost /dev/vda 5",
				 .devices = 2,
				 .qemu = { DISK(0, disk_make("a", 8 * MIB)), DISK(1, other),
					   ALONE_MONITOR, ALONE_GDB } });
	child_wait_for(child, false, "reading\n");
	/* For the command the device interrupts. */
	alone_poke(used_ring() + 2, &index, sizeof(index), "block_resize d0 9M");
	out = alone_finish(child);
	expect_right(out);
	cr_assert(strstr(out, "quire: block 0 has failed: queue 0:") != NULL, "%s", out);
}

/* --- console --- */

/* QEMU's console drops what a pipe does not take at once, so it is a file. */
Test(alone_devices, console_output)
{
	const char *path = scratch_path("output");
	char option[256], line[64], *out;
	size_t size;

	snprintf(option, sizeof(option), "file,id=c0,path=%s", path);
	alone_run(&(struct alone){ .program = "console",
				   .words = "console=hvc0",
				   .arguments = "flood 1000000",
				   .devices = 1,
				   .console = option });
	out = read_file(path, &size);
	cr_assert_eq(size, 1000000);
	for (unsigned i = 0; i < 1000000 / 32; i++) {
		snprintf(line, sizeof(line), "line %012u .............\n", i);
		cr_assert(strncmp(out + i * 32, line, 32) == 0, "line %u: %.40s", i, out + i * 32);
	}
	free(out);
}

/* More than the driver's buffers hold, while nobody reads yet. */
Test(alone_devices, console_input)
{
	struct child *child = alone_start(&(struct alone){ .program = "console",
							   .words = "console=hvc0 verbose",
							   .arguments = "echo",
							   .devices = 1,
							   .console = ALONE_STDIO });
	size_t size = 40000;
	char *input = malloc(size + 1);

	for (size_t i = 0; i < size; i++)
		input[i] = i % 61 == 60 ? '\n' : 'A' + i % 26;
	memcpy(input + size - 3, "\n.\n", 4);
	child_wait_for(child, false, "ready\n");
	child_send(child, input);
	child_wait_for(child, false, "40000 bytes, 0 wrong\n");
	cr_assert(strstr(child->out_text, input) != NULL);
	child_finish(child, NULL, 0);
	cr_assert_eq(child->status, 0);
	free(input);
}

/* The kernel's own lines; and no such console. */
Test(alone_devices, console_of_the_kernel)
{
	struct alone alone = { .program = "console",
			       .words = "console=hvc0",
			       .arguments = "size",
			       .devices = 1,
			       .console = ALONE_STDIO };
	const char *out = alone_run(&alone);

	cr_assert(strstr(out, "0 rows, 0 columns") != NULL, "%s", out);
	alone.program = "wild";
	alone.arguments = "read-null";
	out = alone_run(&alone);
	cr_assert(strstr(out, "quire: wild (process 1) killed by SIGSEGV") != NULL, "%s", out);
	alone.words = "console=hvc1";
	alone.console = NULL;
	out = alone_run(&alone);
	cr_assert(strstr(out, "console=hvc1: there is none") != NULL, "%s", out);
	cr_assert(strstr(out, "killed by SIGSEGV") != NULL, "%s", out);
}

/* --- balloon --- */

#define BALLOON                                                                                    \
	"-device", "virtio-balloon-device,id=balloon,bus=virtio-mmio-bus.1,deflate-on-oom=on,"     \
		   "free-page-reporting=on"

static struct child *start_balloon(unsigned memory, const char *words)
{
	char all[256];
	struct child *child;

	snprintf(all, sizeof(all), "console=hvc0 %s", words);
	child = alone_start(&(struct alone){ .program = "balloon",
					     .words = all,
					     .memory = memory,
					     .devices = 2,
					     .console = ALONE_STDIO,
					     .qemu = { BALLOON, ALONE_MONITOR } });
	child_wait_for(child, false, "ready\n");
	return child;
}

/* One line for the program. */
static void tell(struct child *child, const char *line)
{
	char text[100];

	snprintf(text, sizeof(text), "%s\n", line);
	child_send(child, text);
	snprintf(text, sizeof(text), "done %s\n", line);
	child_wait_for(child, false, text);
	free(child->out_text);
	child->out_text = calloc(1, 1);
	child->out_size = 0;
}

static void end_balloon(struct child *child)
{
	child_send(child, "quit\n");
	cr_assert(strstr(alone_finish(child), "the balloon is right") != NULL, "%s",
		  child->out_text);
}

Test(alone_devices, balloon_in_and_out)
{
	struct child *child = start_balloon(128, "");

	tell(child, "touch 30M");
	alone_monitor("balloon 64");
	tell(child, "await 64M");
	tell(child, "check");
	tell(child, "touch 10M");
	alone_monitor("balloon 100");
	tell(child, "below 29M");
	tell(child, "touch 20M");
	tell(child, "check");
	alone_monitor("balloon 128");
	tell(child, "below 1");
	tell(child, "touch 50M");
	tell(child, "check");
	end_balloon(child);
}

/* The guest cannot spare what is asked for: it gives what it can, and more when it can. */
Test(alone_devices, balloon_wants_too_much)
{
	struct child *child = start_balloon(128, "");

	tell(child, "touch 60M");
	alone_monitor("balloon 20");
	tell(child, "await 50M");
	tell(child, "check");
	tell(child, "free");
	tell(child, "await 108M");
	end_balloon(child);
}

/* Memory runs out: the balloon shrinks, and nobody is killed. */
Test(alone_devices, balloon_shrinks_when_memory_is_out)
{
	struct child *child = start_balloon(128, "");

	alone_monitor("balloon 30");
	tell(child, "await 98M");
	tell(child, "touch 50M");
	tell(child, "touch 50M");
	tell(child, "check");
	tell(child, "below 22M");
	tell(child, "free");
	/* After a rest it is as large as before. */
	tell(child, "await 98M");
	end_balloon(child);
}

Test(alone_devices, balloon_tells_statistics)
{
	struct child *child = start_balloon(128, "");
	const char *text = "";

	alone_monitor("qom-set /machine/peripheral/balloon guest-stats-polling-interval 1");
	for (unsigned i = 0; i < 50 && strstr(text, "\"last-update\": 0") != NULL; i++)
		usleep(100000);
	tell(child, "touch 30M");
	for (unsigned i = 0; i < 100; i++) {
		unsigned long faults = 0;
		const char *at;

		text = alone_monitor("qom-get /machine/peripheral/balloon guest-stats");
		at = strstr(text, "\"stat-minor-faults\": ");
		if (at != NULL)
			faults = strtoul(strchr(at, ':') + 1, NULL, 10);
		if (faults > 7680 && faults < 100000)
			break;
		usleep(100000);
	}
	cr_assert(strstr(text, "\"stat-total-memory\": 1289") != NULL, "%s", text);
	cr_assert(strstr(text, "\"stat-swap-out\": 0") != NULL, "%s", text);
	end_balloon(child);
}

/* Memory that a program gave back leaves the host, and reads as zero when it comes again. */
Test(alone_devices, free_pages_are_reported)
{
	struct child *child = start_balloon(256, "");
	uint64_t full, empty;

	tell(child, "touch 180M");
	full = alone_resident(child);
	tell(child, "free");
	tell(child, "report 170M");
	empty = alone_resident(child);
	cr_assert(full - empty > 160 * MIB, "%lu, then %lu bytes", full, empty);
	tell(child, "touch 190M");
	tell(child, "check");
	tell(child, "free");
	tell(child, "report 170M");
	end_balloon(child);
	child = start_balloon(256, "balloon_report_order=3");
	tell(child, "touch 180M");
	tell(child, "free");
	tell(child, "report 178M");
	end_balloon(child);
}

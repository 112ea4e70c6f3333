/*
 * An unmodified Debian kernel whose memory is bifold's: filled under a budget, given back,
 * ballooned, read from and written to disks, with every content checked.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/long.h"
#include "tests/vm/linux_guest.h"
#include "tests/vm/world.h"

#define MIB (1ll << 20)

static void init(void)
{
	harness_init();
	need_linux();
}

TestSuite(linux_memory, .init = init, .fini = harness_finish, .timeout = 300);

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Asks for a number of stat's until it is at most so much. Returns how long that took; fails the
 * test after limit seconds. */
static double wait_until_at_most(const char *path, int64_t most, double limit)
{
	double start = seconds();
	int64_t now;

	while ((now = stat_number(path)) > most)
		cr_assert_lt(seconds() - start, limit, "%s is %lld, not %lld, after %.0f s", path,
			     (long long)now, (long long)most, limit);
	return seconds() - start;
}

/* 512 MiB under 128: fills 300 MiB from its disk's program, rewrites a quarter, reads all back. */
Test(linux_memory, fills_and_checks_under_a_budget)
{
	struct child *guest =
		linux_start(WORDS("--budget", "128M", "--swap", scratch_path("."), "--report",
				  scratch_path("r.json")),
			    true,
			    "mount | grep -q '^/dev/vda on / type ext4' && "
			    "/demo --touch 300M --write-share 25 --pattern sequential");

	linux_end(guest);
	cr_assert(strstr(guest->out_text, "every page read was right") != NULL, "%s",
		  guest->out_text);
	cr_assert_gt(report_number(scratch_path("r.json"), "evictions.compressed"), 10000);
	cr_assert_leq(report_number(scratch_path("r.json"), "peak_host_bytes"), 128 * MIB);
}

/* The guest stands while the disk of its swap file is full, its disk's requests with it. Nothing of
 * that is an error, neither to the driver nor to the device. */
Test(linux_memory, a_disk_while_the_swap_folder_is_full)
{
	struct child *guest = linux_start_in(
		world_with_small_folder,
		WORDS("--budget", "80M", "--swap", WORLD_FOLDER, "--compressor", "none"), true,
		"(while dd if=/dev/vda of=/dev/null bs=256k count=64 iflag=direct 2>/dev/null; do "
		":; done; echo reading has failed) & echo | /hold 60 random; kill $!");

	child_wait_for(guest, true, "stands until there is room");
	cr_assert_eq(world_grow_folder(guest->pid, "300M"), 0);
	linux_end(guest);
	cr_assert(strstr(guest->out_text, "whole") != NULL, "%s", guest->out_text);
	cr_assert(strstr(guest->out_text, "failed") == NULL, "%s", guest->out_text);
	cr_assert(strstr(guest->err_text, "the guest goes on") != NULL, "%s", guest->err_text);
	cr_assert(strstr(guest->err_text, "broken") == NULL, "%s", guest->err_text);
}

/* A program's memory comes back to the host within 5 s of its end, without a word from anyone. */
Test(linux_memory, freed_memory_comes_back)
{
	struct child *guest = linux_start(WORDS(NULL), false,
					  "read go; /hold 256 random; echo it has ended; read end");
	int64_t full;
	double took;

	child_send(guest, "go\n");
	child_wait_for(guest, false, "ready");
	full = stat_number("resident_bytes");
	cr_assert_geq(full, 256 * MIB);
	child_send(guest, "\n");
	child_wait_for(guest, false, "it has ended");
	took = wait_until_at_most("resident_bytes", full - 256 * MIB * 9 / 10, 5);
	fprintf(stderr, "90 %% of 256 MiB came back after %.1f s\n", took);
	child_send(guest, "end\n");
	linux_end(guest);
	cr_assert(strstr(guest->out_text, "whole") != NULL, "%s", guest->out_text);
}

static void balloon(const char *size)
{
	struct child *asked =
		run_words(NULL, NULL, bifold_path(), "balloon", socket_path(), size, NULL);

	cr_assert_eq(asked->status, 0, "status %d: %s%s", asked->status, asked->out_text,
		     asked->err_text);
	child_forget(asked);
}

/* More memory than fits below the hole, under a budget far smaller. */
Test(linux_memory, above_the_hole, .timeout = 300)
{
	static const char *const sizes[] = { "5G", "3145732K" };

	for (unsigned i = 0; i < test_times(1, 2); i++) {
		struct child *guest =
			linux_start(WORDS("--memory", sizes[i], "--budget", "192M", "--swap",
					  scratch_path(".")),
				    false,
				    "grep MemTotal /proc/meminfo; "
				    "/demo --touch 64M --passes 1 --pattern sequential");

		linux_end(guest);
		cr_assert(strstr(guest->out_text, "every page read was right") != NULL, "%s",
			  guest->out_text);
		harness_forget();
	}
}

/* In and out around a program whose data stays whole, under a budget that has stored much of it. */
Test(linux_memory, balloon_in_and_out)
{
	struct child *guest =
		linux_start(WORDS("--budget", "128M", "--swap", scratch_path("."), NULL), false,
			    "/hold 160 random; /demo --touch 160M --passes 1 --pattern sequential");

	child_wait_for(guest, false, "ready");
	balloon("200M");
	cr_assert_eq(stat_number("balloon.held_bytes"), 200 * MIB);
	cr_assert_geq(stat_number("balloon_frames"), 200 * MIB / 4096);
	balloon("0");
	cr_assert_eq(stat_number("balloon_frames"), 0);
	child_send(guest, "\n");
	linux_end(guest);
	cr_assert(strstr(guest->out_text, "whole") != NULL, "%s", guest->out_text);
	cr_assert(strstr(guest->out_text, "every page read was right") != NULL, "%s",
		  guest->out_text);
}

/* A guest that runs out of memory takes it from its balloon, and kills nobody. */
Test(linux_memory, balloon_gives_way_before_the_oom_killer)
{
	struct child *guest = linux_start(
		WORDS(NULL), false,
		"echo here; read go; /demo --touch 256M --passes 1 --pattern sequential; s=$?; "
		"grep -E '^oom_kill ' /proc/vmstat; exit $s");

	child_wait_for(guest, false, "here");
	balloon("320M");
	child_send(guest, "go\n");
	linux_end(guest);
	cr_assert(strstr(guest->out_text, "every page read was right") != NULL, "%s",
		  guest->out_text);
	cr_assert(strstr(guest->out_text, "oom_kill 0") != NULL, "%s", guest->out_text);
}

/* The file gets the data that the guest writes, and the guest reads the file's data. */
Test(linux_memory, disks)
{
	const char *data = scratch_path("data");
	struct child *guest, *sum;
	char read_only[4096];

	sum = run_words(NULL, NULL, busybox_path(), "dd", "if=/dev/urandom", "bs=64k", "count=512",
			NULL);
	write_file(data, sum->out_text, sum->out_size);
	cr_assert_eq(sum->out_size, 32 * MIB);
	snprintf(read_only, sizeof(read_only), "%s,ro", data);
	write_file(scratch_path("copy"), NULL, 0);
	cr_assert_eq(truncate(scratch_path("copy"), 32 * MIB), 0);
	guest = linux_start(WORDS("--budget", "64M", "--swap", scratch_path("."), "--disk",
				  read_only, "--disk", scratch_path("copy")),
			    false,
			    "dd if=/dev/vda of=/dev/vdb bs=1M && sync && cmp /dev/vda /dev/vdb && "
			    "! dd if=/dev/zero of=/dev/vda bs=512 count=1 2>/dev/null");
	linux_end(guest);
	sum = run_words(NULL, NULL, busybox_path(), "cmp", data, scratch_path("copy"), NULL);
	cr_assert_eq(sum->status, 0, "%s", sum->out_text);
}

/* Eight processors, each with a program that fills and checks. */
Test(linux_memory, eight_processors)
{
	struct child *guest = linux_start(
		WORDS("--budget", "96M", "--cpus", "8", "--swap", scratch_path(".")), false,
		"grep -c ^processor /proc/cpuinfo; for i in 1 2 3 4 5 6 7 8; do "
		"/demo --touch 20M --passes 1 --pattern sequential >/tmp/$i && echo right $i & "
		"done; "
		"wait; cat /tmp/1");

	linux_end(guest);
	for (int i = 1; i <= 8; i++) {
		char right[16];

		snprintf(right, sizeof(right), "right %d", i);
		cr_assert(strstr(guest->out_text, right) != NULL, "%s", guest->out_text);
	}
}

/*
 * How the image of a disk, or a block device, is opened, or is not.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices/virtio/block_file.h"

static void expect_image(const char *path, bool read_only, int error)
{
	struct block_file file;
	int got = block_file_open(path, read_only, &file);

	cr_assert_eq(got, error, "%s: %s", path, strerror(-got));
	if (got == 0)
		block_file_close(&file);
}

static char *make_file(const char *folder, const char *name, off_t length)
{
	char *path;
	int fd;

	cr_assert(asprintf(&path, "%s/%s", folder, name) > 0);
	fd = open(path, O_RDWR | O_CREAT, 0600);
	cr_assert(fd >= 0 && ftruncate(fd, length) == 0);
	close(fd);
	return path;
}

Test(block_images, good_and_bad)
{
	char folder[] = "/tmp/bifold-images-XXXXXX";
	char *good, *odd, *empty, *fifo;

	cr_assert(mkdtemp(folder) != NULL);
	good = make_file(folder, "good", 1024);
	odd = make_file(folder, "odd", 1025);
	empty = make_file(folder, "empty", 0);
	cr_assert(asprintf(&fifo, "%s/fifo", folder) > 0);
	cr_assert_eq(mkfifo(fifo, 0600), 0);
	expect_image(good, false, 0);
	expect_image(good, true, 0);
	expect_image(odd, false, -EINVAL);
	expect_image(empty, true, -EINVAL);
	expect_image(fifo, true, -EINVAL);
	expect_image(fifo, false, -EINVAL);
	expect_image("/dev/null", false, -EINVAL);
	expect_image(folder, false, -EISDIR);
	expect_image(folder, true, -EINVAL);
	expect_image("/nowhere/disk", false, -ENOENT);
	cr_assert_eq(chmod(good, 0400), 0);
	if (getuid() != 0 || seteuid(65534) == 0) {
		expect_image(good, false, -EACCES);
		cr_assert(getuid() != 0 || seteuid(0) == 0);
	}
	unlink(good);
	unlink(odd);
	unlink(empty);
	unlink(fifo);
	rmdir(folder);
	free(good);
	free(odd);
	free(empty);
	free(fifo);
}

/* A loop device over an image. Returns its descriptor, or -1 with errno; it ends with that. */
static int make_loop(const char *image, unsigned flags, char path[32])
{
	struct loop_config config = { .info.lo_flags = LO_FLAGS_AUTOCLEAR | flags };
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), number, loop, error;

	if (control < 0)
		return -1;
	number = ioctl(control, LOOP_CTL_GET_FREE);
	snprintf(path, 32, "/dev/loop%d", number);
	loop = number < 0 ? -1 : open(path, O_RDWR | O_CLOEXEC);
	config.fd = (uint32_t)open(image, O_RDWR | O_CLOEXEC);
	if (loop >= 0 && ioctl(loop, LOOP_CONFIGURE, &config) != 0) {
		error = errno;
		close(loop);
		loop = -1;
		errno = error;
	}
	error = errno;
	close((int)config.fd);
	close(control);
	errno = error;
	return loop;
}

/* It can be opened for writing, and cannot be written. */
Test(block_images, devices_that_are_read_only)
{
	char folder[] = "/tmp/bifold-images-XXXXXX", device[32];
	char *image;
	int loop;

	cr_assert(mkdtemp(folder) != NULL);
	image = make_file(folder, "image", 1 << 20);
	loop = make_loop(image, LO_FLAGS_READ_ONLY, device);
	if (loop >= 0) {
		expect_image(device, false, -EROFS);
		expect_image(device, true, 0);
		close(loop);
		loop = make_loop(image, 0, device);
		cr_assert_geq(loop, 0);
		expect_image(device, false, 0);
		close(loop);
	}
	unlink(image);
	rmdir(folder);
	free(image);
	if (loop < 0)
		cr_skip_test("SKIP: no loop device can be had");
}

/* One may write, or many may read. */
Test(block_images, are_locked)
{
	char folder[] = "/tmp/bifold-images-XXXXXX";
	struct block_file one, two;
	char *path;

	cr_assert(mkdtemp(folder) != NULL);
	path = make_file(folder, "good", 1024);
	cr_assert_eq(block_file_open(path, false, &one), 0);
	expect_image(path, false, -EAGAIN);
	expect_image(path, true, -EAGAIN);
	block_file_close(&one);
	cr_assert_eq(block_file_open(path, true, &one), 0);
	cr_assert_eq(block_file_open(path, true, &two), 0);
	expect_image(path, false, -EAGAIN);
	block_file_close(&one);
	block_file_close(&two);
	expect_image(path, false, 0);
	unlink(path);
	rmdir(folder);
	free(path);
}

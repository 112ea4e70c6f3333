#include "tests/vm/world.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

int world_of_own_mounts(void)
{
	if (unshare(CLONE_NEWNS) != 0)
		return -1;
	/* On a RAM file system as root the change of propagation is refused, and not needed. */
	mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
	return 0;
}

static int bare_dev(void)
{
	if (world_of_own_mounts() != 0 || mount("none", "/dev", "tmpfs", 0, "size=64k") != 0)
		return -1;
	return mknod("/dev/null", S_IFCHR | 0666, makedev(1, 3));
}

int world_without_kvm(void)
{
	return bare_dev();
}

int world_with_a_file_for_kvm(void)
{
	return bare_dev() != 0 ? -1 : mknod("/dev/kvm", S_IFREG | 0600, 0);
}

int world_without_userfaultfd(void)
{
	if (bare_dev() != 0 || mknod("/dev/kvm", S_IFCHR | 0600, makedev(10, 232)) != 0)
		return -1;
	return prctl(PR_CAPBSET_DROP, CAP_SYS_PTRACE, 0, 0, 0);
}

int world_with_read_only_folder(void)
{
	if (world_of_own_mounts() != 0)
		return -1;
	return mount("none", WORLD_FOLDER, "tmpfs", MS_RDONLY, "size=64k");
}

int world_with_small_folder(void)
{
	if (world_of_own_mounts() != 0)
		return -1;
	return mount("none", WORLD_FOLDER, "tmpfs", 0, "size=" WORLD_SMALL_BYTES);
}

int world_grow_folder(pid_t pid, const char *size)
{
	char path[64], options[64];
	int status, fd;
	pid_t helper;

	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", pid);
	snprintf(options, sizeof(options), "size=%s", size);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	helper = fork();
	if (helper == 0)
		_exit(setns(fd, CLONE_NEWNS) != 0 ||
		      mount(NULL, WORLD_FOLDER, NULL, MS_REMOUNT, options) != 0);
	close(fd);
	return helper > 0 && waitpid(helper, &status, 0) == helper && status == 0 ? 0 : -1;
}

int world_with_full_folder(void)
{
	int fd, error;

	if (world_with_small_folder() != 0)
		return -1;
	fd = open(WORLD_FILLER, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0)
		return -1;
	error = posix_fallocate(fd, 0, 1 << 20);
	close(fd);
	return error;
}

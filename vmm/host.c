#include "vmm/host.h"

#include <fcntl.h>
#include <unistd.h>

static bool parameter_is_on(const char *path)
{
	char value = 'N';
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	if (read(fd, &value, 1) != 1)
		value = 'N';
	close(fd);
	return value == 'Y' || value == '1';
}

const char *host_second_layer(void)
{
	if (parameter_is_on("/sys/module/kvm_intel/parameters/ept"))
		return "ept";
	if (parameter_is_on("/sys/module/kvm_amd/parameters/npt"))
		return "npt";
	return "shadow";
}

/* Not by CPUID: where this host is itself a guest, that may show another processor. */
bool host_emulates_ring0(void)
{
	return access("/sys/module/kvm_intel/parameters", F_OK) != 0 &&
	       access("/sys/module/kvm_amd/parameters", F_OK) != 0;
}

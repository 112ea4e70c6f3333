#include "vmm/common/host.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * Measured with findings of guests that have many page tables for few pages, by the memory cgroup's
 * count: a shadow page costs KVM a page of entries, a page of the frame numbers they stand for, a
 * header, and a part of the lists of the entries that map a page. A tenth of the budget for them:
 * with a quarter of that a sort in half its memory is no slower.
 */
#define SHADOW_PAGE_BYTES  10240u
#define SHADOW_PAGES_LEAST 64u /* KVM's own least */
#define SHADOW_SHARE	   10u
#define SHADOW_PERMILLE	   20u /* of the guest's pages: what KVM chooses by itself */

/* KVM's state and caches of one more vCPU, its thread, and the threads and rings of a machine. */
#define CPU_BYTES     (480u * 1024)
#define MACHINE_BYTES (256u * 1024)

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

static const char *read_second_layer(void)
{
	if (parameter_is_on("/sys/module/kvm_intel/parameters/ept"))
		return "ept";
	if (parameter_is_on("/sys/module/kvm_amd/parameters/npt"))
		return "npt";
	return "shadow";
}

/*
 * KVM takes five levels under NPT where the host itself has five, and under EPT where addresses
 * have more than 48 bits as well.
 */
static unsigned read_second_levels(const char *layer)
{
	FILE *file = fopen("/proc/cpuinfo", "re");
	bool has_la57 = false;
	unsigned bits = 0;
	char *line = NULL;
	size_t size = 0;

	if (file == NULL)
		return 4;
	while (getline(&line, &size, file) > 0 && line[0] != '\n') {
		if (strncmp(line, "flags", 5) == 0)
			has_la57 = strstr(line, " la57") != NULL;
		sscanf(line, "address sizes : %u bits physical", &bits);
	}
	free(line);
	fclose(file);
	return has_la57 && (strcmp(layer, "npt") == 0 || (strcmp(layer, "ept") == 0 && bits > 48))
		       ? 5
		       : 4;
}

/* Neither changes while this program runs. */
static const char *second_layer;
static unsigned second_levels;

static void learn_second_layer(void)
{
	second_layer = read_second_layer();
}

static void learn_second_levels(void)
{
	second_levels = read_second_levels(host_second_layer());
}

const char *host_second_layer(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, learn_second_layer);
	return second_layer;
}

unsigned host_second_levels(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, learn_second_levels);
	return second_levels;
}

/* Not by CPUID: where this host is itself a guest, that may show another processor. */
bool host_emulates_ring0(void)
{
	return access("/sys/module/kvm_intel/parameters", F_OK) != 0 &&
	       access("/sys/module/kvm_amd/parameters", F_OK) != 0;
}

static bool shadows(void)
{
	return strcmp(host_second_layer(), "shadow") == 0;
}

static uint64_t shadow_bytes(uint64_t budget)
{
	uint64_t share = budget / SHADOW_SHARE, least = SHADOW_PAGES_LEAST * SHADOW_PAGE_BYTES;

	return share > least ? share : least;
}

uint64_t host_spends(unsigned cpu_count, uint64_t budget_bytes)
{
	return MACHINE_BYTES + (cpu_count - 1) * (uint64_t)CPU_BYTES +
	       (shadows() ? shadow_bytes(budget_bytes) : 0);
}

uint64_t host_unit_bytes(void)
{
	return (shadows() ? 2 : 3) * 4096;
}

uint32_t host_shadow_pages(uint64_t budget_bytes, uint64_t memory_bytes)
{
	uint64_t pages = memory_bytes / 4096 * SHADOW_PERMILLE / 1000;

	if (!shadows())
		return 0;
	if (budget_bytes != 0)
		pages = shadow_bytes(budget_bytes) / SHADOW_PAGE_BYTES;
	return pages > SHADOW_PAGES_LEAST ? (uint32_t)pages : SHADOW_PAGES_LEAST;
}

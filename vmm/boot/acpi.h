/*
 * The ACPI tables that tell a stock kernel what a machine has: its processors and I/O APIC (MADT),
 * how to switch it off and reset it (a hardware-reduced FADT), and its devices (a DSDT). Debian's
 * kernel finds virtio-mmio devices in no other way. Addresses are those of vmm/boot/platform.h.
 */
#ifndef VMM_BOOT_ACPI_H
#define VMM_BOOT_ACPI_H

#include <stddef.h>
#include <stdint.h>

/* Where the tables lie: among a PC's ROMs, where a kernel that got no pointer looks for the RSDP,
 * which is the first of them. */
#define ACPI_AT	   0xe0000u
#define ACPI_BYTES 0x8000u

struct acpi_config {
	unsigned cpu_count;    /* APIC ids 0 to cpu_count - 1 */
	unsigned virtio_count; /* at most PLATFORM_VIRTIO_MAX */
};

/* Lays the tables out for ACPI_AT, in a buffer of ACPI_BYTES. Returns the bytes used. */
size_t acpi_build(const struct acpi_config *config, uint8_t *buffer);

#endif

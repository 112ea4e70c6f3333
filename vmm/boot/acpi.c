/*
 * All tables lie in one piece, the RSDP first. A table is laid out in place
 * and its length and checksum are put in when it is complete.
 */
#include "vmm/boot/acpi.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "vmm/boot/acpi_aml.h"
#include "vmm/boot/platform.h"

#define OEM_ID	     "BIFOLD"
#define OEM_TABLE_ID "BIFOLDVM"
#define OEM_REVISION 1u
#define CREATOR_ID   "BFLD"

struct rsdp {
	char signature[8];
	uint8_t checksum; /* of the first 20 bytes */
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt;
	uint32_t length;
	uint64_t xsdt;
	uint8_t extended_checksum; /* of it all */
	uint8_t reserved[3];
} __attribute__((packed));

struct header {
	char signature[4];
	uint32_t length;
	uint8_t revision;
	uint8_t checksum;
	char oem_id[6];
	char oem_table_id[8];
	uint32_t oem_revision;
	char creator_id[4];
	uint32_t creator_revision;
} __attribute__((packed));

struct address {
	uint8_t space; /* 1: I/O ports */
	uint8_t bit_width, bit_offset;
	uint8_t access_size; /* 1: a byte */
	uint64_t address;
} __attribute__((packed));

/* Revision 6.0. Fields that hardware-reduced ACPI has no use for stay zero; but for the timer,
 * which kernels look for all the same. */
struct fadt {
	struct header header;
	uint32_t firmware_control, dsdt;
	uint8_t legacy_part_1[32];
	uint32_t pm_timer;
	uint8_t legacy_part_2[11];
	uint8_t pm_timer_length;
	uint8_t legacy_part_3[17];
	uint16_t boot_architecture;
	uint8_t reserved;
	uint32_t flags;
	struct address reset;
	uint8_t reset_value;
	uint16_t arm_boot_architecture;
	uint8_t minor_revision;
	uint64_t x_firmware_control, x_dsdt;
	struct address x_legacy_part_1[5];
	struct address x_pm_timer;
	struct address x_legacy_part_2[2];
	struct address sleep_control, sleep_status;
	char hypervisor[8];
} __attribute__((packed));

_Static_assert(sizeof(struct fadt) == 276, "the FADT has its size");

#define FADT_WBINVD	      (1u << 0)
#define FADT_NO_POWER_BUTTON  (1u << 4)
#define FADT_NO_SLEEP_BUTTON  (1u << 5)
#define FADT_TIMER_32_BITS    (1u << 8)
#define FADT_RESET	      (1u << 10)
#define FADT_HARDWARE_REDUCED (1u << 20)
#define BOOT_NO_VGA	      (1u << 2)
#define BOOT_NO_RTC	      (1u << 5)

#define MADT_HAS_8259  1u
#define MADT_LAPIC     0u
#define MADT_IOAPIC    1u
#define MADT_LAPIC_NMI 4u
#define LAPIC_ENABLED  1u
#define ALL_PROCESSORS 0xffu

static uint8_t sum(const uint8_t *data, size_t length)
{
	uint8_t total = 0;

	for (size_t i = 0; i < length; i++)
		total = (uint8_t)(total + data[i]);
	return total;
}

static size_t begin_table(struct aml *out, const char *signature, uint8_t revision)
{
	struct header header = { .revision = revision,
				 .oem_revision = OEM_REVISION,
				 .creator_revision = OEM_REVISION };
	size_t begun;

	/* Tables are found by address; those with fields of eight bytes like theirs aligned. */
	while (out->used % 8 != 0)
		aml_byte(out, 0);
	begun = out->used;
	memcpy(header.signature, signature, sizeof(header.signature));
	memcpy(header.oem_id, OEM_ID, sizeof(header.oem_id));
	memcpy(header.oem_table_id, OEM_TABLE_ID, sizeof(header.oem_table_id));
	memcpy(header.creator_id, CREATOR_ID, sizeof(header.creator_id));
	aml_bytes(out, &header, sizeof(header));
	return begun;
}

/* Returns the table's guest-physical address. */
static uint64_t end_table(struct aml *out, size_t begun)
{
	uint8_t *table = out->data + begun;
	uint32_t length = (uint32_t)(out->used - begun);

	memcpy(table + offsetof(struct header, length), &length, sizeof(length));
	table[offsetof(struct header, checksum)] = (uint8_t)-sum(table, length);
	return ACPI_AT + begun;
}

/* --- DSDT: what is on the buses --- */

static void put_serial(struct aml *out)
{
	size_t device = aml_begin_device(out, "COM1"), resources;

	aml_name(out, "_HID");
	aml_eisa_id(out, "PNP0501");
	aml_name(out, "_UID");
	aml_integer(out, 1);
	aml_name(out, "_CRS");
	resources = aml_begin_resources(out);
	aml_resource_io(out, PLATFORM_SERIAL, 8);
	aml_resource_interrupt(out, PLATFORM_SERIAL_GSI);
	aml_end_resources(out, resources);
	aml_end(out, device);
}

static void put_virtio(struct aml *out, unsigned number)
{
	char name[5];
	size_t device, resources;

	snprintf(name, sizeof(name), "VR%02X", number & 255);
	device = aml_begin_device(out, name);
	aml_name(out, "_HID");
	aml_string(out, "LNRO0005");
	aml_name(out, "_UID");
	aml_integer(out, number);
	aml_name(out, "_CCA"); /* the device sees what the processors' caches hold */
	aml_integer(out, 1);
	aml_name(out, "_CRS");
	resources = aml_begin_resources(out);
	aml_resource_memory(out, (uint32_t)(PLATFORM_VIRTIO_BASE + number * PLATFORM_VIRTIO_BYTES),
			    PLATFORM_VIRTIO_BYTES);
	aml_resource_interrupt(out, PLATFORM_VIRTIO_GSI + number);
	aml_end_resources(out, resources);
	aml_end(out, device);
}

static uint64_t put_dsdt(struct aml *out, const struct acpi_config *config)
{
	size_t table = begin_table(out, "DSDT", 2), scope, package;

	scope = aml_begin_scope(out, "\\_SB_");
	put_serial(out);
	for (unsigned i = 0; i < config->virtio_count; i++)
		put_virtio(out, i);
	aml_end(out, scope);
	aml_name(out, "\\_S5_");
	package = aml_begin_package(out, 2);
	aml_integer(out, PLATFORM_SLEEP_S5);
	aml_integer(out, PLATFORM_SLEEP_S5);
	aml_end(out, package);
	return end_table(out, table);
}

/* --- the other tables --- */

static struct address io_port(uint64_t port)
{
	return (struct address){ .space = 1, .bit_width = 8, .access_size = 1, .address = port };
}

static struct address io_port_wide(uint64_t port)
{
	return (struct address){ .space = 1, .bit_width = 32, .access_size = 3, .address = port };
}

static uint64_t put_fadt(struct aml *out, uint64_t dsdt)
{
	struct fadt fadt = {
		.dsdt = (uint32_t)dsdt,
		.boot_architecture = BOOT_NO_VGA | BOOT_NO_RTC,
		.flags = FADT_WBINVD | FADT_NO_POWER_BUTTON | FADT_NO_SLEEP_BUTTON |
			 FADT_TIMER_32_BITS | FADT_RESET | FADT_HARDWARE_REDUCED,
		.pm_timer = PLATFORM_PM_TIMER,
		.pm_timer_length = 4,
		.x_pm_timer = io_port_wide(PLATFORM_PM_TIMER),
		.reset = io_port(PLATFORM_POWER + 2),
		.reset_value = PLATFORM_RESET_VALUE,
		.x_dsdt = dsdt,
		.sleep_control = io_port(PLATFORM_POWER),
		.sleep_status = io_port(PLATFORM_POWER + 1),
		.hypervisor = "BIFOLD",
	};
	size_t table = begin_table(out, "FACP", 6);

	aml_bytes(out, (uint8_t *)&fadt + sizeof(fadt.header), sizeof(fadt) - sizeof(fadt.header));
	return end_table(out, table);
}

static uint64_t put_madt(struct aml *out, unsigned cpu_count)
{
	size_t table = begin_table(out, "APIC", 5);

	aml_le32(out, PLATFORM_LAPIC);
	aml_le32(out, MADT_HAS_8259);
	for (unsigned i = 0; i < cpu_count; i++) {
		const uint8_t lapic[] = { MADT_LAPIC, 8, (uint8_t)i, (uint8_t)i };

		aml_bytes(out, lapic, sizeof(lapic));
		aml_le32(out, LAPIC_ENABLED);
	}
	aml_bytes(out, (const uint8_t[]){ MADT_IOAPIC, 12, 0, 0 }, 4);
	aml_le32(out, PLATFORM_IOAPIC);
	aml_le32(out, 0); /* its first line's number */
	/* NMI: at LINT1, with the bus' polarity and trigger. */
	aml_bytes(out, (const uint8_t[]){ MADT_LAPIC_NMI, 6, ALL_PROCESSORS, 0, 0, 1 }, 6);
	return end_table(out, table);
}

static uint64_t put_xsdt(struct aml *out, const uint64_t *tables, unsigned count)
{
	size_t table = begin_table(out, "XSDT", 1);

	aml_bytes(out, tables, count * sizeof(tables[0]));
	return end_table(out, table);
}

static void put_rsdp(uint8_t *at, uint64_t xsdt)
{
	struct rsdp rsdp = { .revision = 2, .length = sizeof(rsdp), .xsdt = xsdt };

	memcpy(rsdp.signature, "RSD PTR ", sizeof(rsdp.signature));
	memcpy(rsdp.oem_id, OEM_ID, sizeof(rsdp.oem_id));
	rsdp.checksum = (uint8_t)-sum((uint8_t *)&rsdp, offsetof(struct rsdp, length));
	rsdp.extended_checksum = (uint8_t)-sum((uint8_t *)&rsdp, sizeof(rsdp));
	memcpy(at, &rsdp, sizeof(rsdp));
}

size_t acpi_build(const struct acpi_config *config, uint8_t *buffer)
{
	struct aml out = { .data = buffer, .used = sizeof(struct rsdp), .size = ACPI_BYTES };
	uint64_t tables[2], dsdt;

	CHECK(config->virtio_count <= PLATFORM_VIRTIO_MAX);
	memset(buffer, 0, ACPI_BYTES);
	dsdt = put_dsdt(&out, config);
	tables[0] = put_fadt(&out, dsdt);
	tables[1] = put_madt(&out, config->cpu_count);
	put_rsdp(buffer, put_xsdt(&out, tables, sizeof(tables) / sizeof(tables[0])));
	return out.used;
}

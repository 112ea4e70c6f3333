/*
 * The ACPI tables: found as a kernel finds them, whole, and saying what platform.h says; their
 * machine language byte by byte, and through ACPICA's own disassembler and compiler where it is
 * installed.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/boot/acpi.h"
#include "vmm/boot/acpi_aml.h"
#include "vmm/boot/platform.h"

static uint8_t tables[ACPI_BYTES];
static size_t used;

static void build(unsigned cpu_count, unsigned virtio_count)
{
	const struct acpi_config config = { cpu_count, virtio_count };

	memset(tables, 0xee, sizeof(tables));
	used = acpi_build(&config, tables);
	cr_assert_leq(used, sizeof(tables));
}

static uint8_t sum(const uint8_t *bytes, size_t length)
{
	uint8_t total = 0;

	while (length-- > 0)
		total = (uint8_t)(total + *bytes++);
	return total;
}

static uint64_t number(const uint8_t *at, unsigned size)
{
	uint64_t value = 0;

	memcpy(&value, at, size);
	return value;
}

/* A table at a guest-physical address, whole. */
static const uint8_t *table_at(uint64_t address, const char *signature)
{
	const uint8_t *table;

	cr_assert(address >= ACPI_AT && address < ACPI_AT + used, "%#lx", address);
	table = tables + (address - ACPI_AT);
	cr_assert_arr_eq(table, signature, 4);
	cr_assert_leq(address + number(table + 4, 4), ACPI_AT + used);
	cr_assert_eq(sum(table, number(table + 4, 4)), 0, "%s", signature);
	cr_assert_arr_eq(table + 10, "BIFOLD", 6);
	return table;
}

static const uint8_t *find(const char *signature)
{
	const uint8_t *xsdt;

	cr_assert_arr_eq(tables, "RSD PTR ", 8);
	cr_assert_eq(sum(tables, 20), 0);
	cr_assert_eq(sum(tables, 36), 0);
	cr_assert_eq(tables[15], 2);
	cr_assert_eq(number(tables + 20, 4), 36);
	xsdt = table_at(number(tables + 24, 8), "XSDT");
	for (size_t at = 36; at < number(xsdt + 4, 4); at += 8) {
		uint64_t address = number(xsdt + at, 8);

		if (memcmp(tables + (address - ACPI_AT), signature, 4) == 0)
			return table_at(address, signature);
	}
	cr_assert_fail("no %s", signature);
	return NULL;
}

static const uint8_t *find_dsdt(void)
{
	const uint8_t *fadt = find("FACP");

	cr_assert_eq(number(fadt + 40, 4), number(fadt + 140, 8), "DSDT and X_DSDT");
	return table_at(number(fadt + 140, 8), "DSDT");
}

static void expect_port(const uint8_t *address, uint64_t port)
{
	cr_assert_eq(address[0], 1);
	cr_assert_eq(address[1], 8);
	cr_assert_eq(address[2], 0);
	cr_assert_eq(address[3], 1);
	cr_assert_eq(number(address + 4, 8), port);
}

Test(acpi, fadt)
{
	const uint8_t *fadt;

	build(1, 0);
	fadt = find("FACP");
	cr_assert_eq(number(fadt + 4, 4), 276);
	cr_assert_eq(fadt[8], 6);
	cr_assert(number(fadt + 112, 4) & 1u << 20, "hardware-reduced");
	cr_assert(number(fadt + 112, 4) & 1u << 10, "it can be reset");
	expect_port(fadt + 116, 0x602);
	cr_assert_eq(fadt[128], 1);
	expect_port(fadt + 244, 0x600);
	expect_port(fadt + 256, 0x601);
	/* No PM1 blocks, no SCI, no 8042, no RTC; but the timer. */
	for (size_t at = 44; at < 109; at++)
		if ((at < 76 || at >= 80) && at != 91)
			cr_assert_eq(fadt[at], 0, "%zu", at);
	cr_assert_eq(number(fadt + 76, 4), PLATFORM_PM_TIMER);
	cr_assert_eq(fadt[91], 4);
	cr_assert(number(fadt + 112, 4) & 1u << 8, "of 32 bits");
	cr_assert_eq(fadt[208], 1);
	cr_assert_eq(fadt[209], 32);
	cr_assert_eq(number(fadt + 212, 8), PLATFORM_PM_TIMER);
	cr_assert_eq(number(fadt + 109, 2), 0x24);
}

Test(acpi, madt)
{
	const uint8_t *madt;
	unsigned cpus = 0, ioapics = 0;

	build(8, 0);
	madt = find("APIC");
	cr_assert_eq(number(madt + 36, 4), 0xfee00000);
	for (size_t at = 44; at < number(madt + 4, 4); at += madt[at + 1]) {
		cr_assert_gt(madt[at + 1], 0);
		if (madt[at] == 0) {
			cr_assert_eq(madt[at + 3], cpus++);
			cr_assert_eq(number(madt + at + 4, 4), 1);
		} else if (madt[at] == 1) {
			cr_assert_eq(number(madt + at + 4, 4), 0xfec00000);
			cr_assert_eq(number(madt + at + 8, 4), 0);
			ioapics++;
		}
	}
	cr_assert_eq(cpus, 8);
	cr_assert_eq(ioapics, 1);
}

/* The second virtio device, byte by byte as ACPI 6.4 writes it. */
static const uint8_t device_golden[] = {
	0x5b, 0x82, 0x43, 0x04, 'V',  'R',  '0',  '1', /* Device (VR01), 0x43 bytes */
	0x08, '_',  'H',  'I',	'D',  0x0d, 'L',  'N',	'R',  'O',  '0',  '0',
	'0',  '5',  0,	  0x08, '_',  'U',  'I',  'D',	0x01,		  /* One */
	0x08, '_',  'C',  'C',	'A',  0x01,				  /* One */
	0x08, '_',  'C',  'R',	'S',  0x11, 0x4c, 0x01, 0x0b, 0x17, 0x00, /* Buffer, 23 bytes */
	0x86, 9,    0,	  1,	0x00, 0x10, 0x00, 0xd0, 0x00, 0x10, 0x00, 0x00, /* Memory32Fixed */
	0x89, 6,    0,	  3,	1,    6,    0,	  0,	0, /* Interrupt, edge, high, exclusive */
	0x79, 0x00,
};

static const uint8_t s5_golden[] = { 0x08, '\\', '_',  'S',  '5', '_',	0x12,
				     0x47, 0x00, 0x02, 0x0a, 5,	  0x0a, 5 };

static bool holds(const uint8_t *table, const void *bytes, size_t length)
{
	return memmem(table, number(table + 4, 4), bytes, length) != NULL;
}

Test(acpi, dsdt_golden)
{
	const uint8_t *dsdt;

	build(1, 2);
	dsdt = find_dsdt();
	cr_assert(holds(dsdt, device_golden, sizeof(device_golden)));
	cr_assert(holds(dsdt, s5_golden, sizeof(s5_golden)));
	/* PNP0501 as an integer, COM1's ports, its line. */
	cr_assert(holds(dsdt, "\x0c\x41\xd0\x05\x01", 5));
	cr_assert(holds(
		dsdt, "\x47\x01\xf8\x03\xf8\x03\x01\x08\x89\x06\x00\x03\x01\x04\x00\x00\x00", 17));
	build(1, 1);
	cr_assert_not(holds(find_dsdt(), "VR01", 4));
	build(1, PLATFORM_VIRTIO_MAX);
	cr_assert(holds(find_dsdt(), "VR0F", 4));
}

Test(aml, integers)
{
	static const uint8_t golden[] = { 0x00, 0x01, 0x0a, 0x02, 0x0a, 0xff, 0x0b, 0x00, 0x01,
					  0x0b, 0xff, 0xff, 0x0c, 0x00, 0x00, 0x01, 0x00 };
	uint8_t buffer[32];
	struct aml aml = { .data = buffer, .size = sizeof(buffer) };

	for (size_t i = 0; i < 6; i++)
		aml_integer(&aml, (const uint32_t[]){ 0, 1, 2, 255, 256, 65535 }[i]);
	aml_integer(&aml, 65536);
	cr_assert_eq(aml.used, sizeof(golden));
	cr_assert_arr_eq(buffer, golden, sizeof(golden));
}

/* --- ACPICA's word for it --- */

static char folder[64];

static int shell(const char *command)
{
	char text[256];

	snprintf(text, sizeof(text), "cd %s && { %s; } >log 2>&1", folder, command);
	return system(text);
}

static void write_table(const char *name, const uint8_t *table)
{
	char path[96];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s.aml", folder, name);
	file = fopen(path, "w");
	cr_assert(file != NULL);
	cr_assert_eq(fwrite(table, number(table + 4, 4), 1, file), 1);
	cr_assert_eq(fclose(file), 0);
}

/* All tables can be disassembled without a remark, and the DSDT comes back the same. */
Test(acpi, acpica_agrees)
{
	if (system("iasl -v >/dev/null 2>&1") != 0)
		cr_skip_test("SKIP: iasl (package acpica-tools) is not installed");
	strcpy(folder, "/tmp/bifold-acpi-XXXXXX");
	cr_assert(mkdtemp(folder) != NULL);
	build(8, PLATFORM_VIRTIO_MAX);
	write_table("dsdt", find_dsdt());
	write_table("fadt", find("FACP"));
	write_table("madt", find("APIC"));
	cr_expect_eq(shell("for t in dsdt fadt madt; do iasl -d $t.aml; done"), 0);
	cr_expect_eq(shell("! grep -iE 'warning|error|invalid' *.dsl"), 0);
	cr_expect_eq(
		shell("grep -q 'LNRO0005' dsdt.dsl && grep -q '0xD000F000' dsdt.dsl && "
		      "grep -q 'PNP0501' dsdt.dsl && grep -q 'Hardware Reduced (V5) : 1' fadt.dsl"),
		0);
	/* The compiler may choose shorter lengths and paths; else it is the same again. */
	cr_expect_eq(shell("iasl -p again dsdt.dsl && grep -q ' 0 Errors, 0 Warnings' log && "
			   "iasl -d again.aml && "
			   "for t in dsdt again; do sed -n '/^DefinitionBlock/,$p' $t.dsl | "
			   "tr -d '\\134' >$t; done && cmp dsdt again"),
		     0);
	cr_expect_eq(shell("rm -- *"), 0);
	cr_expect_eq(rmdir(folder), 0);
}

/*
 * An encoder for the part of ACPI's machine language (ACPI 6.4, chapter 20) that describes devices.
 * Terms are appended to a buffer that the caller has made large enough; a package is begun, filled
 * and ended, and its length is put in then.
 */
#ifndef VMM_BOOT_ACPI_AML_H
#define VMM_BOOT_ACPI_AML_H

#include <stddef.h>
#include <stdint.h>

struct aml {
	uint8_t *data;
	size_t used, size;
};

void aml_bytes(struct aml *aml, const void *bytes, size_t length);
void aml_byte(struct aml *aml, uint8_t byte);
void aml_le16(struct aml *aml, uint16_t value);
void aml_le32(struct aml *aml, uint32_t value);

/* Name (path, ...): the object follows. path is one segment of four letters, perhaps after "\". */
void aml_name(struct aml *aml, const char *path);
void aml_integer(struct aml *aml, uint32_t value);
void aml_string(struct aml *aml, const char *text);
/* "PNP0501", as ACPI packs such names into an integer. */
void aml_eisa_id(struct aml *aml, const char *id);

/* Each returns the value to pass to its aml_end(). */
size_t aml_begin_scope(struct aml *aml, const char *path);
size_t aml_begin_device(struct aml *aml, const char *name);
size_t aml_begin_package(struct aml *aml, uint8_t element_count);
void aml_end(struct aml *aml, size_t begun);

/* A resource template: descriptors between begin and end. */
size_t aml_begin_resources(struct aml *aml);
void aml_resource_io(struct aml *aml, uint16_t port, uint8_t count);
void aml_resource_memory(struct aml *aml, uint32_t address, uint32_t length);
/* Of the I/O APIC: edge-triggered, active high, exclusive. */
void aml_resource_interrupt(struct aml *aml, uint32_t gsi);
void aml_end_resources(struct aml *aml, size_t begun);

#endif
